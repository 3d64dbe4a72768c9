"""What a slow link carries, and what a way around it by a third site does in its place.

    python benchmarks/around.py [--slow 0.5] [--fast 20] [--seconds 15] [--json FILE]

Three meshes of the training library in one process, with TLS, joined through forwarders that hold
each direction to a rate (Mbit/s): a to b is slow, a to c and c to b are fast. Every site sends to
both others without end. First what a delivers to b over the direct link, and c to b; then, once
``routes`` has found by itself that the way by c is faster, the same again. ``beat``: the longest
that a small message from a to b was on its way; ``found after``: seconds from the start.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

from skep.engines import ports
from skep.train.frames import Kind, Message
from skep.train.member import Member
from skep.train.mesh import Mesh
from skep.train.tls import identity

PIECE, PAYLOAD, AHEAD = 1 << 12, bytes(1 << 17), 4
PATIENCE_S = 90.0


class Site:
    """One mesh, whose peers are told what it sees and sent data without end."""

    def __init__(self, name: str) -> None:
        self.name, self.got = name, Counter[str]()
        self.late = Counter[str]()  # the longest that a beat of each was on its way (s)
        self.told: list[str] = []
        self.mesh = Mesh(
            Member(name, 0, f"j-a1-{name}", "x"), b"of the benchmark", "", 1 << 20, self
        )
        self.mesh.encrypt(identity())

    def joined(self, member: Member) -> None: ...
    def left(self, member: Member, on_purpose: bool) -> None: ...

    def event(self, text: str) -> None:
        self.told.append(text)

    def received(self, site: str, message: Message) -> None:
        if message.kind is Kind.BEAT:
            self.mesh.around.routes.hear(site, message.fields["sees"])
            self.late[site] = max(self.late[site], time.monotonic() - message.fields["at"])
        self.got[site] += len(message.payload)

    async def speak(self) -> None:
        """Beats twice a second, and always some data waiting."""
        beaten = 0.0
        while True:
            now, peers = time.monotonic(), self.mesh.peers
            for site, peer in list(peers.items()):
                for _ in range(AHEAD - len(peer.wire._data)):
                    self.mesh.send(site, Message(Kind.PART, {}, PAYLOAD))
                if now - beaten >= 0.5:
                    sees = self.mesh.around.direct()
                    self.mesh.send(site, Message(Kind.BEAT, {"sees": sees, "at": now}))
            beaten = now if now - beaten >= 0.5 else beaten
            await asyncio.sleep(0.01)


async def forwarder(to: int, mbit: float) -> str:
    """The address of one that holds connections to a port to a rate, each way."""

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        due = time.monotonic()
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
            due = max(due, time.monotonic()) + len(data) / (125_000 * mbit)
            await asyncio.sleep(due - time.monotonic())
        writer.close()

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = await asyncio.open_connection("127.0.0.1", to, limit=PIECE)
        for end in (writer, far[1]):
            end.transport.set_write_buffer_limits(PIECE)
        ways = (held(reader, far[1]), held(far[0], writer))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*ways, return_exceptions=True)

    listening = socket.create_server(("127.0.0.1", 0))
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        listening.setsockopt(socket.SOL_SOCKET, option, 1 << 14)
    server = await asyncio.start_server(joined, sock=listening, limit=PIECE)
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def port() -> int:
    with ports.reserve("127.0.0.1") as taken:
        return ports.port(taken)


async def delivered(sites: dict[str, Site], seconds: float) -> dict[str, Any]:
    """Mbit/s to b, and the longest that a beat of a was on its way to it (ms)."""
    b = sites["b"]
    before, began = dict(b.got), time.monotonic()
    b.late.clear()
    await asyncio.sleep(seconds)
    span = time.monotonic() - began
    rates = {name: 8e-6 * (b.got[name] - before.get(name, 0)) / span for name in "ac"}
    return rates | {"beat_ms": 1e3 * b.late["a"]}


async def measure(slow: float, fast: float, seconds: float) -> dict[str, Any]:
    """Both states, and when the way around was found."""
    sites = {name: Site(name) for name in "abc"}
    a, b, c = sites.values()
    at_b, at_c = port(), port()
    await b.mesh.start(f"127.0.0.1:{at_b}", {})
    await c.mesh.start(f"127.0.0.1:{at_c}", {"b": await forwarder(at_b, fast)})
    to = {"b": await forwarder(at_b, slow), "c": await forwarder(at_c, fast)}
    await a.mesh.start("", to)
    began = time.monotonic()
    speaking = [asyncio.ensure_future(site.speak()) for site in sites.values()]
    await asyncio.sleep(3.0)
    straight = await delivered(sites, seconds)
    while not a.mesh.around.ways() and time.monotonic() - began < PATIENCE_S:
        await asyncio.sleep(0.1)
    found = time.monotonic() - began
    await asyncio.sleep(5.0)
    around = await delivered(sites, seconds)
    for task in speaking:
        task.cancel()
    told = [text for text in a.told if "by way of" in text]
    return {"straight": straight, "around": around, "found_s": found, "told": told}


def main() -> None:
    """Print both states."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slow", type=float, default=0.5)
    parser.add_argument("--fast", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--json")
    options = parser.parse_args()
    found = asyncio.run(measure(options.slow, options.fast, options.seconds))
    print(f"{'way':<10} {'a to b, Mbit/s':>15} {'c to b, Mbit/s':>15} {'beat, ms':>9}")
    for name in ("straight", "around"):
        row = found[name]
        print(f"{name:<10} {row['a']:>15.2f} {row['c']:>15.2f} {row['beat_ms']:>9.0f}")
    print(f"found after {found['found_s']:.0f} s: {'; '.join(found['told'])}")
    if options.json:
        figures = {
            "around_mbit": found["around"]["a"],
            "around_straight_mbit": found["straight"]["a"],
            "around_found_s": found["found_s"],
        }
        Path(options.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
