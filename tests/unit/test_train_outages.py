"""What benchmarks/outages.py makes of step times and round records."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def outages():
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location("outages", BENCHMARKS / "outages.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    yield made
    sys.path[:] = before


def test_a_stall_is_what_the_longest_step_took_more_than_usual(outages):
    ended = [0.0, 1.0, 2.0, 5.0, 6.0]
    assert outages.gaps(ended, 0.0, 9.0) == [1.0, 1.0, 3.0, 1.0]
    assert outages.stall(ended, 1.0, 3.0, 6.0) == 2.0
    assert outages.stall(ended, 1.0, 7.0, 9.0) == 0.0
    assert outages.rate(ended, 0.0, 5.0) == 0.6


def test_rounds_are_counted_from_the_return_to_the_first_with_the_site(outages):
    told = [(1.0, "abc"), (2.0, "ab"), (4.0, "ab"), (6.0, "abc")]
    rounds = [{"t": at, "sites": list(sites)} for at, sites in told]
    assert outages.rounds_until(rounds, "c", 3.0) == (1, 3.0)
    assert outages.rounds_until(rounds, "d", 3.0) == (2, -1.0)


def test_figures_of_a_run_without_a_hitch(outages):
    steady = [0.5 * step for step in range(200)]
    found = [
        {"ended": steady, "chosen_steps": 200, "digest": "x"},
        {"ended": steady, "chosen_steps": 200, "digest": "x"},
        {"ended": steady[100:], "chosen_steps": 200, "digest": "x"},
    ]
    at = {"kill": 30.0, "back": 41.0, "trains": 45.0, "cut": 65.0, "heal": 85.0}
    rounds = [{"t": 50.0, "sites": ["s0", "s1", "s2"]}, {"t": 90.0, "sites": ["s0", "s2"]}]
    figures = outages.judged(found, rounds, at)
    assert figures["kill_stall_s"] == figures["cut_stall_s"] == figures["steps_lost"] == 0
    assert (figures["rejoin_rounds"], figures["rejoin_s"]) == (0, 5.0)
    assert figures["rejoin_cost_points"] == pytest.approx(0.0)
    assert (figures["heal_s"], figures["survivor_digests"]) == (5.0, 1)
