"""Sites in network namespaces: links of a stated rate (tbf both ways), cut and healed; or two sites
with a long way between them: delay and loss (``tunnel``)."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

UNSHAPED = 10_000.0  # Mbit/s
_number = itertools.count()


def possible() -> str:
    """Why it is not possible here; empty where it is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "tc"):
        if subprocess.run(["which", tool], capture_output=True).returncode:
            return f"{tool} (iproute2) is not installed"
    return ""


class Sites:
    """One namespace per site; how they are joined is for the classes below to say."""

    def __init__(self, sites: int, network: str) -> None:
        self.mark = f"skepb{os.getpid()}n{next(_number)}"  # several may be there at a time
        self.names = [f"{self.mark}s{index}" for index in range(sites)]
        self.hosts = [f"{network}.{index + 1}" for index in range(sites)]
        self.made = list(self.names)

    def __enter__(self) -> Self:
        for name in self.made:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in self.made:
            found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
            for pid in found.stdout.split():  # helpers that a site has left behind
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], check=False)

    def start(self, site: int, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Run a command at a site."""
        words = ["ip", "netns", "exec", self.names[site], *command]
        with open(log, "w") as file:
            return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)


class Far(Sites):
    """Two sites, a round trip of ``rtt_ms`` apart; the share ``loss`` of the packets is lost."""

    def __init__(self, mbit: float | None, rtt_ms: float, loss: float = 0.0) -> None:
        super().__init__(2, "10.78.0")
        self._how = [str(rtt_ms / 2), str(mbit or UNSHAPED), str(loss)]
        self.tunnel: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        script = str(Path(__file__).with_name("tunnel.py"))
        words = [sys.executable, script, *self.names, *self._how]
        self.tunnel = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self.tunnel.stdout is not None
        self.tunnel.stdout.readline()
        return self

    def __exit__(self, *ending: Any) -> None:
        if self.tunnel is not None:
            self.tunnel.kill()
            self.tunnel.wait()
        super().__exit__(*ending)


class Net(Sites):
    """A hub and one namespace per site, each on a link of its own."""

    def __init__(self, sites: int, mbit: float | None) -> None:
        super().__init__(sites, "10.77.0")
        self.hub = f"{self.mark}hub"
        self.made.append(self.hub)
        self.mbit = mbit

    def __enter__(self) -> Self:
        super().__enter__()
        ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.hub, "link", "set", "bridge", "up")
        for index, name in enumerate(self.names):
            far = f"to{index}"
            ip("-n", name, "link", "add", "site", "type", "veth", "peer", far, "netns", self.hub)
            ip("-n", name, "addr", "add", f"{self.hosts[index]}/24", "dev", "site")
            ip("-n", name, "link", "set", "site", "up")
            ip("-n", self.hub, "link", "set", far, "master", "bridge", "up")
            if self.mbit:
                shape(name, "site", self.mbit)
                shape(self.hub, far, self.mbit)
        return self

    def cut(self, site: int) -> None:
        """The link goes silent: nothing is reset."""
        ip("-n", self.hub, "link", "set", f"to{site}", "down")

    def heal(self, site: int) -> None:
        ip("-n", self.hub, "link", "set", f"to{site}", "up")


def shape(namespace: str, device: str, mbit: float) -> None:
    """A token bucket of ``mbit`` with 50 ms of queue."""
    burst = max(int(mbit * 125_000 * 0.01), 4000)
    rate = ["rate", f"{mbit}mbit", "burst", str(burst), "latency", "400ms"]
    words = ["ip", "netns", "exec", namespace, "tc", "qdisc", "add", "dev", device, "root", "tbf"]
    subprocess.run([*words, *rate], check=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
