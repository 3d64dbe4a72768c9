"""Whatever waits: no limit is broken, gangs are whole, each job gets one decision."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from hypothesis import given, settings

from skep.model.placement import Share
from skep.model.policy import Policy
from skep.model.snapshot import Placement, Plan, Repair, Snapshot, Waiting
from skep.scheduler import schedule
from skep.scheduler.order import ordered
from skep.scheduler.schedule import line_of
from tests.oracle import keeps_shape, still_fits
from tests.worlds import NOW, policies, worlds


def after(snapshot: Snapshot, placement: Placement, queue: str) -> Snapshot:
    """The world once the placement is committed."""
    sites, pools = snapshot.sites, snapshot.pools
    free, drawn, held = pools.free.copy(), sites.power_drawn.copy(), dict(snapshot.held)
    held_in = {name: column.copy() for name, column in snapshot.held_in.items()}
    mine = held_in.setdefault(queue, np.zeros_like(free))
    for share in placement.shares:
        row = sites.names.index(share.site)
        (pool,) = np.flatnonzero((pools.site == row) & (pools.index == share.pool))
        free[pool] -= share.chips
        drawn[row] += share.power
        held[queue] = held.get(queue, 0) + share.chips
        mine[pool] += share.chips
    return replace(
        snapshot,
        sites=replace(sites, power_drawn=drawn),
        pools=replace(pools, free=free),
        held=held,
        held_in=held_in,
    )


def waiting_of(snapshot: Snapshot, job: str) -> Waiting:
    return next(w for w in snapshot.waiting if w.job == job)


def check_commit(snapshot: Snapshot, policy: Policy, plan: Plan) -> None:
    """Committed one after the other, each placement still holds when its turn comes."""
    world = snapshot
    for placement in plan.placements:
        queue = snapshot.shapes[waiting_of(snapshot, placement.job).shape].queue
        assert still_fits(placement, world, policy, queue, NOW) is None
        world = after(world, placement, queue)
    assert (world.pools.free >= 0).all()


def check_gang(snapshot: Snapshot, placement: Placement) -> None:
    """All that was asked for, of one kind, at different sites that are linked to each other."""
    waiting = waiting_of(snapshot, placement.job)
    shape, shares = snapshot.shapes[waiting.shape], placement.shares
    assert len({s.site for s in shares}) == len(shares)
    assert placement.repair == (waiting.repair is not None)
    if waiting.repair:
        check_repair(waiting.repair, shares)
        return
    assert keeps_shape(shares, shape, snapshot) is None
    assert shape.span.min <= len(shares) <= shape.span.most
    assert [s.rank for s in shares] == list(range(len(shares)))
    assert [s.chips for s in shares] == sorted((s.chips for s in shares), reverse=True)


def check_repair(asked: Repair, shares: tuple[Share, ...]) -> None:
    (share,) = shares
    assert (share.chip, share.chips, share.rank) == (asked.chip, asked.chips, asked.rank)
    assert share.site not in asked.others


def check_nodes(snapshot: Snapshot, placement: Placement) -> None:
    """Nodes hold the chips, and are whole where the job asks for nodes."""
    shape = snapshot.shapes[waiting_of(snapshot, placement.job).shape]
    pools = snapshot.pools
    for share in placement.shares:
        site = snapshot.sites.names.index(share.site)
        (pool,) = np.flatnonzero((pools.site == site) & (pools.index == share.pool))
        node = int(pools.chips_per_node[pool])
        assert share.nodes == -(-share.chips // node)
        assert shape.per != "node" or share.chips % node == 0


def check_decisions(snapshot: Snapshot, policy: Policy, plan: Plan) -> None:
    """Each job has one decision; each site one reason; the order is kept."""
    decided = [d.job for d in (*plan.placements, *plan.refusals)]
    assert sorted(decided) == sorted(w.job for w in snapshot.waiting)
    placed = [p.job for p in plan.placements]
    soft = any(q.soft_chips is not None or any(x.soft for x in q.quotas) for q in policy.queues)
    assert (
        policy.fair_share
        or soft
        or placed == [job for job in ordered(line_of(snapshot, policy), NOW) if job in set(placed)]
    )
    for refusal in plan.refusals:
        assert refusal.reason
        named = [name for names in refusal.sites.values() for name in names]
        assert sorted(named) in ([], sorted(snapshot.sites.names))


def check(snapshot: Snapshot, policy: Policy) -> None:
    plan = schedule(snapshot, policy, NOW)
    check_decisions(snapshot, policy, plan)
    check_commit(snapshot, policy, plan)
    for placement in plan.placements:
        check_gang(snapshot, placement)
        check_nodes(snapshot, placement)


@settings(deadline=None, max_examples=250)
@given(worlds(), policies())
def test_no_limit_is_broken_gangs_are_whole_each_job_has_one_decision(
    snapshot: Snapshot, policy: Policy
) -> None:
    check(snapshot, policy)


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
