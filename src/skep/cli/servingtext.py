"""What a serving plan looks like on a screen."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table

from skep.cli.plantext import GIGA, NOT_KNOWN, heading, power_words, rows
from skep.cli.tables import table
from skep.files.workload import Model
from skep.planner.bill import Prices
from skep.planner.serve import Served
from skep.planner.servingplan import CONTEXTS, HOUR, Serving
from skep.planner.words import amount, digits, span, time_words, usd_words

LIMITS = {
    "memory": "memory is full",
    "batch": "the most sequences that servers are set up for (512 a chip)",
    "tpot": "the time per token",
    "ttft": "the time to the first token",
}


def serving_text(
    model: Model, plan: Serving, prices: Prices, fleet: str
) -> tuple[RenderableType, ...]:
    """The answer: how it runs, how fast, how sure, how much."""
    head = heading(f"{model.workload.name} served by {fleet}", plan.chosen.instance.status)
    return (head, rows(_lines(plan, prices)), "")


def _lines(plan: Serving, prices: Prices) -> list[tuple[str, str]]:
    chosen, load = plan.chosen, plan.load
    return [
        ("asked", f"{load.prompt:,.0f} tokens in, {load.answer:,.0f} out{_within(plan)}"),
        ("instances", instance_words(plan.used // chosen.instance.chips, chosen)),
        ("speed", _speed(plan)),
        ("time", f"{_times(chosen)} (means)"),
        ("held by", " and ".join(LIMITS[word] for word in chosen.limit.split(", "))),
        ("memory", _memory(plan)),
        ("power", power_words(plan.bill.power, prices, plan.filled)),
        *_cost(plan),
        *(("not published", gap) for gap in plan.filled.gaps),
    ]


def _times(way: Served) -> str:
    return f"{time_words(way.ttft)} to the first token, {time_words(way.tpot)} per token"


def _within(plan: Serving) -> str:
    load = plan.load
    told = [f"first token in {time_words(load.ttft)}"] if load.ttft else []
    told += [f"{time_words(load.tpot)} per token"] if load.tpot else []
    return f"; for 99 %: {', '.join(told)}" if told else "; no limits of time"


def instance_words(count: int, way: Served) -> str:
    """How many of which instances, and how they share the work."""
    at = way.instance
    how = "experts spread" if at.spread else "matrices split" if at.chips > 1 else "whole"
    told = f"{count:,} of {at.chips} chips ({how}), {at.precision}, {way.batch:,} sequences each"
    if way.prompt_share:
        told += f"; {way.prompt_share:.0%} of them read prompts, the others decode"
    return told


def _speed(plan: Serving) -> str:
    each = plan.rate / plan.chips
    read = 1.0 / (plan.chosen.instance.prefill(8192, plan.load.prompt) / 8192)
    return (
        f"{amount(plan.rate, 'tokens/s')} written, {digits(each)} per chip "
        f"({span(plan.low, plan.high, 'tokens/s')} holds 80 % of measured rows); an instance reads "
        f"{amount(read, 'tokens/s')} if it does nothing else"
    )


def _memory(plan: Serving) -> str:
    at = plan.chosen.instance
    each = at.cache(plan.load.context) * plan.chosen.batch / at.chips
    weights = at.resident / at.chips
    return (
        f"of {(at.chip.memory or 0) / GIGA:.0f} GB a chip: weights {weights / GIGA:.1f}, "
        f"cache {each / GIGA:.1f} ({at.cache(1) / 1e3:.1f} kB a token)"
    )


def _cost(plan: Serving) -> list[tuple[str, str]]:
    bill, million = plan.bill, plan.rate * HOUR / 1e6
    lines = []
    if bill.joules is not None:
        text = f"{amount(bill.joules / (plan.rate * HOUR), 'J', 2)} a token"
        if bill.usd is not None:
            text += f"; {digits(bill.usd / million, 2)} USD of electricity a million tokens"
        if bill.carbon_kg is not None:
            text += f"; {digits(bill.carbon_kg / million * 1e3, 2)} g CO2 a million"
        lines.append(("energy", text))
    if bill.hardware and bill.owned:
        low, high = (value / million for value in bill.owned)
        text = f"{usd_words(*bill.hardware)} to buy the chips"
        lines.append(("price", f"{text}; {usd_words(low, high)} of it a million tokens"))
    else:
        lines.append(("price", f"{NOT_KNOWN}: no price of this chip is published"))
    return lines


def ways(plan: Serving) -> Table:
    """Both phases on the same chips, and on chips of their own."""
    right = ("TOKENS/s PER CHIP", "FIRST TOKEN", "PER TOKEN")
    made = table("PHASES", "INSTANCE", *right, "HELD BY", right=right)
    for name, way in (("together", plan.together), ("apart", plan.apart)):
        if way is None:
            made.add_row(name, "not in time, or too few chips", "–", "–", "–", "–")
            continue
        made.add_row(
            name,
            f"{way.instance.chips} chips",
            digits(way.rate_per_chip),
            time_words(way.ttft),
            time_words(way.tpot),
            way.limit,
        )
    return made


def cells(plan: Serving) -> Table:
    """Decode alone, by batch and context."""
    heads = [f"{context:,} TOKENS" for context in CONTEXTS]
    made = table("DECODE: SEQUENCES A CHIP", *heads, right=heads)
    found = {(c.batch, c.context): c for c in plan.cells}
    for batch in sorted({c.batch for c in plan.cells}):
        row = []
        for context in CONTEXTS:
            cell = found.get((batch, context))
            row.append(
                f"{digits(cell.rate)}/s, {time_words(cell.tpot)}" if cell else "does not fit"
            )
        made.add_row(f"{batch:,}", *row)
    return made
