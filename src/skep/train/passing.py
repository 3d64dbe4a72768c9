"""A site's part as a gateway: calls, contributions and results on their way through it.

Where there are two levels (``groups``) a leader asks some sites by way of another one. There is
nothing to agree on: the call names the group, and so does the result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from skep.train.frames import Message
from skep.train.gateway import Gateway
from skep.train.groups import gateways, slow
from skep.train.lead import Lead, Options
from skep.train.member import Member
from skep.train.outer import OuterState
from skep.train.parts import Call, Part, Result, sites_from
from skep.train.standing import Standing


class Passing(Standing):
    """What goes through one site, for one fragment."""

    def __init__(
        self, me: Member, state: OuterState, options: Options, now: float, index: int
    ) -> None:
        super().__init__(me, state, index)
        self.options = options
        self.rates: Mapping[str, float] = {}  # bytes/s that the link to each peer carries
        self.outbox: list[tuple[str, Message]] = []
        self._lead = Lead(options, since=now)
        self._gate = Gateway(options, guard=self._lead.guard)
        self._last_result: Result | None = None
        self._told_through: dict[str, str] = {}  # by site, the gateway that is to pass it on

    def _groups(self, sites: Collection[str]) -> dict[str, list[str]]:
        """Of these peers those that are spoken with, and for each the others that it speaks for."""
        if len(self.views) + 1 <= self.options.one_level:
            return {site: [] for site in sites}
        members = sorted((view.member for view in self.views.values()), key=lambda m: m.order)
        order = [member.site for member in members if member.order < self.me.order]
        order += [self.me.site, *(m.site for m in members if m.order > self.me.order)]
        weak = slow(self.rates) | self._lead.weak.keys()
        apart = self._lead.apart.keys() & set(sites)
        found = gateways(order, self.me.site, set(sites) - apart, self.index, weak)
        return found | {site: [] for site in sorted(apart)}

    def _call(self, sites: Collection[str], final: bool) -> None:
        """As the leader, whose round is open."""
        self._gate.end()
        for site, group in self._groups(sites).items():
            if group:
                self._lead.ask_through(site, group)
            call = Call(self.state.digest, final, tuple(group), self._lead.limit_s)
            self._send(site, call.to_message())

    def _tell(self, result: Result, sites: Collection[str]) -> None:
        """As the leader, whose round is closed."""
        message = result.to_message()
        for site, group in self._groups(sites).items():
            self._told_through.update(dict.fromkeys(group, site))
            self._send(site, replace(message, fields=message.fields | {"group": group}))

    def _tell_again(self, gateway: str) -> None:
        """A gateway is gone: its group gets the last result of this leader in another way."""
        group = [site for site, through in self._told_through.items() if through == gateway]
        for site in group:
            del self._told_through[site]
        last = self._last_result
        if last is not None and last.digest == self.state.digest:
            waiting = self._lead.undelivered & self.views.keys()
            self._tell(last, [site for site in group if site in waiting])

    def _pass_call(self, site: str, call: Call, now: float) -> None:
        """Call the group for which ``site`` has made this one the gateway."""
        if not call.group:
            self._gate.end()
            return
        onward = Call(call.base, call.final, (), 0.0, by=site)
        for member in sorted(self._gate.open(site, call, set(self.views), self.me.site, now)):
            self._send(member, onward.to_message())

    def _gathers(self, part: Part, now: float) -> bool:
        """Whether this site's own contribution goes with those of its group."""
        if self._gate.called is None or part.missed or part.beside:
            self._gate.excuse(self.me.site)
            return False
        self._gate.take(self.me.site, part, now)
        return True

    def _gathered(self, site: str, part: Part, message: Message, now: float) -> bool:
        """Whether a contribution is that of its group. What came too late, and what missed rounds,
        goes on as it is: shares of those are not by tokens alone."""
        if site not in self._gate.members:
            return False
        if self._gate.called is not None and not part.missed and not part.beside:
            self._gate.take(site, part, now)
            return True
        self._gate.answered(site, now)
        self._gate.expected.discard(site)
        self._send(self._gate.leader, replace(message, fields=message.fields | {"of": site}))
        return True

    def _bring_if_due(self, now: float) -> None:
        if self._gate.closes(now):
            leader = self._gate.leader
            message = self._gate.close(self.state, self._gate.codec(self._lead.codec))
            if message is not None and leader in self.views:
                self._send(leader, message)

    def _pass_result(self, message: Message, digest: str) -> None:
        """To those whom the leader has named: the same bytes."""
        group = sites_from(message.fields["group"])
        onward = replace(message, fields=message.fields | {"group": []})
        for site in group:
            if site in self.views:
                self._send(site, replace(onward, fields=dict(onward.fields)))
                self.views[site].holds = digest

    def _send(self, site: str, message: Message) -> None:
        message.fields["fragment"] = self.index
        self.outbox.append((site, message))
