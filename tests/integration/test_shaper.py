"""The link shaper with real sockets: rate, lateness, refusals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.engines.line import QUEUE, Line

RATE = 20e6
RTT = 0.02
POOL = {
    "sites": [
        {"name": name, "address": address, "pools": [{"chip": "cpu-core"}]}
        for name, address in (("a", "127.0.1.1"), ("b", "127.0.1.2"), ("c", "127.0.1.3"))
    ],
    "links": [
        {"between": ["a", "b"], "bandwidth": RATE, "rtt": RTT},
    ],
}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    pool = folder / "pool.yaml"
    pool.write_text(json.dumps(POOL))
    proxies = folder / "shaper.json"
    before = proxies.stat().st_mtime_ns if proxies.exists() else None
    command = [sys.executable, "-m", "skep.engines.shaper", "--pool", str(pool)]
    process = subprocess.Popen([*command, "--dir", str(folder)])
    try:
        until = time.monotonic() + 20
        while not proxies.exists() or proxies.stat().st_mtime_ns == before:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        yield json.loads(proxies.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with running(tmp_path_factory.mktemp("shaper")) as found:
        yield found


class Target:
    """Accepts at a site's address; echoes, or counts what comes until the sender closes."""

    def __init__(self, host: str, *, echo: bool) -> None:
        self.listener = socket.create_server((host, 0))
        self.address = "{}:{}".format(*self.listener.getsockname())
        self.echo = echo
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        received = 0
        with connection:
            while data := connection.recv(65536):
                received += len(data)
                if self.echo:
                    connection.sendall(data)
            if not self.echo:
                connection.sendall(str(received).encode())


def dial(proxy: str, target: str) -> tuple[socket.socket, str]:
    host, port = proxy.split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = connection.recv(1)
        if not more:
            break
        head += more
    return connection, head.decode()


def send_and_wait(proxy: str, target: str, size: int) -> int:
    connection, head = dial(proxy, target)
    assert " 200 " in head
    with connection:
        connection.sendall(os.urandom(size))
        connection.shutdown(socket.SHUT_WR)
        return int(connection.recv(100))


def test_rate_of_one_connection(proxies: dict[str, str]) -> None:
    target = Target("127.0.1.2", echo=False)
    size = 2_000_000
    began = time.monotonic()
    assert send_and_wait(proxies["a"], target.address, size) == size
    took = time.monotonic() - began - 2 * RTT  # opening, and the way of the last byte and back
    assert RATE / 2 < 8 * size / took < 1.1 * RATE  # a busy machine is slower, never faster


def test_connections_share_the_rate(proxies: dict[str, str]) -> None:
    target = Target("127.0.1.2", echo=False)
    size, received = 500_000, []
    threads = [
        threading.Thread(
            target=lambda: received.append(send_and_wait(proxies["a"], target.address, size))
        )
        for _ in range(4)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began - 2 * RTT
    assert received == [size] * 4
    assert RATE / 2 < 8 * 4 * size / took < 1.1 * RATE


def test_round_trip(proxies: dict[str, str]) -> None:
    target = Target("127.0.1.1", echo=True)
    connection, head = dial(proxies["b"], target.address)
    assert " 200 " in head
    trips = []
    with connection:
        for _ in range(30):
            began = time.monotonic()
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            trips.append(time.monotonic() - began)
    assert min(trips) >= RTT
    assert statistics.median(trips) < 3 * RTT


def test_what_is_sent_arrives_unchanged(proxies: dict[str, str]) -> None:
    target = Target("127.0.1.2", echo=True)
    connection, _ = dial(proxies["a"], target.address)
    sent, received = os.urandom(300_000), b""
    with connection:
        threading.Thread(target=connection.sendall, args=(sent,)).start()
        while len(received) < len(sent):
            received += connection.recv(65536)
    assert received == sent


def test_inside_a_site_nothing_is_shaped(proxies: dict[str, str]) -> None:
    target = Target("127.0.1.1", echo=False)
    began = time.monotonic()
    assert send_and_wait(proxies["a"], target.address, 5_000_000) == 5_000_000
    assert time.monotonic() - began < 5_000_000 * 8 / RATE  # faster than the link


@pytest.mark.parametrize(
    ("source", "target", "status", "reason"),
    [
        ("a", "127.0.0.1:80", "403", "no site has the address 127.0.0.1"),
        ("a", "127.0.1.3:80", "403", "there is no link between a and c"),
        ("a", "127.0.1.2:1", "502", "does not answer"),
        ("a", "nonsense", "400", "not host:port"),
    ],
)
def test_refused(
    proxies: dict[str, str], source: str, target: str, status: str, reason: str
) -> None:
    connection, head = dial(proxies[source], target)
    connection.close()
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert reason in head


def test_only_connect(proxies: dict[str, str]) -> None:
    host, port = proxies["a"].split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"GET http://127.0.1.2/ HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 405 ")


def test_a_slow_receiver_holds_the_sender_back(proxies: dict[str, str]) -> None:
    with socket.create_server(("127.0.1.2", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        connection, _ = dial(proxies["a"], "{}:{}".format(*listener.getsockname()))
        far, _ = listener.accept()
        with connection, far:
            connection.settimeout(1.5)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 64_000_000:
                    sent += connection.send(b"\0" * 65536)
            assert sent < 16_000_000


def test_a_restart_takes_the_same_ports(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        pass
    with running(tmp_path) as second:
        assert second == first


@pytest.mark.parametrize("size", [1, 1500, 100_000])
def test_line_counts_each_byte_once(size: int) -> None:
    line = Line(RATE, 0.01)
    arrivals = [line.send(size, 5.0) for _ in range(10)]
    assert arrivals[-1] == pytest.approx(5.0 + 10 * size * 8 / RATE + 0.01)
    assert line.hold_back(5.0) == pytest.approx(max(0.0, 10 * size * 8 / RATE - QUEUE))
    assert line.send(size, 99.0) == pytest.approx(99.0 + size * 8 / RATE + 0.01)
