"""The state machine: one transition table, and the fold of events into states. Pure.

``apply(job, event)`` answers the job's next state; ``replay(events)`` folds a whole log. An event
that the table does not allow in the present phase raises ``ConflictError``: the decision behind it
was made from a world that has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from skep.errors import ConflictError
from skep.model.event import (
    CancelRequested,
    Claimed,
    Deferred,
    Ending,
    Event,
    GangExpired,
    GangReady,
    JobEnded,
    Migrated,
    Placed,
    Preempted,
    Resized,
    Retried,
    RunEnded,
    RunReady,
    RunStarted,
    RunStopping,
    SiteJoined,
    SiteLost,
    SiteReturned,
    Submitted,
)
from skep.model.evolve import changed, replace
from skep.model.placement import Claim
from skep.model.state import ENDED_RUN, JobState, RunState, SiteState

Changes = dict[str, Any]
"""Fields of a job's state that an event changes, with their new values."""

# Which events a job takes in which phase; ended jobs take only the ends of their last runs.
_OPEN = frozenset({"waiting", "starting", "running"})
_HOLDING = frozenset({"starting", "running"})
_NEVER: frozenset[str] = frozenset()
JOB_TABLE: dict[str, frozenset[str]] = {
    "placed": _OPEN,
    "deferred": _OPEN,
    "gang_ready": frozenset({"starting"}),
    "gang_expired": frozenset({"starting"}),
    "run_ready": _OPEN,
    "run_started": _OPEN,
    "run_stopping": _OPEN,
    "run_ended": _OPEN,
    "retried": _OPEN,
    "preempted": _HOLDING,
    "claimed": frozenset({"waiting"}),
    "resized": frozenset({"running"}),
    "migrated": frozenset({"running"}),
    "cancel_requested": _OPEN,
    "ending": _OPEN,
    "job_ended": _OPEN,
}
RUN_TABLE: dict[str, frozenset[str]] = {
    "run_ready": frozenset({"assigned"}),
    "run_started": frozenset({"assigned", "ready"}),
    "run_stopping": frozenset({"assigned", "ready", "running"}),
    "run_ended": frozenset({"assigned", "ready", "running", "stopping"}),
}


def apply(job: JobState | None, event: Event) -> JobState:
    """The state of the job after ``event``; ``job`` is None only for ``Submitted``."""
    if isinstance(event, Submitted):
        if job is not None:
            raise ConflictError(f"job {event.job} exists already")
        return JobState(event.job, event.spec, event.user, event.at)
    if job is None:
        raise ConflictError(f"there is no job {event.job} for the event {event.kind}")
    if job.phase not in JOB_TABLE.get(event.kind, _NEVER):
        raise ConflictError(f"job {job.id} is {job.phase}: it takes no {event.kind}")
    changes = _FOLD[event.kind](job, event)
    changes["version"] = job.version + 1
    return changed(job, changes)


def apply_site(site: SiteState, event: Event) -> SiteState:
    """The state of a site after one of its events; other events leave it as it is."""
    if isinstance(event, SiteJoined):
        return replace(site, phase="up", agent=event.agent, since=event.at, reason=event.reason)
    if isinstance(event, SiteLost):
        return replace(site, phase="lost", since=event.at, reason=event.reason)
    if isinstance(event, SiteReturned):
        return replace(site, phase="up", since=event.at, reason=event.reason)
    return site


def replay(events: Iterable[Event]) -> tuple[dict[str, JobState], dict[str, SiteState]]:
    """Fold a whole log into the jobs and sites by name."""
    jobs: dict[str, JobState] = {}
    sites: dict[str, SiteState] = {}
    for event in events:
        if event.job:
            jobs[event.job] = apply(jobs.get(event.job), event)
        else:
            sites[event.site] = apply_site(sites.get(event.site, SiteState(event.site)), event)
    return jobs, sites


def _run(job: JobState, run: str, kind: str) -> RunState:
    state = job.runs.get(run)
    if state is None:
        raise ConflictError(f"job {job.id} has no run {run}")
    if state.phase not in RUN_TABLE[kind]:
        raise ConflictError(f"run {run} is {state.phase}: it takes no {kind}")
    return state


def _with_run(job: JobState, run: RunState, **changes: Any) -> Changes:
    return {"runs": {**job.runs, run.run: run}, **changes}


def _placed(job: JobState, event: Placed) -> Changes:
    if event.attempt <= job.attempt:
        raise ConflictError(f"attempt {event.attempt} of job {job.id} is not a new one")
    new = {
        grant.run: RunState(grant.run, event.attempt, grant.share, go=event.go, placed_at=event.at)
        for grant in event.runs
    }
    beside = event.repair or event.grow
    dropped: tuple[int, ...] = ()
    if beside and job.dropped:
        ranks = {grant.share.rank for grant in event.runs}
        dropped = tuple(rank for rank in job.dropped if rank not in ranks)
    return {
        "runs": {**job.runs, **new},
        "attempt": event.attempt,
        "gang": job.gang if beside else event.attempt,
        "phase": "running" if beside and job.phase == "running" else "starting",
        "decision": event.reason,
        "refusals": {},
        "expected": job.expected if beside else event.expected,
        "claim": None,
        "evicted": False,
        "dropped": dropped,
        "resized_at": event.at if event.grow else job.resized_at,
    }


def _deferred(_job: JobState, event: Deferred) -> Changes:
    return {"decision": event.reason, "refusals": event.refusals}


def _gang_ready(job: JobState, event: GangReady) -> Changes:
    runs = {
        name: replace(run, go=True) if run.attempt == event.attempt and not run.ended else run
        for name, run in job.runs.items()
    }
    return {"runs": runs}


def _gang_expired(_job: JobState, event: GangExpired) -> Changes:
    return {"decision": event.reason}


def _run_ready(job: JobState, event: RunReady) -> Changes:
    run = _run(job, event.run, event.kind)
    return _with_run(job, replace(run, phase="ready", address=event.address))


def _run_started(job: JobState, event: RunStarted) -> Changes:
    run = _run(job, event.run, event.kind)
    started = job.started_at if job.started_at is not None else event.at
    run = replace(run, phase="running", started_at=event.at)
    paused = job.paused if job.paused_at is None else job.paused + event.at - job.paused_at
    return _with_run(job, run, phase="running", started_at=started, paused=paused, paused_at=None)


def _run_stopping(job: JobState, event: RunStopping) -> Changes:
    run = _run(job, event.run, event.kind)
    run = replace(
        run, phase="stopping", reason=event.reason, grace=event.grace, stopping_at=event.at
    )
    return _with_run(job, run)


def _run_ended(job: JobState, event: RunEnded) -> Changes:
    run = _run(job, event.run, event.kind)
    run = replace(
        run,
        phase=event.outcome,
        ended_at=event.at,
        exit_code=event.exit_code,
        reason=event.reason or run.reason,
        nodes=event.nodes,
    )
    if len(job.runs) > 1 and any(not r.ended for n, r in job.runs.items() if n != event.run):
        return _with_run(job, run)
    paused_at = job.paused_at
    if paused_at is None and job.evicted and job.started_at is not None:
        paused_at = event.at
    kept = 0.0 if event.outcome == "succeeded" else kept_work(job, event.at)
    return _with_run(job, run, phase="waiting", done=job.done + kept, paused_at=paused_at)


def kept_work(job: JobState, at: float) -> float:
    """Seconds of the present gang's work that a checkpoint holds at ``at``.

    A job that does not say how often it saves is taken to keep nothing.
    """
    begun, every = job.begun_at(), job.spec.checkpoint_every
    if begun is None or not every:
        return 0.0
    worked = max(0.0, at - begun)
    return worked - worked % every


def _retried(_job: JobState, event: Retried) -> Changes:
    return {"not_before": event.not_before, "failures": event.failures, "decision": event.reason}


def _preempted(job: JobState, event: Preempted) -> Changes:
    runs = [_run(job, run, "run_stopping") for run in event.runs]
    whole = len(runs) == len(job.live())
    return {
        "evicted": job.evicted or whole,
        "preemptions": job.preemptions + 1,
        "decision": event.reason,
    }


def _claimed(_job: JobState, event: Claimed) -> Changes:
    claim = Claim(shares=event.shares, until=event.until, victims=event.victims)
    return {"claim": claim, "decision": event.reason}


def _resized(job: JobState, event: Resized) -> Changes:
    shares = job.shares()
    if missing := [rank for rank in event.ranks if rank not in shares or shares[rank].ended]:
        raise ConflictError(f"job {job.id} has no live share {missing[0]} to give back")
    if len(event.ranks) >= len(shares):
        raise ConflictError(f"job {job.id} cannot give back all of its shares")
    dropped = tuple(sorted({*job.dropped, *event.ranks}))
    return {"dropped": dropped, "resized_at": event.at, "decision": event.reason}


def _migrated(job: JobState, event: Migrated) -> Changes:
    if {r.run for r in job.live()} != set(event.runs):
        raise ConflictError(f"job {job.id} migrates as a whole or not at all")
    return {
        # Some of its chips may be those that it gives back.
        "claim": Claim(shares=event.shares, until=event.until, victims=(job.id,)),
        "evicted": True,
        "migrations": job.migrations + 1,
        "moved_at": event.at,
        "decision": event.reason,
    }


def _cancel_requested(_job: JobState, event: CancelRequested) -> Changes:
    reason = f"cancelled by {event.user}" if event.user else "cancelled"
    return {"ending": "cancelled", "reason": reason}


def _ending(_job: JobState, event: Ending) -> Changes:
    return {"ending": event.outcome, "reason": event.reason}


def _job_ended(job: JobState, event: JobEnded) -> Changes:
    held = [run.run for run in job.runs.values() if run.phase not in ENDED_RUN]
    if held:
        raise ConflictError(f"job {job.id} cannot end while it holds {', '.join(held)}")
    return {"phase": event.outcome, "ended_at": event.at, "reason": event.reason}


_FOLD: dict[str, Callable[[JobState, Any], Changes]] = {
    "placed": _placed,
    "deferred": _deferred,
    "gang_ready": _gang_ready,
    "gang_expired": _gang_expired,
    "run_ready": _run_ready,
    "run_started": _run_started,
    "run_stopping": _run_stopping,
    "run_ended": _run_ended,
    "retried": _retried,
    "preempted": _preempted,
    "claimed": _claimed,
    "resized": _resized,
    "migrated": _migrated,
    "cancel_requested": _cancel_requested,
    "ending": _ending,
    "job_ended": _job_ended,
}
