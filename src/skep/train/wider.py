"""Opens further connections for the data to a peer that this site dialled (``lanes``)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from skep.train import handshake
from skep.train.channel import Traffic
from skep.train.dial import dial
from skep.train.handshake import Credentials
from skep.train.lanes import Widening, why_lanes
from skep.train.peer import Peer
from skep.train.wire import Wire

T = TypeVar("T")
WIDEN_S = 2.0  # between two looks whether a link is worth more connections


class Host(Protocol):
    """What the mesh does for it."""

    peers: dict[str, Peer]
    traffic: Traffic

    def tell(self, who: str, text: str) -> None: ...
    def spawn(self, work: Awaitable[None]) -> None: ...
    def credentials(self, link: str, lane: int = 0) -> Credentials: ...
    async def shake(self, shake: Awaitable[T], wire: Wire, who: str) -> T | None: ...
    async def serve_lane(self, peer: Peer, lane: Wire) -> None: ...


class Wider:
    """``streams``: connections for the data to each peer; None: by what its link carries."""

    def __init__(self, host: Host, proxy: str, streams: int | None) -> None:
        self._host, self._proxy, self._streams = host, proxy, streams

    async def widen(self, peer: Peer, address: str) -> None:
        """Open as many connections for data as are set, or as the way to the peer is worth."""
        window, widening = peer.wire.window, Widening(self._streams)
        while self._host.peers.get(peer.member.site) is peer:
            # one short peak would look like a gain, or hide the one to come
            rate = window.average or (None if widening.count else window.mean)
            for _ in range(widening.wants(rate, window.round_trip)):
                if not await self._open(peer, address, widening.count + 1):
                    return  # it will do without
                widening.opened(rate)
                window.anew()
            await asyncio.sleep(WIDEN_S)

    async def _open(self, peer: Peer, address: str, number: int) -> bool:
        try:
            streams = await dial(address, self._proxy)
        except OSError:
            return False
        wire = Wire(*streams, self._host.traffic)
        greeted = handshake.greet(wire, self._host.credentials(peer.link, number))
        if await self._host.shake(greeted, wire, peer.member.site) is None:
            return False
        peer.wire.add(wire)
        site, count, window = peer.member.site, len(peer.wire.lanes), peer.wire.window
        why = why_lanes(self._streams, window.mean, window.round_trip)
        self._host.tell(f"lanes to {site}", f"data to {site} goes over {count} connections{why}")
        self._host.spawn(self._host.serve_lane(peer, wire))
        return True
