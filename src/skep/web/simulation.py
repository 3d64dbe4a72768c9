"""The report of simulations: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from skep import __version__
from skep.sim.figures import METRICS, Estimate, Figures, Group, Metric
from skep.sim.report import Spread
from skep.sim.study import Study
from skep.units import duration
from skep.web import simplots
from skep.web.report import Plot, Tile

_MOST_QUEUES = 20  # lines of a table; the largest


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one policy; ``change`` against the first policy."""

    text: str
    half: str = ""
    change: str = ""
    good: bool | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One metric over the policies."""

    name: str
    cells: tuple[Cell, ...]


def write_simulation(path: Path, study: Study, title: str) -> Path:
    """Write the report to ``path``, whole or not at all. Raises ``OSError``."""
    path = path.expanduser().absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(render(study, title), encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return path


def render(study: Study, title: str) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("skep.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"amount": amount, "duration": _took}
    return environment.get_template("simulation.html.j2").render(
        title=title,
        study=study,
        first=study.outcomes[0].runs[0],
        seeds=len(study.outcomes[0].runs),
        tiles=tiles(study),
        lines=lines(study),
        plots=plots(study),
        sizes=groups(study, "by_size"),
        queues=groups(study, "by_queue"),
        conditions=conditions_text(study),
        broke=broke_text(study),
        version=__version__,
    )


def amount(value: float, unit: str) -> str:
    """A figure with its unit, short."""
    if math.isnan(value):
        return "–"
    if unit == "s":
        return _took(value)
    if unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:,.2f}" if unit == "x" else f"{value:,.0f}"


def _took(seconds: float) -> str:
    """Two parts at most: nobody compares the seconds of hours."""
    if math.isnan(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds else "0 s"
    if 600 <= seconds < 7200:
        return f"{round(seconds / 60)}m"
    return duration(seconds)


def tiles(study: Study) -> list[Tile]:
    """The large numbers: of the only policy, or of the best beside the first."""
    if len(study.outcomes) > 1:
        return _compared(study)
    run = study.outcomes[0].runs[0]
    lost = f"{run.work_lost:,.0f} chip-hours done again" if run.work_lost else "nothing lost"
    return [
        Tile("mean wait", _took(run.wait.mean), f"median {_took(run.wait.median)}"),
        Tile("95 % waited at most", _took(run.wait.p95), f"99 %: {_took(run.wait.p99)}"),
        Tile(
            "mean bounded slowdown",
            amount(run.slowdown.mean, "x"),
            f"p95 {amount(run.slowdown.p95, 'x')}",
        ),
        Tile("mean completion", _took(run.completion.mean), f"p95 {_took(run.completion.p95)}"),
        Tile("chips in use", f"{run.utilisation_arriving:.1%}", "while jobs come"),
        Tile("goodput", amount(run.goodput, "%"), lost),
    ]


def _compared(study: Study) -> list[Tile]:
    """For the metrics that matter most: the best policy, and how far it is from the first."""
    made = []
    wanted = ("mean wait", "95 % wait at most", "mean bounded slowdown", "mean completion",
              "chips in use while jobs come", "goodput")  # fmt: skip
    for metric in (m for name in wanted for m in METRICS if m.name == name):
        best = min(
            study.outcomes,
            key=lambda o, m=metric: _rank(o.estimate(m.of).mean, m.better),  # type: ignore[misc]
        )
        value = amount(best.estimate(metric.of).mean, metric.unit)
        first = study.outcomes[0]
        note = best.policy
        if best is not first:
            note += f" ({first.policy}: {amount(first.estimate(metric.of).mean, metric.unit)})"
        more = study.difference(best, metric.of)
        sure = best is not first and abs(more.mean) > more.half
        made.append(Tile(metric.name, value, note, good=sure))
    return made


def _rank(value: float, better: int) -> float:
    """Least for the best; a policy under which nothing ran is never the best."""
    return math.inf if math.isnan(value) else -better * value


def lines(study: Study) -> list[Line]:
    """Each metric over all policies; what was not measured is left out."""
    made = []
    for metric in METRICS:
        found = [outcome.estimate(metric.of) for outcome in study.outcomes]
        if not all(math.isnan(e.mean) for e in found):
            made.append(Line(metric.name, tuple(_cells(study, metric, found))))
    return made


def _cells(study: Study, metric: Metric, found: list[Estimate]) -> list[Cell]:
    cells = []
    for row, (outcome, value) in enumerate(zip(study.outcomes, found, strict=True)):
        half = f"± {amount(value.half, metric.unit)}" if value.half else ""
        change, good = _change(study, metric, row, found) if row else ("", None)
        del outcome
        cells.append(Cell(amount(value.mean, metric.unit), half, change, good))
    return cells


def _change(
    study: Study, metric: Metric, row: int, found: list[Estimate]
) -> tuple[str, bool | None]:
    """How far from the first policy; good or bad only where the confidence bears it out."""
    difference = study.difference(study.outcomes[row], metric.of)
    first = found[0].mean
    if math.isnan(difference.mean) or not first or abs(difference.mean) < 5e-4 * abs(first):
        return "", None
    sure = abs(difference.mean) > difference.half
    good = (difference.mean > 0) == (metric.better > 0) if metric.better and sure else None
    return f"{difference.mean / abs(first):+.1%}", good


def plots(study: Study) -> list[Plot]:
    """The drawings for which there is something to draw."""
    made = []
    for outcome in study.outcomes:
        note = (
            "Dashed: all chips of the pool."
            if len(study.topology.names) <= simplots.FEW
            else ("The stronger the colour, the more of the site's chips are in use.")
        )
        title = f"Chips in use by site: {outcome.policy}"
        made.append(Plot(title, simplots.occupancy_plot(study, outcome), note))
    queue_note = "Jobs that had been submitted and held no chips."
    made.append(Plot("Jobs waiting", simplots.queue_plot(study), queue_note))
    if len(study.outcomes) > 1:
        made.append(
            Plot("Part of all chips in use", simplots.use_plot(study), "Of the whole pool.")
        )
    note = "Free chips that a job of the trace could not use where they lie, in the mean over jobs."
    made.append(Plot("Fragmentation", simplots.fragments_plot(study), note))
    wait_note = "From submission to the first start. What started at once counts as 1 s."
    made.append(Plot("Waits", simplots.waits_plot(study), wait_note))
    size_note = "1: no wait at all. Short jobs count as 10 s long (bounded slowdown)."
    made.append(Plot("Slowdown by chips of the job", simplots.sizes_plot(study), size_note))
    return made


@dataclass(frozen=True, slots=True)
class Row:
    """One size or queue: its jobs, and for each policy its waits, slowdowns, completion times."""

    name: str
    jobs: int
    cells: tuple[Group, ...]

    @property
    def measures(self) -> tuple[tuple[str, str, tuple[Spread, ...]], ...]:
        """(what, unit, a spread for each policy)."""
        return (
            ("wait", "s", tuple(group.wait for group in self.cells)),
            ("slowdown", "x", tuple(group.slowdown for group in self.cells)),
            ("completion", "s", tuple(group.completion for group in self.cells)),
        )


def groups(study: Study, kind: str) -> list[Row]:
    """The jobs by size or by queue, policies side by side."""

    def of(run: Figures) -> tuple[Group, ...]:
        return run.by_size if kind == "by_size" else run.by_queue

    tables = [{group.name: group for group in of(o.runs[0])} for o in study.outcomes]
    rows = [
        Row(group.name, group.jobs, tuple(table[group.name] for table in tables))
        for group in of(study.outcomes[0].runs[0])
    ]
    if kind == "by_queue":
        rows = sorted(rows, key=lambda row: -row.jobs)[:_MOST_QUEUES]
    return rows


def broke_text(study: Study) -> str:
    """What broke under the first seed: "3 chips, 1 site"; empty where nothing did."""
    faults = study.outcomes[0].runs[0].faults
    return ", ".join(f"{n:,} {kind}{'s' if n != 1 else ''}" for kind, n in sorted(faults.items()))


def conditions_text(study: Study) -> str:
    """What was set, as YAML; empty where all is as by default."""
    import yaml

    data = _in_words(study.conditions.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True)) if data else ""


_TIMES = frozenset({"setup", "stop", "restart", "every", "cost", "repair", "at", "for"})


def _in_words(data: Any, key: str = "") -> Any:
    """The same with times as people write them: ``90d`` for 7776000."""
    if isinstance(data, dict):
        return {name: _in_words(value, name) for name, value in data.items()}
    if isinstance(data, list):
        return [_in_words(value) for value in data]
    if key not in _TIMES or not isinstance(data, float):
        return data
    return duration(data).removesuffix(" 00h").removesuffix(" 00m").removesuffix(" 00s")
