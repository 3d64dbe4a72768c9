"""Where commands print: text for people, JSON for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

WIDE = 10_000  # columns where the output is no terminal: nothing is cut


def console(*, stderr: bool = False) -> Console:
    """A console for people. Text is shown as it is: no markup, no guessed highlights."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else WIDE
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def show(*things: RenderableType) -> None:
    """Print for people."""
    out = console()
    for thing in things:
        out.print(thing)


def show_json(value: BaseModel | Sequence[BaseModel] | dict[str, object]) -> None:
    """Print one JSON document: a model, a list of models, or a mapping."""
    from pydantic_core import to_json

    print(to_json(value, indent=2, inf_nan_mode="null").decode())


def note(text: str) -> None:
    """One line on standard error, for people only."""
    print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """``text`` without control characters, so that it cannot move a terminal's cursor."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
