"""The state machine: what may follow what, and the fold of a log."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest

from skep.errors import ConflictError
from skep.lifecycle import JOB_TABLE, RUN_TABLE, apply, apply_site, replay
from skep.model import event as e
from skep.model.job import Job
from skep.model.placement import Share
from skep.model.state import JobState, SiteState

SPEC = Job(name="j", run="x")
BY_KIND = {
    one.default: kind
    for kind in get_args(get_args(e.Event)[0])
    for one in dataclasses.fields(kind)
    if one.name == "kind"
}
SUBMITTED = e.Submitted(at=1, job="j", spec=SPEC, user="ada")


def share(site: str = "a", rank: int = 0) -> Share:
    return Share(site=site, pool=0, chip="cpu-core", chips=1, nodes=1, rank=rank)


def placed(attempt: int = 1, *sites: str, **more: Any) -> e.Placed:
    runs = tuple(
        e.RunGrant(run=f"j-a{attempt}-{site}", share=share(site, rank))
        for rank, site in enumerate(sites or ("a",))
    )
    return e.Placed(at=2, job="j", attempt=attempt, runs=runs, reason="fits", **more)


def fold(*events: e.Event) -> JobState:
    jobs, _ = replay((SUBMITTED, *events))
    return jobs["j"]


def started(run: str = "j-a1-a") -> tuple[e.Event, ...]:
    return (
        placed(),
        e.RunReady(at=3, job="j", run=run),
        e.GangReady(at=3, job="j", attempt=1),
        e.RunStarted(at=4, job="j", run=run),
    )


def ended(outcome: str, run: str = "j-a1-a") -> e.RunEnded:
    return e.RunEnded(at=9, job="j", run=run, outcome=outcome)  # type: ignore[arg-type]


def test_versions_count_events() -> None:
    assert [fold(*started()[:n]).version for n in range(5)] == [1, 2, 3, 4, 5]


def test_a_job_runs_and_succeeds() -> None:
    job = fold(*started())
    assert (job.phase, job.started_at, job.gang) == ("running", 4, 1)
    assert job.runs["j-a1-a"].go
    over = fold(
        *started(), ended("succeeded"), e.JobEnded(at=9, job="j", outcome="succeeded", reason="")
    )
    assert (over.phase, over.ended, over.live()) == ("succeeded", True, ())


def test_every_kind_of_event_of_a_job_is_in_the_table() -> None:
    of_sites = {"site_joined", "site_lost", "site_returned"}
    assert BY_KIND.keys() - of_sites - {"submitted"} == JOB_TABLE.keys()
    assert RUN_TABLE.keys() <= JOB_TABLE.keys()


@pytest.mark.parametrize("kind", sorted(JOB_TABLE))
def test_an_ended_job_takes_no_event(kind: str) -> None:
    over = fold(e.JobEnded(at=3, job="j", outcome="cancelled", reason=""))
    body = {"kind": kind, "at": 4, "job": "j", "run": "j-a1-a", "reason": "r", "attempt": 2}
    fields = {"outcome": "failed", "runs": (), "not_before": 0.0, "failures": 0}
    fields |= {
        "shares": (),
        "until": 9.0,
        "ranks": (),
        "cause": "priority",
        "gain": 2.0,
        "cost": 1.0,
    }
    names = {one.name for one in dataclasses.fields(BY_KIND[kind])}
    known = {k: v for k, v in {**body, **fields}.items() if k in names}
    with pytest.raises(ConflictError, match="is cancelled"):
        apply(over, BY_KIND[kind](**known))


@pytest.mark.parametrize(
    ("before", "event"),
    [
        ((), e.RunReady(at=3, job="j", run="j-a1-a")),  # no such run
        ((), e.GangReady(at=3, job="j", attempt=1)),  # not starting
        ((placed(2),), placed(2)),  # not a new attempt
        (started(), e.RunReady(at=5, job="j", run="j-a1-a")),  # it runs already
        (started(), e.RunStarted(at=5, job="j", run="j-a1-a")),
        (
            (*started(), e.RunStopping(at=5, job="j", run="j-a1-a", reason="")),
            e.RunStopping(at=5, job="j", run="j-a1-a", reason=""),
        ),
        ((*started(), ended("lost")), ended("succeeded")),  # a run ends once
        (started(), e.JobEnded(at=5, job="j", outcome="failed", reason="")),  # holds a run
        ((), SUBMITTED),
    ],
)
def test_what_does_not_fit_is_refused(before: tuple[e.Event, ...], event: e.Event) -> None:
    with pytest.raises(ConflictError):
        apply(fold(*before), event)
    with pytest.raises(ConflictError):
        apply(None, placed())


def test_a_job_waits_again_when_its_last_run_is_over() -> None:
    one = fold(placed(1, "a", "b"), ended("failed"))
    assert one.phase == "starting"
    assert fold(placed(1, "a", "b"), ended("failed"), ended("lost", "j-a1-b")).phase == "waiting"


def test_shares_are_the_latest_of_each_rank_of_the_present_gang() -> None:
    repair = e.Placed(
        at=6,
        job="j",
        attempt=2,
        runs=(e.RunGrant(run="j-a2-c", share=share("c", 1)),),
        go=True,
        repair=True,
        reason="again",
    )
    job = fold(placed(1, "a", "b"), ended("lost", "j-a1-b"), repair)
    assert {rank: run.run for rank, run in job.shares().items()} == {0: "j-a1-a", 1: "j-a2-c"}
    assert (job.gang, job.attempt) == (1, 2)
    whole = fold(placed(1, "a", "b"), ended("lost"), ended("lost", "j-a1-b"), placed(3, "c"))
    assert {rank: run.run for rank, run in whole.shares().items()} == {0: "j-a3-c"}


def test_sites() -> None:
    site = SiteState("a")
    joined = apply_site(site, e.SiteJoined(at=1, site="a", agent="x"))
    lost = apply_site(joined, e.SiteLost(at=2, site="a", reason="silent"))
    back = apply_site(lost, e.SiteReturned(at=3, site="a", reason="again"))
    assert [s.phase for s in (site, joined, lost, back)] == ["unknown", "up", "lost", "up"]
    assert (back.agent, back.since) == ("x", 3)
    assert apply_site(back, SUBMITTED) == back
