"""Use of queues: the formula against a sum over time, a replay against what was counted live."""

from __future__ import annotations

import numpy as np
import pytest

from skep.control.usage import Usage
from skep.control.world import World
from skep.model.policy import Policy, Queue
from tests.pilot import Pilot

HALF = 100.0


def summed(runs: list[tuple[float, float, float]], now: float) -> float:
    """Held on average, in steps of a second: (chips, start, end) weighted by half-lives."""
    times = np.arange(-5000.0, now, 0.5)
    weights = 2.0 ** (-(now - times) / HALF)
    held = sum(c * ((times >= a) & (times < min(b, now))) for c, a, b in runs)
    return float((held * weights).sum() / weights.sum())


def test_use_is_what_was_held_on_average_old_use_counting_less() -> None:
    usage = Usage(HALF)
    usage.begins("q", 4.0, 0.0)
    usage.begins("q", 2.0, 50.0)
    usage.ends("q", 4.0, 0.0, 120.0)
    runs = [(4.0, 0.0, 120.0), (2.0, 50.0, np.inf)]
    for now in (120.0, 200.0, 1000.0):
        assert usage.used(now)["q"] == pytest.approx(summed(runs, now), rel=0.01)
    assert usage.used(1e6)["q"] == pytest.approx(2.0)


def test_the_order_in_which_runs_are_counted_does_not_matter() -> None:
    live, late = Usage(HALF), Usage(HALF)
    live.begins("q", 4.0, 0.0)
    live.begins("q", 2.0, 10.0)
    live.ends("q", 4.0, 0.0, 70.0)
    live.ends("q", 2.0, 10.0, 900.0)
    late.had("q", 2.0, 10.0, 900.0)
    late.had("q", 4.0, 0.0, 70.0)
    assert live.used(1000.0) == pytest.approx(late.used(1000.0))


def test_a_replay_gives_the_same_use() -> None:
    policy = Policy(queues=(Queue(name="default"), Queue(name="b")), half_life=50.0)
    pilot = Pilot(4, 4, policy=policy)
    pilot.submit("one", 3)
    pilot.submit("two", 2, queue="b")
    (run,) = pilot.live("one")
    pilot.running(run, now=2.0)
    pilot.tell(run, "succeeded", 40.0, exit_code=0)
    live = pilot.control.world
    again = World(live.topology, policy=policy)
    loaded = pilot.store.load()
    again.load(loaded.jobs, loaded.sites, 60.0)
    assert again.usage.used(100.0) == pytest.approx(live.usage.used(100.0))
    assert set(live.usage.used(100.0)) == {"default", "b"}
