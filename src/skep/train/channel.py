"""The bytes of one connection: plain at first, in TLS from ``secure`` on, counted as they go.

``ssl`` works on memory here and not on the socket, so that the bytes counted are those that the
network carries, and so that TLS can begin in the middle of a connection at either end.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from skep.train.frames import FrameError
from skep.train.tls import fingerprint

_READ = 1 << 16


@dataclass(slots=True)
class Traffic:
    """Bytes that really went over sockets, of all connections of this process."""

    sent: int = 0
    received: int = 0


class Channel:
    """Reads and writes bytes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic
    ) -> None:
        self._reader, self._writer, self._traffic = reader, writer, traffic
        self._tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._clear = bytearray()

    async def secure(self, context: ssl.SSLContext, server_side: bool) -> str:
        """Encrypt from here on; the fingerprint of the certificate of the other end, "" if none.

        Raises ``FrameError`` when the other end does not speak TLS, ``OSError`` or ``EOFError``.
        """
        tls = context.wrap_bio(self._in, self._out, server_side=server_side)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                await self._fill()
            except ssl.SSLError as error:
                self._flush()  # the alert that says why
                raise FrameError(f"no TLS with it: {error.reason or error}") from error
        self._flush()
        self._tls = tls
        shown = tls.getpeercert(binary_form=True)
        return fingerprint(shown) if shown else ""

    async def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes. Raises ``EOFError`` at the end, ``OSError``, ``FrameError``."""
        if self._tls is None:
            data = await self._reader.readexactly(count)
            self._traffic.received += count
            return data
        while len(self._clear) < count:
            await self._decrypt(self._tls)
        data = bytes(memoryview(self._clear)[:count])
        del self._clear[:count]
        return data

    async def write(self, data: bytes) -> None:
        """Send; waits while too much is on its way. Raises ``OSError``."""
        if self._tls is None:
            self._send(data)
        else:
            view = memoryview(data)
            while view:
                view = view[self._tls.write(view) :]
            self._flush()
        await self._writer.drain()

    def close(self) -> None:
        """Close once all has been handed to the network."""
        self._writer.close()

    async def closed(self) -> None:
        await self._writer.wait_closed()

    def abort(self) -> None:
        """Close at once, without flushing."""
        self._writer.transport.abort()

    async def _decrypt(self, tls: ssl.SSLObject) -> None:
        try:
            data = tls.read(_READ)
        except ssl.SSLWantReadError:
            await self._fill()
            return
        except ssl.SSLError as error:
            raise FrameError(f"bytes that the peer did not write: {error.reason}") from error
        self._flush()  # reading may be answered, as when keys change
        if not data:
            raise asyncio.IncompleteReadError(bytes(self._clear), None)
        self._clear += data

    async def _fill(self) -> None:
        data = await self._reader.read(_READ)
        if not data:
            raise asyncio.IncompleteReadError(b"", None)
        self._traffic.received += len(data)
        self._in.write(data)

    def _flush(self) -> None:
        data = self._out.read()
        if data:
            self._send(data)

    def _send(self, data: bytes) -> None:
        self._writer.write(data)
        self._traffic.sent += len(data)
