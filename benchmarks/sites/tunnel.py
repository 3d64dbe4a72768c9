"""A long way between two network namespaces: delay, rate and random loss, by forwarding packets.

    python tunnel.py NAMESPACE NAMESPACE DELAY_MS MBIT LOSS

Each namespace gets a TUN device, 10.78.0.1 and 10.78.0.2; what goes into one comes out of the other
``DELAY_MS`` later, at ``MBIT`` at most with 100 ms of queue, without the share ``LOSS`` of packets.
``tc`` could do that where the kernel has netem; not all have. Prints ``ready``. Needs root.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF, IFF_TUN_NO_PI, CLONE_NEWNET = 0x400454CA, 0x1001, 0x40000000
QUEUE_S = 0.1


def device(namespace: str, address: str) -> int:
    """A TUN device in that namespace; its file."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    if libc.setns(place, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    os.close(place)
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", b"site", IFF_TUN_NO_PI))
    for words in (
        ["ip", "addr", "add", f"{address}/24", "dev", "site"],
        ["ip", "link", "set", "site", "up", "mtu", "1500", "txqueuelen", "2000"],
    ):
        subprocess.run(words, check=True)
    return file


class Way:
    """One direction."""

    def __init__(self, source: int, sink: int, delay: float, rate: float, loss: float) -> None:
        self.source, self.sink, self._delay, self._rate, self._loss = (
            source,
            sink,
            delay,
            rate,
            loss,
        )
        self._free, self._due = 0.0, deque[tuple[float, bytes]]()

    def take(self, now: float) -> None:
        """All packets that have come."""
        while True:
            try:
                packet = os.read(self.source, 2048)
            except BlockingIOError:
                return
            self._free = max(self._free, now)
            if self._free - now > QUEUE_S or random.random() < self._loss:
                continue
            self._free += len(packet) / self._rate
            self._due.append((self._free + self._delay, packet))

    def give(self, now: float) -> float:
        """Send on what is due; seconds until the next is."""
        while self._due and self._due[0][0] <= now:
            os.write(self.sink, self._due.popleft()[1])
        return self._due[0][0] - now if self._due else 1.0


def main() -> None:
    """Until killed."""
    one, other, delay_ms, mbit, loss = sys.argv[1:6]
    ends = device(one, "10.78.0.1"), device(other, "10.78.0.2")
    how = (float(delay_ms) / 1e3, float(mbit) * 125_000, float(loss))
    ways = [Way(ends[0], ends[1], *how), Way(ends[1], ends[0], *how)]
    print("ready", flush=True)
    while True:
        pause = min(way.give(time.monotonic()) for way in ways)
        ready, _, _ = select.select(ends, [], [], max(pause, 0.0))
        for way in ways:
            if way.source in ready:
                way.take(time.monotonic())


if __name__ == "__main__":
    main()
