"""The command with real processes: a pool that goes up and down, embedded runs, deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skep.cli.home import Home, read_json
from skep.cli.process import alive, end

LIMIT = 120.0  # seconds; the machine may be busy
POOL = """
name: two
chips: [{kind: cpu-core, held_to: 3 GFLOP/s, idle_power: 2 W, busy_power: 10 W}]
sites:
  - {name: north, address: 127.0.2.1, pools: [{chip: cpu-core, chips_per_node: 2}]}
  - {name: south, address: 127.0.2.2, pools: [{chip: cpu-core}]}
lease: {duration: 10s, grace: 3s, heartbeat: 1s}
"""


def _heed_interrupts() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Shell:
    """Calls ``skep`` with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, Home(folder / "home")
        self.pool = folder / "pool.yaml"
        self.pool.write_text(POOL)
        drop = ("SKEP_SERVER", "SKEP_POOL", "SKEP_TOKEN")
        self.env = {k: v for k, v in os.environ.items() if k not in drop}
        self.env["SKEP_HOME"] = str(self.home.path)

    def job(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(f"name: {name}\n{text}\n")
        return path

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "skep.cli.main", *argv],
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_heed_interrupts,
        )

    def skep(self, *argv: str, code: int = 0) -> str:
        process = self.start(*argv)
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == code, f"skep {' '.join(argv)}: {out}\n{err}"
        assert "Traceback" not in err
        return out if code == 0 else err

    def phase(self, job: str) -> str:
        return str(json.loads(self.skep("show", job, "--json"))["phase"])

    def children(self) -> dict[str, int]:
        return dict(read_json(self.home.keeper_file).get("children", {}))


def until(true: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < limit, what
        time.sleep(0.1)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    keeper = made.home.keeper()
    if keeper:
        made.start("down", "--force").wait(LIMIT)
    assert not any(alive(pid) for pid in made.children().values())


def test_a_pool_goes_up_runs_jobs_and_goes_down(shell: Shell) -> None:
    told = json.loads(shell.skep("up", "--pool", str(shell.pool), "--json"))
    assert (told["sites_up"], told["already"]) == (2, False)
    assert "already up" in shell.skep("up")
    hello = shell.job("hello", "run: echo hello from $SKEP_SITE")
    out = shell.skep("run", str(hello))
    assert "| hello from " in out
    assert "skep why hello" in out
    assert shell.skep("run", str(shell.job("bad", "run: exit 7\nretries: 0")), code=8) == ""
    other = shell.folder / "other.yaml"
    other.write_text(POOL.replace("name: two", "name: three"))
    err = shell.skep("run", str(hello), "--pool", str(other), code=2)
    assert "another pool is up" in err

    shell.skep("submit", str(shell.job("long", "run: sleep 300")))
    until(lambda: shell.phase("long") == "running", "the job does not start")
    err = shell.skep("down", code=6)
    assert "long" in err
    assert "--force" in err
    server = shell.children()["server"]
    shell.skep("down", "--force")
    assert not alive(server)
    assert shell.home.keeper() == 0
    assert "nothing is up" in shell.skep("down")
    # What was is still to be seen, without any server.
    assert shell.phase("long") == "cancelled"
    assert "hello from" in shell.skep("logs", "hello")
    assert "succeeded" in shell.skep("ps")
    shell.skep("submit", str(hello), code=3)


def test_jobs_that_are_kept_are_found_again(shell: Shell) -> None:
    shell.skep("up", "--pool", str(shell.pool))
    mark = shell.folder / "go-on"
    wait = f"while [ ! -e {mark} ]; do sleep 0.2; done; echo done"
    shell.skep("submit", str(shell.job("kept", f'run: "{wait}"')))
    until(lambda: shell.phase("kept") == "running", "the job does not start")
    shell.skep("down", "--keep-jobs")
    assert shell.phase("kept") == "running"
    shell.skep("up", "--pool", str(shell.pool))
    mark.write_text("")
    until(lambda: shell.phase("kept") == "succeeded", "the job does not end")
    runs = json.loads(shell.skep("show", "kept", "--json"))["runs"]
    assert len(runs) == 1


def test_whatever_dies_is_started_again_and_a_stale_pid_is_no_keeper(shell: Shell) -> None:
    shell.skep("up", "--pool", str(shell.pool))
    before = shell.children()
    url = shell.home.server()
    for name in ("agent-north", "server"):
        os.kill(before[name], signal.SIGKILL)
        until(lambda name=name: shell.children().get(name) not in (None, before[name]), name)
    until(lambda: shell.home.server() == url, "the control plane comes back at its address")
    assert "hello" in shell.skep("run", str(shell.job("hello", "run: echo hello")))

    keeper, before = shell.home.keeper(), shell.children()
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not alive(keeper), "killed")
    assert shell.home.keeper() == 0
    told = json.loads(shell.skep("up", "--pool", str(shell.pool), "--json"))
    assert told["already"] is False
    assert not any(alive(pid) for pid in before.values()), "left over from the killed keeper"


def test_a_run_without_a_control_plane_has_its_own_and_leaves_the_state(shell: Shell) -> None:
    job = shell.job("alone", "run: echo $SKEP_SITE is here")
    out = json.loads(shell.skep("run", str(job), "--json"))
    assert out["job"]["phase"] == "succeeded"
    assert shell.home.keeper() == 0
    assert "is here" in shell.skep("logs", "alone")
    assert "placed" in shell.skep("why", "alone")
    report = shell.folder / "report.html"
    shell.skep("report", "alone", "--out", str(report))
    assert "is here" in report.read_text() or "alone" in report.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_embedded_run_that_is_broken_off_leaves_nothing_running(
    shell: Shell, number: signal.Signals
) -> None:
    process = shell.start("run", str(shell.job("long", "run: echo $$ > pid; sleep 300")))
    try:
        until(lambda: bool(shell.home.server()), "no control plane")
        keeper = shell.home.keeper()
        until(lambda: "long" in shell.skep("ps"), "not submitted")
        until(lambda: shell.phase("long") == "running", "not running")
        process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == (130 if number == signal.SIGINT else -9)
        assert "Traceback" not in err
        until(lambda: not alive(keeper), "the keeper lives on")
        assert shell.phase("long") == "cancelled"
    finally:
        end(process.pid, 1.0)


@pytest.mark.parametrize(
    ("pool", "word"),
    [
        (POOL.replace("south", "north"), "north"),
        ("sites: 3", "sites"),
        (": not yaml [", "yaml"),
    ],
)
def test_a_bad_pool_file_starts_nothing(shell: Shell, pool: str, word: str) -> None:
    shell.pool.write_text(pool)
    for argv in (("up", "--pool", str(shell.pool)), ("run", str(shell.job("x", "run: 'true'")))):
        err = shell.skep(*argv, code=2)
        assert err.count("\n") == 1
        assert word in err
    assert not shell.home.keeper_file.exists()


def test_a_port_that_is_taken_is_told_in_one_line(shell: Shell) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = shell.start("up", "--pool", str(shell.pool), "--port", str(port))
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert err.count("\n") == 1
    assert str(port) in err
    assert shell.home.keeper() == 0
