"""A few random faults on virtual sites: all end on one digest, with an exact token account.

``benchmarks/faults.py`` brings two hundred, and compares the loss with that of a run without.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def faults():
    yield from benchmark("faults")


@pytest.fixture(scope="module")
def learners():
    yield from benchmark("learners")


def benchmark(name):
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    yield made
    sys.path[:] = before


def test_training_ends_on_one_model_with_an_exact_account(faults, tmp_path):
    job = faults.trained(tmp_path, 2, faults=8, end=14 * faults.ROUND_S)
    found = faults.judged(job)
    assert found["wrong"] == []
    assert found["ended"]
    assert found["digests"] == 1
    assert found["blocked_s"] == 0.0
    assert sum(found["faults"].values()) == 8


def test_a_link_that_stays_cut_keeps_nobody_from_the_rounds(faults, tmp_path):
    """Two of four sites reach each other by way of a third for nearly all of the training."""
    job = faults.Job(tmp_path, 1, end=8 * faults.ROUND_S)
    job.world.at(4.0, lambda: job.cut([("s0", "s1")], 1000.0))
    found = faults.judged(job.finished())
    assert found["wrong"] == []
    assert (found["ended"], found["digests"], found["blocked_s"]) == (True, 1, 0.0)
    stats = {name: job.runs[name].stats for name in faults.NAMES}
    assert min(min(own["participation"].values()) for own in stats.values()) > 0.8
    assert {name for name, own in stats.items() if own["bytes_forwarded"]} == {"s2"}


def test_the_ledger_sees_what_does_not_add_up(faults, tmp_path):
    job = faults.trained(tmp_path, 3, faults=0, end=6 * faults.ROUND_S)
    assert faults.judged(job)["wrong"] == []
    state = job.runs["s0"]._states()[0]
    newest = job.ledger.steps[state.digest]
    job.ledger.steps[state.digest] = (newest[0], newest[1], newest[2] + 1)
    job.ledger.trained["j-a1-s1"] += 128
    wrong = faults.judged(job)["wrong"]
    assert any("told" in text for text in wrong)
    assert any("tokens of j-a1-s1 where" in text for text in wrong)


def test_a_storm_leaves_one_model_and_most_of_the_throughput(learners):
    found = learners.measure(5, 2.0, 90.0, 1)
    assert found["learner_faults"] == 3
    assert found["learner_ended"] == 5
    assert found["learner_digests"] == 1
    assert found["learner_throughput"] > 0.9
    assert found["learner_participants"] > 3.5
