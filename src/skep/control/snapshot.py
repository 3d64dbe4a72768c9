"""Takes a snapshot of the world for the scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from skep.control.world import World, lost_shares
from skep.model.policy import Policy
from skep.model.snapshot import Floats, Kept, Pools, Repair, Shape, Sites, Snapshot, Waiting
from skep.model.state import JobState
from skep.scheduler.estimate import rounded

# A site that failed a job is avoided for so long: afterwards its cause may be gone.
AVOID_SECONDS = 600.0


@dataclass(slots=True)
class Shapes:
    """Gives each shape its index; equal shapes share one."""

    index: dict[Shape, int] = field(default_factory=dict)

    def of(self, job: JobState, length: float) -> int:
        """Index of the job's shape; ``length``: s that it is expected to work yet."""
        spec = job.spec
        shape = Shape(spec.chips, spec.span, spec.elastic, spec.per, spec.queue, rounded(length))
        return self.index.setdefault(shape, len(self.index))


def take_snapshot(world: World, policy: Policy, clean: Floats, now: float) -> Snapshot:
    """The world at this moment; arrays are copies. ``clean`` is length S, see ``Sites.clean``."""
    shapes = Shapes()
    waiting = tuple(_waiting(world, world.jobs[job], shapes, policy, now) for job in world.waiting)
    return Snapshot(
        sites=_sites(world, policy, clean),
        pools=_pools(world),
        shapes=tuple(shapes.index),
        waiting=waiting,
        held=dict(world.held),
        running=world.holding.columns(),
        kept=_kept(world, now),
    )


def _sites(world: World, policy: Policy, clean: Floats) -> Sites:
    topology = world.topology
    drained = set(policy.drained)
    return Sites(
        names=topology.names,
        countries=topology.countries,
        up=world.up(),
        drained=np.array([name in drained for name in topology.names], dtype=bool),
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
    )


def _waiting(world: World, job: JobState, shapes: Shapes, policy: Policy, now: float) -> Waiting:
    queue = policy.queue(job.spec.queue)
    return Waiting(
        job=job.id,
        version=job.version,
        shape=shapes.of(job, world.length(job)),
        priority=policy.priority_of(job.spec.priority) + (queue.priority if queue else 0),
        submitted_at=job.submitted_at,
        not_before=job.not_before,
        user=job.user,
        repair=_repair(job),
        avoid=_avoided(job, now),
        start_by=job.submitted_at + (job.spec.defer or 0.0),
        evicted=job.evicted,
        claim=job.claim if job.claim is not None and job.claim.until > now else None,
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


def _avoided(job: JobState, now: float) -> frozenset[str]:
    return frozenset(
        r.share.site
        for r in job.runs.values()
        if r.phase == "failed" and r.ended_at is not None and now - r.ended_at < AVOID_SECONDS
    )
