"""Bad input, as a user meets it: one line, exit 2, nothing started."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Run, runner

GOOD = "name: j\nrun: sleep 60\n"
CASES = {
    "unknown field": (GOOD + "chipz: 2\n", ["chipz", "chips"]),
    "wrong type": (GOOD + "retries: many\n", ["retries", "'many'", "number"]),
    "negative chips": (GOOD + "chips: -3\n", ["chips", "-3", "1 or more"]),
    "zero chips": (GOOD + "chips: 0\n", ["chips", "0", "1 or more"]),
    "unknown kind": (GOOD + "chips: h100-sxm:2\n", ["chips", "h100-sxm", "cpu-core"]),
    "too many chips": (GOOD + "chips: 9\n", ["chips", "9", "4"]),
    "span too large": (GOOD + "chips: 4\nspan: 4\n", ["span", "4", "3"]),
    "unreadable workdir": (GOOD + "workdir: /nowhere\n", ["workdir", "/nowhere"]),
    "not YAML": ("name: [\n", ["line"]),
    "control characters": ('name: "a\\x07b"\nrun: x\n', ["name", "\\x07"]),
    "unknown queue": (GOOD + "queue: vip\n", ["queue", "'vip'", "default"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_exit_2_nothing_started(case: str, up: Run, tmp_path: Path) -> None:
    text, words = CASES[case]
    path = tmp_path / "job.yaml"
    path.write_text(text)
    done = up("submit", str(path))
    assert done.returncode == 2, done
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]
    assert up("ps", "--all", "--json").stdout.strip() == "[]"


def test_a_job_file_of_100_mb_is_refused_unread(up: Run, tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    began = time.monotonic()
    done = up("submit", str(path))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "100" in done.stderr
    assert time.monotonic() - began < 30


POOL = """
name: p
chips: [{kind: cpu-core, idle_power: 5 W, busy_power: 10 W}]
sites:
  - {name: a, pools: [{chip: cpu-core, chips_per_node: 2}], power: {cap: CAP}}
  - {name: OTHER, pools: [{chip: cpu-core}]}
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (POOL.replace("CAP", "100 W").replace("OTHER", "a"), ["sites", "name", "'a'"]),
        (POOL.replace("CAP", "6 W").replace("OTHER", "b"), ["cap", "6", "10"]),
    ],
)
def test_a_bad_pool_starts_nothing(skep: Run, tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(text)
    done = skep("up", "--pool", str(path))
    assert done.returncode == 2, done
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert skep("ps").returncode != 0 or "no" in skep("ps").stdout.lower()


def test_command_not_found_fails_without_a_retry_storm(up: Run, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: typo\nrun: pyton train.py\nretries: 50\n")
    done = up("run", str(path))
    assert done.returncode == 8  # the job failed; see docs/guides/cli.md
    assert "not found" in done.stdout + done.stderr
    assert up("show", "typo", "--json").stdout.count('"attempt"') <= 2
    assert "Traceback" not in done.stdout + done.stderr


def test_no_server_is_told_in_one_line(skep: Run) -> None:
    done = skep("ps", "--server", "http://127.0.0.1:9")
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """A state folder on a file system of 24 MB that fills up under the control plane."""
    home = tmp_path / "home"
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(home)])
    if mounted.returncode != 0:
        pytest.skip("this machine does not permit a mount")
    skep = runner(home)
    try:
        assert skep("up", "--pool", "examples/pool.yaml").returncode == 0
        job = tmp_path / "job.yaml"
        job.write_text("name: small\nrun: 'true'\n")
        assert skep("submit", str(job)).returncode == 0
        with (home / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"0" * 4096)
        job.write_text("name: refused\nrun: 'true'\nenv: {A: '" + "x" * 900_000 + "'}\n")
        done = skep("submit", str(job))
        assert done.returncode == 7, done
        assert len(done.stderr.strip().splitlines()) == 1
        (home / "ballast").unlink()
        job.write_text("name: after\nrun: 'true'\n")
        assert skep("run", str(job)).returncode == 0
        names = skep("ps", "--all").stdout
        assert "small" in names
        assert "after" in names
        assert "refused" not in names
    finally:
        skep("down", "--force")
        subprocess.run(["umount", "-l", str(home)], check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a read-only file system")
def test_a_read_only_state_folder_is_told_in_one_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(home)])
    if mounted.returncode != 0:
        pytest.skip("this machine does not permit a mount")
    skep = runner(home)
    try:
        for words in (["up", "--pool", "examples/pool.yaml"], ["run", "examples/hello/job.yaml"]):
            done = skep(*words)
            assert done.returncode == 7, done
            assert len(done.stderr.strip().splitlines()) == 1
            assert str(home) in done.stderr
    finally:
        subprocess.run(["umount", "-l", str(home)], check=False)
