"""A trace: jobs as columns, in order of submission. What every reader answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from skep.errors import InputError
from skep.model.snapshot import Floats, Ints


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs as columns of length J, ordered by ``submit``.

    ``kind``, ``queue``, ``user``, ``app`` and ``model`` are rows of ``kinds``, ``queues``,
    ``users``, ``apps`` and ``models``; an entry of ``kinds`` may name alternatives
    (``a100|h100-sxm``) or be empty: any kind. ``app`` is what the job is called, by which jobs are
    alike; ``model`` what it trains; both may be empty. ``least`` and
    ``most`` are 0 where the job is not elastic. ``estimate`` and ``deadline`` are nan where none
    was given. ``start``: s since the epoch of time 0; ``size``: chips of the machine that the
    trace is from; ``left_out``: records that were no job (no chips, no run time).
    """

    name: str
    ids: tuple[str, ...]
    submit: Floats  # s after ``start``
    duration: Floats  # s of work on ``chips`` chips
    chips: Ints
    estimate: Floats  # s that the user expected; nan
    deadline: Floats  # s after submission; nan
    kind: Ints
    queue: Ints
    user: Ints
    app: Ints
    model: Ints
    priority: Ints
    sites: Ints  # over at most so many sites
    least: Ints
    most: Ints
    kinds: tuple[str, ...] = ("",)
    queues: tuple[str, ...] = ("default",)
    users: tuple[str, ...] = ("",)
    apps: tuple[str, ...] = ("",)
    models: tuple[str, ...] = ("",)
    start: float = 0.0
    size: int | None = None
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.submit)

    @property
    def span(self) -> float:
        """Seconds from the first submission to the last."""
        return float(self.submit[-1] - self.submit[0]) if len(self) else 0.0

    @property
    def work(self) -> float:
        """Chip-seconds of all jobs."""
        return float(self.duration @ self.chips)

    def take(self, rows: Ints | slice) -> Trace:
        """Only these rows, in the order given."""
        kept = np.arange(len(self))[rows]
        changes: dict[str, object] = {
            name: getattr(self, name)[kept] for name in COLUMNS if name != "ids"
        }
        names = self.ids
        changes["ids"] = names[rows] if isinstance(rows, slice) else tuple(names[r] for r in kept)
        return replace(self, **changes)  # type: ignore[arg-type]


COLUMNS = tuple(
    f.name for f in fields(Trace) if f.name in {
        "ids", "submit", "duration", "chips", "estimate", "deadline", "kind", "queue", "user",
        "app", "model", "priority", "sites", "least", "most",
    }
)  # fmt: skip


def build(
    name: str,
    submit: Sequence[float] | Floats,
    duration: Sequence[float] | Floats,
    chips: Sequence[int] | Ints,
    *,
    ids: Sequence[str] | None = None,
    numbers: Mapping[str, Sequence[float] | Floats | Ints] | None = None,
    words: Mapping[str, Sequence[str]] | None = None,
    start: float = 0.0,
    size: int | None = None,
    left_out: int = 0,
) -> Trace:
    """A trace of these columns, put in order; ``numbers`` and ``words`` hold the optional ones.

    Raises ``InputError`` where there is no job at all.
    """
    if not len(submit):
        raise InputError("jobs", 0, "allowed: a trace with at least one job that ran", source=name)
    at = np.asarray(submit, dtype=np.float64)
    order = np.argsort(at, kind="stable")
    count, given = len(at), dict(numbers or {})
    known = words or {}
    coded = {key: _coded(known.get(key), count, empty) for key, empty in _EMPTY.items()}
    named = ids if ids is not None else [str(row) for row in range(count)]
    return Trace(
        name=name,
        ids=tuple(named[row] for row in order),
        submit=at[order],
        duration=np.asarray(duration, dtype=np.float64)[order],
        chips=np.asarray(chips, dtype=np.int64)[order],
        estimate=_column(given, "estimate", count, np.nan)[order],
        deadline=_column(given, "deadline", count, np.nan)[order],
        kind=coded["kind"][0][order],
        queue=coded["queue"][0][order],
        user=coded["user"][0][order],
        app=coded["app"][0][order],
        model=coded["model"][0][order],
        priority=_column(given, "priority", count, 0).astype(np.int64)[order],
        sites=_column(given, "sites", count, 1).astype(np.int64)[order],
        least=_column(given, "least", count, 0).astype(np.int64)[order],
        most=_column(given, "most", count, 0).astype(np.int64)[order],
        kinds=coded["kind"][1],
        queues=coded["queue"][1],
        users=coded["user"][1],
        apps=coded["app"][1],
        models=coded["model"][1],
        start=start,
        size=size,
        left_out=left_out,
    )


_EMPTY = {"kind": "", "queue": "default", "user": "", "app": "", "model": ""}


def _column(
    given: Mapping[str, Sequence[float] | Floats | Ints], name: str, count: int, default: float
) -> Floats:
    if name in given:
        return np.asarray(given[name], dtype=np.float64)
    return np.full(count, default, dtype=np.float64)


def _coded(words: Sequence[str] | None, count: int, empty: str) -> tuple[Ints, tuple[str, ...]]:
    """Words as rows of a table; the table in order of first appearance."""
    if words is None:
        return np.zeros(count, dtype=np.int64), (empty,)
    table: dict[str, int] = {}
    rows = [table.setdefault(word or empty, len(table)) for word in words]
    return np.array(rows, dtype=np.int64), tuple(table)


def blocks(total: int, size: int) -> Iterator[slice]:
    """Slices of ``size`` rows that cover ``total`` rows."""
    for begin in range(0, total, size):
        yield slice(begin, min(begin + size, total))
