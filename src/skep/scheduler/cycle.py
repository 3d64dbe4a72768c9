"""One cycle's work on the groups of a line: who fits, in order, and what each is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from skep.model.snapshot import Ints, Placement, Shape, Waiting
from skep.scheduler.batch import Run, take_all
from skep.scheduler.board import Board
from skep.scheduler.gate import may_pass
from skep.scheduler.keep import keep_for
from skep.scheduler.ledger import Ledger
from skep.scheduler.line import Group, Line
from skep.scheduler.memory import Same, same
from skep.scheduler.order import Part, Turns, in_order
from skep.scheduler.place import Lazy, Taken, fit, placement, take
from skep.scheduler.reach import bound_softly, may_change_by_itself
from skep.scheduler.refused import Refusals

# Stretches of the queue shorter than this are decided job by job.
SINGLY = 24


@dataclass(frozen=True, slots=True)
class Given:
    """Rows of the line in order, the part of each, and per part what its jobs were given."""

    rows: Ints
    part: Ints
    runs: dict[int, list[Run]]

    def each(self) -> Iterator[tuple[int, Taken]]:
        """Row and what its job was given."""
        taken = {part: (t for run in runs for t in run.each()) for part, runs in self.runs.items()}
        for row, part in zip(self.rows.tolist(), self.part.tolist(), strict=True):
            yield row, next(taken[part])


class Cycle:
    """What was decided so far on the jobs of ``line``; takes from ``ledger``."""

    def __init__(self, board: Board, ledger: Ledger, line: Line, now: float) -> None:
        self._board, self._ledger, self._line, self._now = board, ledger, line, now
        self._refused: set[Same] = set()
        self._forget: set[Same] = set()  # refused, but to be looked at again in any case
        self._given: list[Given | tuple[int, Taken]] = []
        self.above_soft: list[Part] = []

    # What is to be decided

    def within_reach(self, groups: Iterable[Group]) -> list[Part]:
        """Groups of which some job may be placed now, with those rows that may.

        What does not fit what is free now will not fit what is left later in this cycle.
        """
        parts = []
        for group in groups:
            rows = may_pass(self._board, self._line, group, self._now)
            if len(rows) and (self._overdue(rows) or self._fits(group, rows)):
                parts.append((group, rows))
        return parts

    def _overdue(self, rows: Ints) -> bool:
        return bool(self._line.submitted[rows[0]] + self._line.patience <= self._now)

    def _fits(self, group: Group, rows: Ints) -> bool:
        if same(group) in self._refused:
            return False
        if fit(self._board, self._ledger, *self._of(group, int(rows[0]))) is not None:
            return True
        self._refuse(group, rows)
        return False

    def _of(self, group: Group, row: int) -> tuple[Waiting, Shape]:
        return group.alone or self._line.job(row), self._line.shapes[group.shape]

    def _refuse(self, group: Group, rows: Ints) -> None:
        """The rest of ``group`` is refused: for good, or until soft quotas are lifted."""
        shape = self._line.shapes[group.shape]
        if self._ledger.limits.soft and bound_softly(self._board, self._ledger, shape):
            self.above_soft.append((group, rows))
            return
        self._refused.add(same(group))
        if may_change_by_itself(self._board, shape):
            self._forget.add(same(group))

    # Deciding

    def run(self, parts: list[Part]) -> None:
        """Decide ``parts``: those that all fit at once, else in order."""
        if self._ledger.tree.on:
            rows, part = in_order(self._line, parts, self._now)
            if len(rows) <= SINGLY or not self._at_once(parts, rows, part):
                self._by_turns(parts)
        else:
            self._in_stretches(parts)

    def _by_turns(self, parts: list[Part]) -> None:
        turns = Turns(self._line, parts, self._ledger.tree, self._now)
        while (found := turns.next()) is not None:
            row, part = found
            self._one(parts[part][0], row)

    def _in_stretches(self, parts: list[Part]) -> None:
        rows, part = in_order(self._line, parts, self._now)
        size = len(rows)
        while len(rows):
            size = min(size, len(rows))
            if size <= SINGLY:
                for row, number in zip(rows[:SINGLY].tolist(), part[:SINGLY].tolist(), strict=True):
                    self._one(parts[number][0], row)
                done, size = SINGLY, 4 * SINGLY
            elif self._at_once(parts, rows[:size], part[:size]):
                done, size = size, 4 * size
            else:
                done, size = 0, size // 4
            rows, part = rows[done:], part[done:]
            if done:
                out = [n for n, (group, _) in enumerate(parts) if same(group) in self._refused]
                kept = ~np.isin(part, out)
                rows, part = rows[kept], part[kept]

    def _at_once(self, parts: list[Part], rows: Ints, part: Ints) -> bool:
        """All of ``rows`` take their chips, or none does; whether they did."""
        mark, runs = self._ledger.mark(), {}
        numbers, first, counts = np.unique(part, return_index=True, return_counts=True)
        for at in np.argsort(first).tolist():
            group, number = parts[int(numbers[at])][0], int(numbers[at])
            job = self._of(group, int(rows[first[at]]))
            given = take_all(self._board, self._ledger, *job, int(counts[at]))
            if given is None:
                self._ledger.back(mark)
                return False
            runs[number] = given
        self._given.append(Given(rows, part, runs))
        return True

    def _one(self, group: Group, row: int) -> None:
        if same(group) in self._refused:
            return
        job, shape = self._of(group, row)
        found = fit(self._board, self._ledger, job, shape)
        if found:
            self._given.append((row, take(self._board, self._ledger, *found)))
            return
        self._refuse(group, np.array([row], dtype=np.int64))
        if same(group) in self._refused and self._overdue(np.array([row])):
            self._forget.add(same(group))
            keep_for(self._board, self._ledger, self._line.ids[row], job, shape)

    # What came of it

    def stays_refused(self) -> set[Same]:
        """What was refused and will be as long as nothing is given back."""
        return self._refused - self._forget

    def _each(self) -> Iterator[tuple[int, Taken]]:
        for given in self._given:
            if isinstance(given, Given):
                yield from given.each()
            else:
                yield given

    def placements(self) -> Lazy[Placement]:
        """The decisions on who was given chips, in order."""
        count = sum(len(g.rows) if isinstance(g, Given) else 1 for g in self._given)

        def make() -> Iterator[Placement]:
            line = self._line
            for row, taken in self._each():
                alone = line.groups[line.keys[row]].alone
                rank = alone.repair.rank if alone and alone.repair else None
                yield placement(self._board, line.ids[row], int(line.version[row]), rank, taken)

        return Lazy(count, make)

    def refusals(self) -> Refusals:
        """The decisions on all others."""
        placed = {row for row, _ in self._each()}
        return Refusals(self._board, self._ledger, self._line, placed, self._now)
