"""A job: what a user asked for."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from skep.model.base import NAME_PATTERN, BitsPerSecond, Name, Seconds, Spec
from skep.model.workload import Workload

OnSiteLoss = Literal["replace", "wait", "fail"]
Per = Literal["chip", "node", "site"]
Within = Literal["block", "site"]
MOST_CHIPS = 100_000_000
Priority = Annotated[int, Field(ge=-1000, le=1000)]


def _number_or_class(value: object) -> object:
    """``value``, or ``ValueError`` in one line: a union would tell each of its kinds apart."""
    number = isinstance(value, int) and not isinstance(value, bool) and -1000 <= value <= 1000
    if number or (isinstance(value, str) and re.match(NAME_PATTERN, value)):
        return value
    raise ValueError("allowed: a whole number from -1,000 to 1,000, or the name of a class")


PriorityOrClass = Annotated[
    int | str,
    BeforeValidator(_number_or_class),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": -1000, "maximum": 1000},
                {"type": "string", "pattern": NAME_PATTERN},
            ]
        },
        mode="validation",
    ),
]


class Worth(Spec):
    """What a request is measured by: so many chips of a well-known kind."""

    kind: Name
    count: int = Field(ge=1, le=MOST_CHIPS)


class ChipRequest(Spec):
    """So many chips of one kind; ``kind`` None takes any kind.

    With ``as_good_as`` it is as many chips, of whichever of ``kinds`` (none named: any kind), as
    do together the work of those; ``count`` then says nothing of its own.
    """

    kind: Name | None = None
    count: int = Field(ge=1, le=MOST_CHIPS)
    as_good_as: Worth | None = Field(
        default=None, description="any kind, as many chips as are worth these"
    )
    kinds: tuple[Name, ...] = Field(default=(), description="only these; empty: any kind")

    @model_validator(mode="after")
    def _one_form(self) -> ChipRequest:
        if self.kind is not None and (self.as_good_as is not None or self.kinds):
            raise ValueError("allowed: kind and count, or as_good_as and kinds, not both")
        return self


class Exchange(Spec):
    """What each link between two sites of the job must bear at least."""

    bandwidth: BitsPerSecond | None = Field(default=None, gt=0)
    rtt: Seconds | None = Field(default=None, gt=0, description="at most so long there and back")


class Span(Spec):
    """Over how many sites a job may be spread."""

    min: int = Field(default=1, ge=1)
    max: int | None = Field(default=None, ge=1, description="default: the same as min")

    @property
    def most(self) -> int:
        return self.max if self.max is not None else self.min

    @model_validator(mode="after")
    def _ordered(self) -> Span:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"allowed: max of {self.min} (min) or more")
        return self


class Elastic(Spec):
    """The range of chips with which a job can work; placed with as many as are free."""

    min: int = Field(ge=1)
    max: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Elastic:
        if self.max < self.min:
            raise ValueError(f"allowed: max of {self.min} (min) or more")
        return self


class Job(Spec):
    """The specification of a job, as checked; ``docs/guides/job-file.md`` explains each field."""

    name: Name
    run: str = Field(min_length=1, description="shell command of each process")
    setup: str = Field(default="", description="shell command, once per site before the run")
    workdir: str | None = Field(
        default=None, description="folder sent along; processes start there"
    )
    env: dict[str, str] = Field(default_factory=dict)
    chips: tuple[ChipRequest, ...] = Field(
        default=(ChipRequest(count=1),), min_length=1, description="alternatives, first preferred"
    )
    per: Per = Field(default="chip", description="processes started: one per chip, node or site")
    span: Span = Span()
    elastic: Elastic | None = None
    mixed: bool = Field(default=False, description="sites may give chips of different kinds")
    within: Within | None = Field(default=None, description="the whole job in one block or site")
    exchange: Exchange | None = Field(
        default=None, description="links between its sites must be at least so good"
    )
    spread: int | None = Field(default=None, ge=1, description="at most so many chips at one site")
    model: Workload | None = Field(
        default=None, description="what it trains: how fast each kind of chip is for it"
    )
    data: tuple[Name, ...] = Field(
        default=(), description="sites where its data or checkpoints lie: preferred"
    )
    queue: Name = "default"
    priority: PriorityOrClass = Field(
        default=0, description="higher goes first; or the name of a class of the policy"
    )
    preemptible: bool = Field(default=True, description="may be stopped for others and go on later")
    checkpoint_every: Seconds | None = Field(
        default=None, gt=0, description="work since the last checkpoint is what stopping loses"
    )
    grace: Seconds = Field(default=30.0, ge=0, description="between the notice and the kill")
    checkpoint: str | None = Field(
        default=None, description="folder that outlives attempts; default: one kept by each site"
    )
    retries: int = Field(default=3, ge=0, le=10_000, description="new attempts after a failure")
    on_site_loss: OnSiteLoss = Field(
        default="replace", description="replace: new attempt elsewhere; wait: for its return; fail"
    )
    duration: Seconds | None = Field(
        default=None, gt=0, description="how long it is thought to take; default: time_limit"
    )
    deadline: Seconds | None = Field(
        default=None, gt=0, description="it should have ended so long after it was submitted"
    )
    defer: Seconds | None = Field(
        default=None, gt=0, description="it may be started so long after it was submitted"
    )
    time_limit: Seconds | None = Field(default=None, gt=0)
    bundle: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="set by the client: digest of the workdir",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Job:
        if self.within is not None and self.span.min > 1:
            raise ValueError(f"allowed: span.min of 1 where within is {self.within!r}")
        if self.elastic is not None and any(c.as_good_as is not None for c in self.chips):
            raise ValueError("allowed: elastic, or chips as_good_as others, not both")
        return self
