"""The agent's own process against a small HTTP server that plays the control plane: kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from skep.engines.journal import alive_twice, read
from skep.engines.procfs import start_ticks
from skep.model.message import Answer, Order, Report

TOKEN = "token-of-site-a"
POOL = {"sites": [{"name": "a", "address": "127.0.1.1", "pools": [{"chip": "cpu-core"}]}]}


class Plane:
    """Answers with ``answer`` to every report, holding it as asked; keeps the reports."""

    def __init__(self) -> None:
        self.answer = Answer(revision=1, lease=60.0, heartbeat=1.0)
        self.reports: list[Report] = []
        self.tokens: set[str | None] = set()
        self.changed = threading.Condition()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, *orders: Order, **changes: Any) -> None:
        with self.changed:
            fields = {"revision": self.answer.revision + 1, "orders": orders} | changes
            self.answer = self.answer.model_copy(update=fields)
            self.changed.notify_all()

    def respond(self, report: Report, wait: float) -> Answer:
        with self.changed:
            self.reports.append(report)
            until = time.monotonic() + wait
            while self.answer.revision == report.known and time.monotonic() < until:
                self.changed.wait(max(0.0, until - time.monotonic()))
            return self.answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        plane = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                plane.tokens.add(self.headers["Authorization"])
                path, _, query = self.path.partition("?")
                assert path == "/v1/sites/a/report"
                wait = float(query.partition("wait=")[2] or 0)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = plane.respond(Report.model_validate_json(body), wait)
                content = answer.model_dump_json().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None: ...

        return Answering


class Site:
    """One site's folder and the agent process that works there now."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.plane = folder, Plane()
        self.log = folder / "agent.log"
        (folder / "pool.yaml").write_text(json.dumps(POOL))
        (folder / "token").write_text(TOKEN + "\n")
        self.agent = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        files = {"--pool": "pool.yaml", "--dir": "site", "--token-file": "token"}
        options = [part for k, v in files.items() for part in (k, str(self.folder / v))]
        command = [sys.executable, "-m", "skep.agent.main", "--site", "a", *options]
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen([*command, "--server", self.plane.url], stderr=log)
        return self.agent

    def kill(self) -> None:
        self.agent.kill()
        self.agent.wait()

    def until(self, condition: Callable[[], object], within: float = 20.0) -> float:
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > within:
                raise AssertionError(self.log.read_text())
            time.sleep(0.005)
        return time.monotonic() - began

    def phase(self, run: str) -> str:
        reports = self.plane.reports
        return next((r.phase for r in reports[-1].runs if r.run == run), "") if reports else ""

    def journal(self) -> list[dict[str, Any]]:
        return read(self.folder / "site/journal.jsonl")

    def pid(self, run: str, process: str = "0") -> int:
        wanted = ("start", run, process)
        pids = [r["pid"] for r in self.journal() if (r["event"], r["run"], r["process"]) == wanted]
        (pid,) = pids
        return int(pid)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    if made.agent.poll() is not None:
        made.start()
    made.plane.say()
    runs = {r["run"] for r in made.journal()}
    made.until(lambda: all(made.phase(r) in ("stopped", "failed", "succeeded") for r in runs))
    made.agent.terminate()
    # Told to end before it had begun to listen for that: the signal itself ends it.
    assert made.agent.wait(10) in (0, -signal.SIGTERM)
    made.plane.server.shutdown()
    made.plane.server.server_close()
    assert alive_twice(made.journal()) == ()
    assert TOKEN not in made.log.read_text()
    assert "Traceback" not in made.log.read_text()


def order(run: str, command: str, **spec: Any) -> Order:
    share = {"site": "a", "pool": 0, "chip": "cpu-core", "chips": 1, "nodes": 1}
    fields: dict[str, Any] = {"run": run, "job": run, "step": "go", "attempt": 1, "share": share}
    return Order.model_validate(
        fields | {"spec": {"name": "x", "run": command} | spec, "grace": 0.5}
    )


def test_a_run_from_order_to_end(site: Site) -> None:
    site.plane.say(order("r", "echo hello; echo '{\"step\": 1}' >> $SKEP_PROGRESS_FILE"))
    site.until(lambda: site.phase("r") == "succeeded")
    site.until(lambda: any(r.logs for r in site.plane.reports))
    site.until(lambda: any(r.progress for r in site.plane.reports))
    texts = {chunk.text for report in site.plane.reports for chunk in report.logs}
    assert texts == {"hello\n"}
    assert site.plane.tokens == {f"Bearer {TOKEN}"}
    command = Path(f"/proc/{site.agent.pid}/cmdline").read_text()
    assert TOKEN not in command


def test_killed_agents_leave_runs_alone(site: Site) -> None:
    site.plane.say(order("r", "sleep 60"))
    site.until(lambda: site.phase("r") == "running")
    pid = site.pid("r")
    identities = set()
    for _ in range(3):
        identities.add(site.plane.reports[-1].agent)
        site.kill()
        site.start()
        seen = len(site.plane.reports)
        site.until(
            lambda seen=seen: len(site.plane.reports) > seen and site.phase("r") == "running"
        )
    assert len(identities | {site.plane.reports[-1].agent}) == 4
    assert start_ticks(pid) is not None
    assert site.pid("r") == pid


def test_an_agent_told_to_end_leaves_runs_alone(site: Site) -> None:
    site.plane.say(order("r", "sleep 60"))
    site.until(lambda: site.phase("r") == "running")
    site.agent.send_signal(signal.SIGTERM)
    assert site.agent.wait(5) == 0
    assert start_ticks(site.pid("r")) is not None


def test_a_run_that_ended_meanwhile_is_told(site: Site) -> None:
    site.plane.say(order("r", "sleep 0.5; exit 4"))
    site.until(lambda: site.phase("r") == "running")
    site.kill()
    site.until(lambda: start_ticks(site.pid("r")) is None)
    site.start()
    site.until(lambda: site.phase("r") == "failed")
    assert site.plane.reports[-1].runs[0].exit_code == 4


def test_killed_at_random_moments(site: Site) -> None:
    """The agent dies every few hundredths of a second; each run still runs once."""
    runs = [f"r{n}" for n in range(5)]
    command = "echo $SKEP_RUN >> $SKEP_CHECKPOINT_DIR/../started"
    site.plane.say(*(order(run, command) for run in runs))
    for pause in (0.5, 0.6, 0.55, 0.7, 0.65, 0.8):
        time.sleep(pause)
        site.kill()
        site.start()
    site.until(lambda: all(site.phase(run) == "succeeded" for run in runs))
    started = (site.folder / "site/checkpoints/started").read_text().split()
    assert sorted(started) == runs


def test_a_site_without_agent_keeps_its_lease(site: Site) -> None:
    site.plane.say(order("r", "sleep 60"), order("w", "sleep 60", on_site_loss="wait"), lease=3.0)
    site.until(lambda: (site.phase("r"), site.phase("w")) == ("running", "running"))
    time.sleep(1.2)  # the lease of 3 s is in force
    site.kill()
    took = site.until(lambda: start_ticks(site.pid("r")) is None, within=5.0)
    assert took < 3.5
    assert start_ticks(site.pid("w")) is not None
    site.start()
    site.until(lambda: site.phase("r") == "stopped")
    assert site.phase("w") == "running"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"--site": "b"}, 2, "--site: got 'b'; allowed: a"),
        ({"--token-file": "/nonexistent"}, 2, "--token-file: got '/nonexistent'"),
        ({"--server": "nonsense"}, 2, "server: got 'nonsense'"),
    ],
)
def test_wrong_calls(tmp_path: Path, changes: dict[str, str], code: int, words: str) -> None:
    (tmp_path / "pool.yaml").write_text(json.dumps(POOL))
    (tmp_path / "token").write_text("t")
    options = {
        "--site": "a",
        "--pool": str(tmp_path / "pool.yaml"),
        "--dir": str(tmp_path / "site"),
        "--token-file": str(tmp_path / "token"),
        "--server": "http://127.0.0.1:1",
    } | changes
    command = [sys.executable, "-m", "skep.agent.main", *(x for p in options.items() for x in p)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == code
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_two_agents_of_one_folder(site: Site) -> None:
    site.until(lambda: site.plane.reports)
    first = site.agent
    second = site.start()
    assert second.wait(20) == 6
    site.agent = first
    assert "another agent works in the folder" in site.log.read_text()
    assert os.path.exists(f"/proc/{first.pid}")
