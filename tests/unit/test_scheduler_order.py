"""Who is looked at first: patience, priority, turns by what queues have had, due times, quotas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skep.model.job import Job
from skep.model.policy import Policy, Queue, Quota
from skep.model.snapshot import Held, HeldShare, Holder, Snapshot
from skep.scheduler import schedule
from skep.scheduler.fair import Tree, standings
from skep.scheduler.line import Line
from skep.scheduler.memory import Memory
from tests.builders import JobRow, job, pool, site, world

NOW = 1_000_000.0


def placed(snapshot: Snapshot, policy: Policy) -> list[str]:
    return [p.job for p in schedule(snapshot, policy, NOW).placements]


def queues(*more: Queue, **fields: object) -> Policy:
    return Policy(queues=more, power_margin=0.0, **fields)  # type: ignore[arg-type]


def line(*names: str, chips: int = 1) -> list[object]:
    """Jobs of the queues ``names``, the first the oldest."""
    return [
        job(chips, queue=name, job=f"{name}{n}", submitted_at=NOW - 100 + n)
        for n, name in enumerate(names)
    ]


def test_queues_take_turns_by_weight() -> None:
    policy = queues(Queue(name="a", weight=2.0), Queue(name="b"), fair_share=True)
    jobs = line("a", "a", "a", "a", "b", "b", "b", "b")
    taken = placed(world(site("ash", 6), jobs=jobs), policy)  # type: ignore[arg-type]
    assert sorted(name[0] for name in taken) == ["a", "a", "a", "a", "b", "b"]
    assert taken == ["a0", "b4", "a1", "a2", "b5", "a3"]


def test_without_fair_share_the_older_queue_takes_all() -> None:
    policy = queues(Queue(name="a", weight=2.0), Queue(name="b"))
    jobs = line("a", "a", "a", "a", "b", "b")
    assert placed(world(site("ash", 4), jobs=jobs), policy) == ["a0", "a1", "a2", "a3"]  # type: ignore[arg-type]


def test_what_was_used_before_counts() -> None:
    policy = queues(Queue(name="a"), Queue(name="b"), fair_share=True)
    snapshot = world(site("ash", 2), jobs=line("a", "a", "b", "b"))  # type: ignore[arg-type]
    assert placed(replace(snapshot, used={"a": 5.0}), policy) == ["b2", "b3"]


def test_a_parent_shares_its_part_among_its_children() -> None:
    policy = queues(
        Queue(name="lab"),
        Queue(name="x", parent="lab"),
        Queue(name="y", parent="lab"),
        Queue(name="z"),
        fair_share=True,
    )
    jobs = line("x", "x", "y", "y", "z", "z", "z")
    taken = placed(world(site("ash", 4), jobs=jobs), policy)  # type: ignore[arg-type]
    assert sorted(taken) == ["x0", "y2", "z4", "z5"]


def test_weak_chips_are_not_charged_as_strong_ones() -> None:
    policy = queues(Queue(name="a"), Queue(name="b"), fair_share=True)
    rows = site("ash", pool(100, "weak", free=0, speed=1.0), pool(101, "strong", speed=100.0))
    snapshot = world(rows, jobs=[job(1, kind="strong", queue=q) for q in "aab"])
    held_in = {"a": np.array([100, 0]), "b": np.array([0, 2])}
    taken = placed(replace(snapshot, held={"a": 100, "b": 2}, held_in=held_in), policy)
    assert taken == ["j1", "j2", "j3"]


def test_what_a_queue_deserves_is_its_part_and_what_others_leave_idle() -> None:
    policy = queues(Queue(name="a"), Queue(name="b"), Queue(name="c", weight=2.0), fair_share=True)
    snapshot = world(site("ash", 40), jobs=line("a", "b", chips=20))  # type: ignore[arg-type]
    (a,) = standings(snapshot, policy, "a")
    assert (a.part, a.deserved, a.over) == (10.0, 20.0, -20.0)
    tree = Tree(snapshot, policy)
    wish = {"a": 30.0, "b": 4.0, "c": 30.0}
    found = {s.queue: s.deserved for s in tree.standings(wish)}
    assert found == pytest.approx({"a": 12.0, "b": 4.0, "c": 24.0})


def test_who_must_start_sooner_to_meet_its_deadline_goes_first() -> None:
    jobs = [
        job(1, job="old", submitted_at=NOW - 50),
        job(1, job="due", submitted_at=NOW - 1, latest_start=NOW + 5),
    ]
    assert placed(world(site("ash", 1), jobs=jobs), queues(Queue(name="default"))) == ["due"]


def test_who_has_waited_too_long_goes_before_every_priority() -> None:
    policy = queues(Queue(name="default"), patience=100.0)
    jobs = [
        job(1, job="urgent", priority=9, submitted_at=NOW - 1),
        job(1, job="old", submitted_at=NOW - 101),
    ]
    assert placed(world(site("ash", 1), jobs=jobs), policy) == ["old"]


def test_a_soft_quota_is_exceeded_only_with_what_others_leave() -> None:
    policy = queues(Queue(name="a", soft_chips=2), Queue(name="b"))
    jobs = line("a", "a", "a", "a", "b", "b")
    assert placed(world(site("ash", 5), jobs=jobs), policy) == ["a0", "a1", "b4", "b5", "a2"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quota", "fits"),
    [
        (Quota(max=3), 3),
        (Quota(chip="cpu-core", max=2), 2),
        (Quota(site="ash", max=1), 4),
        (Quota(chip="h100-sxm", max=0), 6),
        (Quota(chip="cpu-core", site="elm", max=1), 4),
    ],
)
def test_quotas_by_kind_and_site(quota: Quota, fits: int) -> None:
    policy = queues(Queue(name="default", quotas=(quota,)))
    rows = (site("ash", 3), site("elm", 3))
    assert len(placed(world(*rows, jobs=[job(1)] * 6), policy)) == fits


def test_a_quota_counts_what_is_held_below_it() -> None:
    policy = queues(Queue(name="lab", max_chips=5), Queue(name="x", parent="lab"))
    snapshot = world(site("ash", 9), jobs=[job(2, queue="x"), job(2, queue="x")], held={"x": 2})
    assert placed(snapshot, policy) == ["j1"]
    (refusal,) = schedule(snapshot, policy, NOW).refusals
    assert refusal.reason == "queue lab holds 4 of 5 chips, 2 more are asked"


def test_chips_are_kept_from_the_moment_at_which_a_job_has_waited_too_long() -> None:
    policy = queues(Queue(name="default"), patience=100.0)
    jobs = [
        job(1, job="small", submitted_at=NOW - 1, span=2),
        job(3, job="large", submitted_at=NOW - 99),
    ]
    snapshot = world(site("ash", 3, free=2), site("elm", 1, free=0), jobs=jobs)
    line, memory = Line.of(snapshot.waiting, snapshot.shapes, policy.patience), Memory()
    kept = replace(snapshot, waiting=line, shapes=line.shapes)
    for later in (0.0, 1.0, 2.0):
        plan = schedule(kept, policy, NOW + later, memory)
        assert plan == schedule(snapshot, policy, NOW + later)
        text = str(plan.refusals)
        assert ("kept for large" in text) == (later > 0)


def of_length(name: str, hours: float, age: float) -> JobRow:
    length = hours * 3600.0
    return job(4, job=name, shape={"length": length}, submitted_at=NOW - age)


def test_the_shortest_goes_first_but_for_priority_and_patience() -> None:
    jobs = [of_length("long", 9, 300), of_length("short", 1, 100), of_length("old", 90, 5000)]
    jobs.append(job(4, job="urgent", shape={"length": 1e6}, priority=1, submitted_at=NOW))
    snapshot = world(site("ash", 16), jobs=jobs)
    assert placed(snapshot, queues(Queue(name="default"), order="shortest", patience=4000.0)) == [
        "old", "urgent", "short", "long",
    ]  # fmt: skip
    assert placed(snapshot, queues(Queue(name="default"), patience=4000.0)) == [
        "old", "urgent", "long", "short",
    ]  # fmt: skip


def test_the_shortest_goes_first_within_a_queue_whose_turn_it_is() -> None:
    policy = queues(Queue(name="default"), Queue(name="b"), order="shortest", fair_share=True)
    jobs = [of_length("long", 9, 300), of_length("short", 1, 100), job(4, queue="b", job="theirs")]
    snapshot = world(site("ash", 8), jobs=jobs)
    assert sorted(placed(snapshot, policy)) == ["short", "theirs"]


def test_who_has_had_less_goes_first() -> None:
    policy = queues(Queue(name="default"), order="attained")
    jobs = [
        job(4, job="much", level=2, submitted_at=NOW - 300),
        job(4, job="some", level=1, submitted_at=NOW - 200),
        job(4, job="none", submitted_at=NOW - 100),
    ]
    assert placed(world(site("ash", 12), jobs=jobs), policy) == ["none", "some", "much"]


def runs(began: float, had: float, priority: int = 0, every: float = 600.0) -> Held:
    """One run of 4 chips."""
    holder = Holder(
        "runs",
        Job(name="runs", run="x", checkpoint_every=every or None),
        priority,
        NOW - began,
        NOW + 1e5,
        (HeldShare("runs-a1", 0, 4, 0.0, 0, stopping=False),),
        had=had * 3600.0,
    )
    one = np.ones(1)
    return Held(
        end=one * holder.end,
        chips=np.array([4]),
        watts=0 * one,
        priority=np.array([priority]),
        began=one * holder.began,
        every=one * every,
        safe_until=-np.inf * one,
        worth=one,
        spare=np.array([0]),
        had=one * holder.had,
        holder=(holder,),
        lowest=float(priority),
    )


@pytest.mark.parametrize(
    ("held", "waits", "stops"),
    [
        (runs(began=5 * 3600.0, had=0.0), {}, True),  # 20 chip-hours
        (runs(began=3600.0, had=15.0), {}, True),  # 19
        (runs(began=3600.0, had=0.0), {}, False),  # 4: of one class with the newcomer
        (runs(began=3500.0, had=13.0), {}, True),  # 17, of which 0.6 would be lost
        (runs(began=599.0, had=16.0, every=0.0), {}, True),  # 17, of which 0.7 would be lost
        (runs(began=2400.0, had=14.0, every=0.0), {}, False),  # 17, of which 2.7 would be lost
        (runs(began=5 * 3600.0, had=0.0), {"level": 1}, False),
        (runs(began=5 * 3600.0, had=0.0), {"evicted": True}, False),
        (runs(began=5 * 3600.0, had=0.0, priority=1), {}, False),
        (runs(began=0.0, had=0.0, priority=-1), {}, True),  # for its priority
    ],
)
def test_one_that_has_had_more_is_stopped_for_one_that_has_had_less(
    held: Held, waits: dict[str, object], stops: bool
) -> None:
    policy = queues(Queue(name="default"), order="attained", preemption=True, levels=(16.0,))
    snapshot = world(site("ash", pool(4, free=0)), jobs=[job(4, submitted_at=NOW, **waits)])
    snapshot = replace(snapshot, running=(held,))
    plan = schedule(snapshot, policy, NOW)
    assert bool(plan.preemptions) == stops
    if stops:
        (victim,) = plan.preemptions[0].victims
        assert victim.cause == ("priority" if held.lowest < 0 else "attained")
    elif held.lowest == 0 and not waits and held.every[0]:
        assert plan.again == 1_010_820.0  # 16 chip-hours 20 s before
    assert not schedule(snapshot, policy.model_copy(update={"preemption": False}), NOW).preemptions


def test_while_chips_are_kept_for_who_waits_too_long_nobody_takes_what_would_come_free() -> None:
    policy = queues(
        Queue(name="default"), order="attained", preemption=True, levels=(16.0,), patience=1000.0
    )
    large = job(8, job="large", level=1, submitted_at=NOW - 2000.0)
    jobs = [large, job(4, job="new", submitted_at=NOW)]
    snapshot = world(site("ash", pool(8, free=0)), jobs=jobs)
    held = runs(began=5 * 3600.0, had=0.0)
    snapshot = replace(snapshot, running=(held,))
    assert not schedule(snapshot, policy, NOW).preemptions
    assert schedule(snapshot, policy.model_copy(update={"patience": 1e6}), NOW).preemptions
