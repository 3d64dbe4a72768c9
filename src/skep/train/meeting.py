"""Meeting sites that cannot be dialled, through relays: the site's side of ``relay``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from skep.errors import DeniedError
from skep.runenv import relay_key
from skep.train import handshake
from skep.train.channel import Traffic
from skep.train.dial import Streams, dial
from skep.train.frames import FrameError, Kind, Message
from skep.train.member import alias_of, pass_for, room_of
from skep.train.wire import Wire

SILENCE_S = 6.0  # without a word from the relay
DIRECT_S = 5.0  # that two sites may take to connect without a relay, where one can be dialled
BACKOFF_S = (0.1, 3.0)
PATIENT = 8
RELAYS = 8  # at which a site can be met at the same time

_TROUBLE = (OSError, EOFError, TimeoutError, FrameError, DeniedError, ValueError)


class Host(Protocol):
    """What the mesh does for a meeting."""

    def connected(self) -> Iterable[str]: ...
    def dialled(self) -> Iterable[str]: ...
    def spawn(self, work: Awaitable[None]) -> None: ...
    def tell(self, who: str, text: str) -> None: ...
    async def called(self, streams: Streams) -> None: ...
    async def met(self, streams: Streams, relay: str) -> None: ...


@dataclass(slots=True)
class Meeting:
    """Keeps a connection parked at each relay and meets whom it hears of there.

    Sites have aliases there (``member.alias_of``).
    """

    site: str
    token: bytes
    proxy: str
    listens: bool
    host: Host
    traffic: Traffic
    rail: int = 0
    _relays: set[str] = field(default_factory=set)
    _under_way: set[str] = field(default_factory=set)
    _since: dict[str, float] = field(default_factory=dict)  # when a site was first heard of

    def at(self, address: str, configured: bool = False) -> None:
        """Can be met at this relay from now on, and meets others there.

        Trouble with one that is ``configured`` is told.
        """
        if address not in self._relays and len(self._relays) < RELAYS:
            self._relays.add(address)
            self.host.spawn(self._keep_offering(address, configured))

    async def _keep_offering(self, address: str, told: bool) -> None:
        pause = BACKOFF_S[0]
        while True:
            try:
                streams = await self._ask(address, Kind.OFFER)
            except _TROUBLE as error:
                lasting = pause >= PATIENT * BACKOFF_S[0] or isinstance(error, DeniedError)
                if told and lasting:
                    self.host.tell(
                        address, f"no relay at {address} yet: {str(error) or 'no answer'}"
                    )
                pause = min(2 * pause, BACKOFF_S[1])
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))
                continue
            pause = BACKOFF_S[0]
            self.host.spawn(self.host.called(streams))

    async def _ask(self, address: str, kind: Kind, to: str = "") -> Streams:
        """Streams to another site, once the relay has paired them. Raises one of ``_TROUBLE``."""
        streams = await dial(address, self.proxy)
        wire = Wire(*streams, self.traffic)
        try:
            async with asyncio.timeout(handshake.TIMEOUT_S):
                challenged = await handshake.expect(wire, Kind.CHALLENGE)
                nonce = handshake.text_of(challenged, "nonce")
                await wire.send(Message(kind, self._request(kind, nonce, to)))
            while True:
                async with asyncio.timeout(SILENCE_S):
                    message = await wire.receive()
                if message.kind is not Kind.BEAT:
                    break
                self._heard(address, dict(message.fields["sites"]))
            handshake.checked(message, Kind.GO)
        except BaseException:
            wire.abort()
            raise
        return streams

    def _request(self, kind: Kind, nonce: str, to: str) -> dict[str, object]:
        key = relay_key(self.token)
        me = alias_of(key, self.site)
        proof = pass_for(key, kind.name, nonce, me, to, self.rail)
        about = {"room": room_of(key), "site": me, "rail": self.rail, "proof": proof}
        return about | ({"to": to} if kind is Kind.MEET else {"listens": self.listens})

    def _heard(self, address: str, sites: dict[str, bool]) -> None:
        now, key = asyncio.get_running_loop().time(), relay_key(self.token)
        me = alias_of(key, self.site)
        connected = {alias_of(key, site) for site in self.host.connected()}
        dialled = {alias_of(key, site) for site in self.host.dialled()}
        for site, listens in sites.items():
            if site <= me or site in self._under_way or site in connected:
                self._since.pop(site, None)
                continue  # of two sites the first in order of aliases asks
            since = self._since.setdefault(site, now)
            direct = listens or self.listens or site in dialled
            if not direct or now - since >= DIRECT_S:
                self._under_way.add(site)
                self.host.spawn(self._meet(site, address))

    async def _meet(self, site: str, address: str) -> None:
        try:
            await self.host.met(await self._ask(address, Kind.MEET, site), address)
        except _TROUBLE:
            pass  # the relay speaks of it again if it still is there
        finally:
            self._under_way.discard(site)
