"""Whatever waits: no limit is broken, gangs are whole, each job gets one decision."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from hypothesis import given, settings

from skep.model.policy import Policy
from skep.model.snapshot import Placement, Snapshot, Waiting
from skep.scheduler import schedule
from skep.scheduler.commit import still_fits
from skep.scheduler.order import ordered
from tests.worlds import NOW, policies, worlds


def after(snapshot: Snapshot, placement: Placement, queue: str) -> Snapshot:
    """The world once the placement is committed."""
    sites, pools = snapshot.sites, snapshot.pools
    free, drawn, held = pools.free.copy(), sites.power_drawn.copy(), dict(snapshot.held)
    for share in placement.shares:
        row = sites.names.index(share.site)
        (pool,) = np.flatnonzero((pools.site == row) & (pools.index == share.pool))
        free[pool] -= share.chips
        drawn[row] += share.power
        held[queue] = held.get(queue, 0) + share.chips
    return replace(
        snapshot,
        sites=replace(sites, power_drawn=drawn),
        pools=replace(pools, free=free),
        held=held,
    )


def waiting_of(snapshot: Snapshot, job: str) -> Waiting:
    return next(w for w in snapshot.waiting if w.job == job)


@settings(deadline=None)
@given(worlds(), policies())
def test_every_placement_holds_at_commit_one_after_the_other(
    snapshot: Snapshot, policy: Policy
) -> None:
    world = snapshot
    for placement in schedule(snapshot, policy, NOW).placements:
        queue = snapshot.shapes[waiting_of(snapshot, placement.job).shape].queue
        assert still_fits(placement, world, policy, queue, NOW) is None
        world = after(world, placement, queue)
    assert (world.pools.free >= 0).all()


@settings(deadline=None)
@given(worlds(), policies())
def test_gangs_are_whole_and_as_asked(snapshot: Snapshot, policy: Policy) -> None:
    width = snapshot.sites.bandwidth
    for placement in schedule(snapshot, policy, NOW).placements:
        waiting = waiting_of(snapshot, placement.job)
        shape, shares = snapshot.shapes[waiting.shape], placement.shares
        rows = [snapshot.sites.names.index(s.site) for s in shares]
        assert len(set(rows)) == len(rows)
        assert all(width[a, b] > 0 for a in rows for b in rows)
        assert len({s.chip for s in shares}) == 1
        total = sum(s.chips for s in shares)
        if waiting.repair:
            (share,) = shares
            asked = waiting.repair
            assert (share.chip, share.chips, share.rank) == (asked.chip, asked.chips, asked.rank)
            assert share.site not in asked.others
            assert placement.repair
            continue
        assert shape.span.min <= len(shares) <= shape.span.most
        assert [s.rank for s in shares] == list(range(len(shares)))
        assert [s.chips for s in shares] == sorted((s.chips for s in shares), reverse=True)
        counts = [c.count for c in shape.chips if c.kind in (None, shares[0].chip)]
        if shape.elastic:
            assert shape.elastic.min <= total <= shape.elastic.max
        else:
            assert total in counts
        for share in shares:
            node = next(
                int(snapshot.pools.chips_per_node[p])
                for p in range(len(snapshot.pools.kind))
                if snapshot.sites.names[snapshot.pools.site[p]] == share.site
                and snapshot.pools.index[p] == share.pool
            )
            assert share.nodes == -(-share.chips // node)
            assert shape.per != "node" or share.chips % node == 0


@settings(deadline=None)
@given(worlds(), policies())
def test_each_waiting_job_gets_exactly_one_decision(snapshot: Snapshot, policy: Policy) -> None:
    plan = schedule(snapshot, policy, NOW)
    decided = [d.job for d in (*plan.placements, *plan.refusals)]
    assert sorted(decided) == sorted(w.job for w in snapshot.waiting)
    order = [w.job for w in ordered(snapshot.waiting)]
    assert [p.job for p in plan.placements] == [
        j for j in order if j in {p.job for p in plan.placements}
    ]


@settings(deadline=None)
@given(worlds(), policies())
def test_equal_snapshots_give_equal_plans_and_stay_as_they_are(
    snapshot: Snapshot, policy: Policy
) -> None:
    arrays = {
        (part, f.name): value.copy()
        for part, table in (("sites", snapshot.sites), ("pools", snapshot.pools))
        for f in fields(table)
        if isinstance(value := getattr(table, f.name), np.ndarray)
    }
    held = dict(snapshot.held)
    first = schedule(snapshot, policy, NOW)
    shuffled = replace(snapshot, waiting=snapshot.waiting[::-1])
    assert schedule(snapshot, policy, NOW) == first == schedule(shuffled, policy, NOW)
    assert snapshot.held == held
    for (part, name), before in arrays.items():
        assert np.array_equal(getattr(getattr(snapshot, part), name), before), name


@settings(deadline=None)
@given(worlds(), policies())
def test_each_site_refuses_for_one_reason_and_each_refusal_says_why(
    snapshot: Snapshot, policy: Policy
) -> None:
    for refusal in schedule(snapshot, policy, NOW).refusals:
        assert refusal.reason
        named = [name for names in refusal.sites.values() for name in names]
        assert sorted(named) in ([], sorted(snapshot.sites.names))
