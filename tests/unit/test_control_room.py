"""The check at commit refuses whatever a wrong plan would break, each limit by itself."""

from __future__ import annotations

import pytest

from skep.control.room import Room
from skep.control.topology import topology
from skep.control.world import World
from skep.model.chip import Chip
from skep.model.job import Job
from skep.model.placement import Share
from skep.model.policy import Policy, Queue, Quota, Rule
from skep.model.site import Link, NodePool, Place, Pool, Power, Site
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


def far(name: str) -> Site:
    return Site(
        name=name, pools=(NodePool(chip="c", nodes=4, chips_per_node=2, nodes_per_block=2),)
    )


def over(spec: dict[str, object], shares: tuple[Share, ...], *queues: Queue) -> str:
    """What the check says to shares of 8-chip sites ``b`` and ``d`` with a link of 1 Gbit/s."""
    pool = Pool(
        sites=(far("b"), far("d")), links=(Link(between=("b", "d"), bandwidth=1e9, rtt=0.1),)
    )
    made = World(topology(pool, {"c": CHIP}))
    for name in ("b", "d"):
        made.sites[name] = SiteState(name, phase="up")
    job = JobState("j", Job(name="j", run="x", **spec), "", 0.0)  # type: ignore[arg-type]
    policy = Policy(queues=queues) if queues else Policy()
    return Room(made, policy, 0.0).take(job, Placement("j", 1, shares, False, ""))


def share(site: str, chips: int, *parts: tuple[int, int], rank: int = 0) -> Share:
    return Share(site=site, pool=0, chip="c", chips=chips, nodes=1, rank=rank, in_blocks=parts)


BOTH = (share("b", 2), share("d", 2, rank=1))


@pytest.mark.parametrize(
    ("spec", "shares", "words"),
    [
        ({}, BOTH, ""),
        ({"within": "site"}, BOTH, "within one site"),
        ({"within": "block"}, (share("b", 6, (0, 4), (1, 2)),), "within one block, not in 2"),
        ({"spread": 2}, (share("b", 3),), "2 chips at one site, not 3"),
        ({"exchange": {"bandwidth": 2e9}}, BOTH, "between b and d is not good enough"),
        ({"exchange": {"rtt": 0.05}}, BOTH, "between b and d is not good enough"),
        ({"exchange": {"rtt": 0.2, "bandwidth": 1e9}}, BOTH, ""),
        ({}, (share("b", 5, (0, 5)),), "block 0 at b has 4 free, 5 were given"),
    ],
)
def test_what_the_job_asked_for_is_asked_again(
    spec: dict[str, object], shares: tuple[Share, ...], words: str
) -> None:
    said = over(spec, shares)
    assert words in said
    assert bool(words) == bool(said)


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        (Queue(name="default", quotas=(Quota(max=3),)), "would hold 4 of 3 chips"),
        (Queue(name="default", quotas=(Quota(chip="c", max=3),)), "4 of 3 c chips"),
        (Queue(name="default", quotas=(Quota(site="b", max=1),)), "2 of 1 chips at b"),
        (Queue(name="default", quotas=(Quota(site="b", max=1, soft=True),)), ""),
        (Queue(name="default", quotas=(Quota(chip="other", max=0),)), ""),
        (Queue(name="default", parent="lab"), "queue lab would hold 4 of 3 chips"),
    ],
)
def test_every_hard_quota_is_counted_again(queue: Queue, words: str) -> None:
    said = over({}, BOTH, queue, Queue(name="lab", max_chips=3))
    assert words in said
    assert bool(words) == bool(said)
