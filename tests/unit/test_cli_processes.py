"""Process ids, the home and the children of a keeper, with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.cli.children import FIRST_PAUSE, LONGEST_PAUSE, STEADY, Child, next_pause, trim
from skep.cli.home import Home, home_at, write_json
from skep.cli.process import alive, command_of, end, is_ours
from skep.cli.raising import own_pool_file, pool_file
from skep.errors import StoreError
from skep.files.pool import load_pool


def sleeper(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words])


def test_a_process_is_known_by_id_and_command_line() -> None:
    process = sleeper("skep.cli.keeper", "/some/home")
    try:
        assert alive(process.pid)
        until = time.monotonic() + 5
        while "/some/home" not in command_of(process.pid) and time.monotonic() < until:
            time.sleep(0.01)
        assert is_ours(process.pid, "skep.cli.keeper", "/some/home")
        assert not is_ours(process.pid, "skep.api.server")
    finally:
        assert end(process.pid, 5.0)
    assert not alive(process.pid)  # a zombie is not alive
    process.wait()
    assert not alive(process.pid)
    assert not alive(0)


def test_a_process_that_does_not_listen_is_killed() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(1, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert not end(process.pid, 0.2)
    assert process.wait() == -9


def test_an_id_that_has_gone_to_another_program_is_stale(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    write_json(home.keeper_file, {"pid": os.getpid()})
    write_json(home.server_file, {"pid": os.getpid(), "url": "http://127.0.0.1:1"})
    assert home.keeper() == 0
    assert home.server() == ""
    home.keeper_file.write_text("not json")
    assert home.keeper() == 0
    home.keeper_file.write_text('{"pid": "x"}')
    assert home.keeper() == 0


def test_where_the_home_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert home_at(None).path == tmp_path / "skep"
    assert home_at(Path("~/x")).path == Path.home() / "x"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert home_at(None).path == Path.home() / ".local/state/skep"


def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--home or SKEP_HOME"):
        Home(tmp_path / "file" / "home").make()


@given(st.floats(0, 100), st.floats(0, 1000))
def test_a_pause_is_never_beyond_its_bounds(pause: float, lived: float) -> None:
    found = next_pause(pause, lived)
    assert FIRST_PAUSE <= found <= LONGEST_PAUSE or found == pytest.approx(2 * pause)
    assert lived < STEADY or found == FIRST_PAUSE


def test_pauses_double() -> None:
    pauses = [FIRST_PAUSE]
    for _ in range(6):
        pauses.append(next_pause(pauses[-1], 0.1))
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_child_that_dies_starts_again_after_its_pause(tmp_path: Path) -> None:
    child = Child("c", "http.server", ["0", "--bind", "127.0.0.1"], tmp_path / "c.log")
    child.start(now=0.0)
    first = child.pid
    assert not child.watch(now=1.0)
    end(first, 5.0)
    assert not child.watch(now=1.0)
    assert child.pid == 0
    assert not child.watch(now=1.0 + FIRST_PAUSE / 2)
    assert child.watch(now=1.0 + FIRST_PAUSE)
    assert child.pid not in (0, first)
    assert child.restarts == 1
    second = child.pid
    child.stop(5.0)
    assert not alive(second)


def test_a_child_keeps_its_last_words(tmp_path: Path) -> None:
    child = Child("c", "no.such.module", [], tmp_path / "c.log")
    child.start(now=0.0)
    until = time.monotonic() + 10
    while not child.dead() and time.monotonic() < until:
        time.sleep(0.02)
    assert "no" in child.last_words()
    assert child.log.read_text().count("\n") >= 1


def test_a_child_does_not_get_the_users_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKEP_TOKEN", "hunter2")
    (tmp_path / "tell.py").write_text("import os; print(os.environ.get('SKEP_TOKEN'))")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = Child("c", "tell", [], tmp_path / "c.log")
    child.start(now=0.0)
    until = time.monotonic() + 10
    while not child.dead() and time.monotonic() < until:
        time.sleep(0.02)
    assert child.last_words() == "None"


def test_a_long_log_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "c.log"
    log.write_bytes(b"x" * (5 << 20))
    trim(log)
    assert not log.exists()
    assert log.with_suffix(".old").exists()


def test_which_pool_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKEP_POOL", raising=False)
    home = Home(tmp_path / "home")
    job = tmp_path / "examples" / "tiny" / "job.yaml"
    job.parent.mkdir(parents=True)
    assert pool_file(None, home, job) == own_pool_file(home)
    (tmp_path / "examples" / "pool.yaml").write_text("")
    assert pool_file(None, home, job) == tmp_path / "examples" / "pool.yaml"
    (job.parent / "pool.yaml").write_text("")
    assert pool_file(None, home, job) == job.parent / "pool.yaml"
    monkeypatch.setenv("SKEP_POOL", "/p.yaml")
    assert pool_file(None, home, job) == Path("/p.yaml")
    assert pool_file(Path("mine.yaml"), home, job) == Path("mine.yaml")


def test_this_machine_as_a_pool_can_be_read_back(tmp_path: Path) -> None:
    pool = load_pool(own_pool_file(Home(tmp_path)))
    assert pool.sites[0].chips >= 1
    assert pool.kinds() == ("cpu-core",)
