"""Figures drawn by matplotlib as SVG that takes its colours from the page it stands in.

Lines are drawn in stand-in colours, which are then replaced by the page's CSS variables: one
drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.7, 2.6  # inches; 72 points each: as wide as a phone is
MOST_POINTS = 400  # of one line

_VARIABLES = {
    "text": "--ink",
    "grid": "--line",
    "sun": "--sun",
    "wind": "--wind",
    "mains": "--mains",
    "good": "--good",
    "bad": "--bad",
    "soft": "--soft",
    "paper": "--card",
} | {f"s{n}": f"--s{n}" for n in range(8)}
_STAND_IN = {name: f"#0a0b{n:02x}" for n, name in enumerate(_VARIABLES)}


def ink(name: str) -> str:
    """The stand-in of a colour by its name in the table above."""
    return _STAND_IN[name]


def series(row: int) -> str:
    """The stand-in of the colour of the row-th site."""
    return ink(f"s{row % 8}")


_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "skep",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": ink("text"),
    "axes.labelcolor": ink("text"),
    "axes.edgecolor": ink("grid"),
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": ink("grid"),
    "grid.linewidth": 0.6,
    "xtick.color": ink("text"),
    "ytick.color": ink("text"),
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.7,
    "figure.facecolor": "none",
}


class Drawing:
    """One figure; ``svg`` is there after the ``with`` block of ``drawing``."""

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height), layout="constrained")
        self.axes: Axes = self.figure.add_subplot()
        self.svg = ""


@contextmanager
def drawing(title: str, x: str, y: str, height: float = HEIGHT) -> Iterator[Drawing]:
    """A figure with labelled axes. ``title`` is read out by screen readers."""
    with mpl.rc_context(_STYLE):
        made = Drawing(height)
        made.axes.set_xlabel(x)
        made.axes.set_ylabel(y)
        yield made
        made.svg = _inline(made.figure, title)


def thin(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """x and y of a line, at most ``MOST_POINTS`` of them; first and last stay."""
    step = max(1, -(-len(points) // MOST_POINTS))
    kept = list(points[::step])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return [x for x, _ in kept], [y for _, y in kept]


def _inline(figure: Figure, title: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for name, stand_in in _STAND_IN.items():
        text = text.replace(stand_in, f"var({_VARIABLES[name]})")
    # The page's font, and as wide as the page gives: sizes in points would overflow a phone.
    text = re.sub(r"(font: [^;\"]*?\d+(?:\.\d+)?px) [^;\"]*", r"\1 system-ui, sans-serif", text)
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height|xmlns:xlink)="[^"]*"', "", head)
    rest = rest.replace("xlink:href", "href")
    name = escape(title, quote=True)
    return f'{head} role="img" aria-label="{name}"><title>{name}</title>{rest.strip()}'
