"""One connection: frames over asyncio streams, tagged after the handshake, counted in bytes."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass, field

from skep.train.frames import (
    CHUNK,
    HANDSHAKE_LIMIT,
    HEAD,
    Assembler,
    FrameError,
    Message,
    pack_message,
    parse_head,
)

TAG = 16  # bytes of keyed blake2b behind each frame after the handshake
QUEUE_LIMIT = 64  # messages that may wait for a slow peer before the connection is given up


@dataclass(slots=True)
class Traffic:
    """Bytes that really went over sockets, of all connections of this process."""

    sent: int = 0
    received: int = 0


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
    """Reads and writes messages. Before ``seal`` only small ones, for the handshake."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic
    ) -> None:
        self._reader, self._writer, self._traffic = reader, writer, traffic
        self._out: _Seal | None = None
        self._in: _Seal | None = None
        self._frame_limit = HANDSHAKE_LIMIT
        self._assembler = Assembler(HANDSHAKE_LIMIT)
        self._waiting = 0
        self._lock = asyncio.Lock()
        self.heard = asyncio.get_running_loop().time()

    def seal(self, send_key: bytes, receive_key: bytes, limit: int) -> None:
        """From here on every frame carries a tag, and messages may have ``limit`` bytes."""
        self._out, self._in = _Seal(send_key), _Seal(receive_key)
        self._frame_limit, self._assembler = CHUNK, Assembler(limit)

    async def send(self, message: Message) -> None:
        """Write a message. Raises ``ConnectionError`` when the peer does not take it."""
        if self._waiting >= QUEUE_LIMIT:
            raise ConnectionError("too slow: its messages pile up")
        self._waiting += 1
        try:
            async with self._lock:
                for frame in pack_message(message):
                    await self._write(frame)
        finally:
            self._waiting -= 1

    async def _write(self, frame: bytes) -> None:
        data = frame + self._out.tag(frame) if self._out else frame
        self._writer.write(data)
        self._traffic.sent += len(data)
        await self._writer.drain()

    async def receive(self) -> Message:
        """The next message. Raises ``FrameError``, ``ConnectionError`` or ``EOFError``."""
        while True:
            head_bytes = await self._read(HEAD.size)
            head = parse_head(head_bytes, self._frame_limit)
            body = await self._read(head.length)
            if self._in is not None:
                tag = await self._read(TAG)
                if not hmac.compare_digest(self._in.tag(head_bytes + body), tag):
                    raise FrameError("a frame that the peer did not write")
            message = self._assembler.feed(head, body)
            if message is not None:
                return message

    async def _read(self, count: int) -> bytes:
        data = await self._reader.readexactly(count)
        self._traffic.received += len(data)
        self.heard = asyncio.get_running_loop().time()
        return data

    async def close_flushed(self) -> None:
        """Close when all that was queued before is with the operating system."""
        async with self._lock:
            self._writer.close()
        await self._writer.wait_closed()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Close at once, without flushing."""
        self._writer.transport.abort()
