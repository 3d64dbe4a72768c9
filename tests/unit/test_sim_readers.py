from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from skep.errors import InputError
from skep.sim.readers.read import read_trace
from skep.sim.readers.table import write_csv, write_parquet

SWF = """; Computer: none
; MaxProcs: 128
; UnixStartTime: 1000000
1 0 5 100 4 -1 -1 8 600 -1 1 3 1 7 2 -1 -1 -1
2 10 -1 50 4 -1 -1 -1 -1 -1 1 4 1 -1 -1 -1 -1 -1
3 5 -1 -1 4 -1 -1 4 60 -1 5 4 1 -1 2 -1 -1 -1
4 7 -1 20 0 -1 -1 -1 60 -1 5 4 1 -1 2 -1 -1 -1
"""
CSV = "job,submit,duration,chips,kind,queue,estimate,chips_min,chips_max\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_swf_takes_what_was_asked_for_and_leaves_out_what_did_not_run(tmp_path: Path) -> None:
    found = read_trace(write(tmp_path, "a.swf", SWF))
    assert found.ids == ("1", "2")
    assert found.chips.tolist() == [8, 4]
    assert found.duration.tolist() == [100, 50]
    assert (found.size, found.start, found.left_out) == (128, 1_000_000.0, 2)
    assert found.estimate[0] == 600
    assert np.isnan(found.estimate[1])
    assert [found.queues[q] for q in found.queue] == ["q2", "default"]
    assert [found.users[u] for u in found.user] == ["user3", "user4"]
    assert [found.apps[a] for a in found.app] == ["app7", ""]


def test_swf_may_be_compressed_and_out_of_order(tmp_path: Path) -> None:
    lines = SWF.splitlines()
    path = tmp_path / "a.swf.gz"
    with gzip.open(path, "wt") as text:
        text.write("\n".join([*lines[:3], lines[4], lines[3]]))
    found = read_trace(path)
    assert found.submit.tolist() == [0, 10]
    assert found.ids == ("1", "2")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.swf", SWF.replace("100 4", "1oo 4"), ["line 4", "run time", "'1oo'", "a number"]),
        ("a.swf", SWF.replace("100 4", "nan 4"), ["line 4", "run time", "'nan'"]),
        ("a.swf", SWF.replace(" 8 600", " 600"), ["line 4", "17 fields", "18"]),
        ("a.swf", "; nothing\n", ["jobs", "at least one"]),
        ("a.csv", CSV + "a,0,-5,8,,,,,\n", ["row 2", "duration", "'-5'", "0 or more"]),
        ("a.csv", CSV + "a,0,5,8,,,,,\nb,x,5,8,,,,,\n", ["row 3", "submit", "'x'", "seconds"]),
        ("a.csv", CSV + "a,0,5,0,,,,,\n", ["row 2", "chips", "'0'", "1 or more"]),
        ("a.csv", CSV + "a,0,5,1.5,,,,,\n", ["row 2", "chips", "'1.5'", "whole"]),
        ("a.csv", CSV + "a,0,5,8,,,,4,2\n", ["row 2", "chips_max", "4 or more"]),
        ("a.csv", CSV + "a,0,5,8,,,,4,\n", ["row 2", "chips_min and chips_max together"]),
        ("a.csv", CSV + "a,0,5\n", ["row 2", "3 fields", "9"]),
        ("a.csv", "submit,duration,chipz\n1,1,1\n", ["chipz", "chips"]),
        ("a.csv", "submit,duration\n1,1\n", ["column", "chips", "missing"]),
        ("a.csv", "", ["column", "missing"]),
        ("a.csv", "submit,duration,chips,submit\n0,1,1,2\n", ["column", "'submit'", "once"]),
        ("a.csv", CSV + "a,0,5,99999999999999999999,,,,,\n", ["row 2", "chips", "at most"]),
        ("a.swf", SWF.replace("2 10 ", "2 -10 "), ["line", "submit time", "'-10'", "-1"]),
        ("a.txt", "", [".swf", "--format"]),
        ("a.parquet", "not parquet", ["a.parquet", "cannot be read"]),
    ],
)
def test_bad_traces_are_told_in_one_line(
    tmp_path: Path, name: str, text: str, words: list[str]
) -> None:
    with pytest.raises(InputError) as told:
        read_trace(write(tmp_path, name, text))
    assert "\n" not in str(told.value)
    for word in words:
        assert word in str(told.value)


def test_a_missing_file_and_an_unknown_format_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_trace(tmp_path / "none.swf")
    with pytest.raises(InputError, match="swf, csv"):
        read_trace(tmp_path / "none.swf", "swg")


@pytest.mark.parametrize("name", ["b.csv", "b.parquet"])
def test_what_is_converted_is_the_same_trace(tmp_path: Path, name: str) -> None:
    found = read_trace(write(tmp_path, "a.swf", SWF))
    (write_csv if name.endswith("csv") else write_parquet)(found, tmp_path / name)
    again = read_trace(tmp_path / name)
    for column in ("submit", "duration", "chips", "estimate", "priority", "sites", "most"):
        assert np.array_equal(getattr(found, column), getattr(again, column), equal_nan=True)
    assert again.ids == found.ids
    assert again.queues == found.queues


def test_elastic_jobs_and_alternatives_survive_a_table(tmp_path: Path) -> None:
    text = CSV + "a,0,5,8,a100|h100-sxm,research,,4,16\n"
    found = read_trace(write(tmp_path, "a.csv", text))
    assert (found.least[0], found.most[0]) == (4, 16)
    assert found.kinds == ("a100|h100-sxm",)
