"""What follows when a run ends, and when a job is to end. Pure: states in, events out."""

from __future__ import annotations

from skep.model.event import Ending, Event, JobEnded, Retried, RunEnded, RunStopping
from skep.model.policy import Policy
from skep.model.state import JobState, RunState

MOST_DELAY = 300.0
# A run that worked so long (s) did not fail because it cannot start: no reason to hold back.
WORKED = 60.0
# The shell's codes for "command not found" and "not executable": the same again would not help.
HOPELESS = {126: "command not executable", 127: "command not found"}


def after_end(job: JobState, run: RunState, policy: Policy, now: float) -> tuple[Event, ...]:
    """Events that follow from the end of ``run``; ``job`` already has the end folded in."""
    if job.ending:
        return finish(job, frozenset(), now)
    if run.share.rank in job.dropped:
        return _after_success(job, now)
    if run.phase == "succeeded":
        return _after_success(job, now)
    if run.phase == "failed":
        return _after_failure(job, run, policy, now)
    return _after_loss(job, run, now)


def finish(job: JobState, lost_sites: frozenset[str], now: float) -> tuple[Event, ...]:
    """Events that bring a job with ``ending`` set nearer to its end.

    A run at a lost site is given up: no other run takes its place, so nothing can run twice.
    """
    events: list[Event] = []
    left = 0
    for run in job.live():
        if run.share.site in lost_sites:
            reason = f"{run.share.site} is lost; it stops the run when it returns"
            events.append(RunEnded(at=now, job=job.id, run=run.run, outcome="lost", reason=reason))
            continue
        left += 1
        if run.phase != "stopping":
            events.append(RunStopping(at=now, job=job.id, run=run.run, reason=job.reason))
    if not left and job.ending in ("succeeded", "failed", "cancelled"):
        events.append(JobEnded(at=now, job=job.id, outcome=job.ending, reason=job.reason))
    return tuple(events)


def stop_gang(job: JobState, reason: str, now: float) -> tuple[Event, ...]:
    """Ask every live run of the job to stop: its gang starts as a whole or not at all."""
    return tuple(
        RunStopping(at=now, job=job.id, run=run.run, reason=reason)
        for run in job.live()
        if run.phase != "stopping"
    )


def _after_success(job: JobState, now: float) -> tuple[Event, ...]:
    shares = job.shares().values()
    if not shares or job.live() or any(r.phase != "succeeded" for r in shares):
        return ()
    count = len(shares)
    reason = "its run succeeded" if count == 1 else f"its runs at {count} sites succeeded"
    return (JobEnded(at=now, job=job.id, outcome="succeeded", reason=reason),)


def _after_failure(job: JobState, run: RunState, policy: Policy, now: float) -> tuple[Event, ...]:
    what = f"run {run.run} failed at {run.share.site}: {run.reason or 'no reason given'}"
    failures = job.failures + 1
    if _out_of_time(job, now):
        return _give_up(job, what, now)
    if run.exit_code in HOPELESS:
        return _give_up(job, f"{what}; not tried again ({HOPELESS[run.exit_code]})", now)
    if failures > job.spec.retries:
        return _give_up(job, f"{what}; {job.spec.retries} retries are used up", now)
    delay = min(MOST_DELAY, policy.retry_delay * 2.0 ** min(_in_a_row(job, run) - 1, 16))
    left = job.spec.retries - failures
    reason = f"{what}; tried again in {delay:g} s ({left} retries left)"
    retried = Retried(at=now, job=job.id, not_before=now + delay, failures=failures, reason=reason)
    return (retried, *_stop_unstarted(job, run, now))


def _in_a_row(job: JobState, run: RunState) -> int:
    """How often in a row the share has failed at once; 1 where its run had worked."""
    count = 0
    for other in reversed(job.runs.values()):
        if other.share.rank == run.share.rank:
            if other.phase != "failed" or _worked(other):
                break
            count += 1
    return max(1, count)


def _worked(run: RunState) -> bool:
    begun, ended = run.started_at, run.ended_at
    return begun is not None and ended is not None and ended - begun >= WORKED


def _out_of_time(job: JobState, now: float) -> bool:
    """Whether the job's time is over (an engine enforces it too and may be a little earlier)."""
    end = limit_at(job)
    return end is not None and now >= end - 1.0


def limit_at(job: JobState) -> float | None:
    """When the job's time limit is over; None without one, before it starts, and while evicted.

    Time that it waits because its chips were taken from it does not count.
    """
    if job.spec.time_limit is None or job.started_at is None or job.paused_at is not None:
        return None
    return job.started_at + job.spec.time_limit + job.paused


def _after_loss(job: JobState, run: RunState, now: float) -> tuple[Event, ...]:
    what = f"run {run.run} is gone: {run.reason or run.phase}"
    if job.spec.on_site_loss == "fail" and run.phase == "lost":
        return _give_up(job, f"{what}; on_site_loss is fail", now)
    if run.phase == "stopped" and not run.go:
        return ()
    retried = Retried(
        at=now, job=job.id, not_before=now, failures=job.failures, reason=f"{what}; placed again"
    )
    return (retried, *_stop_unstarted(job, run, now))


def _stop_unstarted(job: JobState, run: RunState, now: float) -> tuple[Event, ...]:
    if run.go:
        return ()
    return stop_gang(job, f"{run.share.site} could not start its share of the gang", now)


def _give_up(job: JobState, reason: str, now: float) -> tuple[Event, ...]:
    stops = stop_gang(job, reason, now)
    events: tuple[Event, ...] = (Ending(at=now, job=job.id, outcome="failed", reason=reason),)
    if not job.live():
        return (*events, JobEnded(at=now, job=job.id, outcome="failed", reason=reason))
    return (*events, *stops)
