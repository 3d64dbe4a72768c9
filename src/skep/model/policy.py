"""Policy: what operators want."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from skep.model.base import Name, Seconds, Spec, Watts
from skep.model.job import Priority

Order = Literal["age", "shortest", "attained"]


class Quota(Spec):
    """At most so many chips at once, of a kind, at a site; left out: of all kinds, at all sites."""

    chip: Name | None = None
    site: Name | None = None
    max: int = Field(ge=0)
    soft: bool = Field(default=False, description="may be exceeded while others leave chips idle")


class Queue(Spec):
    """A queue: who may submit, how much it may hold at once, its part of what is shared."""

    name: Name
    parent: Name | None = Field(default=None, description="the queue whose part it shares")
    weight: float = Field(default=1.0, gt=0, description="its part against its siblings'")
    priority: int = Field(default=0, ge=-1000, le=1000, description="added to each job's own")
    max_chips: int | None = Field(default=None, ge=0, description="hard quota over all sites")
    soft_chips: int | None = Field(
        default=None, ge=0, description="may be exceeded while others leave chips idle"
    )
    quotas: tuple[Quota, ...] = Field(default=(), description="by chip kind and site")
    preempt: bool = Field(default=False, description="may stop jobs of others for its own part")
    users: tuple[str, ...] = Field(default=(), description="empty: everyone")


class Rule(Spec):
    """A permission rule with a jurisdiction and a date; the first rule that matches decides."""

    id: Name
    effect: Literal["allow", "refuse", "license"]
    queues: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    countries: tuple[str, ...] = Field(default=(), description="of the site")
    since: datetime.date | None = None
    until: datetime.date | None = None
    reason: str = Field(min_length=1)
    source: str = ""


class Maintenance(Spec):
    """A time in which nothing may run at a site, or no more than a lower cap bears."""

    site: Name
    start: AwareDatetime
    end: AwareDatetime
    cap: Watts | None = Field(
        default=None, description="instead of nothing: so much may be drawn at the meter"
    )
    reason: str = ""


class Policy(Spec):
    """The policy file. Without one: one queue, everything allowed."""

    queues: tuple[Queue, ...] = (Queue(name="default"),)
    rules: tuple[Rule, ...] = ()
    classes: dict[Name, Priority] = Field(
        default_factory=dict, description="names that a job's priority may have"
    )
    fair_share: bool = Field(
        default=False, description="who has used less of its part goes first; else oldest first"
    )
    half_life: Seconds = Field(
        default=7 * 86400.0, gt=0, description="after so long, use counts half"
    )
    patience: Seconds = Field(
        default=86400.0, gt=0, description="who has waited longer goes before all others"
    )
    order: Order = Field(
        default="age",
        description="who goes first among jobs of one priority: who is due first; who is expected"
        " to be done the soonest; or who has had the fewest chip-hours (see levels)",
    )
    levels: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = Field(
        default=(16.0, 256.0, 4096.0),
        max_length=32,
        description="order attained: with each of these chip-hours that a job has had, it comes"
        " behind those that have had fewer",
    )
    backfill: Literal["easy", "conservative", "none"] = Field(
        default="easy",
        description="easy: nobody delays the first job that does not fit yet; conservative: nor"
        " those behind it; none: nobody goes past it",
    )
    assumed: Seconds = Field(
        default=3600.0, gt=0, description="taken for a job that does not say how long it takes"
    )
    preemption: bool = False
    migration: bool = False
    maintenance: tuple[Maintenance, ...] = ()
    gang_hold: Seconds = Field(
        default=300.0, gt=0, description="chips held at most so long until all sites are ready"
    )
    retry_delay: Seconds = Field(
        default=1.0, ge=0, description="doubles with each failure at once, to 300 s"
    )
    avoid_sites: Seconds = Field(
        default=600.0, ge=0, description="a site that failed a job is avoided for it, if others fit"
    )
    avoid_nodes: Seconds = Field(
        default=86400.0,
        ge=0,
        description="a node that failed a job is avoided for it, if others fit; 0: its site is",
    )
    power_margin: float = Field(default=0.02, ge=0, lt=1, description="of a site's cap, kept free")
    drained: tuple[str, ...] = Field(default=(), description="sites that take no new runs")
    evacuate: tuple[str, ...] = Field(
        default=(), description="drained sites that what runs there leaves, if it is preemptible"
    )

    def closed(self, site: str) -> bool:
        """Whether the site takes no new runs."""
        return site in self.drained or site in self.evacuate

    def queue(self, name: str) -> Queue | None:
        """The queue of that name, or None."""
        for queue in self.queues:
            if queue.name == name:
                return queue
        return None

    def priority_of(self, written: int | str) -> int:
        """A job's own priority: the number, or that of the class; 0 for a class not there."""
        return self.classes.get(written, 0) if isinstance(written, str) else written
