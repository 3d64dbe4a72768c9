"""The full mesh of sites: who is connected, dialling for ever, fencing stale attempts.

Runs inside one asyncio loop, in the background thread of ``exchange``. It tells its ``Listener``
what happened and knows nothing about rounds.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

from skep.errors import DeniedError
from skep.runenv import parse_address, relay_key
from skep.train import handshake
from skep.train.around import Around
from skep.train.channel import Traffic
from skep.train.dial import Streams, dial
from skep.train.frames import FrameError, Kind, Message
from skep.train.handshake import Credentials
from skep.train.meeting import Meeting
from skep.train.member import Member, supersedes, unlike
from skep.train.peer import DIRECT, Listener, Peer
from skep.train.relay import Relay
from skep.train.routes import Way
from skep.train.tls import Identity
from skep.train.wider import Wider
from skep.train.wire import Wire

T = TypeVar("T")
STRANGER = "an incoming connection"
BACKOFF_S = (0.1, 3.0)
# A peer that starts a little later is no news: told once the pause has grown so many times.
PATIENT = 8
SILENCE_S = 6.0  # without a single frame: the peer is gone (beats come twice a second)
FLUSH_S = 20.0
SITES = 1024  # addresses that may be learned from others
LANES = 64  # connections for data that a peer may open
STRANGERS = 32  # connections that may be in their handshake at the same time


class Mesh:
    """Connections to every reachable site, at most one per site."""

    def __init__(
        self,
        me: Member,
        token: bytes,
        proxy: str,
        limit: int,
        listener: Listener,
        streams: int | None = None,
    ) -> None:
        """``streams``: connections for the data to each peer; None: by what its link carries."""
        self._wider = Wider(self, proxy, streams)
        self.me, self._proxy = me, proxy
        self._credentials = Credentials(me, token, None, limit, self._admit)
        self._relay = Relay([relay_key(token)])
        self.peers: dict[str, Peer] = {}
        self.around = Around(self)
        self._meeting: Meeting | None = None
        self._cut_off = False  # there may be sites with which only a relay connects
        self._listener = listener
        self.traffic = Traffic()
        self._newest: dict[str, str] = {}  # site -> the newest run seen there
        self._addresses: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._strangers = 0
        self._server: asyncio.Server | None = None
        self._told: dict[str, str] = {}
        self._leaving = False  # from then on it is no news that others go as well

    def encrypt(self, identity: Identity) -> None:
        """Links are encrypted, with this at our ends. To be called before ``start``."""
        self._credentials = replace(self._credentials, identity=identity)

    async def start(
        self, listen: str | socket.socket, addresses: dict[str, str], relay: str = ""
    ) -> None:
        """Listen (at an address, or on a socket) and dial. Raises ``OSError`` when the address
        cannot be listened on.

        Who cannot be dialled is met at ``relay`` and at each site that can be.
        """
        who = (self.me.site, self._credentials.token, self._proxy)
        self._meeting = Meeting(*who, bool(listen), self, self.traffic, self.me.rail)
        self._cut_off = not listen
        if isinstance(listen, socket.socket):
            self._server = await asyncio.start_server(self._accept, sock=listen)
        elif listen:
            host, port = parse_address(listen)
            self._server = await asyncio.start_server(self._accept, host, port)
        if relay:
            self._meeting.at(relay, configured=True)
        for site, address in addresses.items():
            self.learn(site, address)
        self.spawn(self._watch())

    def learn(self, site: str, address: str) -> None:
        """Dial ``site`` at ``address`` from now on, unless it already is dialled somewhere."""
        if site == self.me.site or site in self._addresses or len(self._addresses) >= SITES:
            return
        parse_address(address)
        self._addresses[site] = address
        self.spawn(self._keep_dialling(site))

    def moved(self, site: str, address: str) -> None:
        """As ``learn``; one that is dialled already is dialled here instead."""
        if site in self._addresses:
            parse_address(address)
            self._addresses[site] = address
        else:
            self.learn(site, address)

    def address_of(self, site: str) -> str:
        """Where ``site`` is dialled, "" where nothing is known."""
        return self._addresses.get(site, "")

    def send(self, site: str, message: Message) -> None:
        """Queue a message; it is lost when the site is not connected."""
        peer = self.peers.get(site)
        if peer is not None:
            self._put(peer, message)

    def receiving(self, moving: bool = False) -> bool:
        """Whether any peer's data has come in part; ``moving``: or is on its way to any."""
        wires = [peer.wire for peer in self.peers.values()]
        return any(wire.receiving or (moving and wire.sending) for wire in wires)

    @property
    def relayed(self) -> int:
        """Bytes passed on between other sites."""
        return self._relay.passed

    def lanes(self) -> dict[str, int]:
        """How many connections carry the data to each site (1: that of the calls)."""
        return {site: max(len(peer.wire.lanes), 1) for site, peer in list(self.peers.items())}

    def rates(self) -> dict[str, float]:
        """Bytes per second that the link to each site was measured to carry."""
        rates = ((site, peer.wire.window.carries) for site, peer in self.peers.items())
        return {site: rate for site, rate in rates if rate}

    async def stop(self) -> None:
        """Leave on purpose; who has not taken any data for ``FLUSH_S`` is not waited for."""
        self._leaving = True
        peers = list(self.peers.values())
        for peer in peers:
            self._put(peer, Message(Kind.LEAVE))
        await self._flush([peer for peer in peers if peer.via])  # goes through the others
        await self.around.tunnels.drain(FLUSH_S)  # others may still be about their last round
        await self._flush([peer for peer in peers if not peer.via])
        if self._server is not None:
            self._server.close()
        await self._relay.drain(FLUSH_S)
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _flush(self, peers: list[Peer]) -> None:
        flushed = (peer.wire.close_flushed(FLUSH_S) for peer in peers)
        await asyncio.gather(*flushed, return_exceptions=True)

    def spawn(self, work: Awaitable[None]) -> None:
        """Do this in the background, until ``stop``."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _put(self, peer: Peer, message: Message) -> None:
        try:
            peer.wire.put(message)
        except OSError as error:
            self.drop(peer, str(error) or "connection lost")

    async def _pump(self, peer: Peer, lane: Wire | None = None) -> None:
        try:
            await (peer.wire.pump() if lane is None else peer.wire.pump_lane(lane))
        except OSError as error:
            self.drop(peer, str(error) or "connection lost")

    # -- connecting -------------------------------------------------------------------------

    def _accept(self, *streams: *Streams) -> None:
        if self._strangers >= STRANGERS:
            streams[1].close()
        else:
            self.spawn(self.called(streams))

    async def called(self, streams: Streams, way: Way = DIRECT) -> None:
        """Someone has connected, who may be anyone."""
        wire = Wire(*streams, Traffic() if way.via else self.traffic)
        self._strangers += 1
        try:
            caller = await self.shake(
                handshake.challenge(wire, self._credentials.identity is not None), wire, STRANGER
            )
            asked = caller.request.kind if caller is not None and not way.via else None
            relayed = asked in (Kind.OFFER, Kind.MEET)
            member = None
            if caller is not None and not relayed:
                answered = handshake.answer(wire, self._credentials, caller)
                member = await self.shake(answered, wire, STRANGER)
        finally:
            self._strangers -= 1
        if member is not None and member.lane:
            await self._add_lane(member, wire)
        elif member is not None:
            await self.serve(Peer(member, wire, member.site, member.link, way))
        elif caller is not None and relayed:
            await self.shake(self._relay.serve(streams, wire, caller), wire, STRANGER)
            wire.close()

    async def met(self, streams: Streams, relay: str) -> None:
        """A relay has paired this site with another, which waits there to be greeted."""
        await self._greet(streams, "someone at a relay", relay)

    async def _greet(self, streams: Streams, who: str, relay: str = "", address: str = "") -> bool:
        wire, link = Wire(*streams, self.traffic), secrets.token_hex(8)
        member = await self.shake(handshake.greet(wire, self.credentials(link)), wire, who)
        if member is not None:
            if relay:
                way = f"{member.site} is met through the relay at {relay}"
                self.tell(f"way to {member.site}", way)
            peer = Peer(member, wire, self.me.site, link)
            if address:
                self.spawn(self._wider.widen(peer, address))
            await self.serve(peer)
        return member is not None

    def credentials(self, link: str, lane: int = 0) -> Credentials:
        return replace(self._credentials, me=replace(self.me, link=link, lane=lane))

    async def _keep_dialling(self, site: str) -> None:
        pause = BACKOFF_S[0]
        while True:
            lasting = pause >= PATIENT * BACKOFF_S[0]
            here = site in self.peers and not self.around.tried_again(site)
            if here or await self._dial(site, self._addresses[site], lasting):
                pause = BACKOFF_S[0]
            else:
                pause = min(2 * pause, BACKOFF_S[1])
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))

    async def _dial(self, site: str, address: str, lasting: bool) -> bool:
        try:
            streams = await dial(address, self._proxy)
        except OSError as error:
            if lasting:
                self._cut_off = True
                self._find_relays()
                self.tell(site, f"{site} at {address} is not reachable yet: {error}")
            return False
        return await self._greet(streams, site, address=address)

    async def shake(self, shake: Awaitable[T], wire: Wire, who: str) -> T | None:
        try:
            return await shake
        except DeniedError as error:
            self.tell(who, str(error))
        except FrameError as error:
            self.tell(who, f"{who} refused: {error}")
        except (OSError, EOFError, TimeoutError):
            pass
        wire.abort()
        return None

    def _admit(self, member: Member) -> str:
        if member.site == self.me.site:
            return f"run {member.run} of {member.site} met run {self.me.run} of the same site"
        newest = self._newest.get(member.site, member.run)
        if not supersedes(member.run, newest):
            return f"run {member.run} of {member.site} is stale: {newest} is the newest"
        return unlike(member, self.me)

    def connected(self) -> list[str]:
        """The sites that are connected now."""
        return list(self.peers)

    def dialled(self) -> list[str]:
        """The sites of which an address is known."""
        return list(self._addresses)

    def tell(self, who: str, text: str) -> None:
        """An event, unless the last one about the same was alike."""
        if self._told.get(who) != text:
            self._told[who] = text
            self._listener.event(text)

    # -- connected --------------------------------------------------------------------------

    def _find_relays(self) -> None:
        """Where sites cannot be reached those that can be are asked to relay."""
        if self._cut_off and self._meeting is not None:
            for site in self.around.direct().keys() & self._addresses.keys():
                self._meeting.at(self._addresses[site])

    async def serve(self, peer: Peer) -> None:
        member = peer.member
        old = self.peers.get(member.site)
        if not peer.takes_over(old, self.me.site):
            peer.wire.close()
            return
        self.peers[member.site] = peer
        self._newest[member.site] = member.run
        self.spawn(self._pump(peer))
        self._told.pop(member.site, None)
        if old is not None:
            self.around.close(old, peer)
        self.around.used(peer, old)
        if old is None or old.member.run != member.run:
            if old is not None:
                self._listener.left(old.member, False)
            self._listener.event(f"{member.site} joined ({member.run})")
        self._listener.joined(member)
        if member.listen:
            self.learn(member.site, member.listen)
        self._find_relays()
        await self._read(peer)

    # -- further connections for data -------------------------------------------------------

    async def _add_lane(self, member: Member, wire: Wire) -> None:
        peer = self.peers.get(member.site)
        if peer is None or peer.link != member.link or len(peer.wire.lanes) >= LANES:
            wire.abort()
            return
        peer.wire.add(wire)
        await self.serve_lane(peer, wire)

    async def serve_lane(self, peer: Peer, lane: Wire) -> None:
        self.spawn(self._pump(peer, lane))
        await self._read(peer, lane)

    # -- messages ---------------------------------------------------------------------------

    async def _read(self, peer: Peer, lane: Wire | None = None) -> None:
        wire = peer.wire
        try:
            while True:
                found = [await wire.receive()] if lane is None else await wire.receive_on(lane)
                for message in found:
                    if message.kind is Kind.LEAVE and not self._left(peer):
                        return
                    self._take(peer, message)
        except (OSError, EOFError) as error:
            self.drop(peer, "connection lost" if isinstance(error, EOFError) else str(error))
        except (FrameError, ValueError, KeyError, TypeError) as error:
            self.drop(peer, f"it sent what is not of the protocol: {error}")

    def _take(self, peer: Peer, message: Message) -> None:
        if message.kind is Kind.VIA:
            self.around.take(peer, message)
        elif self.peers.get(peer.member.site) is peer:
            self._listener.received(peer.member.site, message)

    def _left(self, peer: Peer) -> bool:
        """It leaves on purpose; whether the connection is still needed for others."""
        stays = self.around.stays(peer)
        self._forget(peer, "finished", on_purpose=True)
        if not stays:
            peer.wire.abort()
            self.around.lost(peer)
        return stays

    def drop(self, peer: Peer, reason: str) -> None:
        """The connection is of no use any more."""
        peer.wire.abort()
        self._forget(peer, reason)
        self.around.lost(peer)

    def _forget(self, peer: Peer, reason: str, on_purpose: bool = False) -> None:
        if self.peers.get(peer.member.site) is peer:
            del self.peers[peer.member.site]
            self.around.routes.forget(peer.member.site)
            if not self._leaving:
                self._listener.event(f"{peer.member.site} left: {reason}")
            self._listener.left(peer.member, on_purpose)

    async def _watch(self) -> None:
        """Give up connections that have been silent: a cut link sends no reset."""
        while True:
            await asyncio.sleep(0.5)
            now = asyncio.get_running_loop().time()
            for peer in [*self.peers.values(), *self.around.staying()]:
                if now - peer.wire.heard > SILENCE_S:
                    self.drop(peer, f"silent for {SILENCE_S:g} s")
            if not self._leaving:
                self.around.look(now)
