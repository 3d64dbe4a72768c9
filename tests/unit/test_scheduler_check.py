"""What is refused at submit: one line, the field, the value, what is allowed."""

from __future__ import annotations

import pytest

from skep.errors import DeniedError, InputError
from skep.model.job import Job
from skep.model.policy import Policy, Queue
from skep.scheduler.check import admissible
from tests.builders import pool, site, world

POOL = world(
    site("ash", 2, free=0, up=False),
    site("elm", pool(1)),
    site("oak", pool(1), pool(16, "h100-sxm", node=8)),
)
POLICY = Policy(
    queues=(Queue(name="default"), Queue(name="batch", users=("ada",), max_chips=1)),
)


def spec(**fields: object) -> Job:
    return Job.model_validate({"name": "x", "run": "true", **fields})


def chips(count: int, kind: str | None = "cpu-core") -> dict[str, object]:
    return {"kind": kind, "count": count}


@pytest.mark.parametrize(
    "fields",
    [
        {"chips": [chips(2)]},
        {"chips": [chips(4)], "span": {"min": 1, "max": 3}},
        {"chips": [chips(9, "tpu"), chips(1)]},
        {"chips": [chips(16, None)]},
        {"chips": [chips(9)], "elastic": {"min": 2, "max": 9}},
        {"chips": [chips(16, "h100-sxm")], "per": "node"},
        {"queue": "batch"},
    ],
)
def test_what_the_idle_pool_could_hold_is_accepted(fields: dict[str, object]) -> None:
    admissible(spec(**fields), POOL, POLICY, user="ada")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"chips": [chips(1, "h100-smx")]},
            "chips.kind: got 'h100-smx'; allowed: cpu-core, h100-sxm (did you mean 'h100-sxm'?)",
        ),
        ({"chips": [chips(5)]}, "chips: got 5; allowed: 4 or fewer, the pool has 4 cpu-core"),
        (
            {"chips": [chips(3)]},
            "chips: got 3; allowed: 2 or fewer, or span.max of 2 or more: "
            "the pool cannot hold 3 cpu-core at one site",
        ),
        (
            {"chips": [chips(12, "h100-sxm")], "per": "node"},
            "chips: got 12; allowed: 8 or fewer: "
            "the pool cannot hold 12 h100-sxm in whole nodes at one site",
        ),
        (
            {"elastic": {"min": 6, "max": 8}},
            "elastic.min: got 6; allowed: 4 or fewer, the pool has 4 cpu-core",
        ),
        (
            {"span": {"min": 4}, "chips": [chips(4)]},
            "span.min: got 4; allowed: 3 or fewer, the pool has 3 sites",
        ),
        (
            {"span": {"min": 2, "max": 9}, "chips": [chips(4)]},
            "span.max: got 9; allowed: 3 or fewer, the pool has 3 sites",
        ),
        ({"queue": "bacth"}, "queue: got 'bacth'; allowed: default, batch (did you mean 'batch'?)"),
        (
            {"queue": "batch", "chips": [chips(2)]},
            "chips: got 2; allowed: 1 or fewer, the quota of queue batch",
        ),
    ],
)
def test_what_it_could_never_hold_is_told_in_one_line(
    fields: dict[str, object], message: str
) -> None:
    given = {"chips": [chips(1)], **fields}
    with pytest.raises(InputError) as caught:
        admissible(spec(**given), POOL, POLICY, user="ada")
    assert str(caught.value) == message


def test_a_queue_of_others_is_denied() -> None:
    with pytest.raises(DeniedError, match="queue batch: 'bob' may not use it"):
        admissible(spec(queue="batch"), POOL, POLICY, user="bob")
