"""The keeper: one small process that keeps a control plane and its local agents running.

``python -m skep.cli.keeper --home DIR --pool FILE`` starts the shaper (where the pool emulates its
links), the control plane, a relay for jobs to meet at (``--relay HOST:PORT``) and one agent for
each site with the local engine, starts again whatever dies, and on SIGTERM ends them in order:
agents, relay, shaper, control plane. Runs have supervisors of their own and do not die with it.
With ``--parent PID`` it belongs to a command: when that is gone, it cancels the jobs and ends.
SIGUSR1 sets it free of its parent.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from skep.cli.children import Child, trim
from skep.cli.home import SERVER_WORD, Home, read_json, write_json
from skep.cli.process import end, is_ours
from skep.cli.settle import cancel_all
from skep.errors import ConflictError, SkepError, StoreError
from skep.files.pool import load_pool
from skep.model.site import Pool

SHAPER = "skep.engines.shaper"
AGENT = "skep.agent.main"
RELAY = "skep.train.relay"
TICK = 0.1  # seconds between looks
START_TIME = 30.0  # seconds for a child to say where it listens
STOP_TIME = 5.0  # seconds for a child to end
SETTLE_TIME = 20.0  # seconds for cancelled jobs to end


class Keeper:
    """Keeps the processes of one home."""

    def __init__(self, home: Home, options: argparse.Namespace, pool: Pool) -> None:
        self.home, self.options, self.pool = home, options, pool
        self.parent: int = options.parent
        self.stopping = False
        self.server = self._server(options.port)
        self.shaper: Child | None = None
        self.relay: Child | None = None
        self.agents: list[Child] = []
        self.url = ""
        self.told = False  # whether the file says what is so

    def run(self) -> int:
        """Until SIGTERM, or until the parent is gone. Returns the exit code."""
        for word in (signal.SIGTERM, signal.SIGINT):
            signal.signal(word, self._stop)
        signal.signal(signal.SIGUSR1, self._set_free)
        self._end_leftovers()
        self._say("starting")
        try:
            self._start()
            self._say("up")
            while not self.stopping and not self._orphaned():
                self._watch()
                time.sleep(TICK)
        except SkepError as error:
            self._end()
            self._say("failed", str(error), error.exit_code)
            return error.exit_code
        self._leave()
        return 0

    # -- starting ----------------------------------------------------------------------------

    def _start(self) -> None:
        # The shaper's file stays: from it the shaper knows the ports that living runs still dial.
        shaped = _written(self.home.shaper_file)
        if self.pool.shape_links and self.pool.links:
            args = ["--pool", str(self.options.pool), "--dir", str(self.home.path)]
            self.shaper = Child("shaper", SHAPER, args, self.home.log("shaper"))
            self.shaper.start(time.monotonic())
        self.home.server_file.unlink(missing_ok=True)
        self.server.start(time.monotonic())
        self._wait(self.server, lambda: _listens(self.home.server()))
        self.url = self.home.server()
        if self.shaper is not None:
            self._wait(self.shaper, lambda: _written(self.home.shaper_file) != shaped)
        # The port stays the same when the control plane starts again: agents know it.
        self.server.args = self._server(int(self.url.rpartition(":")[2])).args
        if self.options.relay:
            self.relay = self._relay(self.options.relay)
            self.relay.start(time.monotonic())
            self._wait(self.relay, lambda: _listens(f"http://{self.options.relay}"))
        self.agents = [self._agent(s.name) for s in self.pool.sites if s.engine == "local"]
        for agent in self.agents:
            agent.start(time.monotonic())

    def _wait(self, child: Child, there: Callable[[], bool]) -> None:
        until = time.monotonic() + START_TIME
        while not there():
            if child.dead():
                raise _start_error(child)
            if self.stopping or self._orphaned():
                raise SkepError("told to end while starting")
            if time.monotonic() > until:
                raise SkepError(f"{child.name} did not start in {START_TIME:g} s; see {child.log}")
            time.sleep(0.02)

    def _server(self, port: int) -> Child:
        args = ["--pool", str(self.options.pool), "--dir", str(self.home.path)]
        args += ["--host", "127.0.0.1", "--port", str(port)]
        if self.options.policy:
            args += ["--policy", str(self.options.policy)]
        return Child("server", SERVER_WORD, args, self.home.log("server"))

    def _agent(self, site: str) -> Child:
        args = ["--site", site, "--pool", str(self.options.pool), "--server", self.url]
        args += ["--dir", str(self.home.path / "sites" / site)]
        args += ["--token-file", str(self.home.token_file(f"site-{site}"))]
        proxy = read_json(self.home.shaper_file).get(site) if self.shaper else None
        if proxy:
            args += ["--proxy", str(proxy)]
        if self.options.relay and not self.pool.relay:
            args += ["--relay", self.options.relay]
        return Child(f"agent-{site}", AGENT, args, self.home.log(f"agent-{site}"))

    def _relay(self, listen: str) -> Child:
        keys = self.home.relay_keys
        keys.touch(mode=0o600)  # the control plane writes into it what it places
        args = ["--listen", listen, "--keys", str(keys)]
        return Child("relay", RELAY, args, self.home.log("relay"))

    # -- keeping -----------------------------------------------------------------------------

    def _watch(self) -> None:
        now = time.monotonic()
        changed = [child for child in self._children() if child.watch(now)]
        if changed or not self.told:
            self._try_to_say("up")

    def _children(self) -> Iterator[Child]:
        """In the order in which they end."""
        yield from self.agents
        if self.relay is not None:
            yield self.relay
        if self.shaper is not None:
            yield self.shaper
        yield self.server

    def _orphaned(self) -> bool:
        return self.parent != 0 and os.getppid() != self.parent

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _set_free(self, _signal: int, _frame: FrameType | None) -> None:
        self.parent = 0
        if self.agents:
            self._try_to_say("up")

    # -- ending ------------------------------------------------------------------------------

    def _leave(self) -> None:
        self._try_to_say("ending")
        if self.parent != 0:
            with contextlib.suppress(SkepError):
                cancel_all(self.url, self.home.token("admin"), SETTLE_TIME)
        self._end()
        self._try_to_say("down")

    def _end(self) -> None:
        for child in self._children():
            child.stop(STOP_TIME)

    def _end_leftovers(self) -> None:
        """End what a keeper that was killed has left behind."""
        left = read_json(self.home.keeper_file).get("children")
        for pid in (left or {}).values():
            if is_ours(int(pid), "skep.", str(self.home.path)):
                end(int(pid), STOP_TIME)

    def _try_to_say(self, phase: str) -> None:
        """As ``_say``, but the work goes on where the disk is full; ``told`` is then false."""
        with contextlib.suppress(StoreError):
            self._say(phase)

    def _say(self, phase: str, message: str = "", code: int = 0) -> None:
        self.told = False
        write_json(
            self.home.keeper_file,
            {
                "pid": os.getpid(),
                "parent": self.parent,
                "phase": phase,
                "message": message,
                "code": code,
                "url": self.url,
                "pool": str(self.options.pool),
                "children": {c.name: c.pid for c in self._children() if c.pid},
                "restarts": {c.name: c.restarts for c in self._children() if c.restarts},
            },
        )
        self.told = True


def _listens(url: str) -> bool:
    """Whether something accepts connections at ``http://host:port``."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    if not port.isdigit():
        return False
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _start_error(child: Child) -> SkepError:
    words = child.last_words().removeprefix("skep: ") or f"see {child.log}"
    child.watch(time.monotonic())
    error = SkepError(f"{child.name} did not start: {words}")
    if child.code is not None and 0 < child.code <= 7:
        error.exit_code = child.code
    return error


@contextlib.contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Hold the home's lock. Raises ``ConflictError`` where another keeper has it."""
    with (home.keeper_folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"another keeper is at work in {home.path}") from None
        yield


def main() -> int:
    """Run the keeper of ``--home``."""
    parser = argparse.ArgumentParser(prog=__spec__.name if __spec__ else None)
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--pool", required=True, type=Path)
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--relay", default="")
    parser.add_argument("--parent", type=int, default=0)
    options = parser.parse_args()
    home = Home(options.home)
    try:
        home.make()
        for log in home.keeper_folder.glob("*.log"):
            trim(log)
        with only_one(home):
            return Keeper(home, options, load_pool(options.pool)).run()
    except SkepError as error:
        print(f"skep: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
