"""What a training plan looks like on a screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from skep.cli.tables import table
from skep.files.workload import Model
from skep.planner.bill import Bill, Power, Prices
from skep.planner.training import Conditions, Training
from skep.planner.unknown import Filled
from skep.planner.words import (
    amount,
    digits,
    layout_words,
    time_span,
    time_words,
    usd_words,
)

GIGA = 1e9
SMALL = 0.005  # parts below this share of the step are not worth a line
NOT_KNOWN = "not known"
TIGHT = 1.15
"""What nine in ten of the published runs take at most, over what they are told to take
(docs/models/performance.md, memory)."""


def rows(lines: Iterable[tuple[str, str]]) -> Table:
    """Names and values, one a line; long values go on below themselves."""
    made = Table.grid(padding=(0, 1, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in lines:
        made.add_row(name, value)
    return made


def training_text(
    model: Model, plan: Training, under: Conditions, fleet: str
) -> tuple[RenderableType, ...]:
    """The answer: what, how fast, how sure, how long, how much."""
    head = heading(f"{model.workload.name} on {fleet}", status_words(plan))
    return (head, rows(_lines(model, plan, under)), "")


def heading(what: str, status: str) -> Text:
    """What was planned, and how far it was measured."""
    return Text.assemble((what, "bold"), f"  ({status})")


def status_words(plan: Training) -> str:
    """How far the chip is measured."""
    facts = plan.best.status
    if plan.filled.chip.held_to:
        return "each chip is held to its speed"
    if facts == "never measured":
        return "this chip was never measured: expect the whole band"
    return facts


def _lines(model: Model, plan: Training, under: Conditions) -> list[tuple[str, str]]:
    work, best = model.workload, plan.best
    return [
        ("model", _model(model)),
        ("layout", _per_site(under.sites) + layout_words(best.layout)),
        ("step", f"{time_words(plan.step)} ({_band(plan)})"),
        ("speed", _speed(plan)),
        ("memory", memory_words(plan)),
        *_sites(plan, under),
        ("failures", _failures(plan)),
        ("training", _whole(plan)),
        ("power", power_words(plan.bill.power, under.prices, plan.filled)),
        *_bill(plan.bill, under.prices, work.tokens is not None),
        *([("learnt", str(plan.correction))] if plan.correction.same_chip else []),
        *(("assumed", word) for word in (*model.assumed, *_wider(plan))),
        *(("not published", gap) for gap in plan.filled.gaps),
    ]


def _model(model: Model) -> str:
    work = model.workload
    active = f" ({amount(work.active_parameters, '', 3).strip()} active)" if work.moe else ""
    return (
        f"{amount(work.parameters, '', 4).strip()} parameters{active}, {work.dtype}; a step is "
        f"{work.global_batch:,} x {work.seq_len:,} tokens"
    )


def _wider(plan: Training) -> list[str]:
    """What the chip computes in where it lacks the number format of the training."""
    lacks = {"fp8": "fp8", "mxfp8": "fp8", "nvfp4": "fp4"}.get(plan.work.dtype)
    chip = plan.filled.chip
    if lacks is None or chip.peak(lacks) or chip.held_to:
        return []
    instead = "8 bits" if lacks == "fp4" and chip.peak("fp8") else "16 bits"
    return [f"products in {instead}: {chip.kind} has no {lacks}"]


def _per_site(sites: int) -> str:
    return f"each of {sites} sites: " if sites > 1 else ""


def _band(plan: Training) -> str:
    return f"{time_span(plan.low, plan.high)} holds 80 % of measured runs"


def _speed(plan: Training) -> str:
    each = plan.rate / plan.chips
    return (
        f"{amount(plan.rate, 'tokens/s')}, {digits(each)} per chip, MFU {plan.mfu:.0%} "
        "(while nothing fails)"
    )


def memory_words(plan: Training) -> str:
    """Memory of one chip by part, the large ones first."""
    best = plan.best
    if plan.filled.chip.held_to:
        return "not counted"
    parts = sorted(best.memory.items(), key=lambda p: -p[1])
    told = ", ".join(f"{name} {size / GIGA:.1f}" for name, size in parts if size >= 0.05 * GIGA)
    tight = best.memory_total * TIGHT > best.memory_limit
    warned = f" (tight: one published run in ten takes {TIGHT - 1:.0%} more)" if tight else ""
    of = f"{best.memory_total / GIGA:.0f} of {best.memory_limit / GIGA:.0f} GB a chip"
    return f"{of}: {told}{warned}"


def _sites(plan: Training, under: Conditions) -> list[tuple[str, str]]:
    trip = plan.round
    if trip is None or under.link is None:
        return []
    loss = f"+{trip.loss_penalty:.2%}" if trip.loss_penalty >= 5e-5 else "below +0.01 %"
    knee = "no link: round trips take too long" if trip.enough == float("inf") else "not needed"
    if 0 < trip.enough < float("inf"):
        knee = f"{amount(trip.enough, 'bit/s', 2)} a site is enough for 95 %"
    return [
        (
            "exchange",
            f"every {under.exchange.interval} steps ({time_words(trip.work)}): "
            f"{amount(trip.bytes_per_site, 'B')} a site in {time_words(trip.exchange)}; "
            f"{trip.utilisation:.1%} of the time is work; {knee}",
        ),
        ("loss", f"{loss} at equal tokens, by two published points (docs/models/planning.md)"),
    ]


def _failures(plan: Training) -> str:
    good = plan.goodput
    return (
        f"one each {time_words(good.between)}; with a checkpoint each {time_words(good.interval)} "
        f"{good.share:.0%} of the time is progress; {good.spares:,} chips spare"
    )


def _whole(plan: Training) -> str:
    tokens = plan.work.tokens
    if tokens is None:
        days = 1e12 / plan.real_rate if plan.real_rate else float("inf")
        return f"tokens not given (--tokens); {time_words(days)} for each 1 T"
    if plan.seconds is None:
        return "never: it fails before it gets anywhere"
    low, high = plan.seconds * plan.low / plan.step, plan.seconds * plan.high / plan.step
    return (
        f"{amount(tokens, 'tokens')} in {time_words(plan.seconds)} "
        f"({time_span(low, high)}), failures included"
    )


def power_words(power: Power, prices: Prices, filled: Filled) -> str:
    """Chips, systems, building; a guess is told as one, with its range."""
    if power.system is None or power.facility is None:
        return f"{NOT_KNOWN}: not published for this chip"
    chip = ""
    if power.chip is not None:
        chip = f"{amount(power.chip, 'W')}{_guess(filled, 'chip_power')} chips at their rating, "
    return (
        f"{chip}{amount(power.system, 'W')}{_guess(filled, 'busy_power')} systems at work, "
        f"{amount(power.facility, 'W')} with the building (PUE {prices.pue:g})"
    )


def _guess(filled: Filled, name: str) -> str:
    if name not in filled.fields:
        return ""
    middle, low, high = (getattr(c, name) for c in (filled.chip, filled.low, filled.high))
    return f" (guessed: {digits(low / middle, 2)} to {digits(high / middle, 2)} times that)"


def _bill(bill: Bill, prices: Prices, whole: bool) -> list[tuple[str, str]]:
    lines = []
    if whole and bill.joules is not None:
        kwh = bill.joules / 3.6e6
        cost = f"; {amount(bill.usd, 'USD', 2)}" if bill.usd is not None else "; cost: give --price"
        carbon = "; carbon: give --carbon or --place"
        if bill.carbon_kg is not None:
            carbon = f"; {digits(bill.carbon_kg / 1e3, 2)} t CO2"
        lines.append(("energy", f"{amount(kwh * 1e3, 'Wh')}{cost}{carbon}"))
    if bill.hardware:
        text = f"{usd_words(*bill.hardware)} to buy the chips"
        if whole and bill.owned:
            text += f"; {usd_words(*bill.owned)} of it for this training ({prices.years:g} years)"
        lines.append(("price", text))
    else:
        lines.append(("price", f"{NOT_KNOWN}: no price of this chip is published"))
    return lines


def breakdown(plan: Training) -> Table:
    """Where the time of a step goes."""
    made = table("WHERE THE TIME GOES", "OF THE STEP", "TIME", right=("OF THE STEP", "TIME"))
    best = plan.best
    for name, time in sorted(best.parts.items(), key=lambda p: -p[1]):
        if time >= SMALL * best.step:
            factor = plan.correction.factor
            made.add_row(name, f"{time / best.step:.0%}", time_words(time * factor))
    return made


def runners_up(plan: Training, most: int) -> Table | None:
    """Layouts that lost, and why."""
    others = plan.ranking.runners_up[:most]
    if not others:
        return None
    made = table("RUNNERS-UP", "STEP", "SLOWER BY", "MEMORY GB", "WHY IT LOSES", right=_RIGHT)
    for one in others:
        at = one.estimate
        made.add_row(
            layout_words(at.layout),
            time_words(at.step * plan.correction.factor),
            f"{one.slower:.1%}",
            f"{at.memory_total / GIGA:.0f}",
            one.why,
        )
    return made


_RIGHT: Sequence[str] = ("STEP", "SLOWER BY", "MEMORY GB")


def considered(plan: Training) -> str:
    """How many layouts there were."""
    return f"{plan.ranking.considered:,} layouts looked at, {plan.ranking.fitting:,} fit"
