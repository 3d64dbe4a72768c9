"""``skep plan --match``: has both sides planned, and says how they compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from skep.cli import matchtext
from skep.cli.planning import Ask, divisible, named
from skep.errors import InputError
from skep.files.fleet import Fleet, parse_fleets
from skep.model.fact import System
from skep.model.workload import Workload
from skep.planner.bill import Prices, power
from skep.planner.goodput import Failing
from skep.planner.learning import learnt
from skep.planner.match import MOST, NODE, Alternative, Match, Side, band, least, side
from skep.planner.serve import best
from skep.planner.servingplan import plan_serving, precision_of
from skep.planner.sweep import MOST as MOST_SHOWN
from skep.planner.sweep import Point, sweep
from skep.planner.training import Training, learning, train
from skep.planner.unknown import fill
from skep.planner.words import layout_words

if TYPE_CHECKING:
    from rich.console import RenderableType

ROUND = 64  # sequences: parts of a batch are whole multiples of it


@dataclass(frozen=True, slots=True)
class Found:
    """A match, and the trainings behind its sides (``None`` where it is about serving)."""

    match: Match
    trainings: tuple[Training | None, ...]
    target: str


def matched(
    ask: Ask, target: Fleet, against: Sequence[str], systems: Mapping[str, System]
) -> Found:
    """The target and, for each of ``against``, what does as much."""
    kept: list[Training | None] = []
    goal = goal_side(ask, target, systems, kept)
    made = []
    for text in against:
        for part in text.split(","):
            fleets = parse_fleets(part, ask.chips, systems, "--with", counted=False)
            others = ask.under.sites * (len(fleets) - 1)
            mixed = replace(ask, under=replace(ask.under, others=others))
            made.append(_alternative(mixed, goal, fleets, systems, kept))
    return Found(Match(goal, tuple(made)), tuple(kept), named(target))


def goal_side(
    ask: Ask, target: Fleet, systems: Mapping[str, System], kept: list[Training | None]
) -> Side:
    """What is to be matched: one site, whatever stands between the others."""
    assert target.count is not None
    one_site = replace(ask, under=replace(ask.under, sites=1, link=None))
    return _side(one_site, ask.model.workload, target, target.count, systems, kept)


def _alternative(
    ask: Ask,
    goal: Side,
    fleets: tuple[Fleet, ...],
    systems: Mapping[str, System],
    kept: list[Training | None],
) -> Alternative:
    """Fixed numbers first; what is missing is shared by the kinds without a number."""
    fixed = [f for f in fleets if f.count is not None]
    free = [f for f in fleets if f.count is None]
    sides = []
    for fleet in fixed:
        assert fleet.count is not None
        part = ask.model.workload
        sides.append(_side(ask, part, fleet, fleet.count, systems, kept))
    missing = goal.rate - sum(one.rate for one in sides)
    reached = True
    for fleet in free if missing > 0 else ():
        share = missing / len(free)
        found = _enough(ask, share, goal, fleet)
        reached = reached and found is not None
        part = _part(ask.model.workload, share / goal.rate)
        sides.append(_side(ask, part, fleet, found or MOST, systems, kept))
    fewer, more = band(goal, sides)
    whole = sum(one.chips for one in sides)
    return Alternative(
        tuple(sides), whole * fewer, whole * more, reached and (bool(free) or missing <= 0)
    )


def _enough(ask: Ask, wanted: float, goal: Side, fleet: Fleet) -> int | None:
    """Chips of a kind that reach ``wanted`` tokens/s."""
    filled = fill(fleet.chip, ask.chips.values()).chip
    if ask.serve:
        precision = ask.precision or precision_of(fleet.chip)
        way = best(ask.model.workload, filled, ask.load, precision, 256)
        if way is None:
            raise InputError("--with", fleet.chip.kind, "does not serve this model in time")
        return ceil(wanted / way.rate) * way.instance.chips
    part = _part(ask.model.workload, wanted / goal.rate)

    # As many as the peaks say: within a factor of two of the answer, mostly.
    peaks = (goal.chip.peak_flops or 1.0) / (filled.peak_flops or 1.0)
    near = wanted / goal.rate * goal.chips * peaks

    def rate(chips: int) -> float:
        try:
            return _train(ask, part, fleet, chips).real_rate
        except InputError:
            return 0.0  # too few to hold it, or a number that the model does not divide into

    return least(rate, wanted, NODE * ask.under.sites, near=near)


def _part(work: Workload, share: float) -> Workload:
    """``work`` with its share of the batch."""
    if share > 0.99:
        return work
    whole = max(ROUND, round(work.global_batch * share / ROUND) * ROUND)
    return work.model_copy(update={"global_batch": min(whole, work.global_batch)})


def _train(ask: Ask, work: Workload, fleet: Fleet, chips: int) -> Training:
    sized = work.model_copy(update={"global_batch": divisible(work.global_batch, chips)})
    tools = replace(ask.tools, search=ask.tools.quick)
    correct = learning(ask.runs, sized, tools, learnt) if ask.runs else None
    return train(sized, fleet.chip, chips, ask.chips.values(), ask.under, tools, correct)


def _side(
    ask: Ask,
    work: Workload,
    fleet: Fleet,
    chips: int,
    systems: Mapping[str, System],
    kept: list[Training | None],
) -> Side:
    prices = ask.under.prices
    if ask.serve:
        plan = plan_serving(
            work, fleet.chip, chips, ask.chips.values(), ask.load, ask.precision, prices
        )
        kept.append(None)
        way = plan.chosen
        text = f"{plan.used // way.instance.chips:,} x {way.instance.chips} chips, {plan.precision}"
        rates = (plan.rate, plan.low, plan.high)
        return side(
            plan.filled, chips, rates, way.instance.status, text, prices, systems
        )  # fmt: skip
    done = _train(ask, work, fleet, chips)
    kept.append(done)
    low, high = (value * done.goodput.share for value in done.speed_range)
    return side(
        done.filled,
        chips,
        (done.real_rate, low, high),
        done.best.status,
        layout_words(done.best.layout),
        prices,
        systems,
        done.busy,
    )


def text(ask: Ask, found: Found) -> Sequence[RenderableType]:
    """The tables of a match."""
    goal, work = found.match.target, ask.model.workload
    what = f"{'serving' if ask.serve else 'training'} {work.name}"
    batch = None if ask.serve else work.global_batch
    gaps = sorted({(s.chip.kind, g) for s in matchtext.sides(found.match) for g in s.gaps})
    return (
        matchtext.heading(what, found.target, goal.rate, batch),
        "",
        *matchtext.tables(found.match, found.trainings),
        "",
        *matchtext.layouts(found.match),
        *_over(ask, found.match),
        *([""] if gaps else []),
        *(f"{kind}: {gap}" for kind, gap in gaps),
        *(f"learnt: {word}" for word in _learned(ask, found)),
        *(f"assumed: {word}" for word in ask.model.assumed),
    )


def _learned(ask: Ask, found: Found) -> list[str]:
    sides = matchtext.sides(found.match)
    told = {
        f"{one.chip.kind}: {training.correction}"
        for one, training in zip(sides, found.trainings, strict=True)
        if training is not None and ask.runs
    }
    return sorted(told)


def _over(ask: Ask, match: Match) -> list[str]:
    """What stands between the sites of an alternative."""
    if ask.serve:
        return []
    if ask.under.link is not None:
        what = f"sites that average every {ask.under.exchange.interval} steps"
        return ["", f"each kind at {ask.under.sites} {what}; the target at one site"]
    if any(len(other.sides) > 1 for other in match.alternatives):
        return ["", "kinds work at sites of their own; what they exchange counts only with --link"]
    return []


def series(ask: Ask, found: Found) -> Sequence[tuple[str, Sequence[Point]]]:
    """Of each kind: throughput and power against the number of chips."""
    made: dict[str, Sequence[Point]] = {}
    for one, training in zip(matchtext.sides(found.match), found.trainings, strict=True):
        if one.chip.kind in made:
            continue
        if training is None:
            made[one.chip.kind] = straight(one, ask.under.prices)
        else:
            made[one.chip.kind] = sweep(
                training.work, one.chip, training.best, training.correction.factor,
                ask.under, ask.tools,
            )  # fmt: skip
    return list(made.items())


def straight(one: Side, prices: Prices) -> Sequence[Point]:
    """Serving grows with the chips; a failure takes its own instance out until it is back."""
    points = []
    chips = 8
    while chips <= 2 * MOST_SHOWN:
        count = min(chips, MOST_SHOWN)
        rate = one.rate / one.chips * count
        lost = Failing().per_node_day * Failing().restart / 86400.0
        drawn = power(one.chip, count, one.busy, prices).facility
        points.append(Point(count, rate, rate * (1 - lost), rate * (1 - lost), drawn))
        chips *= 2
    return points
