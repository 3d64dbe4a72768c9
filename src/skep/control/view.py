"""The world as people and programs are shown it: states in, ``skep.model.views`` out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from skep.control.avoid import Ground
from skep.control.had import had_by
from skep.control.world import World
from skep.model.job import ChipRequest
from skep.model.placement import Claim
from skep.model.policy import Policy
from skep.model.snapshot import Plan, Refusal
from skep.model.state import JobState, RunState, SiteState
from skep.model.views import (
    ChangeView,
    JobDetail,
    JobView,
    PoolView,
    PowerView,
    RunView,
    SiteRefusal,
    SiteView,
    StandingView,
    Why,
)
from skep.scheduler.attained import chip_hours
from skep.scheduler.expect import told
from skep.scheduler.fair import Standing
from skep.scheduler.refused import Refusals
from skep.scheduler.reserve import clock
from skep.units import duration

Energy = Callable[[RunState], tuple[float, float]]  # run -> (J at the meter, renewable share)
"""How much a run has drawn so far; the service knows supply and time."""
Held = Callable[[RunState], float]  # run -> W at the meter that its chips would draw idle


def job_view(job: JobState) -> JobView:
    """One line of a list."""
    return JobView(**_fields(job))


def job_detail(job: JobState, energy: Energy, held: Held) -> JobDetail:
    """One job whole."""
    return JobDetail(
        **_fields(job),
        spec=job.spec,
        runs=tuple(run_view(run, energy, held) for run in job.runs.values()),
        cancelling=job.ending is not None,
        version=job.version,
        stops=job.preemptions,
        moves=job.migrations,
        kept_work=job.done,
        paused=job.paused,
        claim="" if job.claim is None or job.ended else _kept(job.claim),
    )


def _kept(claim: Claim) -> str:
    """``2 h100-sxm at oslo, until 2026-05-04 13:20 UTC``."""
    shares = ", ".join(f"{s.chips} {s.chip} at {s.site}" for s in claim.shares)
    return f"{shares}, until {clock(claim.until)}"


def _fields(job: JobState) -> dict[str, object]:
    live = job.live() or (tuple(job.shares().values()) if job.ended else ())
    wanted: ChipRequest = job.spec.chips[0]
    return {
        "id": job.id,
        "name": job.spec.name,
        "user": job.user,
        "queue": job.spec.queue,
        "priority": job.spec.priority,
        "phase": job.phase,
        "chips": sum(r.share.chips for r in live) or wanted.count,
        "chip": live[0].share.chip if live else wanted.kind or "",
        "sites": tuple(dict.fromkeys(r.share.site for r in live)),
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "failures": job.failures,
        "reason": job.reason or job.decision,
    }


def run_view(run: RunState, energy: Energy, held: Held) -> RunView:
    """One attempt at one site's share."""
    joules, renewable = energy(run)
    return RunView(
        run=run.run,
        attempt=run.attempt,
        site=run.share.site,
        chip=run.share.chip,
        chips=run.share.chips,
        nodes=run.share.nodes,
        phase=run.phase,
        placed_at=run.placed_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        exit_code=run.exit_code,
        reason=run.reason,
        failed_on=run.nodes,
        kept_off=run.share.avoid,
        power=run.share.power + held(run),
        energy=joules,
        renewable=renewable,
    )


def site_view(world: World, state: SiteState, power: PowerView | None, now: float) -> SiteView:
    """A site now."""
    site = world.topology.site(state.name)
    heard = world.heard.get(state.name)
    return SiteView(
        name=state.name,
        phase=state.phase,
        reason=state.reason,
        country=site.place.country if site.place else "",
        engine=site.engine,
        pools=tuple(
            PoolView(chip=p.chip, chips=p.chips, free=world.free_of(state.name, i), nodes=p.nodes)
            for i, p in enumerate(site.pools)
        ),
        runs=tuple(world.runs[state.name]),
        power=power,
        silent=None if heard is None else max(0.0, now - heard),
    )


def refusal_of(plan: Plan, job: str) -> Refusal | None:
    """What the plan says to a job that it does not place."""
    if isinstance(plan.refusals, Refusals):
        return plan.refusals.of(job)
    return next((r for r in plan.refusals if r.job == job), None)


def why(
    job: JobState,
    plan: Plan | None,
    order: tuple[str, ...],
    standings: tuple[Standing, ...],
    decisions: tuple[dict[str, object], ...],
    length: str = "",
    by: str = "",
    now: float = 0.0,
    avoids: Iterable[Ground] = (),
) -> Why:
    """What was decided on a job; ``plan`` is what the scheduler would decide now.

    ``length`` is how long it is expected to work, in words; ``by`` what gives it its place.
    """
    refusal = refusal_of(plan, job.id) if plan else None
    refusals = refusal.sites if refusal else {}
    found = plan.refusals if plan else ()
    changes = found.changes(job.id) if isinstance(found, Refusals) else ()
    start = found.expected(job.id) if isinstance(found, Refusals) else None
    return Why(
        id=job.id,
        name=job.spec.name,
        phase=job.phase,
        summary=refusal.reason if refusal else job.reason or job.decision or "not looked at yet",
        place=order.index(job.id) + 1 if job.id in order else None,
        waiting=len(order),
        order=by,
        refusals=tuple(SiteRefusal(reason=r, sites=tuple(s)) for r, s in refusals.items()),
        remedy=refusal.remedy if refusal else "",
        start=start.start if start else None,
        start_reason=told(start, now) if start else "",
        length=length,
        changes=tuple(ChangeView(field=c.field, value=c.value, gives=c.gives) for c in changes),
        avoids=tuple(map(str, avoids)),
        standings=tuple(
            StandingView(queue=s.queue, held=s.held, used=s.used, part=s.part, deserved=s.deserved)
            for s in standings
        ),
        decisions=decisions,
    )


def in_order_by(world: World, policy: Policy, job: JobState, now: float) -> str:
    """What gives a job that waits its place among those of its priority; "" for its age."""
    if job.submitted_at + policy.patience <= now:
        return f"it has waited longer than {duration(policy.patience)}: before all others"
    if policy.order == "shortest":
        return "who is done the soonest first"
    if policy.order == "attained":
        had = had_by(job, now, world.worth, world.rates.of(job.spec))
        return f"who has had the least first; it has had {chip_hours(had, policy)}"
    return ""
