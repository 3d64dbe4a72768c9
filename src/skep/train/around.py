"""A mesh's ways around: opens them, serves those that others open, and leaves them (``routes``)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from skep.train import handshake
from skep.train.channel import Traffic
from skep.train.dial import Streams
from skep.train.frames import Message
from skep.train.handshake import Credentials
from skep.train.member import Member
from skep.train.peer import Peer
from skep.train.routes import Routes, Way
from skep.train.tunnels import Name, Tunnels
from skep.train.wire import Wire

T = TypeVar("T")
CLOSED_S = 5.0  # within which the other end closes a connection that was replaced


class Host(Protocol):
    """What the mesh does for its ways around."""

    me: Member
    peers: dict[str, Peer]

    def tell(self, who: str, text: str) -> None: ...
    def spawn(self, work: Awaitable[None]) -> None: ...
    def credentials(self, link: str, lane: int = 0) -> Credentials: ...
    def drop(self, peer: Peer, reason: str) -> None: ...
    async def shake(self, shake: Awaitable[T], wire: Wire, who: str) -> T | None: ...
    async def called(self, streams: Streams, way: Way) -> None: ...
    async def serve(self, peer: Peer) -> None: ...
    async def serve_lane(self, peer: Peer, lane: Wire) -> None: ...


class Around:
    """The ways of one mesh by way of third sites."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.routes = Routes(host.me.site)
        self.tunnels = Tunnels(host.me.site, self)
        self._under_way: set[str] = set()
        self._carriers: dict[str, Peer] = {}  # direct connections, in use or ``stays``

    def direct(self) -> dict[str, float]:
        """The sites with a connection of their own, and its rate (bytes/s; 0: not measured)."""
        peers = list(self._host.peers.items())
        return {site: peer.wire.window.rate or 0.0 for site, peer in peers if not peer.via}

    def ways(self) -> dict[str, str]:
        """By way of whom the others are reached."""
        return {site: peer.via for site, peer in list(self._host.peers.items()) if peer.via}

    def look(self, now: float) -> None:
        """To be called about twice a second."""
        peers = self._host.peers
        around = {site: peers[site].wire.window.rate or 0.0 for site in self.ways()}
        for site, way in self.routes.look(now, self.direct(), around).items():
            if not way.via:
                self._host.drop(peers[site], way.why)
            elif site not in self._under_way:
                self._under_way.add(site)
                self._host.spawn(self._go(site, way))

    def tried_again(self, site: str) -> bool:
        """Whether a connected site is dialled all the same."""
        peer = self._host.peers.get(site)
        now = asyncio.get_running_loop().time()
        return peer is not None and peer.via != "" and self.routes.again(site, now)

    def close(self, old: Peer, new: Peer) -> None:
        """``new`` has taken over: whoever opened it closes the old connection, as he is the last to
        know of it. Closed here at once, it would be missed there."""
        if bool(old.via) != bool(new.via) and new.dialler != self._host.me.site:
            self._host.spawn(_close_later(old))
        else:
            old.wire.abort()

    def used(self, new: Peer, old: Peer | None) -> None:
        """``new`` is how its site is reached from now on, in place of ``old``."""
        site, now = new.member.site, asyncio.get_running_loop().time()
        if old is not None:
            self.lost(old)
        if new.via:
            self.routes.routed(site, now, slow=old is not None and not old.via)
            text = f"{self._host.me.site} to {site} by way of {new.via}: {new.why}"
            self._host.tell(f"way to {site}", text)
            return
        self._carriers[site] = new
        if old is not None and old.via:
            self.routes.returned(site, now)
            self._host.tell(f"way to {site}", f"{site} is reached directly again")

    def lost(self, peer: Peer) -> None:
        """A connection has ended, and with it what went through it."""
        site = peer.member.site
        if self._carriers.get(site) is peer:
            del self._carriers[site]
            self.tunnels.lost(site)

    def stays(self, peer: Peer) -> bool:
        """Whether the connection with one that leaves is still needed for others."""
        return not peer.via and self.tunnels.uses(peer.member.site)

    def staying(self) -> list[Peer]:
        """The connections with those that have left that are needed for others."""
        peers = self._host.peers
        return [peer for site, peer in self._carriers.items() if peers.get(site) is not peer]

    def take(self, peer: Peer, message: Message) -> None:
        """A piece of a connection that goes through this one. Raises as ``Tunnels.take``."""
        if peer.via:
            raise ValueError("a way around in a way around")
        if self._carriers.get(peer.member.site) is peer:
            self.tunnels.take(peer.member.site, message)

    async def _go(self, site: str, way: Way) -> None:
        """Calls and beats have a connection of their own, so as not to wait behind data at the
        site between."""
        link, opened = secrets.token_hex(8), []
        for lane in (0, 1):
            found = await self._greeted(Name(site, link, lane), way)
            if found is None:
                break
            opened.append(found)
        self._under_way.discard(site)
        if len(opened) < 2:
            for wire, _ in opened:
                wire.abort()
            return
        (wire, member), (data, _) = opened
        wire.add(data)
        peer = Peer(member, wire, self._host.me.site, link, way)
        self._host.spawn(self._host.serve(peer))
        self._host.spawn(self._host.serve_lane(peer, data))

    async def _greeted(self, name: Name, way: Way) -> tuple[Wire, Member] | None:
        try:
            streams = self.tunnels.open(way.via, name, way.why)
        except ConnectionError:
            return None  # the way has gone; the next look finds another
        wire = Wire(*streams, Traffic())  # its bytes are those of the carrier
        greeted = handshake.greet(wire, self._host.credentials(name.link, name.lane))
        member = await self._host.shake(greeted, wire, f"{name.site} by way of {way.via}")
        return (wire, member) if member is not None and member.site == name.site else None

    # -- for the tunnels --------------------------------------------------------------------

    def carrier(self, site: str) -> Wire | None:
        """The direct connection to a site."""
        peer = self._carriers.get(site)
        return peer.wire if peer is not None else None

    def tell(self, who: str, text: str) -> None:
        self._host.tell(who, text)

    def arrived(self, streams: Streams, via: str, why: str) -> None:
        """Someone opens a connection by way of ``via``."""
        self._host.spawn(self._host.called(streams, Way(via, why)))


async def _close_later(peer: Peer) -> None:
    await asyncio.sleep(CLOSED_S)
    peer.wire.abort()
