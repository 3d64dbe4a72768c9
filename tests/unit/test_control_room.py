"""The check at commit refuses whatever a wrong plan would break, each limit by itself."""

from __future__ import annotations

import pytest

from skep.control.room import Room
from skep.control.topology import topology
from skep.control.world import World
from skep.model.chip import Chip
from skep.model.job import Job
from skep.model.placement import Share
from skep.model.policy import Policy, Queue, Rule
from skep.model.site import NodePool, Place, Pool, Power, Site
from skep.model.snapshot import Placement
from skep.model.state import JobState, SiteState

CHIP = Chip(kind="c", idle_power=1.0, busy_power=11.0)
SITE = Site(
    name="a",
    place=Place(latitude=0, longitude=0, country="SE"),
    pools=(NodePool(chip="c", chips_per_node=8),),
    power=Power(cap=50.0),
)
JOB = JobState("j", Job(name="j", run="x"), "", 0.0)


def world(phase: str = "up") -> World:
    made = World(topology(Pool(sites=(SITE,)), {"c": CHIP}))
    made.sites["a"] = SiteState("a", phase=phase)  # type: ignore[arg-type]
    return made


def placement(chips: int) -> Placement:
    share = Share(site="a", pool=0, chip="c", chips=chips, nodes=1, power=10.0 * chips)
    return Placement("j", 1, (share,), False, "")


def test_what_fits_is_taken_and_counts_from_then_on() -> None:
    room = Room(world(), Policy(), 0.0)
    assert room.take(JOB, placement(2)) == ""
    assert room.take(JOB, placement(2)) == ""
    assert "above 49 W" in room.take(JOB, placement(1))


RULE = Rule(id="r1", effect="refuse", countries=("SE",), reason="not here")


@pytest.mark.parametrize(
    ("policy", "phase", "chips", "words"),
    [
        (Policy(), "lost", 1, "not up"),
        (Policy(drained=("a",)), "up", 1, "drained"),
        (Policy(rules=(RULE,)), "up", 1, "r1"),
        (Policy(), "up", 9, "8 c free"),
        (Policy(), "up", 5, "would draw"),
        (Policy(queues=(Queue(name="default", max_chips=1),)), "up", 2, "of 1 chips"),
    ],
)
def test_each_limit_refuses_by_itself(policy: Policy, phase: str, chips: int, words: str) -> None:
    assert words in Room(world(phase), policy, 0.0).take(JOB, placement(chips))
