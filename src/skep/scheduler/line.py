"""The line: waiting jobs in columns, in groups that are decided alike, each group in order.

Jobs of one shape and priority are one group: what refuses its first refuses all of them, so that a
cycle costs what the groups cost and not what the jobs do. A job with a story of its own (a lost
share, a retry, sites to avoid) is a group alone. The control plane keeps one line and changes it
job by job; a snapshot holds it as it is, to be read before the world moves on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

import numpy as np

from skep.model.evolve import replace
from skep.model.policy import Order
from skep.model.snapshot import Floats, Ints, Shape, Waiting

Key = tuple[int, int, str]
"""Shape, priority, and the job's id where the job is a group alone."""
Rank = tuple[float, float, str]
"""Order within a group: due, submitted, id."""

_FIRST_SIZE = 8


class Group:
    """Rows of the line that are decided alike, in order; ``alone`` is the only job, if it is one.

    Rows are added at the end and taken from the front almost always: both cost nothing.
    """

    __slots__ = ("_end", "_rows", "_start", "alone", "key", "priority", "shape")

    def __init__(self, key: Key, alone: Waiting | None) -> None:
        self.key, self.alone = key, alone
        self.shape, self.priority = key[0], key[1]
        self._rows: Ints = np.empty(_FIRST_SIZE if alone is None else 1, dtype=np.int64)
        self._start = self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def rows(self) -> Ints:
        """Rows in order; a view."""
        return self._rows[self._start : self._end]

    def insert(self, at: int, row: int) -> None:
        """Put ``row`` at place ``at``."""
        if at == len(self) and self._end < len(self._rows):
            self._rows[self._end] = row
            self._end += 1
            return
        room = np.empty(max(_FIRST_SIZE, 2 * (len(self) + 1)), dtype=np.int64)
        rows = self.rows
        room[:at], room[at], room[at + 1 : len(rows) + 1] = rows[:at], row, rows[at:]
        self._rows, self._start, self._end = room, 0, len(rows) + 1

    def remove(self, row: int) -> None:
        """Take ``row`` out."""
        if self._rows[self._start] == row:
            self._start += 1
            return
        rows = self.rows
        self._rows = rows[rows != row]
        self._start, self._end = 0, len(self._rows)


def _has_a_story(job: Waiting) -> bool:
    """Whether more than its shape and priority matters for what is decided on the job."""
    waits = job.not_before > 0.0 or job.start_by > job.submitted_at
    waits = waits or job.evicted or bool(job.level)
    return waits or bool(job.repair or job.avoid or job.off or job.claim)


class Line(Sequence[Waiting]):
    """Waiting jobs by row; a row is free again once its job has left. ``order``: the policy's.

    ``patience`` (s): a job is due so long after it was submitted, or when it must start to meet
    its deadline, whichever is sooner. ``touched`` names the groups that got jobs, oldest first.
    """

    def __init__(self, patience: float, order: Order = "age") -> None:
        self.patience, self.order = patience, order
        self.shapes: dict[int, Shape] = {}
        self.groups: dict[Key, Group] = {}
        self.touched: list[Key] = []
        self.ids: list[str] = []
        self.users: list[str] = []
        self.keys: list[Key] = []
        self.version: Ints = np.empty(0, dtype=np.int64)
        self.due: Floats = np.empty(0)
        self.submitted: Floats = np.empty(0)
        self.row: dict[str, int] = {}
        self._number: dict[Shape, int] = {}
        self._count: dict[int, int] = {}  # shape -> jobs
        self._next_shape = 0
        self._spare: list[int] = []

    @classmethod
    def of(
        cls,
        waiting: Iterable[Waiting],
        shapes: Mapping[int, Shape] | Sequence[Shape],
        patience: float,
        order: Order = "age",
    ) -> Line:
        """A line of ``waiting`` whose shapes are numbers of ``shapes``."""
        line = cls(patience, order)
        for job in waiting:
            line.put(job, shapes[job.shape])
        return line

    # Changes

    def put(self, job: Waiting, shape: Shape) -> None:
        """Add a job, or bring what is known of it up to date. ``job.shape`` is not looked at."""
        number = self._shape(shape)
        alone = _has_a_story(job)
        key = (number, job.priority, job.job if alone else "")
        row = self.row.get(job.job)
        if row is not None and self.keys[row] == key and not alone:
            self.version[row] = job.version
            return
        if row is not None:
            self.drop(job.job)
            if number not in self.shapes:  # it was the last of that shape
                number = self._shape(shape)
            key = (number, job.priority, key[2])
        self._add(replace(job, shape=number) if alone else job, key, alone)

    def drop(self, job: str) -> None:
        """Take a job out; one that is not there is no error."""
        row = self.row.pop(job, None)
        if row is None:
            return
        key = self.keys[row]
        group = self.groups[key]
        group.remove(row)
        if not len(group):
            del self.groups[key]
        self._spare.append(row)
        self._count[key[0]] -= 1
        if not self._count[key[0]]:
            del self._count[key[0]], self._number[self.shapes.pop(key[0])]

    def _shape(self, shape: Shape) -> int:
        number = self._number.get(shape)
        if number is None:
            number = self._number[shape] = self._next_shape
            self.shapes[number] = shape
            self._count[number] = 0
            self._next_shape += 1
        return number

    def _add(self, job: Waiting, key: Key, alone: bool) -> None:
        row = self._slot()
        self.row[job.job] = row
        self.ids[row], self.users[row], self.keys[row] = job.job, job.user, key
        self.version[row], self.submitted[row] = job.version, job.submitted_at
        self.due[row] = min(job.submitted_at + self.patience, job.latest_start)
        self._count[key[0]] += 1
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(key, job if alone else None)
        group.insert(self._place(group, self.rank(row)), row)
        self.touched.append(key)

    def _slot(self) -> int:
        if self._spare:
            return self._spare.pop()
        row = len(self.ids)
        self.ids.append("")
        self.users.append("")
        self.keys.append((-1, 0, ""))
        if row >= len(self.version):
            size = max(_FIRST_SIZE, 2 * row)
            self.version = np.resize(self.version, size)
            self.due, self.submitted = np.resize(self.due, size), np.resize(self.submitted, size)
        return row

    def _place(self, group: Group, rank: Rank) -> int:
        rows = group.rows
        low, high = 0, len(rows)
        if high and self.rank(int(rows[-1])) <= rank:
            return high
        while low < high:
            middle = (low + high) // 2
            if self.rank(int(rows[middle])) <= rank:
                low = middle + 1
            else:
                high = middle
        return low

    # Views

    def behind(self, group: Group) -> float:
        """What puts jobs of ``group`` behind others of their priority, by the policy's order."""
        if self.order == "shortest":
            return self.shapes[group.shape].length
        return 0.0 if group.alone is None else float(group.alone.level)

    def rank(self, row: int) -> Rank:
        """What orders the job of ``row`` among those of its group."""
        return (self.due.item(row), self.submitted.item(row), self.ids[row])

    def job(self, row: int) -> Waiting:
        """The job of ``row``, as an object."""
        group = self.groups[self.keys[row]]
        if group.alone is not None:
            return replace(group.alone, version=int(self.version[row]))
        due, submitted = self.due.item(row), self.submitted.item(row)
        return Waiting(
            job=self.ids[row],
            version=int(self.version[row]),
            shape=group.shape,
            priority=group.priority,
            submitted_at=submitted,
            user=self.users[row],
            latest_start=due if due < submitted + self.patience else math.inf,
        )

    def find(self, job: str) -> Waiting | None:
        """The job of that id; None if it does not wait."""
        row = self.row.get(job)
        return None if row is None else self.job(row)

    def __len__(self) -> int:
        return len(self.row)

    def __iter__(self) -> Iterator[Waiting]:
        return (self.job(row) for row in self.row.values())

    @overload
    def __getitem__(self, at: int) -> Waiting: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Waiting]: ...
    def __getitem__(self, at: int | slice) -> Waiting | Sequence[Waiting]:
        rows = list(self.row.values())
        return [self.job(row) for row in rows[at]] if isinstance(at, slice) else self.job(rows[at])
