"""One problem with what a user wrote, as one line: the field, the value, what is allowed.

Pydantic finds the problems; this module says them. What is allowed is told from the JSON Schema of
the model, so that a bound or a pattern which a model gains is told without a change here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from skep.errors import InputError, nearest
from skep.files.words import Schema, bounded, describe, fields_of, step

Model = TypeVar("Model", bound=BaseModel)
Loc = tuple[int | str, ...]
Hints = Mapping[str, str]
"""Words of other tools -> what they are called here."""

_MOST_OF_A_NAME = 60


class Plain(str):
    """A value that an error shows without quotes: ``got nothing``, ``got a list``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


NOTHING = Plain("nothing")


def printable(text: str) -> str:
    """``text`` for one line: control characters escaped, a very long one cut."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:1000])
    return shown if len(shown) <= 200 else shown[:199] + "…"


def field_name(loc: Sequence[int | str]) -> str:
    """``("chips", 0, "count")`` as ``chips[0].count``; a key of other shape is quoted and cut."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isprintable() and len(part) <= _MOST_OF_A_NAME:
            text += f".{part}" if text else part
        else:
            text += f"[{printable(part[:_MOST_OF_A_NAME])!r}]"
    return text or "file"


@functools.cache
def schema_of(model: type[BaseModel]) -> Schema:
    """The JSON Schema of ``model``; made once."""
    return model.model_json_schema()


def input_error(
    error: ValidationError,
    model: type[BaseModel],
    data: object,
    *,
    source: str = "",
    written: Mapping[Loc, Loc] | None = None,
    hints: Hints | None = None,
) -> InputError:
    """The first problem of ``error``, found in ``data``, with the number of the others.

    ``written`` maps places in the checked data to the places where the user wrote them (short
    forms); the longest prefix counts. ``hints`` explains well-known words of other tools.
    """
    problems = _causes(error.errors(include_url=False))
    first, places = problems[0], {_as_written(p["loc"], written or {}) for p in problems}
    value = NOTHING if first["type"] == "missing" else _at(first["loc"], data)
    allowed = _allowed(first, schema_of(model), hints or {})
    others = len(places) - 1
    more = f" (and {others} more problem{'s' if others > 1 else ''})" if others else ""
    field = field_name(_as_written(first["loc"], written or {}))
    return InputError(field, _brief(value), allowed + more, source=printable(source))


def _causes(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without those that only follow: a list is "too short" where its only item was refused."""
    locs = [p["loc"] for p in problems]
    return [
        p
        for p in problems
        if not any(len(loc) > len(p["loc"]) and loc[: len(p["loc"])] == p["loc"] for loc in locs)
    ]


def _as_written(loc: Loc, written: Mapping[Loc, Loc]) -> Loc:
    for size in range(len(loc), -1, -1):
        if loc[:size] in written:
            return written[loc[:size]] + loc[size:]
    return loc


def _at(loc: Loc, data: Any) -> object:
    """The value at ``loc`` as it was given: pydantic may know it only in base units."""
    for part in loc:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return NOTHING
    return data


def _brief(value: object) -> object:
    """``value``, or what it is where showing all of it would take long."""
    if isinstance(value, str) and len(value) > 200:
        return value[:200]
    if isinstance(value, dict) and len(value) > 20:
        return Plain(f"a mapping of {len(value)} fields")
    if isinstance(value, list) and len(value) > 20:
        return Plain(f"a list of {len(value)}")
    return value


def _allowed(problem: ErrorDetails, schema: Schema, hints: Hints) -> str:
    loc = problem["loc"]
    if problem["type"] == "extra_forbidden":
        return unknown_field(str(loc[-1]), fields_of(_node(loc[:-1], schema), schema), hints)
    said = problem.get("ctx", {}).get("error")
    if problem["type"] in ("value_error", "assertion_error") and said is not None:
        return str(said)
    node = bounded(_node(loc, schema), problem.get("ctx", {}))
    required = " (required)" if problem["type"] == "missing" else ""
    return f"allowed: {describe(node, schema)}{required}"


def _node(loc: Sequence[int | str], schema: Schema) -> Schema:
    """The part of ``schema`` that describes ``loc``; empty where it says nothing."""
    node = schema
    for part in loc:
        node = step(node, part, schema)
    return node


def unknown_field(word: str, known: Sequence[str], hints: Hints | None = None) -> str:
    """What to say of an unknown field: our name for it, or the nearest, then all known ones."""
    hint = (hints or {}).get(word)
    near = f" ({hint})" if hint else nearest(word, known)
    return f"no such field{near}; allowed: {', '.join(known)}"


def check(
    model: type[Model],
    data: object,
    *,
    source: str = "",
    written: Mapping[Loc, Loc] | None = None,
    hints: Hints | None = None,
) -> Model:
    """``data`` as a ``model``, strictly (no ``"6"`` or ``true`` for 6). Raises ``InputError``."""
    try:
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise input_error(error, model, data, source=source, written=written, hints=hints) from None
