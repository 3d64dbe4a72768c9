"""benchmarks/levels.py, with few sites."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def levels():
    spec = importlib.util.spec_from_file_location("levels", BENCHMARKS / "levels.py")
    made = sys.modules["levels"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    yield made
    del sys.modules["levels"]


def test_two_levels_take_load_off_the_busiest_link(levels):
    one, two = (levels.measure(12, most, 20_000, 2.0, 4.0, 1) for most in (12, 11))
    assert (one["levels"], two["levels"]) == (1, 2)
    assert one["digests"] == two["digests"] == 1
    assert two["busiest_mb"] < 0.7 * one["busiest_mb"]
    assert 0.0 < two["round_s"] < 4.0
