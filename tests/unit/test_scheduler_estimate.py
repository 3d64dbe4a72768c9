"""How long a job is expected to take: its user's word, corrected by what such jobs took."""

from __future__ import annotations

import pytest

from skep.model.job import Job
from skep.model.state import JobState
from skep.scheduler.estimate import REMEMBERED, History, ahead, rounded

HOUR = 3600.0


def spec(name: str = "train", **fields: object) -> Job:
    return Job(name=name, run="x", **fields)  # type: ignore[arg-type]


def ended(
    number: int, taken: float, job: Job, *, user: str = "ada", phase: str = "succeeded"
) -> JobState:
    at = 1000.0 * number
    return JobState(
        f"j{number}",
        job,
        user,
        at,
        phase=phase,  # type: ignore[arg-type]
        started_at=at,
        ended_at=at + taken,
    )


def history(*taken: float, job: Job, **more: object) -> History:
    return History.of(ended(n, t, job, **more) for n, t in enumerate(taken))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("job", "seconds", "words"),
    [
        (spec(duration=600, time_limit=HOUR), 600, "its duration"),
        (spec(time_limit=HOUR), HOUR, "its time limit"),
        (spec(), 7200, "assumed"),
    ],
)
def test_without_a_history_the_word_counts(job: Job, seconds: float, words: str) -> None:
    found = History().expected(job, "ada", 7200)
    assert found.seconds == seconds
    assert words in found.reason


def test_the_word_is_corrected_by_the_upper_quartile_of_what_such_jobs_took() -> None:
    job = spec(time_limit=HOUR)
    found = history(360, 720, 1080, 1440, job=job).expected(job, "ada", 1)
    assert found.seconds == pytest.approx(1080)
    assert found.reason == "0.30 × its time limit, as 4 such jobs took"


def test_three_jobs_are_not_enough_and_failed_ones_say_nothing() -> None:
    job = spec(duration=HOUR)
    assert history(1, 1, 1, job=job).expected(job, "ada", 1).seconds == HOUR
    assert history(*[1] * 9, job=job, phase="failed").expected(job, "ada", 1).seconds == HOUR


def test_others_of_the_same_queue_count_where_no_such_job_is_known() -> None:
    past = history(*[360] * 4, job=spec("other", duration=HOUR))
    assert past.expected(spec(duration=100), "ada", 1).seconds == pytest.approx(10)
    assert past.expected(spec(duration=100), "bob", 1).seconds == 100


def test_the_correction_is_bounded_and_never_beyond_the_limit() -> None:
    slow = history(*[9000] * 4, job=spec(duration=100))
    assert slow.expected(spec(duration=100), "ada", 1).seconds == 300
    assert slow.expected(spec(duration=100, time_limit=200), "ada", 1).seconds == 200
    quick = history(*[0] * 4, job=spec(duration=100))
    assert quick.expected(spec(duration=100), "ada", 1).seconds == 2


def test_a_job_without_a_word_takes_what_such_jobs_took() -> None:
    found = history(10, 20, 30, 40, job=spec()).expected(spec(), "ada", 999)
    assert (found.seconds, found.reason) == (30, "as 4 such jobs took")


def test_what_came_long_ago_is_forgotten_so_that_a_restart_knows_the_same() -> None:
    job = spec(duration=100)
    jobs = [ended(n, 50.0 if n < 10 else 100.0, job) for n in range(REMEMBERED + 10)]
    grown, fresh = History.of(jobs), History.of(jobs[-REMEMBERED:])
    assert grown.expected(job, "ada", 1) == fresh.expected(job, "ada", 1)
    assert grown == fresh


@pytest.mark.parametrize(
    ("now", "end"), [(0, 100), (99, 100), (100, 150), (149, 150), (230, 337.5)]
)
def test_an_estimate_that_is_passed_grows_by_half(now: float, end: float) -> None:
    assert ahead(0.0, 100.0, now) == end


def test_lengths_are_rounded_up_and_by_no_more_than_a_fifth() -> None:
    for seconds in (1, 17, 59.3, 3600, 86400.0):
        assert seconds <= rounded(seconds) + 1e-3 <= seconds * 1.19 + 0.01
    assert rounded(float("inf")) == float("inf")
