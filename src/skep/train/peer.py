"""A connected site, and who hears of it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from skep.train.frames import Message
from skep.train.member import Member
from skep.train.routes import Way
from skep.train.wire import Wire


class Listener(Protocol):
    """What the mesh reports to."""

    def joined(self, member: Member) -> None: ...
    def left(self, member: Member, on_purpose: bool) -> None: ...
    def received(self, site: str, message: Message) -> None: ...
    def event(self, text: str) -> None: ...


DIRECT = Way("", "")
FRESH_S = 5.0  # a direct connection that has just come is not left for a way around


class Peer:
    """A connected site: over ``wire``, which ``dialler`` opened and called ``link``."""

    def __init__(
        self, member: Member, wire: Wire, dialler: str, link: str, way: Way = DIRECT
    ) -> None:
        self.member, self.wire, self.dialler, self.link = member, wire, dialler, link
        self.via, self.why = way.via, way.why
        self.since = asyncio.get_running_loop().time()

    def takes_over(self, old: Peer | None, me: str) -> bool:
        """Whether this replaces ``old``, a connection to the same site, alike at both ends."""
        if old is None or old.member.run != self.member.run:
            return True
        if bool(old.via) != bool(self.via):
            return not self.via or self.since - old.since >= FRESH_S
        return old.dialler == self.dialler or self.dialler == min(me, self.member.site)
