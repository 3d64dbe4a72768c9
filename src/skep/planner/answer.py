"""What the performance model answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skep.planner.chip import Status
from skep.planner.layout import Layout


@dataclass(frozen=True, slots=True)
class Estimate:
    """One layout of one workload on one number of chips of one kind.

    ``parts`` (s, add up to ``step``) and ``memory`` (bytes per chip, add up to ``memory_total``)
    by name. ``low`` and ``high`` are the step times that hold 80 % of held-out runs of a chip of
    this ``status``; the band is skewed: models are more often too fast than too slow. ``energy`` is
    J of one step for all chips without the building's share (PUE).
    """

    layout: Layout
    chip: str
    chips: int
    status: Status
    step: float
    low: float
    high: float
    parts: Mapping[str, float]
    memory: Mapping[str, float]
    memory_total: float
    memory_limit: float
    tokens_per_s: float
    mfu: float
    energy: float

    @property
    def fits(self) -> bool:
        """Whether it stays within the memory of a chip."""
        return self.memory_total <= self.memory_limit


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """A layout that lost: its estimate, how much slower, and the parts that make it so."""

    estimate: Estimate
    slower: float
    why: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """The fastest layouts in order, and how many there were.

    ``considered`` layouts were looked at, ``fitting`` of them fit into memory.
    """

    best: Estimate
    runners_up: tuple[RunnerUp, ...]
    considered: int
    fitting: int
