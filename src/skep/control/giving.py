"""Who may be made to give chips back, and to whom: asked again at commit, of jobs as they are.

Each function answers "" where it is right, else why not. No code is shared with the scheduler.
"""

from __future__ import annotations

from skep.control.had import had_by
from skep.control.world import World
from skep.model.policy import Policy, Queue
from skep.model.snapshot import Migration, Placement, Victim
from skep.model.state import JobState
from skep.scheduler.attained import level

_ROUNDING = 1e-6  # chips; sums of floats


def may_take(owner: JobState | None, version: int) -> str:
    """Whether others may be stopped for ``owner``."""
    if owner is None or owner.ended or owner.ending or owner.version != version:
        return "who should get the chips has moved"
    if owner.live():
        return f"{owner.id} holds chips"
    if owner.evicted:
        return f"{owner.id} gave way itself: it takes nothing from others"
    return ""


def may_lose(
    world: World, policy: Policy, job: JobState, victim: Victim, owner: JobState | None
) -> str:
    """Whether ``job`` may be stopped, in whole or in part, for ``owner`` (None: for a window)."""
    runs = [job.runs.get(run) for run in victim.runs]
    if job.ended or job.ending or any(r is None or r.phase != "running" for r in runs):
        return f"{job.id} does not run as it did"
    if victim.ranks:
        return _may_shrink(policy, job, victim, owner)
    if not job.spec.preemptible:
        return f"{job.id} is not preemptible"
    if owner is None:
        return _site_closes(policy, job, victim)
    if len(runs) != len(job.live()):
        return f"{job.id} gives way as a whole"
    return _may_give_way(world, policy, job, victim, owner)


def _may_give_way(
    world: World, policy: Policy, job: JobState, victim: Victim, owner: JobState
) -> str:
    if victim.cause == "share":
        return _may_return(world, policy, job, owner)
    if victim.cause == "attained":
        return _has_had_more(world, policy, job, owner)
    if victim.cause == "elastic":
        return _can_do_with_less(policy, job, owner)
    if victim.cause != "priority" or _rank(policy, job) >= _rank(policy, owner):
        return f"{job.id} is of no lower priority than {owner.id}"
    return ""


def _can_do_with_less(policy: Policy, job: JobState, owner: JobState) -> str:
    """Whether the job has chips above the least that it needs, and is of no higher priority."""
    elastic, live = job.spec.elastic, job.live()
    if elastic is None or len(live) != 1 or live[0].share.chips <= elastic.min:
        return f"{job.id} cannot do with less"
    if _rank(policy, job) > _rank(policy, owner):
        return f"{job.id} is of higher priority than {owner.id}"
    return ""


def _has_had_more(world: World, policy: Policy, job: JobState, owner: JobState) -> str:
    """Whether the job is in a higher class of chip-hours than ``owner``, at the same priority."""
    if not policy.preemption or policy.order != "attained":
        return "the policy stops nobody for what it has had"
    if _rank(policy, job) != _rank(policy, owner):
        return f"{job.id} and {owner.id} are not of one priority"

    def level_of(one: JobState) -> int:
        return level(policy, had_by(one, world.now, world.worth, world.rates.of(one.spec)))

    if level_of(job) > level_of(owner):
        return ""
    return f"{job.id} has had no more than {owner.id}"


def _may_shrink(policy: Policy, job: JobState, victim: Victim, owner: JobState | None) -> str:
    live = job.live()
    kept = [run for run in live if run.run not in victim.runs]
    if {run.share.rank for run in live if run.run in victim.runs} != set(victim.ranks):
        return f"{job.id} does not run as it did"
    elastic = job.spec.elastic
    if elastic is None or sum(run.share.chips for run in kept) < elastic.min:
        return f"{job.id} cannot do with less"
    if len(kept) < job.spec.span.min or any(run.phase != "running" for run in kept):
        return f"{job.id} cannot do with fewer sites"
    if owner is not None and _rank(policy, job) > _rank(policy, owner):
        return f"{job.id} is of higher priority than {owner.id}"
    return ""


def _site_closes(policy: Policy, job: JobState, victim: Victim) -> str:
    """Whether the job may have to leave its sites, or some of its runs theirs."""
    sites = {job.runs[run].share.site for run in victim.runs}
    if len(victim.runs) != len(job.live()) and job.spec.on_site_loss != "replace":
        return f"{job.id} gives way as a whole"
    closing = {window.site for window in policy.maintenance} | set(policy.evacuate)
    if sites & closing:
        return ""
    return f"no site of {job.id} closes"


def _may_return(world: World, policy: Policy, job: JobState, owner: JobState) -> str:
    theirs, ours = policy.queue(job.spec.queue), policy.queue(owner.spec.queue)
    if theirs is None or ours is None or theirs.name == ours.name or not ours.preempt:
        return f"queue {owner.spec.queue} takes nothing back"
    if _over_its_part(world, policy, theirs) is not True:
        return f"queue {theirs.name} holds no more than its part"
    if _over_its_part(world, policy, ours) is True:
        return f"queue {ours.name} has its part"
    return ""


def _over_its_part(world: World, policy: Policy, queue: Queue) -> bool | None:
    """Whether a queue holds more than its part; None where it has none.

    ``soft_chips`` of them, else the product of the weights of it and of those above it, each over
    that of all its siblings, of the whole pool.
    """
    below = [q.name for q in policy.queues if queue.name in _path(policy, q.name)]
    if queue.soft_chips is not None:
        return sum(world.held.get(name, 0) for name in below) > queue.soft_chips
    if not policy.fair_share:
        return None
    share = 1.0
    for name in _path(policy, queue.name):
        found = policy.queue(name)
        if found is not None:
            siblings = (q for q in policy.queues if q.parent == found.parent)
            share *= found.weight / sum(q.weight for q in siblings)
    whole = world.worth.amount(world.topology.total, world.topology.kind)
    held = sum(world.held_worth.get(name, 0.0) for name in below)
    return held > share * whole + _ROUNDING


def _path(policy: Policy, name: str | None) -> list[str]:
    """The queue and those above it."""
    path: list[str] = []
    while name is not None and name not in path and (found := policy.queue(name)) is not None:
        path.append(name)
        name = found.parent
    return path


def _rank(policy: Policy, job: JobState) -> int:
    queue = policy.queue(job.spec.queue)
    return policy.priority_of(job.spec.priority) + (queue.priority if queue else 0)


def may_grow(job: JobState, placement: Placement) -> str:
    """Whether a running elastic job may have the shares of ``placement`` too."""
    if not placement.grow:
        return ""
    elastic, live = job.spec.elastic, job.live()
    sites = [r.share.site for r in live] + [s.site for s in placement.shares]
    chips = sum(r.share.chips for r in live) + sum(s.chips for s in placement.shares)
    if elastic is None or chips > elastic.max or len(sites) > job.spec.span.most:
        return f"{job.id} cannot grow to {chips} chips at {len(sites)} sites"
    if len(set(sites)) != len(sites) or not live or any(r.phase != "running" for r in live):
        return f"{job.id} does not run as it did"
    ranks = {r.share.rank for r in live}.intersection(s.rank for s in placement.shares)
    return f"{job.id} has a share of rank {min(ranks)}" if ranks else ""


def may_move(job: JobState, migration: Migration) -> str:
    """Whether a running job may stop and go on elsewhere."""
    live = job.live()
    if job.ended or job.ending or job.claim is not None:
        return f"{job.id} cannot move now"
    if {r.run for r in live} != set(migration.runs) or any(r.phase != "running" for r in live):
        return f"{job.id} does not run as it did"
    if not job.spec.preemptible:
        return f"{job.id} is not preemptible"
    if not migration.gain > migration.cost:
        return f"{job.id} would gain no more than it costs"
    return ""
