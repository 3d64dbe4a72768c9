"""The short forms of ``chips`` and ``span`` in a job file, brought to the form of the model."""

from __future__ import annotations

import re

from skep.errors import InputError
from skep.files.problems import Loc, field_name
from skep.files.yaml import Value

FORMS = (
    "allowed: a whole number of 1 or more, a chip kind such as 'h100-sxm', 'kind:count', "
    "{kind: …, count: …}, {as_good_as: 'h100-sxm:512'}, or a list of these"
)

_TEXT = re.compile(r"\s*([^:]*?)\s*(?::\s*(-?[0-9]{1,18})\s*)?")

Written = dict[Loc, Loc]
"""Places in the model's data -> places where the user wrote them."""


def full_chips(value: Value, count: Value, source: str, written: Written) -> Value:
    """``value`` as a list of ``{kind, count}``; an absent count becomes ``count``."""
    if not isinstance(value, list):
        written["chips", 0] = ("chips",)
        return [_request(value, count, ("chips",), 0, source, written)]
    return [
        _request(item, count, ("chips", row), row, source, written)
        for row, item in enumerate(value)
    ]


def _request(value: Value, count: Value, at: Loc, row: int, source: str, written: Written) -> Value:
    match value:
        case dict() if "as_good_as" in value:
            return _worth(value, at, row, source, written)
        case dict():
            return {"count": count, **value}
        case int() if not isinstance(value, bool):
            written["chips", row, "count"] = at
            return {"count": value}
        case str() if found := _TEXT.fullmatch(value):
            written["chips", row, "kind"] = written["chips", row, "count"] = at
            return {"kind": found[1], "count": int(found[2]) if found[2] else count}
        case _:
            raise InputError(field_name(at), value, FORMS, source=source)


def _worth(value: dict[str, Value], at: Loc, row: int, source: str, written: Written) -> Value:
    """``{as_good_as: h100-sxm:512, kinds: …}``: the count is that of what it is as good as."""
    worth = _request(value["as_good_as"], 1, (*at, "as_good_as"), row, source, {})
    if not isinstance(worth, dict) or "kind" not in worth:
        allowed = "allowed: a kind and a count such as 'h100-sxm:512'"
        raise InputError(
            field_name((*at, "as_good_as")), value["as_good_as"], allowed, source=source
        )
    for field in ("kind", "count"):
        written["chips", row, "as_good_as", field] = (*at, "as_good_as")
    count = worth.get("count", 1) if isinstance(worth, dict) else 1
    written["chips", row, "count"] = (*at, "as_good_as")
    return {"count": count, **value, "as_good_as": worth}


def full_span(value: Value, written: Written) -> Value:
    """``3`` as ``{min: 3, max: 3}``; a mapping as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        written["span", "min"] = written["span", "max"] = ("span",)
        return {"min": value, "max": value}
    return value
