"""The local engine with real processes, beyond what every engine promises."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skep.engines.base import Material
from skep.engines.journal import alive_twice, read
from skep.engines.loading import Setting
from skep.engines.local import LocalEngine
from skep.engines.procfs import boot_clock, start_ticks
from skep.errors import ConflictError, StoreError
from skep.model.message import Order, RunReport
from skep.model.site import Site

SITE = Site.model_validate(
    {"name": "a", "address": "127.0.1.1", "pools": [{"chip": "cpu-core", "chips_per_node": 4}]}
)
ENDED = {"succeeded", "failed", "stopped"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LocalEngine]:
    made = LocalEngine(Setting(SITE, tmp_path / "site", "127.0.0.1:9", "127.0.0.1:8"))
    yield made
    for report in made.poll():
        made.stop(report.run, 0.0, "the test is over")
    finished(made)
    made.close()
    assert alive_twice(read(tmp_path / "site/journal.jsonl")) == ()


def finished(engine: LocalEngine, within: float = 20.0) -> dict[str, RunReport]:
    """All runs, once all have ended."""
    deadline = time.monotonic() + within
    while True:
        reports = {report.run: report for report in engine.poll()}
        if all(report.phase in ENDED for report in reports.values()):
            return reports
        assert time.monotonic() < deadline, reports
        time.sleep(0.005)


def until(engine: LocalEngine, run: str, phase: str) -> RunReport:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for report in engine.poll():
            if report.run == run and report.phase == phase:
                return report
        time.sleep(0.005)
    raise AssertionError(engine.poll())


def order(run: str, command: str, **spec: Any) -> Order:
    share = {"site": "a", "pool": 0, "chip": "cpu-core", "chips": spec.pop("chips", 1), "nodes": 1}
    fields: dict[str, Any] = {"run": run, "job": f"job-{run}", "step": "go", "attempt": 1}
    return Order.model_validate(
        fields | {"share": share, "spec": {"name": "test", "run": command} | spec, "grace": 1.0}
    )


def run(engine: LocalEngine, wanted: Order, bundle: Path | None = None) -> RunReport:
    engine.prepare(wanted, Material(bundle))
    engine.go(wanted)
    return finished(engine)[wanted.run]


def text(engine: LocalEngine, run: str) -> str:
    return "".join(chunk.text for chunk in engine.logs(run, {}, 1_000_000))


def packed(folder: Path, files: dict[str, str]) -> tuple[Path, str]:
    path = folder / "bundle.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


class TestWorkdir:
    def test_processes_start_in_it(self, engine: LocalEngine, tmp_path: Path) -> None:
        path, digest = packed(tmp_path, {"data/x.txt": "hello", "run.sh": "cat data/x.txt"})
        wanted = order("r", "sh run.sh; pwd", bundle=digest)
        assert run(engine, wanted, path).phase == "succeeded"
        assert text(engine, "r") == f"hello{tmp_path}/site/runs/r/work\n"

    def test_damaged(self, engine: LocalEngine, tmp_path: Path) -> None:
        path, digest = packed(tmp_path, {"x": "hello"})
        path.write_bytes(path.read_bytes()[:-5])
        ended = run(engine, order("r", "true", bundle=digest), path)
        assert ended.reason.startswith("the workdir's bundle is damaged")

    def test_not_there(self, engine: LocalEngine) -> None:
        ended = run(engine, order("r", "true", bundle="0" * 64))
        assert ended.reason == "the workdir's bundle 000000000000 is not at this site"

    def test_one_that_would_leave_its_folder(self, engine: LocalEngine, tmp_path: Path) -> None:
        path, digest = packed(tmp_path, {"../../../evil": "x"})
        ended = run(engine, order("r", "true", bundle=digest), path)
        assert ended.reason.startswith("the workdir's bundle cannot be unpacked")
        assert not list(tmp_path.rglob("evil"))


class TestCheckpoint:
    def test_outlives_attempts_and_being_forgotten(
        self, engine: LocalEngine, tmp_path: Path
    ) -> None:
        first = order("r1", "echo 1 > $SKEP_CHECKPOINT_DIR/step")
        run(engine, first)
        engine.forget("r1")
        second = order("r2", "cat $SKEP_CHECKPOINT_DIR/step").model_copy(update={"job": first.job})
        run(engine, second)
        assert text(engine, "r2") == "1\n"

    def test_absolute_as_it_is_and_relative_inside(
        self, engine: LocalEngine, tmp_path: Path
    ) -> None:
        show = "echo $SKEP_CHECKPOINT_DIR; test -d $SKEP_CHECKPOINT_DIR"
        run(engine, order("r1", show, checkpoint=str(tmp_path / "mine")))
        run(engine, order("r2", show, checkpoint="a/b"))
        assert text(engine, "r1") == f"{tmp_path}/mine\n"
        assert text(engine, "r2") == f"{tmp_path}/site/checkpoints/job-r2/a/b\n"
        assert {r.phase for r in engine.poll()} == {"succeeded"}

    def test_a_way_out_is_refused(self, engine: LocalEngine) -> None:
        ended = run(engine, order("r1", "true", checkpoint="../other"))
        assert ended.reason == "checkpoint: ../other leaves the job's own folder at the site"


def test_proxy_and_relay(engine: LocalEngine) -> None:
    run(engine, order("r", "echo $SKEP_PROXY $SKEP_RELAY"))
    assert text(engine, "r") == "127.0.0.1:9\n"  # of one site alone: it meets nobody
    run(engine, order("s", "echo $SKEP_PROXY $SKEP_RELAY", span={"min": 1, "max": 2}))
    assert text(engine, "s") == "127.0.0.1:9 127.0.0.1:8\n"


def test_a_run_of_a_site_that_cannot_be_dialled_opens_no_port(tmp_path: Path) -> None:
    shut = LocalEngine(Setting(SITE.model_copy(update={"inbound": False}), tmp_path / "s"))
    asked = order("r", "echo listen=$SKEP_LISTEN", span={"min": 1, "max": 2})
    assert run(shut, asked).address == ""
    assert text(shut, "r") == "listen=\n"
    shut.close()


def test_secrets_are_for_the_owner_alone(engine: LocalEngine, tmp_path: Path) -> None:
    engine.prepare(order("r", "true", env={"DB_PASSWORD": "p"}), Material(token="t"))
    until(engine, "r", "ready")
    folder = tmp_path / "site/runs/r"
    assert folder.stat().st_mode & 0o77 == 0
    assert (folder / "token").stat().st_mode & 0o77 == 0
    assert (folder / "sheet.json").stat().st_mode & 0o77 == 0
    assert "DB_PASSWORD" not in (tmp_path / "site/journal.jsonl").read_text()


def test_tasks_of_a_batch_script(engine: LocalEngine) -> None:
    script = (
        "srun -l --cpus-per-task=1 sh -c 'echo $SLURM_PROCID/$SLURM_NTASKS; exit $SLURM_PROCID'"
    )
    ended = run(engine, order("r1", script, per="site", chips=4, env={"SLURM_NTASKS": "4"}))
    assert ended.exit_code == 3
    assert sorted(text(engine, "r1").split()) == ["0/4", "1/4", "2/4", "3/4"]
    ended = run(engine, order("r2", "srun -n 2 nothing", per="site", env={"SLURM_NTASKS": "4"}))
    assert ended.reason == "command not found: nothing (exit 127)"


class TestLease:
    """Supervisors keep the lease also when no agent is there to do it."""

    @pytest.mark.parametrize("phase", ["ready", "running"])
    def test_runs_stop_by_themselves(self, engine: LocalEngine, phase: str) -> None:
        wanted = order("r", "sleep 60")
        engine.prepare(wanted, Material())
        until(engine, "r", "ready")
        if phase == "running":
            engine.go(wanted)
            until(engine, "r", "running")
        engine.hold_lease(boot_clock() + 0.3)
        ended = finished(engine)["r"]
        assert ended.phase == "stopped"
        assert ended.reason.startswith("the site's lease ran out")

    def test_a_renewed_lease_is_seen(self, engine: LocalEngine) -> None:
        wanted = order("r", "sleep 1.5")
        engine.hold_lease(boot_clock() + 2.0)
        engine.prepare(wanted, Material())
        until(engine, "r", "ready")
        engine.go(wanted)
        for _ in range(25):
            engine.hold_lease(boot_clock() + 1.0)
            time.sleep(0.1)
        assert finished(engine)["r"].phase == "succeeded"

    def test_runs_whose_job_waits_go_on(self, engine: LocalEngine) -> None:
        engine.hold_lease(boot_clock() + 0.1)
        ended = run(engine, order("r", "sleep 0.8", on_site_loss="wait"))
        assert ended.phase == "succeeded"


class TestFolder:
    def test_one_agent_at_a_time(self, engine: LocalEngine, tmp_path: Path) -> None:
        with pytest.raises(ConflictError, match="another agent works in the folder"):
            LocalEngine(Setting(SITE, tmp_path / "site"))

    def test_unwritable_from_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "site").write_text("a file")
        with pytest.raises(StoreError, match="cannot use the site's folder"):
            LocalEngine(Setting(SITE, tmp_path / "site"))

    def test_unwritable_later(self, engine: LocalEngine, tmp_path: Path) -> None:
        (tmp_path / "site/runs").rename(tmp_path / "site/moved")
        (tmp_path / "site/runs").write_text("a file")
        engine.prepare(order("r", "true"), Material())
        (ended,) = engine.poll()
        assert ended.phase == "failed"
        assert ended.reason.startswith("cannot write the run's folder: Not a directory")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("may not mount a small disk here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


class TestFullDisk:
    def test_filled_by_the_run(self, small_disk: Path) -> None:
        engine = LocalEngine(Setting(SITE, small_disk / "site"))
        ended = run(engine, order("r", "head -c 2000000 /dev/zero > big"))
        assert ended.phase == "failed"
        assert ended.reason.endswith("; the disk of the run's folder is full")
        engine.close()

    def test_full_before_the_run(self, small_disk: Path) -> None:
        engine = LocalEngine(Setting(SITE, small_disk / "site"))
        filler = small_disk / "filler"
        subprocess.run(["cp", "/dev/zero", str(filler)], check=False, capture_output=True)
        ended = run(engine, order("r", "true"))
        assert ended.phase == "failed"
        assert "cannot write the run's folder: No space left on device" in ended.reason
        filler.unlink()
        assert run(engine, order("r2", "true")).phase == "succeeded"
        engine.close()

    def test_filled_while_the_run_prepares(self, small_disk: Path) -> None:
        engine = LocalEngine(Setting(SITE, small_disk / "site"))
        ended = run(engine, order("r", "true", setup="head -c 2000000 /dev/zero > big"))
        assert ended.phase == "failed"
        assert ended.reason
        pids = [r["pid"] for r in read(small_disk / "site/journal.jsonl") if r["pid"]]
        assert pids
        deadline = time.monotonic() + 5
        while any(start_ticks(pid) is not None for pid in pids):
            assert time.monotonic() < deadline
        engine.close()
