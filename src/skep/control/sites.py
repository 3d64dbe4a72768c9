"""Sites: what their agents report, what they are answered, and what happens when they fall silent.

Leases. An agent may keep runs going until ``lease.duration`` after it *sent* its last answered
report; the control plane counts from when the report *arrived* and adds ``grace``. So a run whose
job wants to be replaced has ended at the site before another takes its place, whatever either
clock says of the time of day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from skep.control.avoid import named
from skep.control.draft import Draft
from skep.control.outcome import after_end
from skep.control.world import World
from skep.model.event import (
    Event,
    RunEnded,
    RunOutcome,
    RunReady,
    RunStarted,
    SiteJoined,
    SiteLost,
    SiteReturned,
)
from skep.model.message import Answer, ObservedPhase, Order, Report, RunReport
from skep.model.policy import Policy
from skep.model.state import JobState, RunState

# Between SIGTERM and SIGKILL, in seconds.
MOST_STOP_GRACE = 10.0


def take_report(
    world: World, draft: Draft, policy: Policy, site: str, report: Report, now: float
) -> None:
    """Fold a site's report into the draft: what its agent says against what was known."""
    _greet(draft, site, report.agent, now)
    held = {r.run: r for r in report.runs}
    for run, job in tuple(world.runs[site].items()):
        state = _run(draft, job, run)
        if state is None:
            continue
        seen = held.get(run)
        if seen is not None:
            events = _advance(job, state, seen, now)
        else:
            events = _missing(world, job, state, report.known, now)
        for event in events:
            _add(draft, policy, event, now)


def _greet(draft: Draft, site: str, agent: str, now: float) -> None:
    state = draft.site(site)
    if state.phase == "lost":
        draft.add(SiteReturned(at=now, site=site, reason="its agent reports again"))
    if state.agent != agent:
        reason = "its agent was started again" if state.agent else "its agent reports"
        draft.add(SiteJoined(at=now, site=site, agent=agent, reason=reason))


def _run(draft: Draft, job: str, run: str) -> RunState | None:
    state = draft.job(job)
    found = state.runs.get(run) if state and not state.ended else None
    return None if found is None or found.ended else found


def _advance(job: str, state: RunState, seen: RunReport, now: float) -> Iterator[Event]:
    """Events that lead from the known phase of a run to the reported one.

    A short run is over before anyone saw it at work: that it was is told all the same.
    """
    over = _outcome(seen.phase)
    worked = seen.phase == "running" or (over is not None and seen.started_at is not None)
    if state.phase == "assigned" and (worked or seen.phase == "ready"):
        yield RunReady(at=now, job=job, run=state.run, address=seen.address)
    if state.phase in ("assigned", "ready") and worked:
        yield RunStarted(at=now, job=job, run=state.run)
    if over is not None:
        yield RunEnded(
            at=now,
            job=job,
            run=state.run,
            outcome=over,
            exit_code=seen.exit_code,
            reason=seen.reason,
            nodes=named(seen.nodes),
        )


def _outcome(phase: ObservedPhase) -> RunOutcome | None:
    """How the run ended; None where it has not."""
    return None if phase == "preparing" or phase == "ready" or phase == "running" else phase


def _missing(world: World, job: str, state: RunState, known: int, now: float) -> Iterator[Event]:
    """A run that the site does not report although it has been told of it."""
    if known < world.ordered.get(state.run, 0):
        return
    if state.phase == "stopping":
        yield RunEnded(at=now, job=job, run=state.run, outcome="stopped", reason=state.reason)
    elif state.phase in ("ready", "running"):
        reason = f"{state.share.site} no longer knows the run"
        yield RunEnded(at=now, job=job, run=state.run, outcome="lost", reason=reason)


def _add(draft: Draft, policy: Policy, event: Event, now: float) -> None:
    draft.add(event)
    if isinstance(event, RunEnded):
        job = draft.job(event.job)
        assert job is not None  # the event has just been folded into it
        draft.add(*after_end(job, job.runs[event.run], policy, now))


def expire(world: World, draft: Draft, policy: Policy, now: float) -> None:
    """Sites that have been silent beyond lease and grace are lost, with the runs that allow it.

    A run of a job with ``on_site_loss: wait`` stays, unless it was never told to start.
    """
    lease = world.topology.pool.lease
    silent = lease.duration + lease.grace
    if now - min(world.heard.values(), default=now) < silent:
        return
    for site, heard in world.heard.items():
        if world.sites[site].phase != "up" or now - heard < silent:
            continue
        reason = f"silent for {now - heard:.0f} s, beyond lease and grace of {silent:g} s"
        draft.add(SiteLost(at=now, site=site, reason=reason))
        for run, job in tuple(world.runs[site].items()):
            _lose(draft, policy, job, run, f"{site} is {reason}", now)


def _lose(draft: Draft, policy: Policy, job: str, run: str, reason: str, now: float) -> None:
    state, held = draft.job(job), _run(draft, job, run)
    if state is None or held is None:
        return
    if state.spec.on_site_loss == "wait" and held.go and not state.ending:
        return
    _add(draft, policy, RunEnded(at=now, job=job, run=run, outcome="lost", reason=reason), now)


def next_expiry(world: World) -> float:
    """When the next silent site would be lost; infinity if none is up."""
    lease, heard = world.topology.pool.lease, world.heard
    first = min(heard, key=heard.__getitem__, default="")
    if first and world.sites[first].phase != "up":
        up = [site for site in heard if world.sites[site].phase == "up"]
        first = min(up, key=heard.__getitem__, default="")
    return (heard[first] if first else float("inf")) + lease.duration + lease.grace


def answer(
    world: World,
    site: str,
    report: Report,
    acknowledged: Mapping[str, int],
    token_of: Callable[[str], str],
) -> Answer:
    """All that the site should hold now."""
    lease = world.topology.pool.lease
    orders = tuple(_order(world, world.jobs[job], run) for run, job in world.runs[site].items())
    held = {order.run for order in orders}
    quiet = {c.run for c in report.logs} | {c.run for c in report.progress}
    over = ("succeeded", "failed", "stopped")
    forget = (r.run for r in report.runs if r.phase in over and r.run not in held | quiet)
    return Answer(
        revision=world.revision[site],
        lease=lease.duration,
        heartbeat=lease.heartbeat,
        orders=orders,
        forget=tuple(forget),
        acknowledged=dict(acknowledged),
        exchange_token={job: token_of(job) for job in {order.job for order in orders}},
    )


def _order(world: World, job: JobState, run: str) -> Order:
    state = job.runs[run]
    step = "stop" if state.phase == "stopping" else "go" if state.go else "prepare"
    peers = {
        other.share.site: other.address
        for other in job.live()
        if other.run != run and other.address and other.phase != "stopping"
    }
    return Order(
        run=run,
        job=job.id,
        step=step,
        attempt=state.attempt,
        spec=job.spec,
        share=state.share,
        site_count=max(1, len(job.shares())),
        peers=peers,
        chip_speed=world.topology.chips[state.share.chip].held_to,
        # A run stopped at the end of its lease must be dead before the site counts as lost.
        grace=min(MOST_STOP_GRACE, world.topology.pool.lease.grace / 2),
        notice=state.grace,
        reason=state.reason,
    )
