"""The small parts of the local engine that need no process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.engines.ending import exit_code, in_words, last_line, who
from skep.engines.folder import RunFolder, claim
from skep.engines.journal import Journal, alive_twice, read
from skep.engines.loading import Setting, load, names
from skep.engines.order import inherited
from skep.engines.output import text_of
from skep.engines.srun import parse
from skep.errors import InputError
from skep.model.site import Site


@given(st.binary(max_size=40), st.integers(1, 7))
def test_text_in_pieces_keeps_every_offset(data: bytes, size: int) -> None:
    """However it is cut, the pieces have the length of their bytes and join to the whole."""
    whole, at = "", 0
    while at < len(data):
        take = data[at : at + max(4, size)]
        text = text_of(take, last=at + len(take) == len(data))
        assert text, "a reader would stand still"
        whole += text
        at += len(text.encode())
    assert at == len(data)
    assert whole == text_of(data, last=True)


@given(st.text(max_size=30))
def test_good_text_is_kept(text: str) -> None:
    assert text_of(text.encode(), last=True) == text.replace("\0", "?")


def record(event: str, run: str, clock: float, process: str = "0", **more: Any) -> dict[str, Any]:
    base = {"event": event, "run": run, "job": "j", "share": 0, "process": process, "pid": 1}
    return base | {"clock": clock} | more


@pytest.mark.parametrize(
    ("records", "word"),
    [
        ([record("start", "r1", 1), record("end", "r1", 2), record("start", "r2", 3)], ""),
        ([record("start", "r1", 1), record("clear", "r1", 2), record("start", "r2", 3)], ""),
        ([record("start", "r1", 1), record("start", "r2", 2, share=1)], ""),
        ([record("start", "r1", 1), record("start", "r2", 2)], "while r1"),
        ([record("start", "r2", 2), record("start", "r1", 1)], "while r1"),
        ([record("start", "r1", 1), record("end", "r1", 2), record("start", "r1", 3)], "twice"),
        ([record("clear", "r1", 2), record("start", "r1", 3)], "after its end"),
    ],
)
def test_journal_check(records: list[dict[str, Any]], word: str) -> None:
    found = alive_twice(records)
    assert bool(found) == bool(word)
    assert word in " ".join(found)


def test_journal_outlives_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, lambda: None, run="r", job="j", share=0)
    journal.start("0", os.getpid())
    with path.open("a") as file:
        file.write('{"event": "sta')
    journal.clear()
    start, clear = read(path)
    assert start["ticks"] > 0
    assert (clear["event"], clear["run"]) == ("clear", "r")
    assert clear["clock"] > start["clock"]


def test_a_start_that_cannot_be_noted_raises_and_an_end_does_not(tmp_path: Path) -> None:
    asked = []
    journal = Journal(tmp_path / "no/journal", lambda: asked.append(1), run="r", job="j", share=0)
    journal.clear()
    with pytest.raises(OSError, match="No such file"):
        journal.start("0", os.getpid())
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("code", "log", "words"),
    [
        (-9, "", "x was killed by signal 9"),
        (3, "\n\n", "x ended with exit code 3"),
        (3, "a\nb  b\n\n", "x ended with exit code 3: b b"),
        (
            127,
            "bash: line 1: trian.py: command not found\n",
            "command not found: trian.py (exit 127)",
        ),
        (127, "sh: 1: trian.py: not found\n", "command not found: trian.py (exit 127)"),
        (127, "other\n", "x ended with exit code 127: other"),
        (1, "l" * 5000, "x ended with exit code 1: " + "l" * 200),
    ],
)
def test_reasons(tmp_path: Path, code: int, log: str, words: str) -> None:
    path = tmp_path / "log"
    path.write_text(log)
    assert in_words("x", code, path) == words


def test_names_of_processes() -> None:
    assert [who("setup", 2), who("0", 1), who("1", 2)] == [
        "setup",
        "the process",
        "process 2 of 2 (rank 1)",
    ]
    assert [exit_code(0), exit_code(3), exit_code(-15)] == [0, 3, 143]
    assert last_line(Path("/nonexistent")) == ""


def test_what_jobs_inherit() -> None:
    agent = {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C"}
    secret = {"SKEP_TOKEN": "", "HF_TOKEN": "", "db_password": "", "RANK": "", "SLURM_JOB_ID": ""}
    assert inherited(agent | secret) == agent


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("python t.py -n 3", (None, ["python", "t.py", "-n", "3"])),
        ("-n 3 hostname", (3, ["hostname"])),
        ("-n3 hostname", (3, ["hostname"])),
        ("--ntasks=3 --nodes 2 -l -c 4 hostname -x", (3, ["hostname", "-x"])),
        ("--exclusive --mpi pmix --gpus-per-task 1 a", (None, ["a"])),
        ("--ntasks 2 -- -odd", (2, ["-odd"])),
        ("-u --cpu-bind=none --mem-per-cpu 2G a", (None, ["a"])),
    ],
)
def test_srun_options(arguments: str, expected: tuple[int | None, list[str]]) -> None:
    assert parse(arguments.split()) == expected


def test_a_claim_is_made_once(tmp_path: Path) -> None:
    assert claim(tmp_path / "x", "first")
    assert not claim(tmp_path / "x", "second")
    assert (tmp_path / "x").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_stop_may_only_come_nearer(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.order_stop(100.0, "first")
    assert not folder.order_stop(200.0, "second")
    assert folder.order_stop(1.0, "third")
    stop = folder.stop()
    assert stop is not None
    assert stop["reason"] == "first"


def test_engines_by_name(tmp_path: Path) -> None:
    assert "local" in names()
    site = Site.model_validate({"name": "a", "engine": "locl", "pools": [{"chip": "c"}]})
    with pytest.raises(InputError, match=r"sites.a.engine: got 'locl'.*did you mean 'local'"):
        load(Setting(site, tmp_path))
