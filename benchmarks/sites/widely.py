"""One end of ``benchmarks/lanes.py``: the mesh of the training library with data to send for ever.

python widely.py receive HOST
python widely.py send HOST STREAMS SECONDS CONTROL OUT    (STREAMS 0: as it chooses)
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

from skep.train import mesh as mesh_module
from skep.train.dial import dial
from skep.train.frames import Kind, Message
from skep.train.member import Member
from skep.train.mesh import Mesh
from skep.train.tls import identity

PORT, PAYLOAD, SETTLE_S = 7005, bytes(1 << 18), 60.0


class Quiet:
    """Hears all and does nothing."""

    def joined(self, member: Member) -> None: ...
    def left(self, member: Member, on_purpose: bool) -> None: ...
    def received(self, site: str, message: Message) -> None: ...
    def event(self, text: str) -> None: ...


def mesh(name: str, streams: int | None = None) -> Mesh:
    made = Mesh(
        Member(name, 0, f"job-a1-{name}", "x"), b"of the benchmark", "", 1 << 22, Quiet(), streams
    )
    made.encrypt(identity())
    return made


def with_control(name: str) -> Any:
    """Dialling with that congestion control."""

    async def dialled(address: str, proxy: str = "") -> Any:
        streams = await dial(address, proxy)
        plain: socket.socket = streams[1].get_extra_info("socket")
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        return streams

    return dialled


async def receive(host: str) -> None:
    """Until killed."""
    await mesh("a").start(f"{host}:{PORT}", {})
    await asyncio.Event().wait()


async def send(host: str, streams: int, seconds: float) -> dict[str, Any]:
    """Bytes per second once it has settled, and over how many connections."""
    made = mesh("b", streams or None)
    await made.start("", {"a": f"{host}:{PORT}"})
    while "a" not in made.peers:
        await asyncio.sleep(0.05)
    wire, marks, began = made.peers["a"].wire, [], time.monotonic()
    for until in (SETTLE_S, SETTLE_S + seconds):
        while time.monotonic() - began < until:
            while len(wire._data) < 8:
                wire.put(Message(Kind.PART, {}, PAYLOAD))
            await asyncio.sleep(0.01)
        marks.append((time.monotonic(), wire.window.acknowledged))
    (start, before), (stop, after) = marks
    trip = wire.window.round_trip
    return {"rate": (after - before) / (stop - start), "lanes": made.lanes()["a"], "trip": trip}


def main() -> None:
    """As told by the arguments."""
    if sys.argv[1] == "receive":
        asyncio.run(receive(sys.argv[2]))
    else:
        host, streams, seconds, control, out = sys.argv[2:7]
        mesh_module.dial = with_control(control)
        Path(out).write_text(json.dumps(asyncio.run(send(host, int(streams), float(seconds)))))


if __name__ == "__main__":
    main()
