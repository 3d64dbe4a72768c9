"""Sites in network namespaces: links of a stated rate (tbf both ways), cut and healed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType


def possible() -> str:
    """Why it is not possible here; empty where it is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "tc"):
        if subprocess.run(["which", tool], capture_output=True).returncode:
            return f"{tool} (iproute2) is not installed"
    return ""


class Net:
    """A hub and one namespace per site, each on a link of its own."""

    def __init__(self, sites: int, mbit: float | None) -> None:
        self.names = [f"skepb{os.getpid()}s{index}" for index in range(sites)]
        self.hub = f"skepb{os.getpid()}hub"
        self.hosts = [f"10.77.0.{index + 1}" for index in range(sites)]
        self.mbit = mbit

    def __enter__(self) -> Net:
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.hub, "link", "set", "bridge", "up")
        for index, name in enumerate(self.names):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            far = f"to{index}"
            ip("-n", name, "link", "add", "site", "type", "veth", "peer", far, "netns", self.hub)
            ip("-n", name, "addr", "add", f"{self.hosts[index]}/24", "dev", "site")
            ip("-n", name, "link", "set", "site", "up")
            ip("-n", self.hub, "link", "set", far, "master", "bridge", "up")
            if self.mbit:
                shape(name, "site", self.mbit)
                shape(self.hub, far, self.mbit)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in (*self.names, self.hub):
            subprocess.run(["ip", "netns", "del", name], check=False)

    def start(self, site: int, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Run a command at a site."""
        words = ["ip", "netns", "exec", self.names[site], *command]
        with open(log, "w") as file:
            return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)

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
