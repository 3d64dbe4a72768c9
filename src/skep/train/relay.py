"""Lets sites meet of which neither can be dialled: ``python -m skep.train.relay --listen H:P``.

A site that can be met parks a connection here (OFFER) and hears which others have (BEAT). Whoever
wants to meet it connects as well (MEET); both are told GO, and from then on bytes are passed on as
they come: the two ends make their own handshake and their own TLS through them. The relay holds a
key that follows from the job's token (``member.relay_key``), not the token: it can neither read
nor forge. Each site that can be dialled is also a relay, for its own job.

Nothing is stored but what is in flight: a slow reader slows the writer, as over one connection.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skep.errors import DeniedError, InputError, SkepError
from skep.runenv import parse_address, relay_key
from skep.train.channel import Traffic
from skep.train.dial import Streams
from skep.train.frames import FrameError, Kind, Message
from skep.train.handshake import RELAY, Caller, challenge, refuse, text_of
from skep.train.member import pass_for, room_of, same
from skep.train.wire import Wire

BEAT_S = 2.0  # between two words to a parked connection
LINGER_S = 20.0  # that one direction may go on after the other has ended
QUIET_S = 2.0  # with so little passed on that the ends have nothing to finish
QUIET_BYTES = 4096  # a second and pair: their beats
LOOK_S = 0.5
STRANGERS = 64  # connections that may not have shown a key yet
_PIECE = 1 << 16


@dataclass(slots=True, eq=False)
class Offer:
    """A parked connection of a site; ``over`` once it has been used or is of no use."""

    site: str
    listens: bool  # it says that it can be dialled as well
    wire: Wire
    streams: Streams
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    taken: bool = False
    waiting: list[asyncio.Future[None]] = field(default_factory=list)  # as long as it is parked
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_no_more(self) -> None:
        """Nobody else reads or writes the connection after this."""
        for task in self.waiting:
            task.cancel()
        await asyncio.gather(*self.waiting, return_exceptions=True)


class Relay:
    """Pairs connections of the jobs whose keys it holds."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys: dict[str, str] = {}
        self._rooms: dict[str, dict[str, Offer]] = {}
        self.allow(keys)
        self._busy: set[asyncio.Task[None]] = set()  # that pass bytes on
        self.passed = 0  # bytes, so far
        self.pairs = 0  # that have met, so far

    def allow(self, keys: Iterable[str]) -> None:
        """From now on these keys are known and no others; what is under way goes on."""
        self._keys = {room_of(key): key for key in keys}

    async def serve(self, streams: Streams, wire: Wire, caller: Caller) -> None:
        """An OFFER or MEET, to its end. Raises ``DeniedError``, ``FrameError``, ``OSError``."""
        request = caller.request
        room, site = text_of(request, "room"), text_of(request, "site")
        to = text_of(request, "to") if request.kind is Kind.MEET else ""
        key, rail = self._keys.get(room), request.fields.get("rail")
        if type(rail) is not int:
            raise FrameError(f"{request.kind.name} without rail")
        shown = pass_for(key or "", request.kind.name, caller.nonce, site, to, rail)
        if key is None or not same(shown, request.fields.get("proof")):
            raise await refuse(wire, "this relay does not serve a job with that token")
        room = f"{room}/{rail}"  # ranks meet those of their own rail only
        self._rooms.setdefault(room, {})
        if request.kind is Kind.MEET:
            await self._meet(room, to, streams, wire)
        else:
            listens = request.fields.get("listens") is True
            await self._park(room, Offer(site, listens, wire, streams))

    async def drain(self, seconds: float) -> None:
        """Wait until nothing but beats is passed on any more, for so long at most; then end all."""
        for offers in self._rooms.values():
            for offer in list(offers.values()):
                self._end(offer)
        quiet = 0.0
        while self._busy and seconds > 0 and quiet < QUIET_S:
            before, count = self.passed, len(self._busy)
            await asyncio.wait(set(self._busy), timeout=LOOK_S)
            calm = self.passed - before <= QUIET_BYTES * LOOK_S * count
            quiet, seconds = (quiet + LOOK_S if calm else 0.0), seconds - LOOK_S
        left = set(self._busy)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _count(self, count: int) -> None:
        self.passed += count

    def _end(self, offer: Offer) -> None:
        offer.over.set()
        offer.wire.abort()

    async def _park(self, room: str, offer: Offer) -> None:
        offers = self._rooms[room]
        before = offers.get(offer.site)
        if before is not None:
            self._end(before)
        offers[offer.site] = offer
        for other in offers.values():
            other.wake.set()
        offer.waiting = [
            asyncio.ensure_future(self._beat(room, offer)),
            asyncio.ensure_future(self._watch(offer)),
        ]
        try:
            await offer.over.wait()
        finally:
            await offer.wait_no_more()
            self._forget(room, offer)

    def _forget(self, room: str, offer: Offer) -> None:
        if self._rooms[room].get(offer.site) is offer:
            del self._rooms[room][offer.site]

    async def _beat(self, room: str, offer: Offer) -> None:
        while not offer.taken:
            here = {site: other.listens for site, other in self._rooms[room].items()}
            try:
                await offer.wire.send(Message(Kind.BEAT, {"sites": here}))
            except OSError:
                self._end(offer)
                return
            offer.wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await offer.wake.wait()

    async def _watch(self, offer: Offer) -> None:
        """A parked site says nothing: whatever comes means that it is gone."""
        with contextlib.suppress(OSError):
            await offer.streams[0].read(1)
        if not offer.taken:
            self._end(offer)

    async def _meet(self, room: str, to: str, streams: Streams, wire: Wire) -> None:
        offer = self._rooms[room].get(to)
        if offer is None:
            raise await refuse(wire, f"{to} is not here at the moment")
        offer.taken = True
        self.pairs += 1
        self._forget(room, offer)
        task = asyncio.ensure_future(self._pass_on(offer, streams, wire))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        await asyncio.wait([task])

    async def _pass_on(self, offer: Offer, streams: Streams, wire: Wire) -> None:
        await offer.wait_no_more()
        try:
            await offer.wire.send(Message(Kind.GO))
            await wire.send(Message(Kind.GO))
            await splice(offer.streams, streams, self._count)
        except OSError:
            pass  # one of the two is gone: both are closed
        finally:
            wire.abort()
            self._end(offer)


async def splice(one: Streams, other: Streams, count: Callable[[int], None]) -> None:
    """Pass bytes on both ways, counting, until both ends have closed or one broke off."""
    ways = [
        asyncio.ensure_future(_pass(one[0], other[1], count)),
        asyncio.ensure_future(_pass(other[0], one[1], count)),
    ]
    try:
        done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if left and all(way.exception() is None for way in done):
            await asyncio.wait(left, timeout=LINGER_S)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]
) -> None:
    while data := await reader.read(_PIECE):
        count(len(data))
        writer.write(data)
        await writer.drain()
    writer.write_eof()


class Server:
    """A relay of its own, without a site. Its keys are those in a file, also when that changes."""

    def __init__(self, keys: Path) -> None:
        self.relay = Relay(read_keys(keys))
        self._path, self._changed = keys, keys.stat().st_mtime_ns
        self._strangers = 0
        self._server: asyncio.Server | None = None

    async def open(self, listen: str) -> None:
        """Raises ``OSError`` when the address cannot be listened on."""
        self._server = await asyncio.start_server(self._accept, *parse_address(listen))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.relay.drain(0.0)

    async def _accept(self, *streams: *Streams) -> None:
        wire = Wire(*streams, Traffic())
        try:
            caller = await self._challenge(wire)
            self._look_again()
            await self.relay.serve(streams, wire, caller)
        except (DeniedError, FrameError, OSError, EOFError, TimeoutError):
            pass  # it was told why, or is gone
        finally:
            wire.close()

    def _look_again(self) -> None:
        with contextlib.suppress(OSError, InputError):  # half written: the next caller looks again
            changed = self._path.stat().st_mtime_ns
            if changed != self._changed:
                self.relay.allow(read_keys(self._path))
                self._changed = changed

    async def _challenge(self, wire: Wire) -> Caller:
        if self._strangers >= STRANGERS:
            raise DeniedError("too many at once")
        self._strangers += 1
        try:
            caller = await challenge(wire, tls=None)
        finally:
            self._strangers -= 1
        if caller.request.kind not in (Kind.OFFER, Kind.MEET):
            raise await refuse(wire, RELAY)
        return caller


async def run(listen: str, keys: Path) -> None:
    """Relay until SIGTERM or SIGINT. Raises ``InputError``."""
    server, ending = Server(keys), asyncio.Event()
    try:
        await server.open(listen)
    except (OSError, ValueError) as error:
        allowed = f"allowed: host:port that can be listened on ({error})"
        raise InputError("--listen", listen, allowed) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    await ending.wait()
    await server.close()
    relay = server.relay
    sys.stderr.write(f"relayed {relay.passed} bytes between {relay.pairs} pairs\n")


def read_keys(path: Path) -> list[str]:
    """The keys of a file, one a line. Raises ``InputError``."""
    try:
        keys = path.read_text().split()
    except (OSError, ValueError) as error:
        raise InputError("--keys", str(path), f"allowed: a readable file ({error})") from error
    if any(len(key) != 64 or not set(key) <= set("0123456789abcdef") for key in keys):
        allowed = "allowed: keys of 64 hex digits, one a line, as --key-of prints them"
        raise InputError("--keys", str(path), allowed)
    return keys


def key_of(path: Path) -> str:
    """The key for the job whose token is in a file. Raises ``InputError``."""
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise InputError("--key-of", str(path), f"allowed: a token file ({error})") from error
    if len(token) < 8:
        raise InputError("--key-of", str(path), "allowed: a file with a token of 8 bytes or more")
    return relay_key(token)


def main(given: Sequence[str] | None = None) -> int:
    """The command; exit codes as in ``skep.errors``."""
    parser = argparse.ArgumentParser(prog="python -m skep.train.relay", description="A relay.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--listen", help="host:port where sites connect")
    what.add_argument("--key-of", type=Path, help="print the key for the job with this token file")
    parser.add_argument("--keys", type=Path, help="file with the keys of the jobs to serve")
    options = parser.parse_args(sys.argv[1:] if given is None else given)
    try:
        if options.key_of is not None:
            sys.stdout.write(f"{key_of(options.key_of)}\n")
        else:
            if options.keys is None:
                raise InputError("--keys", "", "allowed: a file with the keys of jobs")
            asyncio.run(run(options.listen, options.keys))
    except SkepError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
