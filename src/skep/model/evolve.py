"""``replace`` for frozen records with slots, several times faster than that of ``dataclasses``.

Folding an event is mostly this: a state like the last one, but for a field or two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

Record = TypeVar("Record")
_Set = Callable[[object, Any], None]


def replace(record: Record, **changes: Any) -> Record:
    """A copy of ``record`` with ``changes``; the same as ``dataclasses.replace`` for records
    that check nothing when they are made. Raises ``TypeError`` for a field that is not there.
    """
    values, every, setters = _plan(type(record))  # type: ignore[arg-type]
    new = object.__new__(type(record))
    for put, value in zip(every, values(record), strict=True):
        put(new, value)
    for name, value in changes.items():
        if name not in setters:
            raise TypeError(f"{type(record).__name__} has no field {name!r}")
        setters[name](new, value)
    return new


@cache
def _plan(kind: type) -> tuple[Callable[[object], tuple[Any, ...]], list[_Set], dict[str, _Set]]:
    """All values of a record, and what sets them: slots are set although the record is frozen."""
    names = [field.name for field in fields(kind)]
    setters: dict[str, _Set] = {name: getattr(kind, name).__set__ for name in names}
    return attrgetter(*names), list(setters.values()), setters
