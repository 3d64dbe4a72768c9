"""What a match looks like on a screen: a column for the target and for each alternative."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from skep.planner.match import Alternative, Match, Side, ratio
from skep.planner.training import Training
from skep.planner.words import amount, digits, span, usd_words

NOT_KNOWN = "not known"
ABREAST = 3  # alternatives beside the target in one table: what 80 columns hold


def tables(match: Match, trainings: Sequence[Training | None]) -> Iterator[RenderableType]:
    """The numbers, a few alternatives at a time."""
    behind = dict(zip(map(id, sides(match)), trainings, strict=True))
    for start in range(0, len(match.alternatives), ABREAST):
        if start:
            yield ""
        yield _table(match.target, match.alternatives[start : start + ABREAST], behind)


def sides(match: Match) -> list[Side]:
    """Every side, the target first."""
    return [match.target, *(s for a in match.alternatives for s in a.sides)]


def layouts(match: Match) -> list[str]:
    """The layout of each side."""
    return [f"{one.chip.kind}: {one.layout}" for one in sides(match)]


Behind = dict[int, Training | None]


def _table(goal: Side, others: Sequence[Alternative], behind: Behind) -> Table:
    from skep.cli.tables import table

    heads = [goal.chip.kind, *(" + ".join(s.chip.kind for s in o.sides) for o in others)]
    made = table("", *heads)
    made.add_row(
        "chips", f"{goal.chips:,}", *(_count(o) + _times(o.chips, goal.chips) for o in others)
    )
    made.add_row("80 % band", "", *(_spread(o) for o in others))
    made.add_row("measured", *_each(goal, others, lambda s: s.status))
    made.add_row("tokens/s a chip", *_each(goal, others, lambda s: digits(s.rate / s.chips)))
    if any(one is not None for one in behind.values()):
        made.add_row("progress", *_each(goal, others, lambda s: _progress(behind[id(s)])))
        made.add_row("spare chips", *_each(goal, others, lambda s: _spares(behind[id(s)])))
    for label, name in (
        ("chips' power", "chip"),
        ("system power", "system"),
        ("facility", "facility"),
    ):
        made.add_row(label, *_power(goal, others, name))
    made.add_row("cabinets", *_columns(goal, others, _cabinets))
    made.add_row("floor", *_columns(goal, others, _floor))
    made.add_row("price", *_columns(goal, others, _price))
    return made


def _each(goal: Side, others: Sequence[Alternative], say: Callable[[Side], str]) -> list[str]:
    return [say(goal), *(" + ".join(dict.fromkeys(say(s) for s in o.sides)) for o in others)]


def _progress(training: Training | None) -> str:
    return "" if training is None else f"{training.goodput.share:.0%}"


def _spares(training: Training | None) -> str:
    return "" if training is None else f"{training.goodput.spares:,}"


def _count(of: Alternative) -> str:
    count = " + ".join(f"{s.chips:,}" for s in of.sides)
    if of.reached:
        return count
    return f"more than {count}" if len(of.sides) == 1 else f"{count} are too few"


def _spread(of: Alternative) -> str:
    return f"{digits(of.fewest, 2)} to {digits(of.most, 2)}" if of.reached else ""


def _times(one: float | None, goal: float | None) -> str:
    value = ratio(one, goal)
    return "" if value is None else f" (×{digits(value, 2)})"


def total(some: Sequence[Side], name: str) -> float | None:
    """W of all sides; ``None`` where one is not known."""
    found = [getattr(one.power, name) for one in some]
    return None if None in found else float(sum(found))


def _power(goal: Side, others: Sequence[Alternative], name: str) -> list[str]:
    field = "chip_power" if name == "chip" else "busy_power"

    def say(some: Sequence[Side]) -> tuple[str, float | None]:
        value = total(some, name)
        if value is None:
            return NOT_KNOWN, None
        guessed = "~" if any(field in one.guessed for one in some) else ""
        return guessed + amount(value, "W"), value

    return _columns(goal, others, say)


Say = Callable[[Sequence[Side]], tuple[str, float | None]]


def _columns(goal: Side, others: Sequence[Alternative], say: Say) -> list[str]:
    """Words for each, and behind them how many times the target's."""
    text, base = say([goal])
    told = [say(one.sides) for one in others]
    return [text, *(words + _times(value, base) for words, value in told)]


def cabinets(some: Sequence[Side]) -> float | None:
    """Cabinets of all sides; ``None`` where one is not known."""
    found = [one.cabinets for one in some]
    return None if None in found else sum(c for c in found if c is not None)


def both_ends(some: Sequence[Side], name: str) -> tuple[float, float] | None:
    """The sums of the low and the high ends of ``price`` or ``floor``."""
    found = [getattr(one, name) for one in some]
    if None in found:
        return None
    return float(sum(value[0] for value in found)), float(sum(value[1] for value in found))


def middle(some: Sequence[Side], name: str) -> float | None:
    """The middle between both ends."""
    ends = both_ends(some, name)
    return None if ends is None else (ends[0] + ends[1]) / 2


def _cabinets(some: Sequence[Side]) -> tuple[str, float | None]:
    value = cabinets(some)
    return (NOT_KNOWN if value is None else digits(value)), value


def _floor(some: Sequence[Side]) -> tuple[str, float | None]:
    ends = both_ends(some, "floor")
    if ends is None:
        return NOT_KNOWN, None
    text = amount(ends[0], "m2") if ends[0] == ends[1] else f"~{span(*ends, 'm2')}"
    return text, middle(some, "floor")


def _price(some: Sequence[Side]) -> tuple[str, float | None]:
    ends = both_ends(some, "price")
    return (NOT_KNOWN if ends is None else usd_words(*ends)), middle(some, "price")


def heading(what: str, target: str, rate: float, batch: int | None) -> Text:
    """What is matched."""
    text = Text.assemble((f"{what}: ", "bold"), f"{target} does {amount(rate, 'tokens/s')}")
    if batch is not None:
        text.append(f", failures included; all at a batch of about {batch:,}")
    return text
