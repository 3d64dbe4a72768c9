"""The folder of logs: each byte once, whole characters, nothing outside, a cap."""

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.errors import InputError
from skep.store.logs import LogFolder


def test_text_is_kept_once(tmp_path: Path) -> None:
    logs = LogFolder(tmp_path)
    assert logs.append("r1", "0", 0, "hello ") == 6
    assert logs.append("r1", "0", 6, "world") == 11
    assert logs.append("r1", "0", 0, "hello ") == 11  # all known
    assert logs.append("r1", "0", 3, "lo world, again") == 18  # overlaps
    assert logs.append("r1", "0", 18, "") == 18
    assert logs.read("r1", "0") == ("hello world, again", 18)
    assert (tmp_path / "r1" / "0.log").read_text() == "hello world, again"


def test_after_a_gap_nothing_is_kept(tmp_path: Path) -> None:
    logs = LogFolder(tmp_path)
    assert logs.append("r1", "0", 5, "late") == 0
    assert logs.processes("r1") == ()
    logs.append("r1", "0", 0, "ab")
    assert logs.append("r1", "0", 3, "d") == 2
    assert logs.read("r1", "0") == ("ab", 2)


def test_a_new_process_of_ours_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    LogFolder(tmp_path).append("r1", "0", 0, "before")
    logs = LogFolder(tmp_path)
    assert logs.size("r1", "0") == 6
    assert logs.append("r1", "0", 6, " after") == 12


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=60),
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 30))),
)
def test_any_pieces_give_the_text_again(
    tmp_path_factory: pytest.TempPathFactory, text: str, limit: int, pieces: list[tuple[int, int]]
) -> None:
    logs = LogFolder(tmp_path_factory.mktemp("logs"))
    data = text.encode()
    kept = 0
    for start, length in [*pieces, (0, len(text))]:
        offset = len(text[:start].encode())
        got = logs.append("r", "0", offset, text[start : start + length])
        assert kept <= got <= len(data)
        kept = got
    assert kept == len(data)
    parts, at = [], 0
    while at < len(data):
        part, after = logs.read("r", "0", at, limit)
        assert after > at
        assert len(part.encode()) == after - at <= max(limit, 4)
        parts.append(part)
        at = after
    assert "".join(parts) == text
    assert logs.read("r", "0", at) == ("", at)


def test_reading_where_nothing_is(tmp_path: Path) -> None:
    logs = LogFolder(tmp_path / "none")
    assert logs.read("r", "0", 7) == ("", 7)
    assert logs.size("r", "0") == 0
    assert logs.processes("r") == ()
    assert not (tmp_path / "none").exists()


def test_a_character_that_is_not_whole_yet_waits(tmp_path: Path) -> None:
    logs = LogFolder(tmp_path)
    logs.append("r", "0", 0, "ab")
    with (tmp_path / "r" / "0.log").open("ab") as file:
        file.write("é".encode()[:1])
    assert logs.read("r", "0") == ("ab", 2)
    assert logs.read("r", "0", 2) == ("\ufffd", 3)  # it never comes: it is not waited for for ever


def test_processes_are_in_order(tmp_path: Path) -> None:
    logs = LogFolder(tmp_path)
    for process in ("10", "2", "setup", "0"):
        logs.append("r1", process, 0, "x")
    logs.append("r2", "7", 0, "x")
    assert logs.processes("r1") == ("setup", "0", "2", "10")


def test_beyond_the_cap_one_line_says_so(tmp_path: Path) -> None:
    logs = LogFolder(tmp_path, cap=100)
    assert logs.append("r", "0", 0, "a" * 90) == 90
    assert logs.append("r", "0", 90, "b" * 30) == 120
    assert logs.append("r", "0", 120, "c" * 5000) == 5120
    text = logs.read("r", "0")[0]
    assert text.startswith("a" * 90 + "b" * 10)
    assert text.count("100 bytes are kept of a log; the rest is dropped") == 1
    assert "c" not in text.removeprefix("a" * 90).split("[")[0]
    assert len(text) < 200
    again = LogFolder(tmp_path, cap=100)
    assert again.append("r", "0", 0, "a" * 90) <= len(text)  # a site that has forgotten
    assert again.append("r", "0", 5120, "d") == 5121
    assert again.read("r", "0")[0] == text


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a\0", "a\n", "é", "x" * 129]
)
def test_no_name_leads_out(tmp_path: Path, name: str) -> None:
    logs = LogFolder(tmp_path / "logs")
    for run, process, field in ((name, "0", "run"), ("r", name, "process")):
        with pytest.raises(InputError, match=f"^{field}: got "):
            logs.append(run, process, 0, "x")
        with pytest.raises(InputError):
            logs.read(run, process)
    with pytest.raises(InputError):
        logs.processes(name)
    assert list(tmp_path.iterdir()) == []


def test_many_threads_write_each_byte_once(tmp_path: Path) -> None:
    logs, text = LogFolder(tmp_path), "0123456789" * 200

    def send() -> None:
        at = 0
        while at < len(text):
            at = logs.append("r", "0", at, text[at : at + 7])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logs.read("r", "0") == (text, len(text))
