"""Serving on a number of chips: both ways to run it, rates by batch and context, power, price.

Everything that ``skep plan MODEL --on FLEET --serve`` answers, from values alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from skep.errors import InputError
from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner.bill import Bill, Prices, bill
from skep.planner.serve import SIZES, Load, Served, best, least_chips
from skep.planner.serving import BITS, Instance
from skep.planner.unknown import SPEED, Filled, fill

BATCHES = (1, 8, 32, 128, 512)
CONTEXTS = (1024, 4096, 16384, 65536)
HOUR = 3600.0
BUSY = 1.0  # a serving chip under load takes what a training one does (MLPerf power, +-8 %)


@dataclass(frozen=True, slots=True)
class Cell:
    """Decode at one batch (sequences of one chip) and context: ``rate`` tokens/s of one chip."""

    batch: int
    context: int
    rate: float
    tpot: float


@dataclass(frozen=True, slots=True)
class Serving:
    """How ``chips`` chips serve. ``together`` or ``apart`` is ``None`` where it cannot be.

    ``rate`` is of all chips, output tokens/s; ``low`` and ``high`` hold 80 % of held-out rows.
    """

    work: Workload
    filled: Filled
    chips: int
    precision: str
    load: Load
    chosen: Served
    together: Served | None
    apart: Served | None
    rate: float
    low: float
    high: float
    cells: tuple[Cell, ...]
    bill: Bill  # of one hour

    @property
    def used(self) -> int:
        """Chips in whole instances."""
        return self.chips // self.chosen.instance.chips * self.chosen.instance.chips


def precision_of(chip: Chip) -> str:
    """The weights' format where the user names none: 8 bits if the chip computes in them."""
    for name in ("fp8", "int8"):
        if chip.peak(name):
            return name
    return "bf16"


def plan_serving(
    work: Workload,
    chip: Chip,
    chips: int,
    known: Iterable[Chip],
    load: Load,
    precision: str | None,
    prices: Prices,
) -> Serving:
    """The best way to serve. ``InputError`` where the model does not fit, or not in time."""
    others = tuple(known)
    filled = fill(chip, others)
    wanted = precision or precision_of(chip)
    if wanted not in BITS:
        raise InputError("--precision", wanted, f"allowed: {', '.join(BITS)}")
    together = best(work, filled.chip, load, wanted, chips, apart=False)
    apart = best(work, filled.chip, load, wanted, chips, apart=True)
    found = [way for way in (together, apart) if way is not None]
    if not found:
        raise _no_way(work, filled.chip, chips, load, wanted)
    chosen = max(found, key=lambda way: way.rate * (chips // way.instance.chips))
    whole = chips // chosen.instance.chips
    low, high = chosen.band
    low, high = low * whole, high * whole
    if filled.fields & SPEED:
        slow = best(work, filled.low, load, wanted, chips)
        fast = best(work, filled.high, load, wanted, chips)
        low *= min(1.0, slow.rate_per_chip / chosen.rate_per_chip) if slow else 0.5
        high *= max(1.0, fast.rate_per_chip / chosen.rate_per_chip) if fast else 1.0
    return Serving(
        work=work,
        filled=filled,
        chips=chips,
        precision=wanted,
        load=load,
        chosen=chosen,
        together=together,
        apart=apart,
        rate=chosen.rate * whole,
        low=low,
        high=high,
        cells=tuple(_cells(chosen.instance)),
        bill=bill(filled.chip, chips, HOUR, BUSY, prices),
    )


def _cells(at: Instance) -> Iterable[Cell]:
    for batch in BATCHES:
        for context in CONTEXTS:
            whole = batch * at.chips
            if whole <= at.most(context):
                tpot = at.decode(whole, context) / at.tokens_per_step()
                yield Cell(batch, context, batch / tpot, tpot)


def _no_way(work: Workload, chip: Chip, chips: int, load: Load, precision: str) -> InputError:
    """Why not: too large, or too slow."""
    need = least_chips(work, chip, load, precision)
    weights = Instance(work, chip, 1, precision).weights / 1e9
    if need is None:
        allowed = (
            f"{work.name} takes {weights:,.0f} GB in {precision} and fits on no instance of up to "
            f"{SIZES[-1]} chips"
        )
        return InputError("--on", f"{chips}x{chip.kind}", allowed)
    if need > chips:
        allowed = (
            f"{work.name} takes {weights:,.0f} GB in {precision}: allowed: {need} chips or more"
        )
        return InputError("--on", f"{chips}x{chip.kind}", allowed)
    free = best(work, chip, Load(load.prompt, load.answer), precision, chips)
    least = f"{free.ttft * 1e3:,.0f} ms and {free.tpot * 1e3:,.0f} ms" if free else "more"
    limits = f"--ttft {load.ttft or 'none'}, --tpot {load.tpot or 'none'} (s)"
    allowed = f"no batch is in time for 99 %; without limits the means are {least}"
    return InputError("limits", limits, allowed)
