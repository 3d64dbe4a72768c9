"""What a plan changes of jobs that run: committed as events, each checked again by ``Room``."""

from __future__ import annotations

from collections.abc import Iterator

from skep.control.draft import Draft
from skep.control.room import Room
from skep.control.world import World
from skep.model.event import Claimed, Event, Migrated, Preempted, Resized, RunStopping
from skep.model.snapshot import Migration, Preemption, Victim


def preempt(world: World, draft: Draft, room: Room, preemption: Preemption, now: float) -> None:
    """Have the victims give their chips back, and keep them for whom they are meant."""
    known = world.jobs
    if any(draft.job(victim.job) is not known.get(victim.job) for victim in preemption.victims):
        return  # it has changed within this plan
    if preemption.job and draft.job(preemption.job) is not known.get(preemption.job):
        return
    if room.evict(preemption):
        return
    for victim in preemption.victims:
        draft.add(*_stopped(victim, preemption, now))
    if preemption.job:
        draft.add(
            Claimed(
                at=now,
                job=preemption.job,
                shares=preemption.shares,
                until=preemption.until,
                victims=tuple(victim.job for victim in preemption.victims),
                reason=preemption.reason,
            )
        )
        world.wake_at(preemption.until, preemption.job)


def _stopped(victim: Victim, preemption: Preemption, now: float) -> Iterator[Event]:
    if victim.ranks:
        yield Resized(
            at=now,
            job=victim.job,
            ranks=victim.ranks,
            for_job=preemption.job,
            reason=victim.reason,
        )
    else:
        yield Preempted(
            at=now,
            job=victim.job,
            runs=victim.runs,
            cause=victim.cause,
            for_job=preemption.job,
            lost=victim.lost,
            reason=victim.reason,
        )
    for run in victim.runs:
        yield RunStopping(at=now, job=victim.job, run=run, reason=victim.reason, grace=victim.grace)


def migrate(world: World, draft: Draft, room: Room, migration: Migration, now: float) -> None:
    """Have a running job stop, and keep the chips with which it goes on."""
    if draft.job(migration.job) is not world.jobs.get(migration.job) or room.move(migration):
        return
    draft.add(
        Migrated(
            at=now,
            job=migration.job,
            runs=migration.runs,
            shares=migration.shares,
            until=migration.until,
            gain=migration.gain,
            cost=migration.cost,
            reason=migration.reason,
        )
    )
    for run in migration.runs:
        draft.add(
            RunStopping(
                at=now,
                job=migration.job,
                run=run,
                reason=migration.reason,
                grace=migration.grace,
            )
        )
    world.wake_at(migration.until, migration.job)
