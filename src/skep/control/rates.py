"""How fast each chip kind is for each job: the planner's rate, asked once for each model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from skep.data import catalogue
from skep.data.efficiency import facts_with
from skep.errors import InputError
from skep.model.chip import Chip
from skep.model.job import Job
from skep.model.snapshot import Rates
from skep.model.workload import Workload
from skep.planner.chip import ChipFacts
from skep.planner.rates import REFERENCE, rate
from skep.planner.unknown import fill


def usual_rates(chips: Mapping[str, Chip]) -> dict[str, float]:
    """FLOP/s of one chip by kind for a job that does not say what it trains; none where unknown."""
    return dict(_rates(tuple(chips.values()), REFERENCE))


class JobRates:
    """The rates of the kinds of one pool, and of those that jobs name, by what a job trains."""

    def __init__(self, chips: Mapping[str, Chip], kinds: Iterable[str]) -> None:
        """``kinds`` are those of the pool."""
        self._chips, self._kinds = chips, frozenset(kinds)
        self._known: dict[tuple[Workload, frozenset[str]], Rates] = {}

    def of(self, spec: Job) -> Rates:
        """FLOP/s of one chip by kind for the job; empty where it does not say what it trains."""
        if spec.model is None:
            return ()
        key = spec.model, self._kinds | named(spec)
        if key not in self._known:
            chips = (self._chips[kind] for kind in sorted(key[1]) if kind in self._chips)
            self._known[key] = _rates(tuple(chips), spec.model)
        return self._known[key]


def named(spec: Job) -> frozenset[str]:
    """Chip kinds that the job names, to be given or to be compared with."""
    kinds = {request.kind for request in spec.chips} | {
        request.as_good_as.kind for request in spec.chips if request.as_good_as
    }
    return frozenset(kind for kind in kinds if kind is not None)


def _rates(chips: tuple[Chip, ...], work: Workload) -> Rates:
    found = ((chip.kind, rate(chip, _facts(chip), work)) for chip in chips)
    return tuple((kind, speed) for kind, speed in found if speed is not None)


@cache
def _facts(chip: Chip) -> ChipFacts | None:
    """The chip as the planner sees it, its gaps filled as there; None where it knows too little."""
    try:
        return facts_with(fill(chip, catalogue.chips().values()).chip)
    except InputError:
        return None
