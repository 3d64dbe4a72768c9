"""Behind ``skep plan``: reads what was asked, has it planned, and says how it looks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skep.cli.home import home_at
from skep.errors import InputError, SkepError
from skep.files.chipfile import load_chips as load_chips
from skep.files.fleet import Fleet, parse_fleet
from skep.files.workload import Model, load_model
from skep.model.chip import Chip
from skep.model.fact import System
from skep.planner.serve import Load as Load
from skep.planner.training import Conditions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skep.files.yaml import Value
    from skep.model.measured import Measured
    from skep.model.workload import Workload
    from skep.planner.answer import Ranking
    from skep.planner.chip import ChipFacts
    from skep.planner.space import Constraints
    from skep.planner.training import Tools

PICTURES = (".svg", ".png", ".pdf")
RANKED = 12  # layouts that are kept of a search
LEAN: Mapping[str, Any] = {
    "sequence_parallel": (True,),
    "overlap_tp": (True,),
    "overlap_dp": (True,),
    "overlap_pp": (True,),
    "zero": (1, 3),
    "uneven": (False,),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What was asked, read and checked."""

    model: Model
    under: Conditions
    chips: Mapping[str, Chip]
    load: Load
    precision: str | None
    serve: bool
    top: int
    runs: Sequence[Measured]
    tools: Tools
    only: Constraints
    exact: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer in its three forms; ``draw`` writes a picture to a path."""

    text: Sequence[RenderableType]
    json: Callable[[], Mapping[str, object]]
    draw: Callable[[Path], None] | None = field(default=None)


def read_model(what: str, changes: Mapping[str, Value]) -> Model:
    """The model, with what the command line changes of it."""
    return load_model(what, changes)


def systems() -> dict[str, System]:
    """The systems of the catalogue."""
    from skep.data import catalogue

    return catalogue.systems()


def measured(server: str | None, home: Path | None, needed: bool) -> Sequence[Measured]:
    """What the runs of a pool measured, so far as it is kept.

    Unless it is ``needed``, a plan is made without where there is no pool; it says so where a pool
    was named and does not answer.
    """
    if not (needed or server or os.environ.get("SKEP_SERVER") or home_at(home).pool_file.exists()):
        return ()
    from skep.cli.connect import connect
    from skep.cli.output import note

    try:
        with connect(server, home, patience=5.0 if needed else 0.0) as client:
            return client.measured()
    except SkepError as error:
        if needed:
            raise
        if server:
            note(f"nothing learnt: {error}")
        return ()


def tools(
    calibration: Path | None = None, stack: str | None = None, only: Constraints | None = None
) -> Tools:
    """The performance model, with the constants of a chip corrected by a calibration."""
    from skep.data.efficiency import facts_with
    from skep.files.runs import load_calibration
    from skep.planner.calibrate import apply
    from skep.planner.estimate import estimate
    from skep.planner.held import held_facts
    from skep.planner.search import search
    from skep.planner.space import USUAL
    from skep.planner.training import Tools

    kind, factors = load_calibration(calibration) if calibration is not None else ("", {})

    def facts(chip: Chip) -> ChipFacts:
        if chip.held_to:
            return held_facts(chip)
        found = facts_with(chip, stack)
        return apply(found, factors) if chip.kind == kind else found

    def fastest(work: Workload, chip: ChipFacts, chips: int) -> Ranking:
        return search(work, chip, chips, only or USUAL, top=RANKED)

    def quick(work: Workload, chip: ChipFacts, chips: int) -> Ranking:
        """What overlaps and spreads whatever it can: hardly ever slower, many times fewer."""
        lean = replace(only or USUAL, **LEAN) if only in (None, USUAL) else only
        return search(work, chip, chips, lean, top=1)

    return Tools(facts, fastest, quick, estimate)


def plan_on(ask: Ask, on: str) -> Shown:
    """The answer to ``--on``."""
    if "+" in on:
        from skep.cli import planmixing

        if ask.serve:
            allowed = "allowed: one kind of chip (kinds serve by themselves: their speeds add up)"
            raise InputError("--on", on, allowed)
        return planmixing.planned(ask, planmixing.of_fleets(ask, on))
    fleet = parse_fleet(on, ask.chips, systems(), "--on")
    return _serving(ask, fleet) if ask.serve else _training(ask, fleet)


def plan_pool(ask: Ask, path: Path, match: str | None = None) -> Shown:
    """The answer to ``--pool``; with ``--match``, how it compares with that system."""
    from skep.cli import planmatching, planmixing

    goal = None
    if match is not None:
        known = systems()
        target = parse_fleet(match, ask.chips, known, "--match")
        goal = named(target), planmatching.goal_side(ask, target, known, [])
    return planmixing.planned(ask, planmixing.of_pool(ask, path), goal)


def _serving(ask: Ask, fleet: Fleet) -> Shown:
    from skep.cli import planjson, servingtext
    from skep.planner.servingplan import plan_serving

    assert fleet.count is not None
    prices = ask.under.prices
    plan = plan_serving(
        ask.model.workload,
        fleet.chip,
        fleet.count,
        ask.chips.values(),
        ask.load,
        ask.precision,
        prices,
    )

    def draw(path: Path) -> None:
        from skep.web.planplots import serving_picture

        serving_picture(plan, path)

    return Shown(
        (
            *servingtext.serving_text(ask.model, plan, prices, named(fleet)),
            servingtext.ways(plan),
            "",
            servingtext.cells(plan),
        ),
        lambda: planjson.serving(ask.model, plan),
        draw,
    )


def _training(ask: Ask, fleet: Fleet) -> Shown:
    from skep.cli import planjson, plantext
    from skep.planner.learning import learnt
    from skep.planner.training import learning, train

    assert fleet.count is not None
    ask = _shared(ask, fleet.count)
    work, model = ask.model.workload, ask.tools
    correct = learning(ask.runs, work, model, learnt) if ask.runs else None
    plan = train(work, fleet.chip, fleet.count, ask.chips.values(), ask.under, model, correct)
    others = plantext.runners_up(plan, ask.top)

    def draw(path: Path) -> None:
        from skep.web.planplots import training_picture

        training_picture(plan, path)

    return Shown(
        (
            *plantext.training_text(ask.model, plan, ask.under, named(fleet)),
            plantext.breakdown(plan),
            "",
            *((others, "") if others else ()),
            plantext.considered(plan),
        ),
        lambda: planjson.training(ask.model, plan, ask.under),
        draw,
    )


def _shared(ask: Ask, chips: int) -> Ask:
    """With a batch near the asked one where so many chips cannot share that in any layout.

    A batch that was given with ``--batch`` stays: it is then refused.
    """
    from skep.planner.space import meshes

    work, sites = ask.model.workload, ask.under.sites
    if ask.exact or chips % sites:
        return ask
    part = work.model_copy(update={"global_batch": max(1, work.global_batch // sites)})
    try:
        if work.global_batch % sites == 0:
            meshes(part, chips // sites, ask.only)
            return ask
    except InputError:
        pass
    batch = sites * divisible(part.global_batch, chips // sites)
    sized = work.model_copy(update={"global_batch": batch})
    told = f"a batch of {batch:,} sequences, which {chips:,} chips can share, not "
    told += f"{work.global_batch:,}"
    model = replace(ask.model, workload=sized, assumed=(*ask.model.assumed, told))
    return replace(ask, model=model)


def divisible(batch: int, chips: int) -> int:
    """A batch near ``batch`` that many numbers of chips divide: speeds are compared, per token."""
    part = chips
    while part > batch / 4 and part % 2 == 0:
        part //= 2
    return max(1, round(batch / part)) * part


def plan_match(ask: Ask, match: str, against: Sequence[str]) -> Shown:
    """The answer to ``--match``."""
    from skep.cli import planjson, planmatching

    known = systems()
    target = parse_fleet(match, ask.chips, known, "--match")
    found = planmatching.matched(ask, target, against, known)

    def draw(path: Path) -> None:
        from skep.web.planplots import match_picture

        wanted, title = found.match.target.rate, f"{ask.model.workload.name}: speed"
        series = planmatching.series(ask, found)
        match_picture(series, wanted, title, path, serving=ask.serve)

    return Shown(
        planmatching.text(ask, found),
        lambda: planjson.match(ask.model, found, planmatching.series(ask, found)),
        draw,
    )


def named(fleet: Fleet) -> str:
    """A fleet as the user knows it, with what it is."""
    if fleet.system is not None:
        return f"{fleet.system.name} ({fleet.count:,} x {fleet.chip.kind})"
    return str(fleet)


def present(shown: Shown, plot: Path | None, as_json: bool) -> None:
    """Print the answer; write the picture if one was asked for."""
    from skep.cli.output import note, show, show_json

    if plot is not None and plot.suffix not in PICTURES:
        raise InputError("--plot", str(plot), f"allowed: a name that ends in {', '.join(PICTURES)}")
    if plot is not None and shown.draw is not None:
        try:
            shown.draw(plot)
        except OSError as error:
            raise InputError("--plot", str(plot), f"{error.strerror}") from None
    if as_json:
        show_json(dict(shown.json()))
    else:
        show(*shown.text)
    if plot is not None:
        note(f"picture: {plot}")
