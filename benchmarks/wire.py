"""What a connection between two sites costs: CPU per gigabyte, with and without encryption.

    python benchmarks/wire.py [--megabytes N] [--json FILE]

One process holds both ends of a TCP connection over the loopback; data goes one way in messages
of 1 MB and is acknowledged, as between sites. CPU time of the process, the kernel's work for it
included, for sending and receiving together; medians of rounds in which all ways take turns.
``TLS alone`` is the cipher over memory, without sockets and frames.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from pathlib import Path

from skep.train import handshake
from skep.train.channel import Traffic
from skep.train.frames import Kind, Message
from skep.train.handshake import Credentials
from skep.train.member import Member
from skep.train.tls import Identity, identity
from skep.train.wire import Wire

ROUNDS = 5
LIMIT = 1 << 22


def credentials(name: str, mine: Identity | None) -> Credentials:
    member = Member(name, 0, f"run-{name}", "s")
    return Credentials(member, b"of the benchmark", mine, LIMIT, lambda _: "")


async def answer(wire: Wire, mine: Identity | None) -> None:
    caller = await handshake.challenge(wire, mine is not None)
    await handshake.answer(wire, credentials("b", mine), caller)


async def transfer(mine: Identity | None, count: int) -> tuple[float, float]:
    """CPU seconds for the handshakes of both ends, and for ``count`` messages of 1 MB."""
    accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    accepted = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda *ends: accepted.set_result(ends), "127.0.0.1", 0)
    near = Wire(*await asyncio.open_connection(*server.sockets[0].getsockname()), Traffic())
    far = Wire(*await accepted, Traffic())
    began = time.process_time()
    await asyncio.gather(handshake.greet(near, credentials("a", mine)), answer(far, mine))
    shook = time.process_time()
    pumps = [asyncio.ensure_future(wire.pump()) for wire in (near, far)]
    reads = asyncio.ensure_future(near.receive())  # acknowledgements
    payload = os.urandom(1 << 20)
    for _ in range(count):
        near.put(Message(Kind.PART, {}, payload))
        await far.receive()
    ended = time.process_time()
    for task in (*pumps, reads):
        task.cancel()
    near.abort()
    far.abort()
    server.close()
    return shook - began, ended - shook


def cipher(mine: Identity, count: int) -> float:
    """CPU seconds for encrypting and decrypting ``count`` MB in memory."""
    import ssl

    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = mine.client.wrap_bio(back, there)
    far = mine.server.wrap_bio(there, back, server_side=True)
    ready = 0
    while ready < 2:
        ready = 0
        for end in (near, far):
            try:
                end.do_handshake()
                ready += 1
            except ssl.SSLWantReadError:
                continue
    payload = os.urandom(1 << 14)
    began = time.process_time()
    for _ in range(count << 6):
        near.write(payload)
        far.read(1 << 14)
    return time.process_time() - began


def main() -> None:
    """Print one row per way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--json")
    chosen = parser.parse_args()
    mine, count = identity(), chosen.megabytes
    taken: dict[str, list[float]] = {"plain, tagged": [], "TLS 1.3": [], "TLS alone": []}
    shaken: dict[str, list[float]] = {"plain, tagged": [], "TLS 1.3": []}
    for _ in range(ROUNDS):
        for name, end in (("plain, tagged", None), ("TLS 1.3", mine)):
            shook, took = asyncio.run(transfer(end, count))
            shaken[name].append(shook)
            taken[name].append(took)
        taken["TLS alone"].append(cipher(mine, count))
    figures: dict[str, float] = {}
    print(f"{'way':<14} {'both ends, GB/s':>16} {'handshake, ms CPU':>18}")
    for name, seconds in taken.items():
        rate = count * 1e-9 * (1 << 20) / statistics.median(seconds)
        shake = f"{1e3 * statistics.median(shaken[name]):>18.1f}" if name in shaken else ""
        print(f"{name:<14} {rate:>16.2f} {shake}")
        figures[f"wire_gbps_{name.split(',')[0].replace(' ', '_').replace('.', '').lower()}"] = rate
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
