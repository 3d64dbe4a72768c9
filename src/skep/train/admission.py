"""Who of the connected sites takes part: only one that all ranks of this site are connected to.

Each rail has connections of its own. Were a site counted on one rail and not on another, the two
would decide about majorities, and begin a model, by different members. So where there are several,
what a connection brings goes no further until all ranks have told each other that they have theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from skep.train.frames import Kind, Message
from skep.train.member import Member

Link = tuple[str, str]  # site and run
BEATS = -1  # where what beats say is kept, beside the last call of each fragment


@dataclass(slots=True)
class Admission:
    """Of one rail. Not ``gated``: whoever is connected takes part. ``changes`` counts what the
    other ranks have to hear of."""

    gated: bool = False
    changes: int = 0
    linked: dict[str, Member] = field(default_factory=dict)
    admitted: dict[str, str] = field(default_factory=dict)  # site -> run
    _held: dict[str, dict[int, Message]] = field(default_factory=dict)  # of those not admitted

    def links(self) -> frozenset[Link]:
        """Who is connected."""
        return frozenset((member.site, member.run) for member in list(self.linked.values()))

    def joined(self, member: Member) -> bool:
        """Whether a newly connected site takes part at once."""
        site, run = member.site, member.run
        self.linked[site] = member
        self.changes += 1
        if self.admitted.get(site) == run:
            return True
        self._held.pop(site, None)
        if not self.gated:
            self.admitted[site] = run
        return not self.gated

    def left(self, member: Member) -> bool:
        """Whether one that is not connected any more took part."""
        site = member.site
        if site in self.linked and self.linked[site].run == member.run:
            del self.linked[site]
        self.changes += 1
        self._held.pop(site, None)
        if self.admitted.get(site) != member.run:
            return False
        del self.admitted[site]
        return True

    def lets(self, site: str, message: Message) -> bool:
        """Whether a message goes on to the rounds; what beats say and calls are kept for later."""
        if site in self.admitted:
            return True
        held = self._held.setdefault(site, {})
        if message.kind is Kind.BEAT:
            keys = dict(held[BEATS].fields["keys"]) if BEATS in held else {}
            fields = message.fields | {"keys": keys | dict(message.fields["keys"])}
            held[BEATS] = Message(Kind.BEAT, fields)
        elif message.kind is Kind.CALL:
            held[int(message.fields["fragment"])] = message
        return False

    def admit(self, whole: Iterable[Link]) -> tuple[list[str], list[tuple[Member, list[Message]]]]:
        """Only these take part: the sites that do not any more, and those that do from now on with
        what was kept of them, beats first."""
        runs = dict(whole)
        out = [site for site, run in self.admitted.items() if runs.get(site) != run]
        for site in out:
            del self.admitted[site]
        fresh = []
        for site, run in sorted(runs.items()):
            member = self.linked.get(site)
            if member is not None and member.run == run and site not in self.admitted:
                self.admitted[site] = run
                kept = self._held.pop(site, {})
                fresh.append((member, [kept[key] for key in sorted(kept)]))
        return out, fresh
