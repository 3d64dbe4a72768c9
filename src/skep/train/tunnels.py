"""Connections between two sites by way of a third, inside the connections that both have with it.

What goes through is a byte stream like that of a socket: the two ends make their own handshake and
their own TLS in it, as they do through a relay. Pieces of it are VIA messages, which name origin
and destination. They are passed on once: by the site that has them from their origin, to the
destination itself. Data waits behind that site's own and is paced with it; calls and beats go ahead
of data there as well, as they have a stream of their own (the connection itself, and one lane for
data). What waits is bounded: where it would be more the connection is ended at both ends, as if a
socket had been closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from skep.train.dial import Streams
from skep.train.frames import CHUNK, Kind, Message
from skep.train.relay import LOOK_S, QUIET_BYTES, QUIET_S
from skep.train.wire import Wire

PIECE = CHUNK - 4096  # bytes of the stream in one message, whose header is shorter than the rest
EARLY = 1 << 13  # bytes, the handshake among them, for which a lane does not wait behind data
HELD = 1 << 16  # bytes that an end may hand over before the first have left
CARRIED, CARRIED_S = 1 << 22, 2.0  # bytes, and seconds of the link's rate, that wait for one site
ENDS = 1024  # at this site


class Name(NamedTuple):
    """A connection at one of its ends: with whom, which, and the lane (0: calls and beats)."""

    site: str
    link: str
    lane: int


class Host(Protocol):
    """What the tunnels need of the mesh."""

    def carrier(self, site: str) -> Wire | None: ...
    def arrived(self, streams: Streams, via: str, why: str) -> None: ...
    def tell(self, who: str, text: str) -> None: ...


class End(asyncio.Transport):
    """This site's end of a connection: what asyncio's streams need below them."""

    def __init__(
        self,
        via: str,
        send: Callable[[bytes, bool, Callable[[], None]], None],
        over: Callable[[], None],
    ) -> None:
        """``send`` a piece, its data among data or not, calling back when it has left; ``over``:
        closed here."""
        super().__init__()
        self.via, self._send, self._over = via, send, over
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(loop=loop)
        self._protocol = asyncio.StreamReaderProtocol(self._reader, loop=loop)
        self._protocol.connection_made(self)
        self._held, self._paused, self._closed = 0, False, False
        self._written = 0
        self.streams: Streams = (
            self._reader,
            asyncio.StreamWriter(self, self._protocol, self._reader, loop),
        )

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raises ``ConnectionError`` when too much waits."""
        if self._closed:
            return
        for start in range(0, len(data), PIECE):
            piece = bytes(data[start : start + PIECE])
            self._held += len(piece)
            self._send(piece, self._written >= EARLY, partial(self._gone, len(piece)))
            self._written += len(piece)
        if self._held > HELD and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def _gone(self, count: int) -> None:
        self._held -= count
        if self._paused and self._held <= HELD:
            self._paused = False
            self._protocol.resume_writing()

    def feed(self, data: bytes) -> None:
        """A piece has come."""
        if not self._closed:
            self._reader.feed_data(data)

    def ended(self) -> None:
        """The connection is gone: reading meets its end, writing fails."""
        if not self._closed:
            self._closed = True
            self._protocol.connection_lost(None)

    def close(self) -> None:
        if not self._closed:
            self._over()
            self.ended()

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closed


class Tunnels:
    """The ends of this site, and what it passes on for others."""

    def __init__(self, me: str, host: Host) -> None:
        self._me, self._host = me, host
        self._ends: dict[Name, End] = {}
        self._passing: set[tuple[frozenset[str], str, int]] = set()
        self.passed = 0  # bytes passed on for others so far

    def open(self, via: str, name: Name, why: str) -> Streams:
        """Streams to ``name.site``. Raises ``ConnectionError`` where ``via`` is not connected."""
        if self._host.carrier(via) is None:
            raise ConnectionError(f"{via} is not connected any more")
        end = self._made(via, name)
        self._say(via, name, Message(Kind.VIA, {"why": why}))
        return end.streams

    def uses(self, site: str) -> bool:
        """Whether the connection with ``site`` carries any of another, which ends here or there."""
        here = any(end.via == site for end in self._ends.values())
        return here or any(site in pair for pair, _, _ in self._passing)

    def take(self, sender: str, message: Message) -> None:
        """A piece has come from ``sender``.

        Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what may not come from it.
        """
        f = message.fields
        origin, to = str(f["from"]), str(f["to"])
        link, lane = str(f["link"]), int(f["lane"])
        if to == self._me and origin != sender:
            self._arrive(sender, Name(origin, link, lane), message)
        elif origin == sender and to != self._me:
            self._pass_on(origin, Name(to, link, lane), message)
        else:
            raise ValueError(f"a piece from {origin} to {to} by way of {sender} and {self._me}")

    def lost(self, site: str) -> None:
        """There is no connection with ``site`` any more: what went through it ends."""
        for name, end in list(self._ends.items()):
            if end.via == site:
                del self._ends[name]
                end.ended()
        for pair, link, lane in list(self._passing):
            if site in pair:
                self._passing.discard((pair, link, lane))
                (other,) = pair - {site}
                self._tell_end(site, Name(other, link, lane))

    async def drain(self, seconds: float) -> None:
        """Wait until nothing but beats is passed on any more, for so long at most."""
        quiet = 0.0
        while self._passing and seconds > 0 and quiet < QUIET_S:
            before = self.passed
            await asyncio.sleep(LOOK_S)
            calm = self.passed - before <= QUIET_BYTES * LOOK_S * len(self._passing)
            quiet, seconds = (quiet + LOOK_S if calm else 0.0), seconds - LOOK_S

    # -- at an end --------------------------------------------------------------------------

    def _made(self, via: str, name: Name) -> End:
        def send(piece: bytes, late: bool, gone: Callable[[], None]) -> None:
            data = {"data": True} if late and name.lane else {}
            self._say(via, name, Message(Kind.VIA, data, piece), gone)

        def over() -> None:
            if self._ends.get(name) is end:
                del self._ends[name]
                self._tell_end(self._me, name, via)

        end = self._ends[name] = End(via, send, over)
        return end

    def _say(
        self, via: str, name: Name, message: Message, gone: Callable[[], None] = lambda: None
    ) -> None:
        wire = self._host.carrier(via)
        if wire is not None:  # else it has just gone, and ends this as well
            self._put(wire, self._addressed(message, self._me, name), gone)

    def _arrive(self, via: str, name: Name, message: Message) -> None:
        end, ends = self._ends.get(name), bool(message.fields.get("end"))
        if end is None and "why" in message.fields and not ends and len(self._ends) < ENDS:
            end = self._made(via, name)
            self._host.arrived(end.streams, via, str(message.fields["why"])[:200])
        if end is None or end.via != via:
            if not ends:
                self._tell_end(self._me, name, via)
        elif ends:
            del self._ends[name]
            end.ended()
        elif message.payload:
            end.feed(message.payload)

    # -- between ----------------------------------------------------------------------------

    def _pass_on(self, origin: str, name: Name, message: Message) -> None:
        wire, key = self._host.carrier(name.site), (frozenset((origin, name.site)), *name[1:])
        if message.fields.get("end"):
            self._passing.discard(key)
            self._tell_end(origin, name)
        elif wire is None or wire.crowded or wire.carried > room(wire):
            self._passing.discard(key)
            self._tell_end(origin, name)
            self._tell_end(name.site, Name(origin, *name[1:]))
        else:
            self._passing.add(key)
            self.passed += len(message.payload)
            if "why" in message.fields and name.lane == 0:
                text = f"passes on between {origin} and {name.site}: {message.fields['why']}"
                self._host.tell(f"between {origin} and {name.site}", text[:400])
            self._put(wire, message, lambda: None)

    def _tell_end(self, origin: str, name: Name, via: str = "") -> None:
        """Say to ``name.site``, or to the site between, that ``origin``'s end is closed."""
        wire = self._host.carrier(via or name.site)
        if wire is not None and not wire.crowded:
            wire.put(self._addressed(Message(Kind.VIA, {"end": True}), origin, name))

    def _addressed(self, message: Message, origin: str, name: Name) -> Message:
        fields = {"from": origin, "to": name.site, "link": name.link, "lane": name.lane}
        return Message(Kind.VIA, message.fields | fields, message.payload)

    def _put(self, wire: Wire, message: Message, gone: Callable[[], None]) -> None:
        if message.fields.get("data"):  # what was sent before as control is ahead of it
            wire.carry(message, gone)
        else:
            wire.put(message)
            gone()


def room(wire: Wire) -> float:
    """Bytes of others that may wait for ``wire``: more than honest ends have on their way."""
    return CARRIED + CARRIED_S * (wire.window.rate or 0.0)
