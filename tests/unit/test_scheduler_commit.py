"""The re-check of one decision against the world as it has become."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skep.model.policy import Policy, Queue, Rule
from skep.model.snapshot import Placement, Snapshot
from skep.scheduler import schedule
from skep.scheduler.commit import still_fits
from tests.builders import job, pool, site, world

POLICY = Policy(power_margin=0.0)


def made() -> Placement:
    (placement,) = schedule(world(ash(), jobs=[job(4)]), POLICY, 0.0).placements
    return placement


def ash(**now: object) -> object:
    changed = {"free": None, "idle": 10.0, "cap": 50.0, **now}
    return site("ash", pool(8, watts=10.0, free=changed.pop("free")), **changed)


def answer(
    snapshot: Snapshot, policy: Policy = POLICY, placement: Placement | None = None
) -> str | None:
    return still_fits(placement or made(), snapshot, policy, "default", 0.0)


def test_a_world_that_has_not_moved_takes_the_decision() -> None:
    assert answer(world(ash())) is None


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ({"up": False}, "ash is lost"),
        ({"drained": True}, "ash is drained"),
        ({"free": 3, "cap": 1000.0}, "ash has 3 cpu-core free, 4 were given"),
        ({"idle": 11.0}, "ash would draw 51 W, 50 W are allowed"),
    ],
)
def test_a_site_that_has_changed_refuses_it(now: dict[str, object], reason: str) -> None:
    assert answer(world(ash(**now))) == reason


def test_a_policy_that_has_changed_refuses_it() -> None:
    quota = Policy(power_margin=0.0, queues=(Queue(name="default", max_chips=5),))
    assert answer(world(ash(), held={"default": 1}), quota) is None
    assert answer(world(ash(), held={"default": 2}), quota) == (
        "queue default would hold 6 of 5 chips"
    )
    rule = Rule(id="no", effect="refuse", reason="not here")
    assert answer(world(ash()), Policy(power_margin=0.0, rules=(rule,))) == "ash: rule no: not here"
    assert answer(world(ash()), Policy(power_margin=0.1)) == "ash would draw 50 W, 45 W are allowed"
    gone = Policy(queues=(Queue(name="batch"),), power_margin=0.0)
    assert answer(world(ash()), gone) == "there is no queue default"


def test_a_placement_that_is_none_is_refused() -> None:
    whole = made()
    twice = replace(whole, shares=whole.shares * 2)
    for wrong in (twice, replace(whole, shares=())):
        assert answer(world(ash()), placement=wrong) == (
            "a placement has one share at each of its sites"
        )
    assert answer(world(site("elm", 8))) == "the pool has no site ash"
    assert answer(world(site("ash", pool(8, "tpu")))) == "ash has no pool 0 of cpu-core"
