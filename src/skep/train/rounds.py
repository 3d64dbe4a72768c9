"""The protocol of rounds, without sockets, threads or clocks.

Messages, reports and times go in, messages to ``outbox`` and ``events`` come out; ``standing`` says
in which position the site is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from skep.train.bundle import bundle_from
from skep.train.choice import Chosen
from skep.train.codec import codec, last_codec
from skep.train.frames import Kind, Message
from skep.train.gauge import Moments
from skep.train.lead import HUNGRY_S, Options
from skep.train.member import Member
from skep.train.outer import PLAIN, Outer, OuterState, outer_step
from skep.train.parts import (
    Call,
    Local,
    Part,
    Result,
    View,
    call_from,
    newer,
    part_from,
    read_beat,
    result_from,
    state_from,
    state_message,
)
from skep.train.passing import Passing
from skep.train.shelf import settle

STEADY_S = 0.3  # a site leads only after it has been the first in order for so long
BEHIND_S = 1.5  # a peer that is ahead for so long: its result is not on its way, fetch
SURELY_S = 30.0  # the same while data is arriving, of which it may be


class Rounds(Passing):
    """One site's position in the exchange."""

    def __init__(
        self,
        me: Member,
        state: OuterState,
        options: Options,
        now: float,
        index: int = 0,
    ) -> None:
        super().__init__(me, state, options, now, index)
        self.news = self.receiving = False  # a beat is due at once; data has come in part
        self.called_last = 0.0  # the last call that was seen
        self.wave: float | None = None  # that of the fragment that this goes with; None: of none
        self.reports: dict[str, Local] = {}  # the last of each site, also of those that left
        self.wanted: Call | None = None  # what the training loop is asked for
        self.finished = False  # the final round has been applied
        self.events: list[str] = []
        self.closed: list[dict[str, Any]] = []  # one record for each round that was applied
        self.moments: list[Moments] = []  # of the same rounds
        self._leading_since: float | None = None
        self._last_leader = ""  # or the gateway that speaks for it
        self._last_gateway = ""  # the same if it is a gateway; empty: it is not
        self._asked_by = ""  # whose call ``wanted`` is; empty: nobody's, this site is alone
        self._shared = False  # the anchor is also held by others: not to be moved alone
        self._frozen = False  # told that most are missing
        self.refused = ""  # why this site's contribution was not merged; the loop drops it then
        self._applied = now

    def pace(self, chosen: Chosen, outer: Outer) -> None:
        """Codec, interval and outer step from here on."""
        self._lead.chosen, self._lead.outer = chosen, outer

    # -- what happens -----------------------------------------------------------------------

    def joined(self, member: Member) -> None:
        """A site is connected (also: connected anew)."""
        self.views[member.site] = View(member)
        self._lead.rejoined(member.site, member.run)
        self._gate.outdated(member.site, member.run)
        self._gate.forget(member.site)
        self._forget_fetch(member.site)
        self.ended.discard(member.seat_name)

    def left(self, site: str, now: float, on_purpose: bool = False) -> None:
        """A site is gone: nobody waits for it any more."""
        view = self.views.pop(site, None)
        if view is not None and on_purpose:
            self.ended.add(view.member.seat_name)
        self._lead.forget(site)
        self._gate.forget(site)
        self._tell_again(site)
        self._forget_fetch(site)
        if self._asked_by == site:
            self.wanted = None
        self.tick(now)

    def received(self, site: str, message: Message, now: float) -> None:
        """Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is not of the protocol."""
        if site not in self.views:
            return
        handlers: dict[Kind, Callable[[str, Message, float], None]] = {
            Kind.BEAT: self._on_beat,
            Kind.PART: self._on_part,
            Kind.RESULT: self._on_result,
            Kind.STATE: self._on_state,
            Kind.STATE_REQUEST: self._donate,
            Kind.CALL: self._on_call,
            Kind.BUNDLE: self._on_bundle,
        }
        if message.kind not in handlers:
            raise ValueError(f"{message.kind.name} in a running exchange")
        handlers[message.kind](site, message, now)

    def offered(self, part: Part, now: float) -> None:
        """The training loop answers ``wanted``."""
        self.wanted = None
        if self._asked_by == self.me.site:
            self._lead.take(self.me.site, part, now)
            self._close_if_due(now)
        elif self._asked_by == self._gate.leader and self._gathers(part, now):
            self._bring_if_due(now)
        elif self._asked_by in self.views:
            name = last_codec(self._lead.codec) if part.final else self._lead.codec
            self._send(self._asked_by, part.to_message(name))
        elif not self.views and not self._shared:
            self.absorb(part, now)

    def tick(self, now: float) -> None:
        """To be called some ten times a second."""
        self._fetch_if_behind(now)
        self._bring_if_due(now)
        if not self.views:
            self._alone(now)
        elif self._leads(now):
            self._lead_on(now)

    def only_these(self) -> None:
        """Most of the sites that are connected now are enough from here on."""
        self.state = replace(self.state, members=tuple(self.seats()))
        self.news = True

    # -- positions --------------------------------------------------------------------------

    def _leads(self, now: float) -> bool:
        if not self._first():
            self._leading_since = None
            if self._lead.called is None or not (self._lead.parts or self._lead.bundles):
                self._lead.abandon()
            return self._lead.called is not None
        if self._leading_since is None:
            self._leading_since = now
        return now - self._leading_since >= STEADY_S

    def _alone(self, now: float) -> None:
        self._lead.abandon()
        hungry, since = self.local.hungry, now - self._applied
        due = since >= (HUNGRY_S if hungry else max(self._lead.interval_s, 1.0))
        something = self.local.pending > 0 or hungry
        if not self._shared and due and self.wanted is None and something:
            self._want(Call(self.state.digest), "")

    def _want(self, call: Call, asked_by: str) -> None:
        self.wanted, self._asked_by = call, asked_by

    def absorb(self, part: Part, now: float) -> None:
        """Without peers: the anchor becomes this site's own parameters."""
        merged = {self.me.site: (part.run, part.number)}
        wants = {} if part.want is None else {self.me.site: part.want}
        shelf = settle(self.state.shelf, wants, self.state.round + 1)
        new = outer_step(self.state, part.progress, PLAIN, part.tokens, merged)
        self._announced = new.digest
        self._adopt(replace(new, shelf=shelf), now)

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
        if level and (final or (self._due(now) and self._majority())):
            self._open(level | {self.me.site}, final, now)

    def _due(self, now: float) -> bool:
        hungry = self.local.hungry or any(view.local.hungry for view in self.views.values())
        wave = None if self.wave is None else self.wave > self.called_last
        return self._lead.due(now, self.local.steps, wave, hungry)

    def _majority(self) -> bool:
        absent = self.missing()
        if absent and not self._frozen:
            text = f"{', '.join(absent)} of {len(self.state.members)} sites are missing"
            self.events.append(f"{text}: the anchor stands still until most are back")
        self._frozen = bool(absent)
        return not absent

    def _open(self, sites: set[str], final: bool, now: float) -> None:
        self.called_last = now
        calls = self._lead.open(now, self.local.steps, sites, final)
        if self.me.site in calls:
            self._want(Call(self.state.digest, final), self.me.site)
        self._call(calls - {self.me.site}, final)

    def _close_if_due(self, now: float) -> None:
        rates = {site: view.local.rate for site, view in self.views.items()}
        rates[self.me.site] = self.local.rate
        if not self._lead.closes(now, rates):
            return
        base, final, began = self.state.digest, self._lead.final, self._lead.called
        closed = self._lead.close(self.state, now, self.epoch())
        if closed is None:
            return
        state, result = closed
        told = [s for s, view in self.views.items() if view.holds == base or self._holds(view)]
        self._told_through.clear()
        self._tell(result, told)
        for site in told:
            self.views[site].holds = state.digest
        self._lead.undelivered.update(told)
        self._applied_round(result, state, now, now - (began or now))
        self.finished = self.finished or final

    def _applied_round(self, result: Result, state: OuterState, now: float, took: float) -> None:
        self.events += [f"an update of {s} is kept out: {why}" for s, why in result.refused.items()]
        self.refused = result.refused.get(self.me.site, "")
        self._shared = self._shared or len(result.merged) > 1
        self.moments += [Moments(*result.moments)] if result.moments else []
        self._announced, self._last_result = result.digest, result
        record = result.record(state, took, now - self._applied)
        self.closed.append(record | {"called_at": min(self.called_last, now), "applied_at": now})
        self._adopt(state, now)

    # -- messages ---------------------------------------------------------------------------

    def _on_beat(self, site: str, message: Message, now: float) -> None:
        view = self.views[site]
        key, local = read_beat(message, self.index)
        view.local = newer(view.local, local)
        view.key = view.key if key is None else key
        self.reports[site] = view.local
        if self._holds(view):
            view.holds = self.state.digest
            self._lead.delivered(site, now)
        if view.key is None or not self._beyond(view.key):
            view.ahead_since = None
        elif view.ahead_since is None:
            view.ahead_since = now
        self._fetch_if_behind(now)

    def _on_call(self, site: str, message: Message, now: float) -> None:
        call = call_from(message)
        self._last_leader, self.called_last = site, now
        fits = call.base == self.state.digest
        self._last_gateway = site if call.by and fits else ""
        if fits:
            self._want(call, site)
            self._pass_call(site, call, now)

    def _on_part(self, site: str, message: Message, now: float) -> None:
        part = part_from(message, self.state.anchor.numel())
        of = str(message.fields.get("of", site))
        if of == site and self._gathered(site, part, message, now):
            self._bring_if_due(now)
        elif of in self.views and part.run == self.views[of].member.run:
            self._lead.take(of, part, now)
            self._close_if_due(now)

    def _on_bundle(self, site: str, message: Message, now: float) -> None:
        bundle = bundle_from(message, self.state.anchor.numel())
        trouble = self._lead.bring(site, bundle, self.state, now)
        if trouble:
            self.events.append(f"what {site} brings for its group is not used: {trouble}")
        self._close_if_due(now)

    def _on_result(self, site: str, message: Message, now: float) -> None:
        result = result_from(message)
        self._last_leader = site
        self._forget_fetch(site)
        if result.base != self.state.digest:
            return
        self._pass_result(message, result.digest)
        length = self.state.anchor.numel()
        decoded = codec(result.codec).decode(result.payload, length)
        state = outer_step(
            self.state, decoded, result.outer, result.tokens, result.merged, result.members
        )
        if result.shelf is not None:
            state = replace(state, shelf=result.shelf)
        self._lead.abandon()
        self.views[site].key = self.key._replace(
            tokens=state.tokens, round=state.round, digest=result.digest, begun=1, sound=1
        )
        self._applied_round(result, state, now, 0.0)
        if state.digest != result.digest:
            self.events.append(f"the anchor differs from {site}'s in round {state.round}")
            self._mark_ahead(now)
        self.finished = self.finished or result.final

    def _on_state(self, site: str, message: Message, now: float) -> None:
        state = state_from(message.fields, message.payload, self.state.anchor.numel())
        self._forget_fetch(site)
        self.views[site].key = state.key._replace(begun=int(self._begun_at(site)))
        if self._beyond(self.views[site].key or state.key):
            if state.round > self.state.round + 1 or state.origin != self.state.origin:
                what = f"state of round {state.round}" if state.round else "initial parameters"
                self.events.append(f"took over the {what} from {site}")
            self._shared, self._announced = True, state.digest
            self._lead.abandon()
            self._adopt(state, now)

    def _donate(self, site: str, message: Message, _now: float) -> None:
        """The last result where that is enough, which is far smaller than the state."""
        last, key = self._last_result, self.views[site].key
        alike = key is not None and key.origin == self.state.origin
        at = message.fields.get("have")
        if last is not None and alike and (last.base, last.digest) == (at, self.state.digest):
            self._send(site, last.to_message())
        else:
            self._send(site, state_message(self.state))
        self.views[site].holds = self.state.digest
        self._shared = True

    # -- fetching and telling ---------------------------------------------------------------

    def _fetch_if_behind(self, now: float) -> None:
        if self._fetching or self._same_start(now):
            return
        for site in self._in_turn():
            view = self.views.get(site)
            if view is None or view.key is None or view.ahead_since is None:
                continue
            disputed = view.key.round == self.state.round > 0
            passed = self._last_gateway in self.views  # the result comes by way of that one
            fresh = self.state.round == 0 and not passed
            at_once = not disputed and (fresh or site == self._last_leader)
            coming = self.receiving or passed
            patience = SURELY_S if coming else BEHIND_S
            if at_once or now - view.ahead_since >= patience:
                self._fetch(site)
                return

    def _same_start(self, now: float) -> bool:
        """Take over the origin of the same initial parameters, which need not be fetched."""
        keys = [view.key for view in self.views.values() if view.key is not None]
        alike = (k for k in keys if k.digest == self.state.digest and k.origin != self.state.origin)
        better = next((key for key in alike if self._beyond(key)), None)
        if better is None or self.state.round:
            return False
        self._adopt(replace(self.state, origin=better.origin), now)
        return True

    def _fetch(self, site: str) -> None:
        self._fetching = site
        self._send(site, Message(Kind.STATE_REQUEST, {"have": self.state.digest}))

    def _forget_fetch(self, site: str) -> None:
        if self._fetching == site:
            self._fetching = ""

    def _adopt(self, state: OuterState, now: float) -> None:
        self.state, self._applied = state, now
        self._lead.late.saw(state)
        if self.wanted is not None and self.wanted.base != state.digest:
            self.wanted = None
        self._gate.adopted(state)
        self._mark_ahead(now)
        self.news = True

    def _mark_ahead(self, now: float) -> None:
        for view in self.views.values():
            stale = view.key is None or not self._beyond(view.key)
            view.ahead_since = None if stale else now

    def _begun_at(self, site: str) -> bool:
        key = self.views[site].key
        return key is not None and bool(key.begun)
