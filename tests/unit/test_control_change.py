"""Chips taken back, kept and given: the fold of the events, and what follows when runs end."""

from __future__ import annotations

from skep.control.outcome import after_end, limit_at
from skep.lifecycle import replay
from skep.model import event as e
from skep.model.job import Elastic, Job, Span
from skep.model.placement import Share
from skep.model.policy import Policy
from skep.model.state import JobState

SPEC = Job(name="j", run="x", checkpoint_every=10, time_limit=100)


def share(site: str, rank: int = 0) -> Share:
    return Share(site=site, pool=0, chip="c", chips=2, nodes=1, rank=rank)


def fold(*events: e.Event, spec: Job = SPEC) -> JobState:
    jobs, _ = replay((e.Submitted(at=1, job="j", spec=spec), *events))
    return jobs["j"]


def running(*sites: str, at: float = 10.0, attempt: int = 1) -> tuple[e.Event, ...]:
    runs = tuple(
        e.RunGrant(run=f"j-a{attempt}-{site}", share=share(site, rank))
        for rank, site in enumerate(sites)
    )
    placed = e.Placed(at=at, job="j", attempt=attempt, runs=runs, go=True, reason="", expected=90)
    return (placed, *(e.RunStarted(at=at, job="j", run=grant.run) for grant in runs))


def preempted(at: float = 45.0) -> tuple[e.Event, ...]:
    run = "j-a1-a"
    taken = e.Preempted(at=at, job="j", runs=(run,), cause="priority", for_job="k", reason="k")
    return (taken, e.RunStopping(at=at, job="j", run=run, reason="k", grace=30.0))


def over(run: str, outcome: str = "stopped", at: float = 50.0) -> e.RunEnded:
    return e.RunEnded(at=at, job="j", run=run, outcome=outcome)  # type: ignore[arg-type]


def test_a_preempted_job_keeps_its_age_and_what_its_checkpoints_hold() -> None:
    job = fold(*running("a"), *preempted(), over("j-a1-a"))
    assert (job.phase, job.submitted_at, job.evicted) == ("waiting", 1, True)
    assert (job.done, job.paused_at, job.preemptions) == (40.0, 50.0, 1)
    assert job.runs["j-a1-a"].grace == 30.0
    again = fold(*running("a"), *preempted(), over("j-a1-a"), *running("b", at=80.0, attempt=2))
    assert (again.phase, again.evicted, again.paused, again.paused_at) == (
        "running",
        False,
        30,
        None,
    )


def test_waiting_after_a_preemption_does_not_count_against_the_time_limit() -> None:
    assert limit_at(fold(*running("a"))) == 110.0
    assert limit_at(fold(*running("a"), *preempted(), over("j-a1-a"))) is None
    again = running("b", at=80.0, attempt=2)
    assert limit_at(fold(*running("a"), *preempted(), over("j-a1-a"), *again)) == 140.0


def test_a_job_shrinks_and_ends_without_the_share_it_gave_back() -> None:
    spec = Job(name="j", run="x", span=Span(min=1, max=3), elastic=Elastic(min=1, max=9))
    shrunk = (
        *running("a", "b"),
        e.Resized(at=20, job="j", ranks=(1,), for_job="k", reason="for k"),
        e.RunStopping(at=20, job="j", run="j-a1-b", reason="for k"),
    )
    job = fold(*shrunk, spec=spec)
    assert (set(job.shares()), job.dropped) == ({0}, (1,))
    first = fold(*shrunk, over("j-a1-a", "succeeded"), spec=spec)
    assert after_end(first, first.runs["j-a1-a"], Policy(), 50.0) == ()
    last = fold(*shrunk, over("j-a1-a", "succeeded"), over("j-a1-b"), spec=spec)
    (ended,) = after_end(last, last.runs["j-a1-b"], Policy(), 50.0)
    assert isinstance(ended, e.JobEnded)
    assert ended.outcome == "succeeded"


def test_a_share_is_added_to_a_running_job() -> None:
    more = e.Placed(
        at=30,
        job="j",
        attempt=2,
        runs=(e.RunGrant(run="j-a2-c", share=share("c", 1)),),
        go=True,
        grow=True,
        reason="idle chips",
    )
    job = fold(*running("a"), more)
    assert ({rank: r.run for rank, r in job.shares().items()}, job.phase, job.gang) == (
        {0: "j-a1-a", 1: "j-a2-c"},
        "running",
        1,
    )
    assert (job.resized_at, job.expected) == (30, 90)


def test_what_is_kept_for_a_job_is_kept_until_it_is_placed() -> None:
    kept = e.Claimed(at=3, job="j", shares=(share("a"),), until=60.0, victims=("k",), reason="k")
    job = fold(kept)
    assert job.claim is not None
    assert job.claim.until == 60.0
    assert fold(kept, *running("a")).claim is None
