"""Whatever a state holds, the store gives it back as it was."""

import math
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.errors import StoreError
from skep.model.event import Deferred, JobEnded, Placed, Retried, RunEnded, RunGrant, Submitted
from skep.model.job import ChipRequest, Elastic, Job, Span
from skep.model.placement import Share
from skep.model.state import JobState, RunState, SiteState
from skep.store import codec

texts = st.text(max_size=20)  # without lone surrogates, which no specification may hold
names = st.from_regex(r"\A[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?\Z")
numbers = st.floats(allow_nan=False)
times = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(1, 2**40)
digests = st.from_regex(r"\A[0-9a-f]{64}\Z")

shares = st.builds(
    Share,
    site=texts,
    pool=st.integers(0, 99),
    chip=texts,
    chips=counts,
    nodes=counts,
    blocks=counts,
    rank=st.integers(0, 300),
    power=st.floats(0, allow_nan=False),
)
specs = st.builds(
    Job,
    name=names,
    run=st.text(min_size=1, max_size=20),
    setup=texts,
    workdir=st.none() | texts,
    env=st.dictionaries(texts, texts, max_size=3),
    chips=st.lists(
        st.builds(ChipRequest, kind=st.none() | names, count=st.integers(1, 10**8)),
        min_size=1,
        max_size=3,
    ).map(tuple),
    per=st.sampled_from(["chip", "node", "site"]),
    span=st.builds(Span, min=st.integers(1, 9), max=st.none() | st.integers(9, 300)),
    elastic=st.none() | st.builds(Elastic, min=st.integers(1, 9), max=st.integers(9, 10**6)),
    queue=names,
    priority=st.integers(-1000, 1000),
    checkpoint=st.none() | texts,
    retries=st.integers(0, 10_000),
    on_site_loss=st.sampled_from(["replace", "wait", "fail"]),
    time_limit=st.none() | st.floats(1e-300, 1e300),
    bundle=st.none() | digests,
)
runs = st.builds(
    RunState,
    run=texts,
    attempt=counts,
    share=shares,
    phase=st.sampled_from(["assigned", "ready", "running", "stopping", "succeeded", "lost"]),
    go=st.booleans(),
    address=texts,
    placed_at=times,
    started_at=st.none() | times,
    ended_at=st.none() | times,
    exit_code=st.none() | st.integers(-64, 255),
    reason=texts,
)
# Fields that other parts add to a state are drawn by their type.
jobs = st.builds(
    JobState,
    id=texts,
    spec=specs,
    user=texts,
    submitted_at=times,
    version=counts,
    not_before=numbers,
    runs=st.dictionaries(texts, runs, max_size=3),
    decision=texts,
    refusals=st.dictionaries(texts, counts, max_size=3),
    started_at=st.none() | times,
    ended_at=st.none() | times,
    reason=texts,
    **dict.fromkeys(("phase", "attempt", "gang", "failures"), ...),
)
sites = st.builds(
    SiteState,
    name=texts,
    phase=st.sampled_from(["unknown", "up", "lost"]),
    agent=texts,
    since=numbers,
    reason=texts,
)
events = st.one_of(
    st.builds(Submitted, at=times, job=texts, spec=specs, user=texts),
    st.builds(
        Placed,
        at=times,
        job=texts,
        attempt=counts,
        runs=st.lists(st.builds(RunGrant, run=texts, share=shares), max_size=3).map(tuple),
        go=st.booleans(),
        reason=texts,
    ),
    st.builds(Deferred, at=times, job=texts, reason=texts, refusals=st.just({"a": 1})),
    st.builds(RunEnded, at=times, site=texts, run=texts, outcome=st.just("lost")),
    st.builds(Retried, at=times, job=texts, not_before=numbers, failures=counts, reason=texts),
    st.builds(JobEnded, at=times, job=texts, outcome=st.just("failed"), reason=texts),
)


@settings(max_examples=150, deadline=None)
@given(jobs)
def test_a_job_comes_back_as_it_was(job: JobState) -> None:
    again = codec.decode_job(codec.encode_job(job))
    assert again == job
    assert list(again.runs) == list(job.runs)  # their order too
    assert all(type(getattr(again, f.name)) is type(getattr(job, f.name)) for f in fields(job))


@settings(max_examples=100, deadline=None)
@given(events)
def test_an_event_comes_back_as_it_was(event: Submitted) -> None:
    again = codec.decode_event(codec.encode_event(event))
    assert again == event
    assert type(again) is type(event)


@given(sites)
def test_a_site_comes_back_as_it_was(site: SiteState) -> None:
    assert codec.decode_site(codec.encode_site(site)) == site


def test_a_line_keeps_what_json_has_not() -> None:
    line = {"loss": math.nan, "best": -math.inf, "text": "\ud800\x00\n", "deep": [{"a": None}]}
    again = codec.decode_line(codec.encode_line(line))
    assert math.isnan(again.pop("loss"))
    line.pop("loss")
    assert again == line


@pytest.mark.parametrize(
    ("decode", "body", "said"),
    [
        (codec.decode_job, "{}", "a stored job cannot be read: id: Field required"),
        (codec.decode_job, "{", "a stored job cannot be read: : Invalid JSON"),
        (codec.decode_event, '{"kind": "sung"}', "a stored event cannot be read"),
        (codec.decode_site, '{"name": 3}', "a stored site cannot be read: name"),
        (codec.decode_line, "[", "a stored line of progress cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(decode, body: str, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StoreError) as caught:
        decode(body)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
