"""YAML from strangers: plain values by YAML 1.2, and nothing that hurts."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from skep.errors import InputError
from skep.files import yaml


def parse(text: str, **options: tuple[str, ...]) -> dict[str, yaml.Value]:
    return yaml.parse_mapping(text, "f.yaml", **options)


def refusal(text: str, **options: tuple[str, ...]) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("010", 10),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1:30:00", "1:30:00"),
        ("2026-01-31", "2026-01-31"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("~", None),
        ("", None),
        ("'3'", "3"),
        ('"true"', "true"),
        ("1e999", "1e999"),
        ("9" * 19, "9" * 19),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("! 3", 3),
    ],
)
def test_plain_values_are_those_of_yaml_1_2(written: str, value: yaml.Value) -> None:
    got = parse(f"a: {written}")["a"]
    assert got == value
    assert type(got) is type(value)


def test_lists_mappings_and_anchors_are_read() -> None:
    text = "a: &x {b: [1, two, {c: null}]}\nd: *x\ne:\n  <<: *x\n  f: 2\n"
    inner = {"b": [1, "two", {"c": None}]}
    assert parse(text) == {"a": inner, "d": inner, "e": {**inner, "f": 2}}


def test_own_fields_win_over_merged_ones_and_earlier_merges_over_later() -> None:
    text = "a: &x {k: 1, l: 1}\nb: &y {k: 2, l: 2, m: 2}\nc: {l: 3, <<: [*x, *y]}\n"
    assert parse(text)["c"] == {"k": 1, "l": 3, "m": 2}


def test_values_under_text_fields_stay_as_written() -> None:
    text = "env: {A: 007, B: true, C: , D: 1.10, E: null}\nother: 007"
    got = parse(text, text_under=("env",))
    assert got["env"] == {"A": "007", "B": "true", "C": "", "D": "1.10", "E": "null"}
    assert got["other"] == 7


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\na: 2", "f.yaml: line 2, column 1: got 'a'; given twice; allowed: a once"),
        ("a: {b: 1, b: 2}", "f.yaml: line 1, column 11: got 'b'; given twice; allowed: a.b once"),
        (
            "a: b: c",
            "f.yaml: line 1, column 5: got 'a: b: c'; "
            "not YAML: mapping values are not allowed in this context",
        ),
        (
            "a: [1",
            "f.yaml: line 2, column 1: got the end; not YAML: did not find expected ',' or ']'",
        ),
        (
            "a: !!python/object/apply:os.system [ls]",
            "f.yaml: line 1, column 4: got 'tag:yaml.org,2002:python/object/apply:os.system'; "
            "allowed: plain values without tags",
        ),
        (
            "a: *b",
            "f.yaml: line 1, column 4: got *b; allowed: an anchor (&name) that was closed before",
        ),
        (
            "a: &a [*a]",
            "f.yaml: line 1, column 8: got *a; allowed: an anchor (&name) that was closed before",
        ),
        (
            "a: 1\n---\nb: 1",
            "f.yaml: line 2, column 1: got a second document; allowed: one document",
        ),
        ("[a]: 1", "f.yaml: line 1, column 1: got a list or mapping; allowed: text as a name"),
        (
            "a: &x b\n*x : 1",
            "f.yaml: line 2, column 1: got *x; allowed: text as a name",
        ),
        (
            "a:\n  <<: 3",
            "f.yaml: line 2, column 7: got <<; allowed after <<: an alias of a mapping",
        ),
        (
            "- a",
            "f.yaml: file: got a list; "
            "allowed: a mapping of fields to values ('name: value' lines)",
        ),
        (
            "",
            "f.yaml: file: got nothing; "
            "allowed: a mapping of fields to values ('name: value' lines)",
        ),
        (
            "just words",
            "f.yaml: file: got 'just words'; "
            "allowed: a mapping of fields to values ('name: value' lines)",
        ),
        (
            'a: {"b\\0": 1}',
            "f.yaml: line 1, column 5: got 'b\\x00'; allowed: names without control characters",
        ),
        (
            'a: ["b", "\\e[31m"]',
            "f.yaml: a[1]: got '\\x1b[31m'; allowed: text without control characters",
        ),
        (
            "a: \x07",
            "f.yaml: line 1, column 1: got 'a: \\x07'; "
            "not YAML: control characters are not allowed",
        ),
    ],
)
def test_refusals_name_the_place(text: str, line: str) -> None:
    assert refusal(text) == line


def test_control_characters_pass_only_in_free_text_and_nul_never() -> None:
    assert parse('run: "\\e[1m"', free=("run",)) == {"run": "\x1b[1m"}
    assert "run: got 'a\\x00'" in refusal('run: "a\\0"', free=("run",))
    assert parse("run: |\n  a\tb\n") == {"run": "a\tb\n"}


def test_an_alias_bomb_is_refused_at_once() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "allowed: 100,000 values from anchors" in refusal("\n".join(rows))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_without_recursion(opening: str) -> None:
    start = time.process_time()
    assert "allowed: at most 40 levels of nesting" in refusal("a:\n " + opening * 200_000)
    assert time.process_time() - start < 5


def test_deep_nesting_leaves_the_recursion_limit_alone() -> None:
    before = sys.getrecursionlimit()
    refusal("a: " + "[" * 500_000)
    assert sys.getrecursionlimit() == before


def test_a_large_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "job.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pyyaml, "parse", None)
    used = _io_bytes()
    with pytest.raises(InputError) as caught:
        yaml.read_mapping(Path("job.yaml"), yaml.MIB)
    assert str(caught.value) == "job.yaml: file: got 95.4 MiB; allowed: at most 1 MiB"
    assert _io_bytes() - used < 1_000_000


def _io_bytes() -> int:
    """Bytes that this process has read so far."""
    text = Path("/proc/self/io").read_text() if os.path.exists("/proc/self/io") else "rchar: 0"
    return int(text.split()[1])


def test_files_that_cannot_be_read_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("binary").write_bytes(b"a: 1\nb: \xff\xfe\n")
    os.mkfifo("pipe")
    os.symlink("loop", "loop")

    def said(name: str) -> str:
        with pytest.raises(InputError) as caught:
            yaml.read_mapping(Path(name), 100)
        return str(caught.value)

    assert said("absent") == "absent: file: got nothing; allowed: a file that exists"
    assert said("folder") == "folder: file: got a folder; allowed: a file"
    assert said("binary") == "binary: line 2: got byte 0xff; allowed: text in UTF-8"
    assert said("pipe") == "pipe: file: got no plain file; allowed: a file"
    assert "allowed: a readable file" in said("loop")
    assert "\n" not in said("a\nb")
    assert "\0" not in said("a\0b")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("a: 1")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(InputError, match="got a file that may not be read; allowed: a readable"):
        yaml.read_mapping(path, 100)


PLAIN = (
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text("abc 0:-#'\n", max_size=8)
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdef", min_size=1), VALUES))
def test_what_json_can_say_is_read_back(value: dict[str, yaml.Value]) -> None:
    import json

    assert parse(json.dumps(value)) == value


@given(st.text(max_size=60))
def test_any_text_is_a_mapping_or_one_line(text: str) -> None:
    try:
        said = str(list(parse(text)))
    except InputError as error:
        said = str(error)
    assert said.isprintable()
