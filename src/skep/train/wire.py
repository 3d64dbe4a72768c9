"""One connection: messages in frames, in TLS or tagged after the handshake.

Data may have further connections to the same peer (*lanes*), which then carry nothing else: on a
long way one connection gets only as far as its window and the losses on the way allow.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from skep.train.channel import Channel, Traffic
from skep.train.frames import (
    CHUNK,
    HANDSHAKE_LIMIT,
    HEAD,
    PLACE,
    Assembler,
    FrameError,
    Head,
    Kind,
    Message,
    Sorter,
    body_of,
    check_body,
    pack_message,
    parse_head,
    parse_message,
)
from skep.train.outgoing import Outgoing
from skep.train.window import Window

TAG = 16  # bytes of keyed blake2b behind each frame after a handshake without TLS
CONTROL_LIMIT = 1 << 20  # bytes of one message of the first stream
ACKNOWLEDGE = CHUNK  # bytes of data after which the sender is told
QUEUE_LIMIT = 256  # messages that may wait for a slow peer before the connection is given up


@dataclass(slots=True)
class _Seal:
    """Numbers and tags the frames of one direction, so that none is forged, dropped or repeated."""

    key: bytes
    count: int = field(default=0)

    def tag(self, frame: bytes) -> bytes:
        mac = hashlib.blake2b(self.count.to_bytes(8, "big"), key=self.key, digest_size=TAG)
        mac.update(frame)
        self.count += 1
        return mac.digest()


class Wire:
    """Reads and writes messages. Before ``open`` only small ones, for the handshake.

    After it messages are put into two queues that ``pump`` empties: what is small goes first, data
    only as far as its window is open.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic
    ) -> None:
        self._channel = Channel(reader, writer, traffic)
        self._out: _Seal | None = None
        self._in: _Seal | None = None
        self._frame_limit = HANDSHAKE_LIMIT
        self._assemblers = {False: Assembler(HANDSHAKE_LIMIT), True: Assembler(0)}
        self._control: deque[Message] = deque()
        self._data = Outgoing()
        self._wake, self._done = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sorter = Sorter()
        self.lanes: list[Wire] = []  # further connections to the same peer, for data
        self._writing = 0  # connections that are just sending data
        self._ready: deque[Message] = deque()
        self._got = self._told = 0  # bytes of data received, and acknowledged
        self.window = Window()
        self.heard = self._loop.time()

    async def secure(self, context: ssl.SSLContext, server_side: bool) -> str:
        """As ``Channel.secure``."""
        return await self._channel.secure(context, server_side)

    def seal(self, send_key: bytes, receive_key: bytes) -> None:
        """Without TLS: from here on every frame carries a tag."""
        self._out, self._in = _Seal(send_key), _Seal(receive_key)

    def open(self, limit: int) -> None:
        """The peer is known: messages of data may have ``limit`` bytes."""
        self._frame_limit = CHUNK + PLACE.size
        self._assemblers = {False: Assembler(CONTROL_LIMIT), True: Assembler(limit)}

    def add(self, lane: Wire) -> None:
        """Data goes over this connection to the same peer, and others like it, from now on."""
        self.lanes.append(lane)
        self._wake.set()

    async def send(self, message: Message) -> None:
        """Write a message of the handshake at once."""
        for frame in pack_message(message):
            await self._write(frame)

    def put(self, message: Message) -> None:
        """Queue a message. Raises ``ConnectionError`` when the peer does not take them."""
        if max(len(self._control), len(self._data)) >= QUEUE_LIMIT:
            raise ConnectionError("too slow: its messages pile up")
        if in_order(message):
            self._data.put(message)
        else:
            self._control.append(message)
        self._done.clear()
        self._wake.set()

    def carry(self, message: Message, gone: Callable[[], None]) -> None:
        """Queue a piece of a connection that goes through this one: paced, and behind what is
        put (``Outgoing``). ``gone`` is called when it leaves the queue."""
        self._data.carry(body_of(message), gone)
        self._done.clear()
        self._wake.set()

    @property
    def carried(self) -> int:
        """Bytes of ``carry`` that wait."""
        return self._data.carried

    @property
    def crowded(self) -> bool:
        """Whether so many messages wait that no others should join them."""
        return 2 * len(self._control) >= QUEUE_LIMIT

    async def pump(self) -> None:
        """Write what is queued, for ever. Raises ``OSError`` when the connection is lost."""
        while True:
            if self._control:
                for frame in pack_message(self._control.popleft()):
                    await self._write(frame)
            elif self._data and self.window.open and not self.lanes:
                await self._write_data(self)
            else:
                if not self._data and self.window.sent == self.window.acknowledged:
                    self._done.set()
                if self.window.open and not self._data:
                    self.window.rest()
                await self._sleep(None)

    async def pump_lane(self, lane: Wire) -> None:
        """Write data to ``lane``, for ever. Raises ``OSError`` when that connection is lost."""
        while True:
            if self._data and self.window.open:
                await self._write_data(lane)
                await asyncio.sleep(0)  # the lanes take turns
            else:
                if self.window.open:
                    self.window.rest()
                await self._sleep(None)

    async def _write_data(self, way: Wire) -> None:
        pause = self.window.pause(self._loop.time())
        if pause > 0:
            await self._sleep(pause)
            return
        frame = self._data.next()
        if frame is None:
            return
        self.window.put(len(frame), self._loop.time())
        self._writing += 1
        # Seen by acknowledgements only if all have to wait.
        self.window.stuck = self._writing >= max(len(self.lanes), 1)
        try:
            await way._write(frame)
        finally:
            self._writing -= 1
            self.window.stuck = False

    async def _sleep(self, seconds: float | None) -> None:
        """Until something is put or acknowledged, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _write(self, frame: bytes) -> None:
        await self._channel.write(frame + self._out.tag(frame) if self._out else frame)

    async def receive(self) -> Message:
        """The next message. Raises ``FrameError``, ``ConnectionError`` or ``EOFError``."""
        while not self._ready:
            head, body = await self._frame()
            if head.data:
                self._ready.extend(self._sorted(head, body))
                continue
            message = self._assemblers[False].feed(head, body)
            if message is not None and message.kind is Kind.GOT:
                self.window.acknowledge(int(message.fields["got"]), self._loop.time())
                self._wake.set()
            elif message is not None:
                return message
        return self._ready.popleft()

    async def receive_on(self, lane: Wire) -> list[Message]:
        """What the next frame on ``lane`` completes. Raises as ``receive``."""
        head, body = await lane._frame()
        self.heard = lane.heard
        if not head.data:
            raise FrameError(f"{head.kind.name} on a connection for data")
        return self._sorted(head, body)

    async def _frame(self) -> tuple[Head, bytes]:
        head_bytes = await self._read(HEAD.size)
        head = parse_head(head_bytes, self._frame_limit)
        body = await self._read(head.length)
        if self._in is not None:
            tag = await self._read(TAG)
            if not hmac.compare_digest(self._in.tag(head_bytes + body), tag):
                raise FrameError("a frame that the peer did not write")
        check_body(head, body)
        return head, body

    def _sorted(self, head: Head, body: bytes) -> list[Message]:
        """The messages that are complete with this frame of data."""
        self._acknowledge(HEAD.size + head.length, head.more)
        fed = (self._fed(*due) for due in self._sorter.feed(head, body))
        return [message for message in fed if message is not None]

    def _fed(self, head: Head, body: bytes) -> Message | None:
        if head.kind is Kind.VIA:  # whole in itself, between the frames of a larger message
            return parse_message(head.kind, body)
        return self._assemblers[True].feed(head, body)

    def _acknowledge(self, count: int, more: bool) -> None:
        self._got += count
        if not more or self._got - self._told >= ACKNOWLEDGE:
            self._told = self._got
            self.put(Message(Kind.GOT, {"got": self._got}))

    @property
    def receiving(self) -> bool:
        """Whether a message of data has come in part."""
        return self._assemblers[True].busy

    @property
    def sending(self) -> bool:
        """Whether data waits to be sent, or to be acknowledged."""
        return bool(self._data) or self.window.sent > self.window.acknowledged

    async def _read(self, count: int) -> bytes:
        data = await self._channel.read(count)
        self.heard = self._loop.time()
        return data

    async def close_flushed(self, patience_s: float) -> None:
        """Close when the peer has all data that was queued before, or has taken none for so long.

        Not earlier: a socket that is closed with acknowledgements unread resets the connection,
        and what was on its way is lost.
        """
        taken = -1
        while not self._done.is_set() and taken < self.window.acknowledged:
            taken = self.window.acknowledged
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._done.wait()
        if not self._done.is_set():
            self.abort()
        self._channel.close()
        await self._channel.closed()

    def close(self) -> None:
        self._channel.close()

    def abort(self) -> None:
        """Close at once, without flushing, with all lanes."""
        self._done.set()
        for lane in self.lanes:
            lane.abort()
        self._channel.abort()


_IN_ORDER = (Kind.PART, Kind.BUNDLE, Kind.RESULT, Kind.STATE, Kind.LEAVE)


def in_order(message: Message) -> bool:
    """Whether a message must not overtake those before it: payloads, news about them, the end."""
    if message.kind is Kind.BEAT:
        return bool(message.fields.get("keys"))
    return message.kind in _IN_ORDER
