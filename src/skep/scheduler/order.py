"""Order: who is looked at first.

Who has waited longer than the policy's patience goes before all others. Then the highest priority;
with fair share, the queues of the highest priority take turns by what they have had of their
parts, and priority orders the jobs within each. Then the policy's ``order``: who is expected to be
done the soonest, or who has had the least, comes before who is due first; that is without a
deadline who is older. Then the id.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np

from skep.model.snapshot import Ints
from skep.scheduler.fair import Tree
from skep.scheduler.line import Group, Line

Part = tuple[Group, Ints]
"""A group and those of its rows that are to be decided, in order."""
Head = tuple[int, int, float, float, float, str, int]
"""0 if overdue, else 1; then minus the priority, and what the policy's order asks (each 0 if
overdue); due; submitted; id; which part."""

_FIRST: Ints = np.zeros(1, dtype=np.int64)


def in_order(line: Line, parts: Sequence[Part], now: float) -> tuple[Ints, Ints]:
    """Rows of all ``parts`` in order, queues taking no turns; and which part each is of."""
    if len(parts) == 1 and len(parts[0][1]) == 1:  # a job that arrives alone, as most do
        return parts[0][1], _FIRST
    rows = np.concatenate([rows for _, rows in parts]) if parts else np.empty(0, dtype=np.int64)
    if len(rows) <= 1:
        return rows, np.flatnonzero([len(rows) for _, rows in parts])
    part = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
    priority = np.array([group.priority for group, _ in parts], dtype=np.int64)[part]
    behind = np.array([line.behind(group) for group, _ in parts])[part]
    due, submitted = line.due[rows], line.submitted[rows]
    early = submitted + line.patience > now
    first = np.where(early, -priority, 0)
    behind = np.where(early, behind, 0.0)
    order = np.lexsort((submitted, due, behind, first, early))
    keys = np.stack([submitted, due, behind, first, early])[:, order]
    alike = np.flatnonzero((keys[:, 1:] == keys[:, :-1]).all(axis=0))
    for start, end in _stretches(alike):
        tied = order[start:end].tolist()
        order[start:end] = sorted(tied, key=lambda at: line.ids[rows[at]])
    return rows[order], part[order]


def _stretches(alike: Ints) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch in which each is like the next."""
    if len(alike):
        breaks = np.flatnonzero(np.diff(alike) > 1) + 1
        for stretch in np.split(alike, breaks):
            yield int(stretch[0]), int(stretch[-1]) + 2


class Turns:
    """The rows of ``parts`` one by one, queues taking turns as their parts are used up."""

    def __init__(self, line: Line, parts: Sequence[Part], tree: Tree, now: float) -> None:
        self._line, self._tree, self._now, self._parts = line, tree, now, parts
        self._rows = [rows.tolist() for _, rows in parts]
        self._at = [0] * len(parts)
        self._heaps: dict[str, list[Head]] = {}
        for part, rows in enumerate(self._rows):
            if rows:
                self._push(part)

    def _push(self, part: int) -> None:
        group, row = self._parts[part][0], self._rows[part][self._at[part]]
        due, submitted, job = self._line.rank(row)
        late = submitted + self._line.patience <= self._now
        lane = "" if late else self._line.shapes[group.shape].queue
        first = (0, 0, 0.0) if late else (1, -group.priority, self._line.behind(group))
        head = (*first, due, submitted, job, part)
        heapq.heappush(self._heaps.setdefault(lane, []), head)

    def next(self) -> tuple[int, int] | None:
        """Row whose turn it is, and its part; None at the end. It then has had its turn."""
        lane = self._lane()
        if lane is None:
            return None
        part = heapq.heappop(self._heaps[lane])[-1]
        if not self._heaps[lane]:
            del self._heaps[lane]
        row = self._rows[part][self._at[part]]
        self._at[part] += 1
        if self._at[part] < len(self._rows[part]):
            self._push(part)
        return row, part

    def _lane(self) -> str | None:
        if not self._heaps:
            return None
        return "" if "" in self._heaps else self._tree.next(self._heaps)


def ordered(line: Line, now: float = 0.0) -> list[str]:
    """Ids of the waiting jobs in the order in which they are looked at, queues taking no turns."""
    parts = [(group, group.rows) for group in line.groups.values()]
    return [line.ids[row] for row in in_order(line, parts, now)[0].tolist()]
