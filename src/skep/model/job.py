"""A job: what a user asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from skep.model.base import Name, Seconds, Spec

OnSiteLoss = Literal["replace", "wait", "fail"]
Per = Literal["chip", "node", "site"]


class ChipRequest(Spec):
    """So many chips of one kind; ``kind`` None takes any kind (all of a job are of one kind)."""

    kind: Name | None = None
    count: int = Field(ge=1, le=100_000_000)


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
    queue: Name = "default"
    priority: int = Field(default=0, ge=-1000, le=1000, description="higher goes first")
    checkpoint: str | None = Field(
        default=None, description="folder that outlives attempts; default: one kept by each site"
    )
    retries: int = Field(default=3, ge=0, le=10_000, description="new attempts after a failure")
    on_site_loss: OnSiteLoss = Field(
        default="replace", description="replace: new attempt elsewhere; wait: for its return; fail"
    )
    time_limit: Seconds | None = Field(default=None, gt=0)
    bundle: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="set by the client: digest of the workdir",
    )
