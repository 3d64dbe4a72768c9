"""One end of ``benchmarks/link.py``: data between two sites, and what others on the link see.

The receiver answers probes and swallows bulk data. The sender sends for a while alone, then beside
a bulk TCP connection of somebody else, with a probe (UDP, 64 bytes) ten times a second throughout.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from skep.train import handshake
from skep.train.channel import Traffic
from skep.train.frames import Kind, Message
from skep.train.handshake import Credentials
from skep.train.member import Member
from skep.train.tls import identity
from skep.train.window import Window
from skep.train.wire import Wire

PORT, PROBE, BULK = 7001, 7002, 7003
PAYLOAD = bytes(1 << 18)
SETTLE_S = 5.0


def credentials(name: str) -> Credentials:
    member = Member(name, 0, f"run-{name}", "s")
    return Credentials(member, b"of the benchmark", identity(), 1 << 22, lambda _: "")


class Echo(asyncio.DatagramProtocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(data, addr)


class Probe(asyncio.DatagramProtocol):
    """Notes when probes come back: (time, seconds)."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def datagram_received(self, data: bytes, _: Any) -> None:
        sent = float(data.decode().strip())
        self.seen.append((time.monotonic(), time.monotonic() - sent))


async def receive(host: str) -> None:
    """Until killed."""

    async def site(*streams: Any) -> None:
        wire = Wire(*streams, Traffic())
        caller = await handshake.challenge(wire, True)
        await handshake.answer(wire, credentials("to"), caller)
        pump = asyncio.ensure_future(wire.pump())
        try:
            while True:
                await wire.receive()
        finally:
            pump.cancel()

    async def swallow(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            pass

    await asyncio.start_server(site, host, PORT)
    await asyncio.start_server(swallow, host, BULK)
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, (host, PROBE))
    await asyncio.Event().wait()


async def probing(host: str) -> Probe:
    made = await asyncio.get_running_loop().create_datagram_endpoint(
        Probe, remote_addr=(host, PROBE)
    )

    async def ask() -> None:
        while True:
            made[0].sendto(f"{time.monotonic():<64}".encode())
            await asyncio.sleep(0.1)

    made[1].task = asyncio.ensure_future(ask())  # type: ignore[attr-defined]
    return made[1]


async def connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """With the congestion control that most hosts have."""
    streams = await asyncio.open_connection(host, port)
    plain: socket.socket = streams[1].get_extra_info("socket")
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    return streams


class Bulk:
    """A TCP connection of somebody else that takes what it gets."""

    passed = 0

    async def run(self, host: str) -> None:
        writer = (await connect(host, BULK))[1]
        while True:
            writer.write(PAYLOAD[: 1 << 14])
            await writer.drain()
            self.passed += 1 << 14


async def feed(wire: Wire) -> None:
    """Always something to send."""
    while True:
        while len(wire._data) < 4:
            wire.put(Message(Kind.PART, {}, PAYLOAD))
        await asyncio.sleep(0.01)


async def send(host: str, seconds: float, paced: bool) -> dict[str, float]:
    """Bytes per second of this and of the bulk connection, probes' seconds in each phase."""
    if not paced:
        Window._paced = lambda *_: False  # type: ignore[method-assign]
    probe, bulk = await probing(host), Bulk()
    await asyncio.sleep(2.0)
    wire = Wire(*await connect(host, PORT), Traffic())
    await handshake.greet(wire, credentials("from"))
    marks = [(time.monotonic(), 0, 0)]
    tasks = [asyncio.ensure_future(work) for work in (wire.pump(), wire.receive(), feed(wire))]
    for wait in (SETTLE_S, seconds, SETTLE_S, seconds):
        await asyncio.sleep(wait)
        marks.append((time.monotonic(), wire.window.acknowledged, bulk.passed))
        if len(marks) == 3:
            tasks.append(asyncio.ensure_future(bulk.run(host)))
    for task in tasks:
        task.cancel()
    idle = [took for at, took in probe.seen if at < marks[0][0]]
    busy = [took for at, took in probe.seen if marks[1][0] <= at < marks[2][0]]
    span = marks[4][0] - marks[3][0]
    return {
        "alone": (marks[2][1] - marks[1][1]) / (marks[2][0] - marks[1][0]),
        "beside": (marks[4][1] - marks[3][1]) / span,
        "bulk": (marks[4][2] - marks[3][2]) / span,
        "probe_idle_s": statistics.median(idle),
        "probe_s": statistics.median(busy),
        "probe_p95_s": statistics.quantiles(busy, n=20)[-1],
    }


def main() -> None:
    """``receive HOST`` or ``send HOST SECONDS paced|unpaced OUT``."""
    if sys.argv[1] == "receive":
        asyncio.run(receive(sys.argv[2]))
    else:
        host, seconds, way, out = sys.argv[2:6]
        found = asyncio.run(send(host, float(seconds), way == "paced"))
        Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
