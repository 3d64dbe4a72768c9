"""Pictures of plans, for people: one file each, SVG, PNG or PDF. Light, readable in print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from skep.planner.servingplan import CONTEXTS, Serving
from skep.planner.step import WORK
from skep.planner.sweep import Point
from skep.planner.training import Training
from skep.planner.words import amount, digits

COLOURS = ("#1f5fa8", "#c2571a", "#2c7a4b", "#7a3e9d", "#8a6d1d", "#b3254f")
INK, SOFT, LINE, WAIT = "#1a1d21", "#5f6771", "#d7dbe0", "#c2571a"
PARTS = {
    "products": "#1f5fa8",
    "attention": "#4f8fd1",
    "elementwise": "#8fbbe6",
    "recompute": "#bcd6ef",
    "optimizer": "#2c7a4b",
}
WAITING = ("#c2571a", "#d98344", "#e6a777", "#b3254f", "#cf6f8d", "#8a6d1d", "#b39a55", "#9aa1a9")
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "skep",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
}


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure that is written to ``path`` at the end."""
    with mpl.rc_context(_STYLE):
        made = Figure(figsize=(width, height), layout="constrained")
        yield made
        dated = {"Date": None} if path.suffix == ".svg" else {}
        made.savefig(path, dpi=150, metadata=dated, facecolor="white")


def training_picture(plan: Training, path: Path) -> None:
    """Where the time and the memory go, of the best layout and of those that lose."""
    shown = [
        ("best", plan.best),
        *((f"{n + 2}", r.estimate) for n, r in enumerate(plan.ranking.runners_up[:5])),
    ]
    with figure(path, 9.5, 2.3 + 0.42 * len(shown)) as made:
        time, memory = made.subplots(1, 2, width_ratios=(3, 2), sharey=True)
        names = _ordered({n for _, at in shown for n, v in at.parts.items() if v > 0.005 * at.step})
        _bars(time, [at.parts for _, at in shown], names, plan.correction.factor)
        time.set_title(f"{plan.work.name}: one step on {plan.chips:,} x {plan.filled.chip.kind}")
        time.set_xlabel("s")
        inside = sorted({n for _, at in shown for n, v in at.memory.items() if v > 0.1e9})
        _bars(memory, [at.memory for _, at in shown], inside, 1e-9, COLOURS)
        memory.axvline(plan.best.memory_limit / 1e9, color=INK, linewidth=1.0, linestyle="--")
        memory.set_title("Memory of one chip")
        memory.set_xlabel("GB (dashed: what there is)")
        labels = [f"{name}: {_short(at.layout)}" for name, at in shown]
        time.set_yticks(range(len(shown)), labels)
        time.invert_yaxis()
        for axes in (time, memory):
            axes.grid(visible=False, axis="y")
        made.legend(*time.get_legend_handles_labels(), loc="outside lower left", ncols=4)
        made.legend(*memory.get_legend_handles_labels(), loc="outside lower right", ncols=3)


def _short(at: Any) -> str:
    text = f"tp{at.tp} pp{at.pp} dp{at.dp}"
    text += f" cp{at.cp}" if at.cp > 1 else ""
    return text + (f" ep{at.ep}" if at.ep > 1 else "")


def _ordered(names: set[str]) -> list[str]:
    """Work first, then waiting."""
    work = [name for name in PARTS if name in names]
    return work + sorted(names - set(work))


def _bars(
    axes: Axes,
    rows: Sequence[Mapping[str, float]],
    names: Sequence[str],
    scale: float,
    colours: Sequence[str] = (),
) -> None:
    left = [0.0] * len(rows)
    waiting = iter(WAITING * 3)
    for row, name in enumerate(names):
        colour = colours[row % len(colours)] if colours else PARTS.get(name) or next(waiting)
        values = [parts.get(name, 0.0) * scale for parts in rows]
        hatch = "" if colours or name in WORK else None
        axes.barh(
            range(len(rows)), values, left=left, height=0.62, color=colour, label=name, hatch=hatch
        )
        left = [a + b for a, b in zip(left, values, strict=True)]


def serving_picture(plan: Serving, path: Path) -> None:
    """Decode: tokens/s of one chip against the time per token, by batch and context."""
    with figure(path, 7.2, 4.4) as made:
        axes = made.add_subplot()
        for row, context in enumerate(CONTEXTS):
            points = [c for c in plan.cells if c.context == context]
            if not points:
                continue
            x = [c.tpot * 1e3 for c in points]
            axes.plot(x, [c.rate for c in points], "o-", color=COLOURS[row], markersize=4,
                      label=f"{context:,} tokens of context")  # fmt: skip
            axes.annotate(f" {points[-1].batch}", (x[-1], points[-1].rate), fontsize=8, color=SOFT)
        if plan.load.tpot:
            axes.axvline(plan.load.tpot * 1e3, color=INK, linewidth=1.0, linestyle="--")
            axes.annotate(" limit", (plan.load.tpot * 1e3, 0.02), fontsize=8.5, color=SOFT,
                          xycoords=("data", "axes fraction"))  # fmt: skip
        axes.set(
            xscale="log", yscale="log", xlabel="ms per token (mean)", ylabel="tokens/s of one chip"
        )
        where = f"{plan.filled.chip.kind}, instances of {plan.chosen.instance.chips}"
        axes.set_title(f"{plan.work.name}, {plan.precision}: decode on {where}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda v, _: digits(v)))
            axis.set_minor_formatter(NullFormatter())
        axes.legend(title="sequences of a chip: 1 to the number at the end", title_fontsize=9)


KEY = """solid: sites of 16,384 chips that fail alone
pale: nothing fails
dotted: one job that fails as a whole"""
Series = tuple[str, Sequence[Point]]


def match_picture(
    series: Sequence[Series], wanted: float, title: str, path: Path, *, serving: bool = False
) -> None:
    """Throughput and power against the number of chips, up to a million, with failures.

    Where it is about serving a failure takes its own instance, and the three curves are one.
    """
    with figure(path, 10.0, 4.6) as made:
        rate, power = made.subplots(1, 2)
        for row, (name, points) in enumerate(series):
            colour, x = COLOURS[row % len(COLOURS)], [p.chips for p in points]
            rate.plot(x, [p.whole for p in points], color=colour, alpha=0.35, linewidth=1.2)
            rate.plot(x, [p.many_sites for p in points], color=colour, label=name)
            rate.plot(x, [p.one_job for p in points], color=colour, linestyle=":")
            drawn = [(p.chips, p.facility) for p in points if p.facility is not None]
            if drawn:
                power.plot(*zip(*drawn, strict=True), color=colour, label=name)
        rate.axhline(wanted, color=INK, linewidth=1.0, linestyle="--")
        rate.annotate("to match ", (1.0, wanted), xycoords=("axes fraction", "data"), ha="right",
                      va="bottom", fontsize=8.5, color=SOFT)  # fmt: skip
        lowest = min(p.whole for _, points in series for p in points)
        rate.set(
            xscale="log", yscale="log", xlabel="chips", ylabel="tokens/s", ylim=(lowest / 2, None)
        )
        rate.set_title(title)
        power.set(xscale="log", yscale="log", xlabel="chips", ylabel="W with the building")
        power.set_title("Power")
        for axes in (rate, power):
            axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: amount(v, "").strip()))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: amount(v, "").strip()))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_minor_formatter(NullFormatter())
        rate.text(
            0.02, 0.98, "" if serving else KEY,
            transform=rate.transAxes, va="top", fontsize=8.5, color=SOFT,
        )  # fmt: skip
        made.legend(*rate.get_legend_handles_labels(), loc="outside lower center", ncols=6)
