"""Real jobs on the embedded pool correct the plan: the predicted step comes within 10 %."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.cli.connect import connect
from tests.e2e.conftest import ROOT, Run, runner

JOB = """
name: tinygpt
run: python train.py --seconds 6 --eval-every 0
workdir: .
chips: cpu-core:2
span: 1
"""
SEQUENCE = 64
MODEL = ["plan", "examples/models/tinygpt.yaml", "--chips", "examples/pool.yaml"]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Run]:
    skep = runner(tmp_path / "home")
    started = skep("up", "--pool", "examples/pool.yaml")
    assert started.returncode == 0, started.stderr
    yield skep
    skep("down", "--force")


@pytest.mark.real
@pytest.mark.timeout(300)
def test_a_few_jobs_bring_the_error_below_ten_percent(pool: Run, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    shutil.copytree(ROOT / "examples/tinygpt", folder, ignore=shutil.ignore_patterns("job.yaml"))
    file = folder / "job.yaml"
    file.write_text(JOB)

    def predicted(batch: int) -> tuple[float, int]:
        told = pool(*MODEL, "--on", "2xcpu-core", "--batch", str(batch), "--json")
        assert told.returncode == 0, told.stderr
        found = json.loads(told.stdout)
        return found["step_s"], found["learnt"]["same_layout"]

    for _ in range(3):
        ran = pool("run", str(file))
        assert ran.returncode == 0, ran.stderr
    with connect(None, tmp_path / "home") as client:
        runs = client.measured()
    assert len(runs) == 3
    step, used = predicted(round(runs[0].tokens / SEQUENCE))
    assert used == 3
    measured = sorted(run.step for run in runs)[1]
    assert abs(step / measured - 1) < 0.10
