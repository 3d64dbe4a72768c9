"""Policy: what operators want."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import Field

from skep.model.base import Name, Seconds, Spec


class Queue(Spec):
    """A queue: who may submit, how much it may hold at once, where it may run."""

    name: Name
    priority: int = Field(default=0, ge=-1000, le=1000, description="added to each job's own")
    max_chips: int | None = Field(default=None, ge=0, description="hard quota over all sites")
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


class Policy(Spec):
    """The policy file. Without one: one queue, everything allowed."""

    queues: tuple[Queue, ...] = (Queue(name="default"),)
    rules: tuple[Rule, ...] = ()
    gang_hold: Seconds = Field(
        default=300.0, gt=0, description="chips held at most so long until all sites are ready"
    )
    retry_delay: Seconds = Field(
        default=1.0, ge=0, description="doubles with each failure, to 300 s"
    )
    power_margin: float = Field(default=0.02, ge=0, lt=1, description="of a site's cap, kept free")
    drained: tuple[str, ...] = Field(default=(), description="sites that take no new runs")

    def queue(self, name: str) -> Queue | None:
        """The queue of that name, or None."""
        return next((q for q in self.queues if q.name == name), None)
