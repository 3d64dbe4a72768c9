"""The protocol of rounds, without sockets, threads or clocks.

Messages, reports and times go in; messages go to ``outbox``, events to ``events``. Each site is in
exactly one of these positions: behind (it fetches the state of a peer), leading (it is the first in
order among those who are up to date), following, or alone. All positions are derived from what is
known now, so that there is nothing to undo when a site dies.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from skep.train.codec import codec, last_codec
from skep.train.frames import Kind, Message
from skep.train.lead import Lead, Options
from skep.train.member import Member
from skep.train.outer import PLAIN, Key, OuterState, ahead, outer_step
from skep.train.parts import (
    Call,
    Local,
    Part,
    Result,
    View,
    beat,
    part_from,
    read_beat,
    result_from,
    state_from,
    state_message,
)

BEAT_S = 0.5
STEADY_S = 0.3  # a site leads only after it has been the first in order for so long
BEHIND_S = 1.5  # a peer that is ahead for so long: its result is not on its way, fetch


class Rounds:
    """One site's position in the exchange."""

    def __init__(self, me: Member, state: OuterState, options: Options, now: float) -> None:
        self.me, self.state, self.options = me, state, options
        self.local = Local()
        self.views: dict[str, View] = {}
        self.reports: dict[str, Local] = {}  # the last of each site, also of those that left
        self.wanted: Call | None = None  # what the training loop is asked for
        self.finished = False  # the final round has been applied
        self.outbox: list[tuple[str, Message]] = []
        self.events: list[str] = []
        self.closed: list[dict[str, Any]] = []  # one record for each round that was applied
        self._lead = Lead(options, since=now)
        self._leading_since: float | None = None
        self._last_leader = ""
        self._asked_by = ""  # whose call ``wanted`` is; empty: nobody's, this site is alone
        self._fetching = ""
        self._repair = False
        self._shared = False  # the anchor is also held by others: not to be moved alone
        self._beaten = 0.0
        self._applied = now

    # -- what happens -----------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        """A site is connected (also: connected anew)."""
        self.views[member.site] = View(member)
        self._lead.rejoined(member.site, member.run)
        self._forget_fetch(member.site)
        self._send(member.site, beat(self.state, self.local, self._sites()))

    def left(self, site: str, now: float) -> None:
        """A site is gone: nobody waits for it any more."""
        self.views.pop(site, None)
        self._lead.forget(site)
        self._forget_fetch(site)
        if self._asked_by == site:
            self.wanted = None
        self.tick(now)

    def received(self, site: str, message: Message, now: float) -> None:
        """Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is not of the protocol."""
        if site not in self.views:
            return None
        handlers = {
            Kind.BEAT: self._on_beat,
            Kind.PART: self._on_part,
            Kind.RESULT: self._on_result,
            Kind.STATE: self._on_state,
        }
        if message.kind is Kind.STATE_REQUEST:
            return self._donate(site)
        if message.kind is Kind.CALL:
            return self._on_call(site, message)
        if message.kind not in handlers:
            raise ValueError(f"{message.kind.name} in a running exchange")
        return handlers[message.kind](site, message, now)

    def offered(self, part: Part, now: float) -> None:
        """The training loop answers ``wanted``."""
        self.wanted = None
        if self._asked_by == self.me.site:
            self._lead.take(self.me.site, part, now)
            self._close_if_due(now)
        elif self._asked_by in self.views:
            name = last_codec(self.options.codec) if part.final else self.options.codec
            self._send(self._asked_by, part.to_message(name))
        elif not self.views and not self._shared:
            self._absorb(part, now)

    def tick(self, now: float) -> None:
        """To be called some ten times a second."""
        if now - self._beaten >= BEAT_S:
            self._beat(now)
        self._fetch_if_behind(now)
        if not self.views:
            self._alone(now)
        elif self._leads(now):
            self._lead_on(now)

    def absorb(self, part: Part, now: float) -> None:
        """Without peers, at the end: the anchor becomes this site's own parameters."""
        self._absorb(part, now)

    def announce(self, now: float) -> None:
        """Tell the peers at once how this site is doing."""
        self._beat(now)

    # -- positions --------------------------------------------------------------------------

    def behind(self) -> bool:
        """Whether a connected peer holds a state that this site must adopt."""
        keys = [view.key for view in self.views.values() if view.key is not None]
        return bool(self._fetching) or any(ahead(key, self.state.key) for key in keys)

    def level(self) -> bool:
        """Whether all connected peers are known to hold the same state as this site."""
        return all(self._holds(view) for view in self.views.values())

    def pending(self) -> int:
        """Tokens of all connected sites that are not in the anchor yet."""
        return self.local.pending + sum(view.local.pending for view in self.views.values())

    def _holds(self, view: View) -> bool:
        return view.key is not None and view.key.digest == self.state.digest

    def _first(self) -> bool:
        level = [view.member.order for view in self.views.values() if self._holds(view)]
        return not self.behind() and self.me.order < min(level, default=(1 << 62, ""))

    def _leads(self, now: float) -> bool:
        if not self._first():
            self._leading_since = None
            if self._lead.called is None or not self._lead.parts:
                self._lead.abandon()
            return self._lead.called is not None
        if self._leading_since is None:
            self._leading_since = now
        return now - self._leading_since >= STEADY_S

    def _alone(self, now: float) -> None:
        self._lead.abandon()
        due = now - self._applied >= max(self._lead.interval(self.local.step_s), 1.0)
        if not self._shared and due and self.wanted is None and self.local.pending > 0:
            self._want(Call(self.state.digest), "")

    def _want(self, call: Call, asked_by: str) -> None:
        self.wanted, self._asked_by = call, asked_by

    def _absorb(self, part: Part, now: float) -> None:
        merged = {self.me.site: (part.run, part.number)}
        self._adopt(outer_step(self.state, part.progress, PLAIN, part.tokens, merged), now)

    # -- leading ----------------------------------------------------------------------------

    def _lead_on(self, now: float) -> None:
        for site, view in self.views.items():
            if self._holds(view):
                self._lead.delivered(site, now)
        if self._lead.called is not None:
            self._close_if_due(now)
            return
        if self.finished:
            return
        level = {site for site, view in self.views.items() if self._holds(view)}
        final = self._all_finishing() and len(level) == len(self.views)
        if level and (final or self._lead.due(now, self.local.step_s, self.local.steps)):
            self._open(level | {self.me.site}, final, now)

    def _all_finishing(self) -> bool:
        return self.local.finishing and all(v.local.finishing for v in self.views.values())

    def _open(self, sites: set[str], final: bool, now: float) -> None:
        call = Call(self.state.digest, final)
        for site in self._lead.open(now, sites, final):
            if site == self.me.site:
                self._want(call, site)
            else:
                self._send(site, Message(Kind.CALL, asdict(call)))

    def _close_if_due(self, now: float) -> None:
        rates = {site: view.local.rate for site, view in self.views.items()}
        rates[self.me.site] = self.local.rate
        if not self._lead.closes(now, rates):
            return
        base, final, began = self.state.digest, self._lead.final, self._lead.called
        closed = self._lead.close(self.state, now, self.local.step_s)
        if closed is None:
            return
        state, result = closed
        message = result.to_message()
        for site, view in self.views.items():
            if view.holds == base or self._holds(view):
                self._send(site, message)
                view.holds = state.digest
                self._lead.undelivered.add(site)
        self._applied_round(result, state, now, now - (began or now))
        self.finished = self.finished or final

    def _applied_round(self, result: Result, state: OuterState, now: float, took: float) -> None:
        self._shared = self._shared or len(result.merged) > 1
        self.closed.append(
            {
                "round": state.round,
                "participants": len(result.merged),
                "sites": sorted(result.merged),
                "tokens": result.tokens,
                "global_tokens": state.tokens,
                "took_s": round(took, 3),
                "since_last_s": round(now - self._applied, 3),
                "momentum": result.outer.momentum,
                "final": result.final,
                "digest": state.digest,
            }
        )
        self._adopt(state, now)

    # -- messages ---------------------------------------------------------------------------

    def _on_beat(self, site: str, message: Message, now: float) -> None:
        view = self.views[site]
        view.key, view.local = read_beat(message)
        self.reports[site] = view.local
        if self._holds(view):
            view.holds = self.state.digest
            self._lead.delivered(site, now)
        if not ahead(view.key, self.state.key):
            view.ahead_since = None
        elif view.ahead_since is None:
            view.ahead_since = now
        self._fetch_if_behind(now)

    def _on_call(self, site: str, message: Message) -> None:
        call = Call(str(message.fields["base"]), bool(message.fields["final"]))
        self._last_leader = site
        if call.base == self.state.digest:
            self._want(call, site)

    def _on_part(self, site: str, message: Message, now: float) -> None:
        part = part_from(message, self.state.anchor.numel())
        self._lead.take(site, part, now)
        self._close_if_due(now)

    def _on_result(self, site: str, message: Message, now: float) -> None:
        result = result_from(message)
        self._last_leader = site
        if result.base != self.state.digest:
            return
        length = self.state.anchor.numel()
        decoded = codec(result.codec).decode(result.payload, length)
        state = outer_step(self.state, decoded, result.outer, result.tokens, result.merged)
        if state.digest != result.digest:
            self.events.append(f"the anchor differs from {site}'s in round {state.round}: fetching")
            self._repair = True
            self._fetch(site)
            return
        self.views[site].key = state.key
        self._lead.abandon()
        self._applied_round(result, state, now, 0.0)
        self.finished = self.finished or result.final

    def _on_state(self, site: str, message: Message, now: float) -> None:
        state = state_from(message.fields, message.payload, self.state.anchor.numel())
        self._forget_fetch(site)
        self.views[site].key = state.key
        if ahead(state.key, self.state.key) or self._repair:
            if state.round > self.state.round + 1 or state.origin != self.state.origin:
                self.events.append(f"took over the state of round {state.round} from {site}")
            self._repair, self._shared = False, True
            self._lead.abandon()
            self._adopt(state, now)

    def _donate(self, site: str) -> None:
        self._send(site, state_message(self.state))
        self.views[site].holds = self.state.digest
        self._shared = True

    # -- fetching and telling ---------------------------------------------------------------

    def _fetch_if_behind(self, now: float) -> None:
        if self._fetching:
            return
        for site, view in sorted(self.views.items(), key=lambda item: item[1].member.order):
            if view.key is None or view.ahead_since is None:
                continue
            at_once = self.state.round == 0 or site == self._last_leader
            if at_once or now - view.ahead_since >= BEHIND_S:
                self._fetch(site)
                return

    def _fetch(self, site: str) -> None:
        self._fetching = site
        self._send(site, Message(Kind.STATE_REQUEST))

    def _forget_fetch(self, site: str) -> None:
        if self._fetching == site:
            self._fetching = ""

    def _adopt(self, state: OuterState, now: float) -> None:
        self.state, self._applied = state, now
        if self.wanted is not None and self.wanted.base != state.digest:
            self.wanted = None
        for view in self.views.values():
            stale = view.key is None or not ahead(view.key, state.key)
            view.ahead_since = None if stale else now
        self._beat(now)

    def _beat(self, now: float) -> None:
        self._beaten = now
        message = beat(self.state, self.local, self._sites())
        for site in self.views:
            self._send(site, message)

    def _sites(self) -> dict[str, str]:
        members = (view.member for view in self.views.values())
        return {member.site: member.listen for member in members if member.listen}

    def _send(self, site: str, message: Message) -> None:
        self.outbox.append((site, message))


def origin_of(me: Member) -> str:
    """The name of fresh parameters: begins with the rank, so that the first site's win."""
    return f"{me.rank:06d}/{me.site}/{me.run}"


def key_text(key: Key) -> str:
    """For events: round and the first digits of the digest."""
    return f"round {key.round} ({key.digest[:8]})"
