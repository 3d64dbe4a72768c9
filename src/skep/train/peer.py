"""A connected site, and who hears of it."""

from __future__ import annotations

from typing import Protocol

from skep.train.frames import Message
from skep.train.member import Member
from skep.train.wire import Wire


class Listener(Protocol):
    """What the mesh reports to."""

    def joined(self, member: Member) -> None: ...
    def left(self, member: Member, on_purpose: bool) -> None: ...
    def received(self, site: str, message: Message) -> None: ...
    def event(self, text: str) -> None: ...


class Peer:
    """A connected site."""

    def __init__(self, member: Member, wire: Wire, dialler: str, link: str) -> None:
        self.member, self.wire, self.dialler, self.link = member, wire, dialler, link
