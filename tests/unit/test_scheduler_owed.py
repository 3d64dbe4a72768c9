"""Lent chips come back: by soft quota or by weight, between whom, and never more than is owed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skep.model.event import Preempted
from skep.model.job import Job
from skep.model.policy import Policy, Queue
from skep.model.snapshot import Held, HeldShare, Holder, Preemption, Snapshot
from skep.scheduler import schedule
from tests.builders import JobRow, job, pool, site, world
from tests.pilot import Pilot

NOW = 1_000_000.0
TWO = (Queue(name="a", preempt=True), Queue(name="b"))


def held(*runs: tuple[str, int]) -> Held:
    """Runs of (queue, chips) in one pool, the first the oldest."""
    holders = [
        Holder(
            job=f"{queue}{number}",
            spec=Job(name="r", run="x", queue=queue),
            priority=5,
            began=NOW - 1000 + number,
            end=NOW + 1e6,
            shares=(HeldShare(f"{queue}{number}-a1", 0, chips, 0.0, 0, stopping=False),),
        )
        for number, (queue, chips) in enumerate(runs)
    ]
    one = np.ones(len(runs))
    return Held(
        end=one * (NOW + 1e6),
        chips=np.array([chips for _, chips in runs]),
        watts=0 * one,
        priority=np.full(len(runs), 5),
        began=np.array([h.began for h in holders]),
        every=0 * one,
        safe_until=-np.inf * one,
        worth=one,
        spare=np.zeros(len(runs), dtype=np.int64),
        had=0 * one,
        holder=tuple(holders),
        lowest=5.0,
    )


def full(jobs: list[JobRow], *runs: tuple[str, int], chips: int = 12) -> Snapshot:
    """A pool of so many chips in which these run, and jobs that want some."""
    total = sum(count for _, count in runs)
    snapshot = world(site("ash", pool(chips, free=chips - total)), jobs=jobs)
    queues = dict.fromkeys(queue for queue, _ in runs)
    sums = {q: sum(count for queue, count in runs if queue == q) for q in queues}
    columns = {queue: np.array([count]) for queue, count in sums.items()}
    return replace(snapshot, held=sums, held_in=columns, running=(held(*runs),))


def taken(snapshot: Snapshot, policy: Policy) -> list[str]:
    """Who is stopped."""
    found: tuple[Preemption, ...] = schedule(snapshot, policy, NOW).preemptions
    return sorted(victim.job for one in found for victim in one.victims)


def policy(*queues: Queue, fair_share: bool = True) -> Policy:
    return Policy(queues=queues, fair_share=fair_share, power_margin=0.0, patience=1e9)


def test_a_queue_takes_back_its_part_by_weight_and_no_more() -> None:
    runs = [("b", 4), ("b", 4), ("b", 4)]
    mine = policy(*TWO)
    assert taken(full([job(4, queue="a")], *runs), mine) == ["b2"]  # the newest
    assert taken(full([job(6, queue="a")], *runs), mine) == ["b1", "b2"]
    assert taken(full([job(8, queue="a")], *runs), mine) == []  # more than its part of 6
    assert taken(full([job(4, queue="a")] * 2, *runs), mine) == ["b2"]  # the second would be


def test_nobody_is_stopped_whose_queue_holds_no_more_than_its_part() -> None:
    runs = [("a", 4), ("b", 6), ("c", 2)]
    three = policy(*TWO, Queue(name="c"))
    assert taken(full([job(2, queue="a")], *runs), three) == []
    assert taken(full([job(2, queue="c")], *runs), three) == []  # it may not stop anyone
    assert taken(full([job(1, queue="a")], ("a", 3), ("b", 6), ("c", 3)), three) == ["b1"]


def test_without_fair_share_only_soft_quotas_make_a_part() -> None:
    runs = [("b", 6), ("b", 6)]
    assert taken(full([job(4, queue="a")], *runs), policy(*TWO, fair_share=False)) == []
    soft = (Queue(name="a", preempt=True, soft_chips=6), Queue(name="b", soft_chips=6))
    assert taken(full([job(4, queue="a")], *runs), policy(*soft, fair_share=False)) == ["b1"]


@pytest.mark.parametrize(
    ("asks", "runs", "stopped"),
    [
        # x has what is y's: their own affair, whatever z holds
        ("y", [("x", 6), ("z", 6)], ["x0"]),
        # the lab holds no more than its part: z takes nothing, though x holds above its own
        ("z", [("x", 6), ("other", 6)], ["other1"]),
        ("z", [("x", 9), ("y", 3)], ["x0"]),
    ],
)
def test_a_debt_is_between_those_that_share_a_parent(
    asks: str, runs: list[tuple[str, int]], stopped: list[str]
) -> None:
    tree = policy(
        Queue(name="lab"),
        Queue(name="x", parent="lab"),
        Queue(name="y", parent="lab", preempt=True),
        Queue(name="rest"),
        Queue(name="z", parent="rest", preempt=True),
        Queue(name="other", parent="rest"),
    )
    assert taken(full([job(3, queue=asks)], *runs), tree) == stopped


def test_the_worth_of_chips_counts() -> None:
    runs = [("b", 4), ("b", 4), ("b", 4)]
    snapshot = full([job(4, queue="a")], *runs)
    heavy = replace(snapshot, held_worth={"b": 5.0})  # to its jobs they are worth less than half
    assert taken(heavy, policy(*TWO)) == []


def test_in_a_control_plane_the_lent_chips_come_back_to_who_waits() -> None:
    mine = Policy(queues=(Queue(name="default"), *TWO), fair_share=True, patience=1e9)
    pilot = Pilot(6, policy=mine)
    for number in range(3):
        pilot.submit(f"b{number}", 2, now=float(number), queue="b")
        (run,) = pilot.live(f"b{number}")
        pilot.running(run, now=float(number))
    pilot.submit("mine", 2, now=50.0, queue="a")
    (stopped,) = pilot.events(Preempted)
    assert isinstance(stopped, Preempted)
    assert (stopped.job, stopped.cause, stopped.for_job) == ("b2", "share", "mine")
    (run,) = pilot.live("b2")
    pilot.tell(run, "stopped", 60.0)
    assert pilot.live("mine")
    pilot.beat(70.0)
    assert len(pilot.events(Preempted)) == 1  # b2 takes nothing back
    pilot.check()
