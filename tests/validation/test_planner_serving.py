"""The serving model against published measurements, which are not part of skep: else skipped.

Bounds stand a little above the figures of docs/models/serving.md.
"""

from __future__ import annotations

import importlib.util
import statistics
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FACTS = ROOT.parent / "shared/facts/runs/serving.csv"
pytestmark = pytest.mark.skipif(not FACTS.is_file(), reason="facts not here")


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "plan_serving", ROOT / "benchmarks/plan_serving.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["plan_serving"] = module
    spec.loader.exec_module(module)
    return module


def test_throughput_is_within_the_stated_error(bench: ModuleType) -> None:
    found = bench.errors(bench.cases()[0])
    size = [abs(error) for _, error in found]
    assert len(size) >= 150
    assert statistics.mean(size) < 0.15
    assert statistics.median(size) < 0.12
    assert abs(statistics.mean(error for _, error in found)) < 0.05  # the bias


def test_the_band_holds_most_rows(bench: ModuleType) -> None:
    from skep.planner.servingconstants import SPREADS

    inside = 0
    made = bench.cases()[0]
    for one in made:
        rate = bench.predicted(one)
        below, above = SPREADS[one.base.status]
        inside += rate * (1 - below) <= one.measured <= rate * (1 + above)
    assert inside / len(made) >= 0.8
