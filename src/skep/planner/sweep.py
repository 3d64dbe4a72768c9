"""Throughput and power against the number of chips, up to a million, with and without failures.

The layout stays (but for ZeRO) and data parallelism grows; the batch grows with it (weak scaling),
as large runs do. Beyond one site of ``ISLAND`` chips "many sites" are as many such sites, that
work for themselves between two exchanges. What a larger batch costs in loss is not modelled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner.answer import Estimate
from skep.planner.bill import power
from skep.planner.chip import ChipFacts
from skep.planner.goodput import goodput
from skep.planner.layout import Layout
from skep.planner.training import Conditions, Tools, busy_share

MOST = 1_000_000
ISLAND = 16_384
"""Chips of one site where a job is split into many: a failure stops only its own site."""


@dataclass(frozen=True, slots=True)
class Point:
    """Rates in tokens/s of ``chips`` chips: whole (nothing fails, as one job or as many sites), as
    one job that fails, as sites that fail alone.

    ``facility`` is W with the building; ``None`` where the chip's power is not known. ``interval``
    (s between checkpoints) and ``spares`` (chips) are those of the many sites.
    """

    chips: int
    whole: float
    one_job: float
    many_sites: float
    facility: float | None
    interval: float = 0.0
    spares: int = 0


def sweep(
    work: Workload, chip: Chip, start: Estimate, factor: float, under: Conditions, tools: Tools
) -> tuple[Point, ...]:
    """Points from one copy of the model up to a million chips. ``factor`` corrects the steps."""
    return tuple(_points(work, chip, start, factor, under, tools))


def _points(
    work: Workload, chip: Chip, start: Estimate, factor: float, under: Conditions, tools: Tools
) -> Iterable[Point]:
    layout = start.layout
    copy = layout.chips // layout.dp
    each = max(1, work.global_batch // layout.dp)
    copies = layout.ep if layout.ep > layout.tp * layout.cp else 1
    most = MOST // copy // copies * copies
    island = max(copies, ISLAND // copy // copies * copies)
    at = _Sized(work, tools.facts(chip), layout, each, tools)
    alone = at.fastest(min(island, most))
    while True:
        chips = copies * copy
        found = at.fastest(copies)
        if found is not None:
            tokens = each * copies * work.seq_len / factor
            apart = alone if copies > island and alone is not None else found
            rates = (tokens / found.step, tokens / apart.step)
            yield _point(chip, chips, rates, apart, under)
        if copies >= most:
            return
        copies = min(2 * copies, most)


@dataclass(frozen=True, slots=True)
class _Sized:
    """A layout at other numbers of copies, each with its share of a batch that grows with them."""

    work: Workload
    facts: ChipFacts
    layout: Layout
    each: int
    tools: Tools

    def fastest(self, copies: int) -> Estimate | None:
        """The faster of the layout's own ZeRO and ZeRO-1, of those that fit."""
        sized = self.work.model_copy(update={"global_batch": self.each * copies})
        ways = {replace(self.layout, dp=copies, zero=zero) for zero in (self.layout.zero, 1)}
        found = [self.tools.estimate(sized, self.facts, way) for way in ways]
        return min((one for one in found if one.fits), key=lambda one: one.step, default=None)


def _point(
    chip: Chip, chips: int, rates: tuple[float, float], found: Estimate, under: Conditions
) -> Point:
    islands = max(under.sites, -(-chips // ISLAND))
    drawn = power(chip, chips, busy_share(found.parts), under.prices)
    many = goodput(chips, under.failing, islands)
    return Point(
        chips=chips,
        whole=max(rates),
        one_job=rates[0] * goodput(chips, under.failing).share,
        many_sites=rates[1] * many.share,
        facility=drawn.facility,
        interval=many.interval,
        spares=many.spares,
    )
