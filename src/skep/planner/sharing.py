"""How parts of a training share a batch: each in its best layout, none waiting long for others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from skep.errors import InputError
from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner.answer import Estimate
from skep.planner.chip import ChipFacts
from skep.planner.learning import Correction
from skep.planner.links import Links
from skep.planner.parts import Part, batch_near, batches_around, count
from skep.planner.training import Conditions, Tools, Training, train

FIRST = 8.0  # parts of its share that a first batch is rounded to
AROUND = 0.25
"""Batches that are tried are within this of the share."""
MANY = 40
"""Trainings that are looked at for one set of parts, about."""
AWAY = 0.1
"""The whole batch is within this of what was asked where that can be."""


Correct = Callable[[ChipFacts, Estimate], Correction]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is trained by whom, over what, how a plan is made."""

    work: Workload
    links: Links
    known: tuple[Chip, ...]
    under: Conditions
    tools: Tools
    correct: Correct | None
    quick: dict[tuple[Chip, int, int], Training | InputError] = field(default_factory=dict)
    """Trainings by quick searches: by chip, number of chips and batch (sites are often alike)."""


def alone(asked: Asked, parts: Sequence[Part]) -> tuple[dict[int, float], dict[int, str]]:
    """Tokens/s of each part by ``id``: with a share of the batch by its peak, then by that speed.
    And why others cannot train at all."""
    peaks = [part.usable * (part.chip.held_to or part.chip.peak_flops or 1e12) for part in parts]
    whole = sum(peaks) or 1.0
    rates: dict[int, float] = {}
    failed: dict[int, str] = {}
    for part, peak in zip(parts, peaks, strict=True):
        try:
            rates[id(part)] = _rate(asked, part, peak / whole)
        except InputError as error:
            failed[id(part)] = str(error)
    able = [part for part in parts if id(part) in rates]
    whole = sum(rates.values())
    return {id(part): _rate(asked, part, rates[id(part)] / whole) for part in able}, failed


def _rate(asked: Asked, part: Part, share: float) -> float:
    found = _quick(asked, part, batch_near(asked.work.global_batch * share, FIRST, count(part)))
    if isinstance(found, InputError):
        raise found
    return found.rate


def shared(asked: Asked, parts: Sequence[Part], rates: Mapping[int, float]) -> list[Training]:
    """Each part's training with its share: of the batches near it those with which most is done.

    For every length of a step that some part would have, each part takes the most sequences that
    it does in it; the best of these lengths counts.
    """
    whole = sum(rates[id(part)] for part in parts)
    each = max(3, MANY // len(parts))
    open_parts = [_options(asked, part, rates[id(part)] / whole, each) for part in parts]
    best: list[Training] = []
    most = (False, 0.0)
    for longest in sorted({one.step for options in open_parts for one in options}):
        fit = [[one for one in options if one.step <= longest] for options in open_parts]
        if not all(fit):
            continue
        chosen = [max(some, key=lambda one: one.work.global_batch) for some in fit]
        batch = sum(one.work.global_batch for one in chosen)
        near_enough = abs(batch / asked.work.global_batch - 1.0) <= AWAY
        if (near_enough, batch / longest) > most:
            best, most = chosen, (near_enough, batch / longest)
    return best


def _options(asked: Asked, part: Part, share: float, most: int) -> list[Training]:
    """Trainings with batches near the share."""
    sizes = batches_around(asked.work.global_batch * share, AROUND, count(part), most)
    found = [_quick(asked, part, size) for size in sizes]
    return [one for one in found if not isinstance(one, InputError)]


def _quick(asked: Asked, part: Part, batch: int) -> Training | InputError:
    """The training by a quick search, asked once; why there is none."""
    key = part.chip, count(part), batch
    if key not in asked.quick:
        try:
            asked.quick[key] = trained(asked, part, batch, quick=True)
        except InputError as error:
            asked.quick[key] = error
    return asked.quick[key]


def trained(asked: Asked, part: Part, batch: int, *, quick: bool) -> Training:
    """The part's training of so many sequences a step; ``quick`` looks at fewer layouts."""
    sized = asked.work.model_copy(update={"global_batch": batch})
    tools = replace(asked.tools, search=asked.tools.quick) if quick else asked.tools
    alone = replace(asked.under, sites=1, others=0, link=None, prices=part.prices)
    return train(sized, part.chip, count(part), asked.known, alone, tools, asked.correct)
