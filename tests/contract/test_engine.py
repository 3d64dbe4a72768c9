"""What every engine promises. An engine joins by a branch in ``_make`` and a name in ``ENGINES``.

``_make`` answers a rig: how to open the engine of a site (again), and whether its runs are real
processes of this machine (then the tests with shells and kills apply).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skep.engines.base import Engine, Material
from skep.engines.journal import alive_twice, read
from skep.engines.loading import Setting, load
from skep.engines.procfs import start_ticks
from skep.model.message import Order, RunReport
from skep.model.site import Site

ENGINES = ("local",)
SITE = Site.model_validate(
    {
        "name": "a",
        "address": "127.0.1.1",
        "pools": [{"chip": "cpu-core", "nodes": 2, "chips_per_node": 4}],
    }
)
ENDED = {"succeeded", "failed", "stopped"}


@dataclass
class Rig:
    """One site with its engine; ``engine`` is the one opened last."""

    folder: Path
    opened: Callable[[], Engine]
    real: bool
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = self.opened()

    def reopen(self) -> None:
        """As a new agent would."""
        self.engine.close()
        self.engine = self.opened()

    def report(self, run: str) -> RunReport | None:
        return next((r for r in self.engine.poll() if r.run == run), None)

    def until(self, run: str, *phases: str, within: float = 20.0) -> RunReport:
        deadline = time.monotonic() + within
        while True:
            report = self.report(run)
            if report is not None and report.phase in phases:
                return report
            if report is not None and report.phase in ENDED:
                raise AssertionError(f"{report} is not {phases}; {self.text(run)}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{report} is not {phases} in time")
            time.sleep(0.005)

    def text(self, run: str, process: str = "0") -> str:
        chunks = self.engine.logs(run, {}, 1_000_000)
        return "".join(c.text for c in chunks if c.process == process)

    def pid(self, run: str, process: str) -> int:
        """Of the process that started last under that name, by the journal."""
        found = [r["pid"] for r in self.journal() if _is_start(r, run, process)]
        return int(found[-1])

    def starts(self, run: str) -> int:
        return sum(_is_start(r, run, "0") for r in self.journal())

    def journal(self) -> list[dict[str, Any]]:
        return read(self.folder / "journal.jsonl")


def _is_start(record: dict[str, Any], run: str, process: str) -> bool:
    return (record["event"], record["run"], record["process"]) == ("start", run, process)


def _make(name: str, folder: Path) -> Rig:
    site = SITE.model_copy(update={"engine": name})
    return Rig(folder, lambda: load(Setting(site, folder)), real=name == "local")


@pytest.fixture(params=ENGINES)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = _make(request.param, tmp_path / "site")
    yield made
    for report in made.engine.poll():
        if report.phase not in ENDED:
            made.engine.stop(report.run, 0.0, "the test is over")
            made.until(report.run, "stopped", "failed", "succeeded")
    made.engine.close()
    assert alive_twice(made.journal()) == ()


def order(run: str = "r1", command: str = "true", **changes: Any) -> Order:
    share = {"site": "a", "pool": 0, "chip": "cpu-core", "chips": 1, "nodes": 1}
    spec = {"name": "test", "run": command} | changes.pop("spec", {})
    fields = {"run": run, "job": "j1", "step": "go", "attempt": 1, "spec": spec, "grace": 2.0}
    fields["share"] = share | changes.pop("share", {})
    return Order.model_validate(fields | changes)


def start(rig: Rig, wanted: Order, token: str = "") -> None:
    rig.engine.prepare(wanted, Material(token=token))
    rig.until(wanted.run, "ready")
    rig.engine.go(wanted)


def gone(pid: int, within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while start_ticks(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class TestPhases:
    def test_ready_waits_for_go(self, rig: Rig) -> None:
        wanted = order()
        rig.engine.prepare(wanted, Material())
        rig.until("r1", "ready")
        time.sleep(0.1)
        assert rig.until("r1", "ready").started_at is None
        rig.engine.go(wanted)
        ended = rig.until("r1", "succeeded")
        assert (ended.exit_code, ended.reason) == (0, "")
        assert ended.started_at is not None
        assert ended.ended_at is not None
        assert ended.started_at <= ended.ended_at

    def test_go_before_ready_counts(self, rig: Rig) -> None:
        wanted = order(spec={"setup": "sleep 0.2"})
        rig.engine.prepare(wanted, Material())
        rig.engine.go(wanted)
        rig.until("r1", "succeeded")

    def test_all_is_idempotent(self, rig: Rig) -> None:
        wanted = order(command="echo once >> $SKEP_CHECKPOINT_DIR/starts")
        for _ in range(3):
            rig.engine.prepare(wanted, Material())
        for _ in range(3):
            rig.engine.go(wanted)
        rig.until("r1", "succeeded")
        rig.engine.prepare(wanted, Material())
        rig.engine.go(wanted)
        assert len(rig.engine.poll()) == 1
        if rig.real:
            assert (rig.folder / "checkpoints/j1/starts").read_text() == "once\n"

    def test_stop_of_a_running_one(self, rig: Rig) -> None:
        start(rig, order(command="sleep 60"))
        rig.until("r1", "running")
        rig.engine.stop("r1", 5.0, "cancelled by ana")
        rig.engine.stop("r1", 5.0, "again")
        assert rig.until("r1", "stopped").reason == "cancelled by ana"

    def test_stop_before_go(self, rig: Rig) -> None:
        wanted = order()
        rig.engine.prepare(wanted, Material())
        rig.until("r1", "ready")
        rig.engine.stop("r1", 5.0, "not all sites were ready")
        rig.engine.go(wanted)
        assert rig.until("r1", "stopped").started_at is None
        assert not rig.real or rig.starts("r1") == 0

    def test_stop_right_after_prepare(self, rig: Rig) -> None:
        rig.engine.prepare(order(), Material())
        rig.engine.stop("r1", 0.0, "changed my mind")
        rig.engine.go(order())
        assert rig.until("r1", "stopped").reason == "changed my mind"
        assert not rig.real or rig.starts("r1") == 0

    def test_stop_of_one_never_seen_outlives_a_late_prepare(self, rig: Rig) -> None:
        rig.engine.stop("r1", 1.0, "cancelled")
        assert rig.until("r1", "stopped").reason == "cancelled"
        rig.reopen()
        rig.engine.prepare(order(), Material())
        rig.engine.go(order())
        assert rig.until("r1", "stopped").started_at is None
        rig.engine.forget("r1")
        rig.engine.prepare(order(), Material())
        assert rig.engine.poll() == ()

    def test_a_forgotten_id_never_runs_again(self, rig: Rig) -> None:
        start(rig, order())
        rig.until("r1", "succeeded")
        rig.engine.forget("r1")
        rig.engine.forget("r1")
        assert rig.engine.poll() == ()
        for _ in range(2):
            rig.engine.prepare(order(), Material())
            rig.engine.go(order())
            rig.engine.stop("r1", 0.0, "late")
            assert rig.engine.poll() == ()
            rig.reopen()
        assert not rig.real or rig.starts("r1") == 1

    def test_forgetting_a_living_run_does_nothing(self, rig: Rig) -> None:
        start(rig, order(command="sleep 60"))
        rig.until("r1", "running")
        rig.engine.forget("r1")
        assert rig.until("r1", "running")

    def test_failure_has_a_code_and_a_reason(self, rig: Rig) -> None:
        start(rig, order(command="exit 3"))
        ended = rig.until("r1", "failed")
        assert ended.exit_code == 3
        assert ended.reason

    def test_unknown_runs_have_no_output(self, rig: Rig) -> None:
        assert rig.engine.logs("nobody", {}, 100) == ()
        assert rig.engine.progress("nobody", 0, 100) is None
        rig.engine.forget("nobody")
        rig.engine.go(order("nobody"))
        assert rig.engine.poll() == ()

    def test_a_new_agent_finds_all_as_it_was(self, rig: Rig) -> None:
        start(rig, order("r1", command="sleep 60"))
        rig.until("r1", "running")
        start(rig, order("r2", job="j2"))
        rig.until("r2", "succeeded")
        rig.engine.prepare(order("r3", job="j3"), Material())
        rig.until("r3", "ready")
        rig.reopen()
        assert {r.run: r.phase for r in rig.engine.poll()} == {
            "r1": "running",
            "r2": "succeeded",
            "r3": "ready",
        }
        rig.engine.go(order("r3", job="j3"))
        rig.until("r3", "succeeded")
        rig.engine.stop("r1", 1.0, "enough")
        rig.until("r1", "stopped")

    def test_where_peers_are_expected_an_address_is_told(self, rig: Rig) -> None:
        rig.engine.prepare(order("r1", site_count=2), Material())
        rig.engine.prepare(order("r2", job="j2"), Material())
        host, _, port = rig.until("r1", "ready").address.rpartition(":")
        assert host == "127.0.1.1"
        assert int(port) > 0
        assert rig.until("r2", "ready").address == ""


def real(rig: Rig) -> None:
    if not rig.real:
        pytest.skip("its runs are not processes")


class TestProcesses:
    def test_reasons_in_words(self, rig: Rig) -> None:
        real(rig)
        cases = {
            "trian.py --fast": (127, "command not found: trian.py (exit 127)"),
            "kill -9 $$": (137, "the process was killed by signal 9"),
            "echo start; echo 'ValueError: bad lr' >&2; exit 1": (
                1,
                "the process ended with exit code 1: ValueError: bad lr",
            ),
        }
        for number, (command, expected) in enumerate(cases.items()):
            run = f"r{number}"
            start(rig, order(run, command, job=run))
            ended = rig.until(run, "failed")
            assert (ended.exit_code, ended.reason) == expected

    def test_failed_setup(self, rig: Rig) -> None:
        real(rig)
        setup = "echo no such package >&2; exit 2"
        rig.engine.prepare(order(spec={"setup": setup}), Material())
        ended = rig.until("r1", "failed")
        assert ended.reason == "setup ended with exit code 2: no such package"
        assert rig.text("r1", "setup") == "no such package\n"

    def test_one_failed_process_ends_the_others(self, rig: Rig) -> None:
        real(rig)
        command = "[ $RANK = 1 ] && exit 7; exec sleep 60"
        start(rig, order(command=command, share={"chips": 3}))
        ended = rig.until("r1", "failed")
        assert ended.exit_code == 7
        assert ended.reason == "process 2 of 3 (rank 1) ended with exit code 7"
        assert gone(rig.pid("r1", "0"))
        assert gone(rig.pid("r1", "2"))

    def test_a_killed_rank(self, rig: Rig) -> None:
        real(rig)
        start(rig, order(command="sleep 60", share={"chips": 2}))
        rig.until("r1", "running")
        os.kill(rig.pid("r1", "0"), signal.SIGKILL)
        ended = rig.until("r1", "failed")
        assert ended.reason == "process 1 of 2 (rank 0) was killed by signal 9"
        assert gone(rig.pid("r1", "1"))

    def test_stop_gives_grace_and_then_kills(self, rig: Rig) -> None:
        real(rig)
        start(
            rig, order("r1", "trap 'echo bye; exit 0' TERM; echo on; while :; do sleep 0.02; done")
        )
        start(rig, order("r2", "trap '' TERM; echo on; while :; do sleep 0.02; done", job="j2"))
        while "on" not in rig.text("r1") or "on" not in rig.text("r2"):
            time.sleep(0.01)
        rig.engine.stop("r1", 10.0, "enough")
        began = time.monotonic()
        rig.engine.stop("r2", 0.3, "enough")
        assert rig.until("r1", "stopped").exit_code == 0
        assert rig.text("r1").endswith("bye\n")
        assert rig.until("r2", "stopped").exit_code == 137
        assert 0.25 < time.monotonic() - began < 5
        assert gone(rig.pid("r2", "0"))

    def test_a_shorter_grace_overtakes_a_longer(self, rig: Rig) -> None:
        real(rig)
        start(rig, order(command="trap '' TERM; while :; do sleep 0.02; done"))
        rig.until("r1", "running")
        time.sleep(0.1)
        rig.engine.stop("r1", 600.0, "cancelled")
        rig.engine.stop("r1", 0.1, "at once")
        assert rig.until("r1", "stopped").reason == "cancelled"

    def test_nothing_survives_a_run(self, rig: Rig, tmp_path: Path) -> None:
        """Not even what moved to a session of its own and cleared its environment."""
        real(rig)
        note = tmp_path / "pid"
        daemon = f"echo $$ > {note}.new; mv {note}.new {note}; exec sleep 60"
        start(rig, order(command=f"setsid env -i /bin/sh -c '{daemon}' & sleep 0.3"))
        rig.until("r1", "succeeded")
        assert gone(int(note.read_text()), within=0.0)

    def test_environment(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        real(rig)
        monkeypatch.setenv("SKEP_TOKEN", "of the agent")
        monkeypatch.setenv("CLOUD_API_KEY", "of the agent")
        monkeypatch.setenv("RANK", "99")
        wanted = order(
            command="env > $SKEP_WORK_DIR/env.$RANK; cat $SKEP_TOKEN_FILE",
            share={"chips": 4, "nodes": 2, "rank": 1},
            site_count=2,
            peers={"b": "127.0.1.2:7000"},
            chip_speed=2e9,
            spec={"env": {"LR": "0.1", "SKEP_SITE": "mine"}},
        )
        start(rig, wanted, token="shared")
        address = rig.until("r1", "succeeded").address
        found = [_environ(rig, rank) for rank in range(4)]
        assert [e["RANK"] for e in found] == ["0", "1", "2", "3"]
        assert [e["LOCAL_RANK"] for e in found] == ["0", "1", "0", "1"]
        assert [e["GROUP_RANK"] for e in found] == ["0", "0", "1", "1"]
        assert len({e["MASTER_PORT"] for e in found}) == 1
        one = found[0]
        assert (one["WORLD_SIZE"], one["LOCAL_WORLD_SIZE"]) == ("4", "2")
        assert (one["SKEP_SITE"], one["SKEP_SITE_RANK"], one["SKEP_SITE_COUNT"]) == ("a", "1", "2")
        assert one["SKEP_PEERS"] == "b=127.0.1.2:7000"
        assert one["SKEP_LISTEN"] == address
        assert float(one["SKEP_CHIP_SPEED"]) == 2e9
        assert one["LR"] == "0.1"
        assert not {"SKEP_TOKEN", "CLOUD_API_KEY", "SKEP_PROXY"} & one.keys()
        assert rig.text("r1") == "shared"
        assert "shared" not in Path(f"/proc/{os.getpid()}/cmdline").read_text()

    def test_processes_per_node_and_site(self, rig: Rig) -> None:
        real(rig)
        for per, count in (("node", 2), ("site", 1)):
            spec = {"per": per}
            start(rig, order(per, "true", job=per, spec=spec, share={"chips": 8, "nodes": 2}))
            rig.until(per, "succeeded")
            processes = {r["process"] for r in rig.journal() if r["run"] == per}
            assert len({p for p in processes if p.isdigit()}) == count

    def test_time_limit(self, rig: Rig) -> None:
        real(rig)
        start(rig, order(command="sleep 60", spec={"time_limit": 0.2}))
        assert rig.until("r1", "failed").reason == "time limit of 0.2 s reached"
        assert gone(rig.pid("r1", "0"))


def _environ(rig: Rig, rank: int) -> dict[str, str]:
    lines = (rig.folder / f"runs/r1/work/env.{rank}").read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


class TestKills:
    @pytest.mark.parametrize("victim", ["guard", "supervisor"])
    @pytest.mark.parametrize("phase", ["ready", "running"])
    def test_supervisor(self, rig: Rig, victim: str, phase: str) -> None:
        real(rig)
        wanted = order(command="sleep 60 & sleep 60", share={"chips": 2})
        rig.engine.prepare(wanted, Material())
        rig.until("r1", "ready")
        if phase == "running":
            rig.engine.go(wanted)
            rig.until("r1", "running")
        os.kill(rig.pid("r1", victim), signal.SIGKILL)
        assert rig.until("r1", "failed").reason.startswith("lost its supervisor")
        assert all(gone(r["pid"]) for r in rig.journal() if r["event"] == "start")
        rig.engine.prepare(wanted, Material())
        rig.engine.go(wanted)
        rig.reopen()
        assert rig.until("r1", "failed")
        assert rig.starts("r1") == (1 if phase == "running" else 0)

    def test_both_halves_of_the_supervisor(self, rig: Rig) -> None:
        real(rig)
        start(rig, order(command="setsid sleep 60 & sleep 60", share={"chips": 2}))
        rig.until("r1", "running")
        living = {r["pid"] for r in rig.journal() if r["event"] == "start"}
        for victim in ("supervisor", "guard"):
            os.kill(rig.pid("r1", victim), signal.SIGSTOP)
        for victim in ("supervisor", "guard"):
            os.kill(rig.pid("r1", victim), signal.SIGKILL)
        assert rig.until("r1", "failed").reason.startswith("lost its supervisor")
        assert all(gone(pid) for pid in living)
        assert not _with_environ(f"SKEP_PROGRESS_FILE={rig.folder}/runs/r1/".encode())

    def test_agent_killed_between_order_and_start(self, rig: Rig) -> None:
        """The folder is there, the supervisor is not: the next agent starts it, once."""
        real(rig)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(rig.engine), "_spawn", lambda _self, _folder: None)
            rig.engine.prepare(order(), Material())
        rig.reopen()
        rig.until("r1", "ready")
        rig.engine.go(order())
        rig.until("r1", "succeeded")
        assert rig.starts("r1") == 1


def _with_environ(mark: bytes) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


class TestOutput:
    def test_logs_by_offset(self, rig: Rig) -> None:
        real(rig)
        start(rig, order(command="printf 'rank %s: é\\n' $RANK", share={"chips": 2}))
        rig.until("r1", "succeeded")
        chunks = rig.engine.logs("r1", {"0": 6}, 1000)
        assert {c.process: (c.offset, c.text) for c in chunks} == {
            "0": (6, ": é\n"),
            "1": (0, "rank 1: é\n"),
        }

    def test_logs_in_small_pieces_give_the_whole(self, rig: Rig) -> None:
        real(rig)
        start(rig, order(command=r"printf 'a\xff\xc3b é€😀 \xe2\x82 \0 end é\xc3'"))
        rig.until("r1", "succeeded")
        text, offset = "", 0
        while chunks := rig.engine.logs("r1", {"0": offset}, 5):
            assert chunks[0].offset == offset
            assert len(chunks[0].text.encode()) <= 5
            text += chunks[0].text
            offset += len(chunks[0].text.encode())
        assert text == "a??b é€😀 ?? ? end é?"

    def test_progress_by_line(self, rig: Rig) -> None:
        real(rig)
        lines = r'{"step": 1}\nnonsense\n[1]\n{"loss": NaN}\n{"step": 5}\n{"half'
        start(rig, order(command=f"printf '{lines}' >> $SKEP_PROGRESS_FILE"))
        rig.until("r1", "succeeded")
        malformed = {"kind": "malformed"}
        whole = ({"step": 1}, malformed, malformed, {"loss": None}, {"step": 5})
        for after in (0, 2, 4, 1):
            chunk = rig.engine.progress("r1", after, 100)
            assert chunk is not None
            assert (chunk.offset, chunk.lines) == (after, whole[after:])
        two = rig.engine.progress("r1", 1, 2)
        assert two is not None
        assert two.lines == whole[1:3]
        assert rig.engine.progress("r1", 5, 100) is None
