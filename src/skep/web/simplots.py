"""The plots of a simulation's report: a study in, SVG out."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.axes import Axes

from skep.model.snapshot import Floats
from skep.sim.figures import Figures
from skep.sim.study import Outcome, Study, part_in_fragments, waits
from skep.web.ink import MOST_POINTS, drawing, ink, series

FEW = 8  # so many sites are drawn one upon the other; more as a map
_MOST_ROWS = 60  # of a map; more sites are put together
_SPANS = ((3 * 86400.0, "days", 86400.0), (3 * 3600.0, "hours", 3600.0), (0.0, "minutes", 60.0))
_SHORTEST = 1.0  # s: where the axis of waits begins


def unit_of(seconds: float) -> tuple[str, float]:
    """The unit for an axis as long as ``seconds``, and its length in s."""
    return next((name, size) for least, name, size in _SPANS if seconds >= least)


def _axis(study: Study) -> tuple[str, float]:
    return unit_of(max(float(o.timeline.times[-1]) for o in study.outcomes))


def occupancy_plot(study: Study, outcome: Outcome) -> str:
    """Chips held at each site over time: areas, or a map where there are many sites."""
    unit, size = _axis(study)
    names = study.topology.names
    times, held = outcome.timeline.times / size, outcome.timeline.held
    if len(names) <= FEW:
        with drawing("Chips in use by site", unit, "chips") as made:
            colours = [series(row) for row in range(len(names))]
            made.axes.stackplot(times, held.T, labels=names, colors=colours, alpha=0.85, step="mid")
            made.axes.axhline(study.chips, color=ink("text"), linewidth=0.8, linestyle=(0, (4, 3)))
            made.axes.set_ylim(0, study.chips * 1.04)
            made.axes.set_xlim(0, float(times[-1]))
            made.figure.legend(loc="outside upper left", ncols=4)
        return made.svg
    return _map(study, held, float(times[-1]), unit)


def _map(study: Study, held: Floats, end: float, unit: str) -> str:
    chips = np.bincount(study.topology.pool_site, weights=study.topology.total)
    order = np.argsort(-chips, kind="stable")
    rows = np.array_split(order, min(_MOST_ROWS, len(order)))
    parts = np.array([held[:, row].sum(axis=1) / chips[row].sum() for row in rows])
    with drawing("Part of each site's chips in use", unit, "sites, the largest first") as made:
        _shade(made.axes, parts, end, len(order))
    return made.svg


def _shade(axes: Axes, parts: Floats, end: float, count: int) -> None:
    """The darker the fuller: one colour, whose opacity is the part; so it serves light and dark."""
    image = np.zeros((*parts.shape, 4))
    image[..., :3] = (0.145, 0.388, 0.671)
    image[..., 3] = np.clip(parts, 0.0, 1.0)
    axes.imshow(image, aspect="auto", extent=(0.0, end, float(count), 0.0), interpolation="nearest")
    axes.grid(visible=False)


def use_plot(study: Study) -> str:
    """Part of all chips in use over time, a line for each policy."""
    unit, size = _axis(study)
    with drawing("Part of all chips in use", unit, "% of all chips") as made:
        for row, outcome in enumerate(study.outcomes):
            used = 100.0 * outcome.timeline.held.sum(axis=1) / study.chips
            _steps(made.axes, outcome.timeline.times / size, used, outcome.policy, row)
        made.axes.set_ylim(0, 104)
        _name(made.axes, study)
    return made.svg


def queue_plot(study: Study) -> str:
    """Jobs that wait over time, a line for each policy."""
    unit, size = _axis(study)
    with drawing("Jobs waiting", unit, "jobs waiting") as made:
        for row, outcome in enumerate(study.outcomes):
            line = outcome.timeline
            _steps(made.axes, line.times / size, line.waiting[:, 0], outcome.policy, row)
        made.axes.set_ylim(bottom=0)
        _name(made.axes, study)
    return made.svg


def fragments_plot(study: Study) -> str:
    """Part of the free chips that are fragments over time, a line for each policy."""
    unit, size = _axis(study)
    with drawing("Fragmentation", unit, "% of the free chips") as made:
        for row, outcome in enumerate(study.outcomes):
            line = outcome.timeline
            part = 100.0 * part_in_fragments(line)
            _steps(made.axes, line.times / size, part, outcome.policy, row)
        made.axes.set_ylim(0, 104)
        _name(made.axes, study)
    return made.svg


def waits_plot(study: Study) -> str:
    """Which part of the jobs waited at most so long."""
    with drawing("Waits", "waited at most", "% of jobs") as made:
        longest = _SHORTEST * 10
        for row, outcome in enumerate(study.outcomes):
            found = waits(outcome)
            if len(found):
                part = np.linspace(0.0, 1.0, min(MOST_POINTS, len(found)))
                x = np.maximum(np.quantile(found, part), _SHORTEST)
                longest = max(longest, float(x[-1]))
                line = _lines(row)
                made.axes.plot(
                    x, 100 * part, linestyle=line, color=series(row), label=outcome.policy
                )
        made.axes.set_xscale("log")
        made.axes.set_xlim(_SHORTEST, longest * 1.15)
        made.axes.set_ylim(0, 102)
        _durations(made.axes, longest)
        _name(made.axes, study)
    return made.svg


def sizes_plot(study: Study) -> str:
    """Mean bounded slowdown by size of job, a bar for each policy."""
    names = [group.name for group in study.outcomes[0].runs[0].by_size]
    count = len(study.outcomes)
    with drawing("Slowdown by size of job", "", "mean bounded slowdown") as made:
        for row, outcome in enumerate(study.outcomes):
            at = np.arange(len(names)) + (row - (count - 1) / 2) * 0.8 / count
            made.axes.bar(
                at,
                [_slowdown(outcome.runs[0], name) for name in names],
                width=0.8 / count * 0.92,
                color=series(row),
                label=outcome.policy,
            )
        made.axes.set_xticks(np.arange(len(names)), [_short(name) for name in names])
        made.axes.grid(visible=False, axis="x")
        made.axes.set_ylim(bottom=0)
        _name(made.axes, study)
    return made.svg


def _short(name: str) -> str:
    """``512`` instead of ``65–512``: bars stand close."""
    return re.sub(r"^more than ", "> ", name)


def _slowdown(run: Figures, name: str) -> float:
    return next((g.slowdown.mean for g in run.by_size if g.name == name), 0.0)


def _lines(row: int) -> str:
    """The first drawn through, others broken: where they are alike, all are seen."""
    return ("-", "--", "-.", ":")[row % 4]


def _steps(axes: Axes, x: Floats, y: Floats, label: str, row: int) -> None:
    axes.plot(
        x, y, _lines(row), color=series(row), label=label, drawstyle="steps-mid", linewidth=1.4
    )
    axes.set_xlim(left=0)


def _durations(axes: Axes, longest: float) -> None:
    ticks = [(1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"),
             (36000, "10 h"), (864000, "10 d")]  # fmt: skip
    shown = [(at, text) for at, text in ticks if at <= longest * 1.15]
    axes.set_xticks([at for at, _ in shown], [text for _, text in shown])
    axes.minorticks_off()


def _name(axes: Axes, study: Study) -> None:
    """A legend, where there is more than one line."""
    if len(study.outcomes) > 1:
        axes.legend(loc="best")
