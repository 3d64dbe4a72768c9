"""The command as a user runs it: real processes, a home of its own for each module."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKEP = Path(sys.executable).with_name("skep")
Run = Callable[..., subprocess.CompletedProcess[str]]


def runner(home: Path, folder: Path = ROOT) -> Run:
    """A function that runs ``skep WORDS`` with its state in ``home``."""

    def run(*words: str, timeout: float = 90.0, **env: str) -> subprocess.CompletedProcess[str]:
        names = {"SKEP_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "160"}
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SKEP_")}
        return subprocess.run(
            [str(SKEP), *words],
            env=clean | names | env,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """``skep`` with the example pool up for the whole module."""
    skep = runner(tmp_path_factory.mktemp("home"))
    started = skep("up", "--pool", "examples/pool.yaml")
    assert started.returncode == 0, started.stderr
    yield skep
    skep("down", "--force")


@pytest.fixture
def skep(tmp_path: Path) -> Run:
    """``skep`` with an empty home and no control plane."""
    return runner(tmp_path / "home")
