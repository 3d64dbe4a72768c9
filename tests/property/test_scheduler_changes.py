"""What is told to let a job start now does: so changed it is placed when all is decided anew."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from skep.model.job import ChipRequest, Elastic, Span
from skep.model.policy import Policy
from skep.model.snapshot import Shape, Snapshot
from skep.scheduler import schedule
from skep.scheduler.nearer import Change
from skep.scheduler.refused import Refusals
from tests.builders import job, pool, site, world
from tests.worlds import NOW, policies, worlds


def changed(shape: Shape, change: Change) -> Shape | None:
    """The shape as the change says; None for changes that are no part of a shape."""
    field, value = change.field, change.value
    if field in ("chips", "chips.kind"):
        kind, _, count = value.rpartition(":")
        return replace(shape, chips=(ChipRequest(kind=kind, count=int(count)),))
    if field == "span.max":
        return replace(shape, span=Span(min=shape.span.min, max=int(value)))
    if field == "within" and value == "site":
        return replace(shape, within="site")
    if field == "within":
        most = int(value.rpartition(" ")[2])
        return replace(shape, within=None, span=Span(min=shape.span.min, max=most))
    if field in ("spread", "exchange"):
        return replace(shape, **{field: None})
    if field == "queue":
        return replace(shape, queue=value)
    if field == "elastic.min" and shape.elastic:
        return replace(shape, elastic=Elastic(min=int(value), max=shape.elastic.max))
    return None


def check(snapshot: Snapshot, policy: Policy) -> int:
    refusals = schedule(snapshot, policy, NOW).refusals
    assert isinstance(refusals, Refusals)
    tried = 0
    for row, waiting in enumerate(snapshot.waiting):
        for change in refusals.changes(waiting.job):
            other = changed(snapshot.shapes[waiting.shape], change)
            if other is None:
                continue
            tried += 1
            jobs = list(snapshot.waiting)
            jobs[row] = replace(waiting, shape=len(snapshot.shapes))
            new = replace(snapshot, shapes=(*snapshot.shapes, other), waiting=tuple(jobs))
            placed = {p.job for p in schedule(new, policy, NOW).placements}
            assert waiting.job in placed, change
    return tried


@settings(deadline=None, max_examples=150)
@given(worlds(), policies())
def test_a_change_that_is_told_lets_the_job_start(snapshot: Snapshot, policy: Policy) -> None:
    check(snapshot, policy.model_copy(update={"fair_share": False, "patience": 1e9}))


def told(*rows: object, **wish: object) -> list[tuple[str, str, str]]:
    snapshot = world(*rows, jobs=[job(6, **wish)])  # type: ignore[arg-type]
    refusals = schedule(snapshot, Policy(), NOW).refusals
    assert isinstance(refusals, Refusals)
    assert check(snapshot, Policy())
    return [(c.field, c.value, c.gives) for c in refusals.changes("j1")]


def test_more_sites_before_another_kind_before_fewer_chips() -> None:
    rows = (
        site("ash", pool(8, free=4), pool(9, "h100-sxm")),
        site("elm", pool(8, free=4)),
    )
    assert told(*rows) == [
        ("span.max", "2", "3 at ash, 3 at elm"),
        ("chips.kind", "h100-sxm:6", "6 at ash"),
        ("chips", "cpu-core:4", "4 at elm"),
    ]


def test_one_chip_fewer_is_less_than_another_kind() -> None:
    rows = (site("ash", pool(8, free=5), pool(9, "h100-sxm")),)
    assert [field for field, _, _ in told(*rows)] == ["chips", "chips.kind"]


def test_out_of_one_block_into_one_site() -> None:
    rows = (site("ash", pool(8, block=4)),)
    assert told(*rows, shape={"within": "block"})[0] == ("within", "site", "6 at ash")
