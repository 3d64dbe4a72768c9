"""In time: promises are kept, preemption frees what it says and never cascades, nothing reaches
into a window, power holds over the whole of each job. Counted here from the snapshot alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from unittest.mock import patch

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from skep.model.job import Job, Span
from skep.model.placement import Share
from skep.model.policy import Policy, Queue
from skep.model.snapshot import HeldShare, Holder, Plan, Preemption, Reservation, Snapshot
from skep.scheduler import schedule
from skep.scheduler.timeline import Timeline
from tests.lives import columns, could_do_with_less, lives, policies
from tests.worlds import NOW

Pool = tuple[str, int]


def length_of(snapshot: Snapshot, job: str) -> float:
    return next(snapshot.shapes[w.shape].length for w in snapshot.waiting if w.job == job)


class Then:
    """What will be free at a time to come, counted share by share."""

    def __init__(self, snapshot: Snapshot, policy: Policy, plan: Plan, when: float) -> None:
        self.free: Counter[Pool] = Counter()
        self.watts: Counter[str] = Counter()
        sites, pools = snapshot.sites, snapshot.pools
        for row in range(len(pools.kind)):
            self.free[sites.names[pools.site[row]], int(pools.index[row])] = int(pools.free[row])
        for row, name in enumerate(sites.names):
            cap = float(sites.power_cap[row]) * (1.0 - policy.power_margin)
            self.watts[name] = cap - float(sites.power_drawn[row])  # type: ignore[assignment]
        self._released(snapshot, when)
        for placement in plan.placements:
            if NOW + length_of(snapshot, placement.job) > when:
                for share in placement.shares:
                    self.take(share)

    def _released(self, snapshot: Snapshot, when: float) -> None:
        for held in snapshot.running:
            for holder in held.holder:
                if holder.end <= when:
                    self._back(snapshot, holder)

    def _back(self, snapshot: Snapshot, holder: Holder) -> None:
        for share in holder.shares:
            site = snapshot.sites.names[snapshot.pools.site[share.row]]
            self.free[site, int(snapshot.pools.index[share.row])] += share.chips
            self.watts[site] += share.watts  # type: ignore[assignment]

    def take(self, share: Share) -> None:
        self.free[share.site, share.pool] -= share.chips
        self.watts[share.site] -= share.power  # type: ignore[assignment]

    def change_hands(self, snapshot: Snapshot, plan: Plan, when: float) -> None:
        """Victims have gone, and for whom they went has come."""
        held = {h.job: h for pool in snapshot.running for h in pool.holder}
        for found in plan.preemptions:
            for victim in found.victims if found.job else ():
                if held[victim.job].end > when:
                    self._back(snapshot, held[victim.job])
            if found.job and found.until + length_of(snapshot, found.job) > when:
                for share in found.shares:
                    self.take(share)

    def bears(self) -> bool:
        return min(self.free.values()) >= 0 and min(self.watts.values()) >= -1e-5


def check_promises(snapshot: Snapshot, policy: Policy, plan: Plan) -> None:
    """At its start each promise finds its chips, beside all that was placed and promised before."""
    for promise in plan.reservations:
        then = Then(snapshot, policy, plan, promise.start)
        then.change_hands(snapshot, plan, promise.start)
        touched = {(s.site, s.pool) for s in promise.shares}
        for other in plan.reservations:
            if other.start <= promise.start < other.end:
                for share in other.shares:
                    then.take(share)
        assert all(then.free[pool] >= 0 for pool in touched), promise
        assert all(then.watts[s.site] >= -1e-5 for s in promise.shares), promise
        assert promise.start > NOW
        check_block(snapshot, plan, promise)


def check_block(snapshot: Snapshot, plan: Plan, promise: Reservation) -> None:
    """What is promised in one block is free there then, whatever was placed in it."""
    waiting = next(w for w in snapshot.waiting if w.job == promise.job)
    if waiting.repair or snapshot.shapes[waiting.shape].within != "block":
        return
    (share,) = promise.shares
    ((block, chips),) = share.in_blocks
    assert chips == share.chips
    pools = snapshot.pools
    at = snapshot.sites.names.index(share.site)
    (row,) = np.flatnonzero((pools.site == at) & (pools.index == share.pool))
    assert pools.first_block is not None
    assert pools.block_free is not None
    ended = [h.shares[0].parts for h in snapshot.running[row].holder if h.end <= promise.start]
    free = int(pools.block_free[pools.first_block[row] + block])
    free += sum(n for parts in ended for b, n in parts if b == block)
    lasting = [p for p in plan.placements if NOW + length_of(snapshot, p.job) > promise.start]
    others = [o for o in plan.reservations if o.start <= promise.start < o.end and o is not promise]
    taken = [s for decision in (*lasting, *others) for s in decision.shares]
    here = [s.in_blocks for s in taken if (s.site, s.pool) == (share.site, share.pool)]
    assert free - sum(n for parts in here for b, n in parts if b == block) >= chips


def check_windows(snapshot: Snapshot, policy: Policy, plan: Plan) -> None:
    """Nothing is placed where it would reach into a window, nor promised there."""
    for window in policy.maintenance:
        start, end = window.start.timestamp(), window.end.timestamp()
        given = [(NOW, NOW + length_of(snapshot, p.job), p.shares) for p in plan.placements]
        given += [(p.start, p.end, p.shares) for p in plan.reservations]
        for begin, until, shares in given:
            if window.cap is None and begin < end and until > start:
                assert all(share.site != window.site for share in shares)
        if window.cap is not None and end > NOW and plan.placements:
            then = Then(snapshot, policy, plan, max(start, NOW))
            lower = policy.power_margin
            row = (
                snapshot.sites.names.index(window.site)
                if window.site in snapshot.sites.names
                else -1
            )
            reaching = any(
                share.site == window.site and NOW + length_of(snapshot, p.job) > start
                for p in plan.placements
                for share in p.shares
                if share.power > 0
            )
            if row >= 0 and reaching and np.isfinite(snapshot.sites.power_cap[row]):
                cap = min(window.cap, float(snapshot.sites.power_cap[row])) * (1.0 - lower)
                full = float(snapshot.sites.power_cap[row]) * (1.0 - lower)
                assert full - then.watts[window.site] <= cap + 1e-5


def check_preemption(snapshot: Snapshot, policy: Policy, found: Preemption) -> None:
    """It frees what it keeps; each victim may be stopped and is needed; its owner may take."""
    held = {h.job: h for pool in snapshot.running for h in pool.holder}
    if not found.job:
        assert all(v.cause == "window" and held[v.job].spec.preemptible for v in found.victims)
        return
    owner = next(w for w in snapshot.waiting if w.job == found.job)
    queue = snapshot.shapes[owner.shape].queue
    assert not owner.evicted
    assert owner.repair is None
    for victim in found.victims:
        holder = held[victim.job]
        assert holder.loose
        assert holder.spec.preemptible
        if victim.cause == "priority":
            assert policy.preemption
            assert holder.priority < owner.priority
        elif victim.cause == "elastic":
            assert could_do_with_less(holder)
            assert holder.priority <= owner.priority
            (share,) = found.shares
            assert holder.shares[0].row in rows_of(snapshot, share)
        elif victim.cause == "attained":
            assert policy.preemption
            assert policy.order == "attained"
            assert holder.priority == owner.priority
            had = holder.had + (NOW - holder.began) * holder.chips
            assert sum(3600.0 * bound <= had for bound in policy.levels) > owner.level
        else:
            theirs, ours = policy.queue(holder.spec.queue), policy.queue(queue)
            assert theirs is not None
            assert ours is not None
            assert theirs.name != queue
            assert ours.preempt
            assert held_of(snapshot, theirs.name) > part_of(snapshot, policy, theirs.name)
            if ours.soft_chips is not None or policy.fair_share:
                gets = worth(snapshot, policy, ours, found.shares)
                holds = held_of(snapshot, ours.name) + gets
                assert holds <= part_of(snapshot, policy, ours.name) + 1e-6
    assert enough(snapshot, policy, found, [v.job for v in found.victims])
    for left_out in found.victims:
        others = [v.job for v in found.victims if v is not left_out]
        assert not enough(snapshot, policy, found, others), left_out


def rows_of(snapshot: Snapshot, share: Share) -> list[int]:
    """The row of the pool that the share lies in."""
    pools, site = snapshot.pools, snapshot.sites.names.index(share.site)
    return np.flatnonzero((pools.site == site) & (pools.index == share.pool)).tolist()


def held_of(snapshot: Snapshot, queue: str) -> float:
    return float(snapshot.held.get(queue, 0))


def part_of(snapshot: Snapshot, policy: Policy, queue: str) -> float:
    """Its soft quota, else its part of all chips by weight; there are no queues above."""
    own = policy.queue(queue)
    assert own is not None
    if own.soft_chips is not None:
        return own.soft_chips
    assert policy.fair_share
    whole = sum(
        int(chips) * each_worth(snapshot, kind)
        for chips, kind in zip(snapshot.pools.chips, snapshot.pools.kind, strict=True)
    )
    return whole * own.weight / sum(q.weight for q in policy.queues)


def each_worth(snapshot: Snapshot, kind: str) -> float:
    speed = dict(zip(snapshot.pools.kind, snapshot.pools.speed.tolist(), strict=True))
    return speed[kind] / max(speed.values()) if speed[kind] > 0 else 1.0


def worth(snapshot: Snapshot, policy: Policy, queue: Queue, shares: tuple[Share, ...]) -> float:
    """What the shares count against the queue's part, for a job that names no model."""
    if queue.soft_chips is not None:
        return sum(share.chips for share in shares)
    return sum(share.chips * each_worth(snapshot, share.chip) for share in shares)


def enough(snapshot: Snapshot, policy: Policy, found: Preemption, victims: list[str]) -> bool:
    """Whether the shares that are kept are there once these victims are gone."""
    then = Then(snapshot, policy, Plan(), NOW)
    for pool in snapshot.running:
        for holder in pool.holder:
            if holder.job in victims:
                then._back(snapshot, holder)
    for share in found.shares:
        then.take(share)
    if not all(block_has(snapshot, share, victims) for share in found.shares):
        return False
    return all(then.free[s.site, s.pool] >= 0 and then.watts[s.site] >= -1e-5 for s in found.shares)


def block_has(snapshot: Snapshot, share: Share, victims: list[str]) -> bool:
    """Whether the block that the share is to lie in has its chips once these victims are gone."""
    pools, at = snapshot.pools, snapshot.sites.names.index(share.site)
    (row,) = np.flatnonzero((pools.site == at) & (pools.index == share.pool))
    gone = [h.shares[0].parts for h in snapshot.running[row].holder if h.job in victims]
    assert pools.first_block is not None
    assert pools.block_free is not None
    return all(
        int(pools.block_free[pools.first_block[row] + block])
        + sum(n for parts in gone for b, n in parts if b == block)
        >= chips
        for block, chips in share.in_blocks
    )


def check_no_cascade(plan: Plan) -> None:
    """No run is stopped twice, nobody who takes gives, and what is kept is not given away."""
    stopped = [run for p in plan.preemptions if p.job for v in p.victims for run in v.runs]
    assert len(stopped) == len(set(stopped))
    takers = {p.job for p in plan.preemptions if p.job}
    assert takers.isdisjoint(v.job for p in plan.preemptions for v in p.victims)
    assert takers.isdisjoint(p.job for p in plan.placements)


def check_together(snapshot: Snapshot, policy: Policy, plan: Plan) -> None:
    """Placements and what is kept, with all victims gone, go into the pools together."""
    then = Then(snapshot, policy, Plan(), NOW)
    victims = {v.job for p in plan.preemptions if p.job for v in p.victims}
    for pool in snapshot.running:
        for holder in pool.holder:
            if holder.job in victims:
                then._back(snapshot, holder)
    kept = [s for p in plan.preemptions for s in p.shares]
    given = [s for p in plan.placements for s in p.shares]
    for share in (*kept, *given):
        then.take(share)
    assert all(then.free[s.site, s.pool] >= 0 for s in (*kept, *given))
    assert all(then.watts[s.site] >= -1e-5 for s in (*kept, *given) if s.power > 0)


def check(snapshot: Snapshot, policy: Policy) -> None:
    plan = schedule(snapshot, policy, NOW)
    check_windows(snapshot, policy, plan)
    check_promises(snapshot, policy, plan)
    check_no_cascade(plan)
    check_together(snapshot, policy, plan)
    if len([p for p in plan.preemptions if p.job]) == 1 and not plan.placements:
        for found in plan.preemptions:
            check_preemption(snapshot, policy, found)


@settings(deadline=None, max_examples=300)
@given(lives(), policies())
def test_what_is_placed_now_leaves_what_is_promised_and_kept(
    snapshot: Snapshot, policy: Policy
) -> None:
    check(snapshot, policy)


@settings(deadline=None, max_examples=150)
@given(lives(), policies())
def test_a_promise_is_as_soon_where_no_time_is_passed_over(
    snapshot: Snapshot, policy: Policy
) -> None:
    """Times by which no pool alone can have enough are not tried: nothing is missed by that."""
    found = schedule(snapshot, policy, NOW).reservations
    with patch.object(Timeline, "enough_from", lambda *_: -np.inf):
        assert schedule(snapshot, policy, NOW).reservations == found


@settings(deadline=None, max_examples=150)
@given(lives(), policies())
def test_what_is_promised_in_one_block_is_left_there(snapshot: Snapshot, policy: Policy) -> None:
    inside = {"within": "block", "span": Span(), "elastic": None, "spread": None}
    shapes = tuple(replace(shape, **inside) for shape in snapshot.shapes)
    check(replace(snapshot, shapes=shapes), policy)


@settings(deadline=None, max_examples=150)
@given(lives(), policies())
def test_one_job_alone_takes_from_whom_it_may_and_from_nobody_else(
    snapshot: Snapshot, policy: Policy
) -> None:
    for job in snapshot.waiting[:2]:
        alone = replace(snapshot, waiting=(job,))
        plan = schedule(alone, policy, NOW)
        for found in plan.preemptions:
            check_preemption(alone, policy, found)


@settings(deadline=None, max_examples=150)
@given(lives(), policies(), st.sampled_from([5.0, 50.0, 150.0]))
def test_backfill_never_makes_a_promise_later(
    snapshot: Snapshot, policy: Policy, passed: float
) -> None:
    """The plan is followed, time passes, runs end as expected: no promise becomes later."""
    policy = policy.model_copy(
        update={
            "preemption": False,
            "fair_share": False,  # by turns another may be the first, and is promised instead
            "maintenance": (),
            "queues": (*policy.queues[1:], Queue(name="default")),
        }
    )
    ready = tuple(replace(w, not_before=0.0) for w in snapshot.waiting)
    snapshot = replace(snapshot, waiting=ready)
    plan = schedule(snapshot, policy, NOW)
    if not plan.reservations:
        return
    first = plan.reservations[0]
    later = followed(snapshot, policy, plan, NOW + passed)
    after = schedule(later, policy, NOW + passed)
    placed = {p.job for p in after.placements}
    promised = {p.job: p.start for p in after.reservations}
    assert (
        first.job in placed
        or promised.get(first.job, np.inf) <= max(first.start, NOW + passed) + 1e-6
    )


def followed(snapshot: Snapshot, policy: Policy, plan: Plan, now: float) -> Snapshot:
    """The world at ``now``: what was placed runs, what was expected to end has."""
    names, pools = snapshot.sites.names, snapshot.pools
    found = [h for held in snapshot.running for h in held.holder if h.end > now]
    rows = {(names[pools.site[r]], int(pools.index[r])): r for r in range(len(pools.kind))}
    for placement in plan.placements:
        end = NOW + length_of(snapshot, placement.job)
        for share in placement.shares if end > now else ():
            row = rows[share.site, share.pool]
            run = HeldShare(f"{placement.job}-{row}", row, share.chips, share.power, 0, False)
            spec = Job(name="new", run="x", preemptible=False)
            found.append(Holder(f"{placement.job}-{row}", spec, 0, NOW, end, (run,)))
    held = np.zeros(len(pools.kind), dtype=np.int64)
    watts = np.zeros(len(names))
    for holder in found:
        for share in holder.shares:
            held[share.row] += share.chips
            watts[pools.site[share.row]] += share.watts
    before = np.zeros(len(names))
    for pool in snapshot.running:
        for holder in pool.holder:
            before[pools.site[holder.shares[0].row]] += holder.shares[0].watts
    gone = {p.job for p in plan.placements}
    return replace(
        snapshot,
        pools=replace(pools, free=pools.chips - held, first_block=None, block_free=None),
        sites=replace(snapshot.sites, power_drawn=snapshot.sites.power_drawn - before + watts),
        running=tuple(columns(found, row) for row in range(len(pools.kind))),
        waiting=tuple(w for w in snapshot.waiting if w.job not in gone),
    )
