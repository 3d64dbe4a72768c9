"""A node that breaks again and again, in the replay: it does not kill the same job twice."""

from __future__ import annotations

import numpy as np
import pytest

from skep.model.policy import Policy
from skep.sim.conditions import Conditions, Mishap
from skep.sim.trace import Trace, build
from tests.scenario.test_replay import columns, replayed, told

HOUR = 3600.0
WITHOUT = Policy(avoid_nodes=0)


def lemon(until: float, every: float = 1800.0) -> Conditions:
    """The first node of the only site kills what runs on it each ``every`` s, and is back at once.

    It is given before all others: a run that fails on it would start on it again.
    """
    times = np.arange(600.0, until, every).tolist()
    return Conditions(faults=[Mishap(at=at, kind="node", row=0, **{"for": 0}) for at in times])


def busy(seed: int, nodes: int = 16, count: int = 80) -> Trace:
    """Jobs of 1 to 8 chips and some hours that use seven tenths of the nodes of 4 chips."""
    chance = np.random.default_rng(seed)
    works = chance.exponential(4 * HOUR, count) + 600.0
    chips = chance.choice([1, 2, 4, 8], count)
    gap = float((works * chips).sum()) / (0.7 * 4 * nodes) / count
    submit = np.cumsum(chance.exponential(gap, count))
    return build("busy", submit.tolist(), works.tolist(), chips.tolist())


def test_a_lemon_kills_a_job_once_and_not_again_and_again() -> None:
    trace, broken = build("one", [0.0], [10 * HOUR], [8]), lemon(10 * HOUR)
    kept = replayed(trace, columns(3), broken)
    assert kept.record.attempts.tolist() == [2]
    assert kept.record.ended[0] == pytest.approx(600 + 10 * HOUR + 1, abs=1)
    lost = replayed(trace, columns(3), broken, WITHOUT)
    assert lost.record.attempts[0] > 20
    assert lost.record.ended[0] > 19 * HOUR


def test_a_job_that_needs_every_node_goes_on_with_the_lemon() -> None:
    trace = build("all", [0.0], [HOUR / 4], [12])
    found = replayed(trace, columns(3), lemon(HOUR))
    assert told(found).succeeded == 1
    assert found.record.attempts.tolist() == [2]


def test_another_site_s_nodes_of_the_same_name_are_not_avoided() -> None:
    trace = build("two", [0.0, 0.0], [HOUR, HOUR], [12, 12])
    found = replayed(trace, columns(3, 3), lemon(HOUR / 4))
    assert sorted(found.record.attempts.tolist()) == [1, 2]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_a_lemon_among_the_nodes_there_are_far_fewer_restarts(seed: int) -> None:
    trace = busy(seed)
    broken = lemon(trace.span)
    kept, lost = (told(replayed(trace, columns(16), broken, p)) for p in (Policy(), WITHOUT))
    assert kept.succeeded == lost.succeeded == len(trace)
    assert kept.restarts < 0.8 * lost.restarts
    assert kept.work_lost < lost.work_lost
    assert kept.completion.mean < lost.completion.mean
