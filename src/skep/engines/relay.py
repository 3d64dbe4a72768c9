"""Moves bytes from one connection to another over a line: in order, late, and no faster."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from skep.engines.line import Line

_CHUNK = 16 * 1024


@dataclass(slots=True)
class _Pipe:
    """Bytes under way, each with the time of its arrival; b"" is the end."""

    room: int
    under_way: deque[tuple[float, bytes]] = field(default_factory=deque)
    size: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, arrival: float, data: bytes) -> None:
        while self.size > self.room:
            self.changed.clear()
            await self.changed.wait()
        self.under_way.append((arrival, data))
        self.size += len(data)
        self.changed.set()

    async def get(self) -> tuple[float, bytes]:
        while not self.under_way:
            self.changed.clear()
            await self.changed.wait()
        return self.under_way[0]

    def taken(self) -> None:
        self.size -= len(self.under_way.popleft()[1])
        self.changed.set()


async def relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line | None
) -> None:
    """Until the sender has closed and all has arrived; without a line as fast as it goes."""
    line = line or Line(float("inf"), 0.0)
    pipe = _Pipe(line.in_flight if line.bandwidth < float("inf") else _CHUNK)
    async with asyncio.TaskGroup() as ends:
        ends.create_task(_enter(reader, line, pipe))
        ends.create_task(_leave(writer, pipe))


async def _enter(reader: asyncio.StreamReader, line: Line, pipe: _Pipe) -> None:
    now = asyncio.get_running_loop().time
    while True:
        data = await reader.read(_CHUNK)
        await pipe.put(line.send(len(data), now()), data)
        if not data:
            return
        if (pause := line.hold_back(now())) > 0:
            await asyncio.sleep(pause)


async def _leave(writer: asyncio.StreamWriter, pipe: _Pipe) -> None:
    now = asyncio.get_running_loop().time
    while True:
        arrival, data = await pipe.get()
        if (early := arrival - now()) > 0:
            await asyncio.sleep(early)
        pipe.taken()
        if not data:
            writer.write_eof()
            return
        writer.write(data)
        await writer.drain()
