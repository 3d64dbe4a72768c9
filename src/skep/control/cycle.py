"""The cycle: from what is to what should be, in numbered steps.

Called by the loop of a control plane, and by the simulator, with their own ``now``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from skep.control.avoid import keeping_off
from skep.control.change import migrate, preempt
from skep.control.draft import Draft
from skep.control.outcome import finish, limit_at, stop_gang
from skep.control.room import Room
from skep.control.sites import expire
from skep.control.world import World, lost_shares
from skep.model.event import (
    Deferred,
    Ending,
    Event,
    GangExpired,
    GangReady,
    Placed,
    Retried,
    RunGrant,
)
from skep.model.policy import Policy
from skep.model.snapshot import Placement, Plan, Snapshot
from skep.model.state import JobState
from skep.scheduler import schedule
from skep.scheduler.explain import Explained
from skep.scheduler.refused import Refusals
from skep.store.base import Store
from skep.units import duration

# A waiting job's reasons change with every job that starts; the log tells them at most so often,
# of so many jobs in one cycle beside those of which nothing was told yet.
DEFER_SECONDS = 30.0
TOLD_AGAIN = 4


def run_cycle(
    world: World,
    store: Store,
    policy: Policy,
    snapshot_of: Callable[[bool], Snapshot],
    now: float,
) -> Plan:
    """One cycle. Returns the plan that was made; what of it held is in the events.

    ``snapshot_of`` takes the snapshot, once there is something to decide; it is told whether it is
    time to look for what may move.
    """
    # 1. Time: silent sites, and jobs whose moment has come.
    draft = Draft(world)
    expire(world, draft, policy, now)
    world.due(now)
    # 2. Settle: gangs that are ready or have waited too long, limits, ends.
    for job in tuple(world.dirty):
        _settle(world, draft, policy, job, now)
    draft.commit(store)
    world.dirty.clear()
    # 3. Decide on a snapshot.
    if not world.wants_a_plan(now):
        return Plan()
    snapshot = snapshot_of(world.looks_for_moves(now))
    plan = schedule(snapshot, policy, now, world.memory)
    # 4. Commit, each decision against the job's version and the limits as they are now.
    draft, room = Draft(world), Room(world, policy, now)
    for placement in plan.placements:
        _place(world, draft, room, placement, now)
    for preemption in plan.preemptions:
        preempt(world, draft, room, preemption, now)
    for migration in plan.migrations:
        migrate(world, draft, room, migration, now)
    for job, version, why in _to_tell(world, plan, now):
        _defer(world, draft, job, version, why, now)
    draft.commit(store)
    world.plan_again(plan.again, now)
    return plan


def _settle(world: World, draft: Draft, policy: Policy, job_id: str, now: float) -> None:
    job = draft.job(job_id)
    if job is None or job.ended:
        return
    if not job.ending and job.spec.time_limit is not None:
        draft.add(*_limit(world, job, now))
        job = draft.job(job_id) or job
    if job.ending:
        # Also where a limit has just been reached: between two attempts no run would end later.
        lost = frozenset(n for n in world.sites if draft.site(n).phase == "lost")
        draft.add(*finish(job, lost, now))
    elif job.phase == "starting":
        draft.add(*_gang(world, job, policy, now))


def _limit(world: World, job: JobState, now: float) -> Iterable[Event]:
    end = limit_at(job)
    if end is None or job.spec.time_limit is None:
        return ()
    if now < end:
        world.wake_at(end, job.id)
        return ()
    reason = f"time limit of {duration(job.spec.time_limit)} reached"
    ending = Ending(at=now, job=job.id, outcome="failed", reason=reason)
    return (ending, *stop_gang(job, reason, now))


def _gang(world: World, job: JobState, policy: Policy, now: float) -> Iterable[Event]:
    """A gang starts when all its runs are ready; held too long, it gives its chips back."""
    runs = [r for r in job.live() if r.attempt == job.gang]
    if not runs or all(r.go for r in runs) or any(r.phase == "stopping" for r in runs):
        return ()
    if len(runs) == len(job.shares()) and all(r.phase == "ready" for r in runs):
        return (GangReady(at=now, job=job.id, attempt=job.gang),)
    end = min(r.placed_at for r in runs) + policy.gang_hold
    if now < end:
        world.wake_at(end, job.id)
        return ()
    late = ", ".join(sorted(r.share.site for r in runs if r.phase != "ready"))
    reason = f"not ready within {duration(policy.gang_hold)}: {late}; chips given back"
    retried = Retried(
        at=now,
        job=job.id,
        not_before=now + policy.retry_delay,
        failures=job.failures,
        reason=reason,
    )
    expired = GangExpired(at=now, job=job.id, attempt=job.gang, reason=reason)
    return (expired, retried, *stop_gang(job, reason, now))


def _place(world: World, draft: Draft, room: Room, placement: Placement, now: float) -> None:
    job = world.jobs[placement.job]
    if job.ended or job.ending or (not placement.grow and job.version != placement.version):
        return
    if reason := room.take(job, placement):
        if not placement.grow:
            draft.add(Deferred(at=now, job=job.id, reason=f"refused at commit: {reason}"))
        return
    attempt = job.attempt + 1
    shares, off = keeping_off(job, placement.shares, world.policy, now)
    grants = tuple(
        RunGrant(run=run_id(job.id, attempt, share.site), share=share) for share in shares
    )
    draft.add(
        Placed(
            at=now,
            job=job.id,
            attempt=attempt,
            runs=grants,
            go=placement.repair or placement.grow or len(grants) == 1,
            repair=placement.repair,
            grow=placement.grow,
            expected=world.length(job),
            reason=placement.reason + off,
        )
    )
    if placement.repair and len(lost_shares(job)) > 1:
        world.wake_at(now, job.id)


def run_id(job: str, attempt: int, site: str) -> str:
    """The id of a run: ``JOB-a3-SITE``. A higher attempt fences the lower ones."""
    return f"{job}-a{attempt}-{site}"


def _to_tell(world: World, plan: Plan, now: float) -> Iterator[tuple[str, int, Explained]]:
    """Refusals of jobs that were told nothing yet, and of those that were told the longest ago."""
    again: list[str] = []
    for job, told in world.deferred.items():
        if now - told < DEFER_SECONDS or len(again) == TOLD_AGAIN:
            break
        again.append(job)
    if not isinstance(plan.refusals, Refusals):
        yield from ((r.job, r.version, Explained.of(r)) for r in plan.refusals)
        return
    for job in (*world.untold, *again):
        if (found := plan.refusals.briefly(job)) is not None:
            yield job, *found


def _defer(world: World, draft: Draft, name: str, version: int, why: Explained, now: float) -> None:
    job = world.jobs[name]
    if job.version != version or draft.job(name) is not job:
        return
    told = world.deferred.get(job.id)
    if told is not None and now - told < DEFER_SECONDS:
        return
    world.told(job.id, now)
    if job.decision == why.reason:
        return  # then nobody looks at the sites
    counts = {reason: len(sites) for reason, sites in why.sites.items()}
    draft.add(Deferred(at=now, job=job.id, reason=why.reason, refusals=counts))
