"""Fragmentation as FGD has it, at the pools of sites."""

from __future__ import annotations

import numpy as np
import pytest

from skep.control.topology import Topology, topology
from skep.files.pool import resolve_chips
from skep.model.chip import Chip
from skep.model.site import NodePool, Pool, Site
from skep.sim.fragments import Fragments
from skep.sim.record import Timeline
from skep.sim.trace import Trace, build


def pool(*kinds: str) -> Topology:
    sites = tuple(
        Site(name=f"s{n}", engine="simulated", pools=(NodePool(chip=kind, nodes=8),))
        for n, kind in enumerate(kinds)
    )
    made = Pool(name="p", sites=sites, chips=tuple(Chip(kind=kind) for kind in set(kinds)))
    return topology(made, resolve_chips(made))


def trace(*chips: int, **more: object) -> Trace:
    return build("t", np.arange(len(chips)), np.ones(len(chips)), chips, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("jobs", "free", "expected"),
    [
        (trace(8), (8, 3), 3),  # the first can be used, the second not
        (trace(8), (9, 0), 0),  # more than it needs is no fragment: others of its kind go there
        (trace(1, 8), (8, 3), 1.5),  # one of two jobs cannot use three chips
        (trace(8, 8, 2, 1), (3, 1), 2 / 4 * 3 + 3 / 4 * 1),
        (trace(8, numbers={"sites": [2]}), (8, 4), 0),  # four at each of two
        (trace(8, numbers={"least": [2], "most": [8]}), (8, 2), 0),  # it can do with two
    ],
)
def test_free_chips_that_a_job_cannot_use(
    jobs: Trace, free: tuple[int, ...], expected: float
) -> None:
    found = Fragments(jobs, pool("a", "a")).expected(np.array(free))
    assert found == pytest.approx(expected)


def test_each_kind_is_judged_by_the_jobs_that_may_use_it() -> None:
    jobs = trace(8, 2, 4, words={"kind": ["a", "b", "a|b"]})
    measure = Fragments(jobs, pool("a", "b", "c"))
    assert measure.expected(np.array([4, 0, 0])) == pytest.approx(1 / 2 * 4)
    assert measure.expected(np.array([0, 3, 5])) == pytest.approx(1 / 2 * 3)  # nobody wants c


def test_the_mean_over_time_is_of_chips_not_of_moments() -> None:
    from skep.sim.figures import fragmentation

    line = Timeline(1, 10.0)
    line.add(0.0, 10.0, np.array([90.0]), (0, 0, 0.0, 10.0, 10.0))
    line.add(10.0, 20.0, np.array([10.0]), (0, 0, 0.0, 90.0, 0.0))
    assert fragmentation(line) == pytest.approx(0.1)
