"""Jobs that wait for better power, and jobs that move: only where it is worth it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skep.model.job import ChipRequest, Elastic, Job, Span
from skep.model.policy import Policy
from skep.model.snapshot import EMPTY, Forecast, Held, HeldShare, Holder, Plan, Snapshot
from skep.scheduler import schedule
from tests.builders import JobRow, job, pool, site, world

NOW = 3_600_000.0
HOUR = 3600.0


def forecast(own: list[float], price: list[float] | None = None) -> Forecast:
    """Of one site, hour by hour."""
    table = np.array([own], dtype=float)
    unknown = np.full_like(table, np.nan)
    prices = unknown if price is None else np.array([price])
    return Forecast(NOW, table, unknown, prices, np.zeros(1))


def asked(
    defer: float, own: list[float], length: float = HOUR, price: list[float] | None = None
) -> Plan:
    wish = job(4, submitted_at=NOW - 60, start_by=NOW - 60 + defer)
    wish = replace(wish, shape=replace(wish.shape, length=length))
    snapshot = world(site("north", 4, watts=100.0), jobs=[wish])
    return schedule(replace(snapshot, forecast=forecast(own, price)), Policy(), NOW)


def test_a_job_that_can_wait_waits_for_clean_power_and_says_so() -> None:
    plan = asked(6 * HOUR, [0, 0, 0, 400, 400, 0, 0])
    assert not plan.placements
    (refusal,) = plan.refusals
    assert "100 % clean power instead of 0 %" in refusal.reason
    assert plan.again == NOW + 3 * HOUR


@pytest.mark.parametrize(
    ("defer", "own"),
    [
        (0.0, [0, 0, 400]),  # it did not ask to wait
        (HOUR, [0, 0, 0, 400]),  # too late for it
        (6 * HOUR, [200, 220, 230]),  # too little better
        (6 * HOUR, [400, 400, 400]),  # as good as it gets
    ],
)
def test_else_it_starts_at_once(defer: float, own: list[float]) -> None:
    assert len(asked(defer, own).placements) == 1


def test_the_whole_of_its_hours_counts_and_price_where_it_is_known() -> None:
    assert len(asked(6 * HOUR, [200, 400, 0, 0], length=2 * HOUR).placements) == 1
    plan = asked(6 * HOUR, [0, 0, 0], price=[50.0, 46.0, 40.0])
    assert not plan.placements
    assert "40 instead of 50 USD/MWh" in next(iter(plan.refusals)).reason


def running(spec: Job, *, left: float, chips: int = 4, unsaved: float = 60.0) -> Held:
    holder = Holder(
        job="r",
        spec=spec,
        priority=0,
        began=NOW - unsaved,
        end=NOW + left,
        shares=(HeldShare("r-a1-old", 0, chips, 0.0, 0, stopping=False),),
    )
    one = np.ones(1)
    return Held(
        end=one * holder.end,
        chips=np.array([chips]),
        watts=np.zeros(1),
        priority=np.array([0]),
        began=one * holder.began,
        every=np.zeros(1),
        safe_until=one * -np.inf,
        worth=one,
        spare=np.array([0]),
        had=np.zeros(1),
        holder=(holder,),
        lowest=0.0,
    )


def two_sites(
    spec: Job, *, speeds: tuple[float, float], left: float, slow: bool = True
) -> Snapshot:
    old = pool(8, "a100", free=4, speed=speeds[0])
    new = pool(8, "h100", speed=speeds[1])
    snapshot = world(site("old", old), site("west", new))
    return replace(snapshot, running=(running(spec, left=left), EMPTY), slow=slow)


SPEC = Job(
    name="r",
    run="x",
    grace=30,
    chips=(ChipRequest(kind="h100", count=4), ChipRequest(kind="a100", count=4)),
)
MOVES = Policy(migration=True)


def test_a_long_job_moves_to_faster_chips() -> None:
    plan = schedule(two_sites(SPEC, speeds=(1.0, 3.0), left=8 * HOUR), MOVES, NOW)
    (move,) = plan.migrations
    assert [(s.site, s.chips) for s in move.shares] == [("west", 4)]
    assert move.gain > 2 * move.cost
    assert "3 times as fast" in move.reason


@pytest.mark.parametrize(
    ("speeds", "left", "policy", "slow"),
    [
        ((1.0, 3.0), 0.1 * HOUR, MOVES, True),  # it is nearly done
        ((1.0, 1.02), 2 * HOUR, MOVES, True),  # it gains too little
        ((1.0, 3.0), 8 * HOUR, Policy(), True),
        ((1.0, 3.0), 8 * HOUR, MOVES, False),  # not the time to look
    ],
)
def test_else_it_stays(
    speeds: tuple[float, float], left: float, policy: Policy, slow: bool
) -> None:
    snapshot = two_sites(SPEC, speeds=speeds, left=left, slow=slow)
    assert schedule(snapshot, policy, NOW).migrations == ()


def test_a_job_that_has_moved_rests() -> None:
    snapshot = two_sites(SPEC, speeds=(1.0, 3.0), left=8 * HOUR)
    holder = replace(snapshot.running[0].holder[0], moved_at=NOW - 600, migrations=1)
    held = replace(snapshot.running[0], holder=(holder,))
    assert schedule(replace(snapshot, running=(held, EMPTY)), MOVES, NOW).migrations == ()


def test_a_small_job_makes_room_for_a_large_one() -> None:
    spec = SPEC.model_copy(update={"chips": (ChipRequest(kind="cpu-core", count=2),)})
    snapshot = world(site("big", pool(8, free=6)), site("small", pool(2)), jobs=[job(8)])
    held = running(spec, left=4 * HOUR, chips=2)
    plan = schedule(replace(snapshot, running=(held, EMPTY), slow=True), MOVES, NOW)
    (move,) = plan.migrations
    assert move.shares[0].site == "small"
    assert "so that j1 can start" in move.reason


def spread(*chips: int, spec: Job, left: float = 8 * HOUR) -> tuple[Held, ...]:
    """A job with a share of so many chips in each pool."""
    shares = tuple(
        HeldShare(f"r-a1-{row}", row, count, 0.0, row, stopping=False)
        for row, count in enumerate(chips)
    )
    holder = Holder("r", spec, 0, NOW - 600.0, NOW + left, shares)
    one, none = np.ones(1), np.zeros(1)
    worth = float(sum(chips))
    return tuple(
        Held(one * holder.end, np.array([count]), none, np.array([0]), one * holder.began, none,
             one * -np.inf, one * worth / count, np.array([0]), none, (holder,), lowest=0.0)
        for count in chips
    )  # fmt: skip


def over_two_sites(left: float = 8 * HOUR) -> Snapshot:
    """Two sites have old chips, two have new ones; a job over the first two."""
    eight = tuple(c.model_copy(update={"count": 8}) for c in SPEC.chips)
    spec = SPEC.model_copy(update={"span": Span(min=1, max=2), "chips": eight})
    rows = [site(name, pool(8, "a100", free=4, speed=1.0)) for name in "ab"]
    rows += [site(name, pool(8, "h100", free=n, speed=3.0)) for name, n in (("c", 5), ("d", 4))]
    snapshot = world(*rows)
    running = (*spread(4, 4, spec=spec, left=left), EMPTY, EMPTY)
    return replace(snapshot, running=running, slow=True)


def test_a_job_over_two_sites_moves_as_a_whole_where_that_is_worth_it() -> None:
    (move,) = schedule(over_two_sites(), MOVES, NOW).migrations
    assert sorted((s.site, s.chips) for s in move.shares) == [("c", 4), ("d", 4)]
    assert move.runs == ("r-a1-0", "r-a1-1")
    assert move.gain > 2 * move.cost == pytest.approx(2 * 8 * (600 + 30 + 60))
    assert "moves from a and b to 4 h100 at c and 4 h100 at d: h100 is 3 times" in move.reason
    assert schedule(over_two_sites(left=0.55 * HOUR), MOVES, NOW).migrations == ()


ELASTIC = Job(
    name="r",
    run="x",
    grace=30,
    checkpoint_every=600,
    chips=(ChipRequest(kind="a100", count=8),),
    elastic=Elastic(min=2, max=8),
)


def alone(free: int, *, left: float = 8 * HOUR, spec: Job = ELASTIC, **jobs: object) -> Snapshot:
    held = spread(3, spec=spec, left=left)
    snapshot = world(site("a", pool(8, "a100", free=free)), **jobs)  # type: ignore[arg-type]
    return replace(snapshot, running=held, growing=held[0].holder)


def test_an_elastic_job_takes_idle_chips_where_it_is_one_by_one() -> None:
    (larger,) = schedule(alone(2), Policy(), NOW).migrations
    assert [(s.site, s.chips) for s in larger.shares] == [("a", 5)]
    assert "starts anew with 5 chips instead of 3 where it is" in larger.reason
    assert larger.gain == pytest.approx(8 * HOUR * (1 - 3 / 5) * 3)
    plan = schedule(alone(5), Policy(), NOW)
    assert [s.chips for s in plan.migrations[0].shares] == [8]


@pytest.mark.parametrize(
    "snapshot",
    [
        alone(0),
        alone(2, left=0.1 * HOUR),  # the restart would cost more
        alone(2, spec=ELASTIC.model_copy(update={"preemptible": False})),
        alone(2, spec=ELASTIC.model_copy(update={"elastic": Elastic(min=2, max=3)})),
        alone(2, jobs=[job([ChipRequest(kind="a100", count=4)])]),  # somebody waits for such chips
    ],
)
def test_else_it_stays_as_it_is(snapshot: Snapshot) -> None:
    assert schedule(snapshot, Policy(), NOW).migrations == ()


def wish(chips: int, **more: object) -> JobRow:
    return job([ChipRequest(kind="a100", count=chips)], **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asks", "spec", "stops"),
    [
        (wish(4, shape={"length": HOUR}), {}, True),
        (wish(4, shape={"length": HOUR}, priority=-1), {}, False),
        (wish(4, shape={"length": 60.0}), {}, False),  # it would do less than is lost
        (wish(7, shape={"length": HOUR}), {}, False),  # too little would be left
        (wish(4, shape={"length": HOUR}), {"preemptible": False}, False),
        (wish(4, shape={"length": HOUR}), {"elastic": Elastic(min=8, max=8)}, False),
    ],
)
def test_an_elastic_job_starts_anew_with_fewer_chips_for_one_that_waits(
    asks: JobRow, spec: dict[str, object], stops: bool
) -> None:
    (held,) = spread(8, spec=ELASTIC.model_copy(update=spec))
    spare = np.array([0 if "preemptible" in spec else 2])
    held = replace(held, spare=spare, lowest_spare=0.0, every=np.full(1, 600.0))
    snapshot = world(site("a", pool(8, "a100", free=0)), jobs=[asks])
    plan = schedule(replace(snapshot, running=(held,)), Policy(), NOW)
    assert bool(plan.preemptions) == stops
    if stops:
        (victim,) = plan.preemptions[0].victims
        assert (victim.cause, victim.ranks) == ("elastic", ())
        assert "starts anew with fewer chips, so that j1 can start" in victim.reason
