"""Throughput and power against the number of chips, up to a million, with and without failures.

The layout stays and data parallelism grows; the batch grows with it (weak scaling), as large runs
do. What a larger batch costs in loss is not modelled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner.answer import Estimate
from skep.planner.bill import power
from skep.planner.goodput import goodput
from skep.planner.training import Conditions, Tools, busy_share

MOST = 1_000_000
ISLAND = 16_384
"""Chips of one site where a job is split into many: a failure stops only its own site."""


@dataclass(frozen=True, slots=True)
class Point:
    """Rates in tokens/s of ``chips`` chips: whole, as one job that fails, as sites that fail alone.

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
    facts = tools.facts(chip)
    layout = start.layout
    copy = layout.chips // layout.dp
    each = max(1, work.global_batch // layout.dp)
    copies = layout.ep if layout.ep > layout.tp * layout.cp else 1
    most = MOST // copy // copies * copies
    while True:
        chips = copies * copy
        sized = work.model_copy(update={"global_batch": each * copies})
        found = tools.estimate(sized, facts, replace(layout, dp=copies))
        if found.fits:
            yield _point(chip, chips, sized.tokens_per_step / (found.step * factor), found, under)
        if copies >= most:
            return
        copies = min(2 * copies, most)


def _point(chip: Chip, chips: int, rate: float, found: Estimate, under: Conditions) -> Point:
    islands = max(under.sites, -(-chips // ISLAND))
    drawn = power(chip, chips, busy_share(found.parts), under.prices)
    many = goodput(chips, under.failing, islands)
    return Point(
        chips=chips,
        whole=rate,
        one_job=rate * goodput(chips, under.failing).share,
        many_sites=rate * many.share,
        facility=drawn.facility,
        interval=many.interval,
        spares=many.spares,
    )
