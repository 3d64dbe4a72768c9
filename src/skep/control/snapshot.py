"""Takes a snapshot of the world for the scheduler."""

from __future__ import annotations

import math

import numpy as np

from skep.control.avoid import Ground, grounds, nodes_of, sites_of
from skep.control.had import had_by
from skep.control.topology import Topology
from skep.control.world import World, lost_shares
from skep.model.evolve import replace
from skep.model.policy import Policy
from skep.model.snapshot import (
    Floats,
    Forecast,
    Kept,
    Pools,
    Repair,
    Shape,
    Sites,
    Snapshot,
    Waiting,
)
from skep.model.state import JobState
from skep.scheduler.attained import level
from skep.scheduler.estimate import rounded
from skep.scheduler.line import Line

Known = dict[tuple[int, float], tuple[int, Shape]]
"""Priority and shape of jobs of one specification (its id) and length, within one snapshot."""


def take_snapshot(
    world: World,
    policy: Policy,
    clean: Floats,
    now: float,
    forecast: Forecast | None = None,
    *,
    slow: bool = False,
) -> Snapshot:
    """The world at this moment. ``clean`` is length S, see ``Sites.clean``.

    Arrays of what is free are copies. The waiting jobs are the world's own line, which goes on
    with it: decide on the snapshot before the world changes.
    """
    line = _line(world, policy, now)
    return Snapshot(
        sites=_sites(world, policy, clean),
        pools=_pools(world),
        shapes=line.shapes,
        waiting=line,
        held=dict(world.held),
        held_in={queue: held.copy() for queue, held in world.held_in.items()},
        held_worth=dict(world.held_worth) if policy.fair_share else None,
        used=world.usage.used(now) if policy.fair_share else {},
        speeds=world.topology.speeds,
        running=world.holding.columns(),
        growing=tuple(world.holding.growing.values()),
        kept=_kept(world, now),
        forecast=forecast,
        slow=slow,
    )


def _line(world: World, policy: Policy, now: float) -> Line:
    """The world's line, made anew only where the policy is another one."""
    if world.line is None or world.line_policy is not policy:
        world.line, world.line_policy = Line(policy.patience, policy.order), policy
        world.unlined = dict(world.waiting)
    for job in world.alike.next():
        if job in world.line.row and _another_length(world, world.line, job):
            world.unlined[job] = None
    known: Known = {}
    # Also those for which time alone changes something: what to avoid, chips that are kept.
    forgiving = {job: None for job, until in world.avoiding.items() if until <= now}
    for job in {**world.unlined, **forgiving, **world.claims}:
        if job in world.waiting:
            _put(world.line, world, policy, world.jobs[job], now, known)
    world.unlined.clear()
    return world.line


def _another_length(world: World, line: Line, job: str) -> bool:
    """Whether the job is expected to take another time than when it was put in the line."""
    known = line.shapes[line.keys[line.row[job]][0]].length
    return rounded(world.length(world.jobs[job])) != known


def _put(line: Line, world: World, policy: Policy, job: JobState, now: float, known: Known) -> None:
    """Bring the line up to a job that waits."""
    key = id(job.spec), world.length(job)
    if key not in known:
        known[key] = _priority(policy, job), _shape(world, job, key[1])
    priority, shape = known[key]
    failed = grounds(job, policy, now) if job.runs else ()
    if failed:
        world.avoiding[job.id] = min(ground.until for ground in failed)
    else:
        world.avoiding.pop(job.id, None)
    by_level = policy.order == "attained" and bool(job.runs)
    line.put(
        Waiting(
            job=job.id,
            version=job.version,
            shape=0,
            priority=priority,
            submitted_at=job.submitted_at,
            not_before=job.not_before,
            user=job.user,
            repair=_repair(job) if job.runs else None,
            avoid=sites_of(failed),
            off=_off(world.topology, failed),
            latest_start=_latest_start(job),
            start_by=job.submitted_at + (job.spec.defer or 0.0),
            evicted=job.evicted,
            claim=job.claim if job.claim is not None and job.claim.until > now else None,
            level=level(policy, had_by(job, now, world.worth, shape.rates)) if by_level else 0,
        ),
        _near_its_checkpoint(job, shape) if job.runs else shape,
    )


def _priority(policy: Policy, job: JobState) -> int:
    queue = policy.queue(job.spec.queue)
    return policy.priority_of(job.spec.priority) + (queue.priority if queue else 0)


def _shape(world: World, job: JobState, length: float) -> Shape:
    return Shape.of(job.spec, rounded(length), world.rates.of(job.spec))


def _near_its_checkpoint(job: JobState, shape: Shape) -> Shape:
    """A job that starts anew goes where it ran last, if that is as good: its checkpoint is there.

    Where its data lies goes before that, if it says so.
    """
    if not job.spec.checkpoint_every or job.spec.data or job.live():
        return shape
    sites = sorted({run.share.site for run in job.shares().values() if run.started_at is not None})
    return replace(shape, data=tuple(sites)) if sites else shape


def _latest_start(job: JobState) -> float:
    spec = job.spec
    if spec.deadline is None:
        return math.inf
    return job.submitted_at + spec.deadline - (spec.duration or spec.time_limit or 0.0)


def _sites(world: World, policy: Policy, clean: Floats) -> Sites:
    topology = world.topology
    if world.drained is None or world.drained[0] is not policy:
        closed = np.array([policy.closed(name) for name in topology.names], dtype=bool)
        world.drained = policy, closed
    return Sites(
        names=topology.names,
        countries=topology.countries,
        up=world.up,
        drained=world.drained[1],
        power_cap=topology.cap,
        power_drawn=world.drawn.copy(),
        pue=topology.pue,
        clean=clean,
        bandwidth=topology.bandwidth,
        rtt=topology.rtt,
    )


def _pools(world: World) -> Pools:
    topology = world.topology
    return Pools(
        site=topology.pool_site,
        index=topology.pool_index,
        kind=topology.kind,
        chips=topology.total,
        free=world.free.copy(),
        chips_per_node=topology.chips_per_node,
        block_chips=topology.block_chips,
        marginal_power=topology.marginal,
        speed=topology.speed,
        first_block=topology.first_block,
        block_free=world.block_free.copy(),
    )


def _kept(world: World, now: float) -> tuple[Kept, ...]:
    claims = ((job, world.jobs[job].claim) for job in world.claims)
    return tuple(Kept(job, c) for job, c in claims if c is not None and c.until > now)


def _repair(job: JobState) -> Repair | None:
    lost = lost_shares(job)
    if not lost:
        return None
    share = lost[0].share
    others = frozenset(
        r.share.site for r in job.shares().values() if not r.ended or r.phase == "succeeded"
    )
    return Repair(chip=share.chip, chips=share.chips, rank=share.rank, others=others)


def _off(topology: Topology, failed: tuple[Ground, ...]) -> tuple[tuple[int, int], ...]:
    """(Row of the pool, chips of its nodes that failed the job)."""
    if not failed:
        return ()
    rows = ((topology.pool_row[where], len(names)) for where, names in nodes_of(failed).items())
    size = topology.chips_per_node
    return tuple((row, count * int(size[row])) for row, count in rows)
