"""One cycle's work on the groups of a line: who fits, in order, and what each is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from skep.model.evolve import replace
from skep.model.snapshot import Bools, Ints, Placement, Shape, Waiting
from skep.scheduler.ahead import DEPTH, Ahead
from skep.scheduler.batch import Run, take_all
from skep.scheduler.claims import settle_claims
from skep.scheduler.gate import may_pass
from skep.scheduler.keep import keep_for
from skep.scheduler.line import Group, Key, Line
from skep.scheduler.memory import Same, same
from skep.scheduler.order import Part, Turns, in_order
from skep.scheduler.place import Fitting, Lazy, Taken, fit, placement, take
from skep.scheduler.reach import at_least, beyond, bound_softly, may_change_by_itself
from skep.scheduler.refused import Refusals

# Stretches of the queue shorter than this are decided job by job.
SINGLY = 24
# So many of the jobs that do not fit from the start are looked at, to promise them chips.
HEADS = 6

_NO_ROWS: Ints = np.empty(0, dtype=np.int64)


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

    def __init__(self, ahead: Ahead, line: Line) -> None:
        self._board, self._ledger = ahead.board, ahead.ledger
        self._ahead, self._line, self._now = ahead, line, ahead.timeline.now
        self._blocked: list[Part] = []  # what does not fit from the start
        self._heads: set[int] = set()  # rows of the first of those
        self._refused: set[Same] = set()
        self._forget: set[Same] = set()  # refused, but to be looked at again in any case
        self._given: list[Given | tuple[int, Taken]] = []
        self._fitting: dict[Same, tuple[tuple[int, int, bool], Fitting | None]] = {}
        self.above_soft: list[Part] = []
        self.later: list[Key] = []  # groups whose time has not come

    # What is to be decided

    def within_reach(self, groups: Iterable[Group]) -> list[Part]:
        """Groups of which some job may be placed now, with those rows that may.

        What does not fit what is free now will not fit what is left later in this cycle.
        """
        parts, served = [], self._served()
        for group in groups:
            rows = may_pass(self._board, self._line, group, self._now)
            rows = rows if served is None else rows[~served[rows]]
            if group.alone is not None and group.alone.not_before > self._now:
                self.later.append(group.key)
            if not len(rows) or self._put_off(group):
                continue
            if self._overdue(rows) or self._fits(group, rows):
                parts.append((group, rows))
        return parts + self._first_blocked()

    def _served(self) -> Bools | None:
        """Per row of the line, whether something was decided on its job; None for no row."""
        if not self._given and not self._ahead.told:
            return None
        found = np.zeros(len(self._line.ids), dtype=bool)
        for given in self._given:
            found[given.rows if isinstance(given, Given) else given[0]] = True
        for job in self._ahead.told:
            found[self._line.row[job]] = True
        return found

    def _put_off(self, group: Group) -> bool:
        """Jobs that wait for cleaner power."""
        job = group.alone
        return job is not None and self._ahead.holds_back(job, self._line.shapes[group.shape])

    def _first_blocked(self) -> list[Part]:
        """The first jobs in order that do not fit: promised chips before those behind them."""
        if not self._blocked:
            return []
        depth = HEADS if self._board.policy.backfill != "conservative" else DEPTH
        blocked = self._blocked
        if len(blocked) > depth and not self._any_overdue(blocked):
            # The first so many jobs are of the so many groups whose first jobs are the first.
            _, part = in_order(self._line, [(g, rows[:1]) for g, rows in blocked], self._now)
            blocked = [blocked[number] for number in part[:depth].tolist()]
        rows, part = in_order(self._line, blocked, self._now)
        heads: list[Part] = []
        for row, number in zip(rows[:depth].tolist(), part[:depth].tolist(), strict=True):
            group = blocked[number][0]
            self._heads.add(row)
            heads.append((group, np.array([row], dtype=np.int64)))
        self._blocked.clear()
        return heads

    def _any_overdue(self, parts: list[Part]) -> bool:
        oldest = self._line.submitted[np.concatenate([rows for _, rows in parts])].min()
        return bool(oldest + self._line.patience <= self._now)

    def _overdue(self, rows: Ints) -> bool:
        return bool(self._line.submitted[rows[0]] + self._line.patience <= self._now)

    def _fits(self, group: Group, rows: Ints) -> bool:
        if same(group) not in self._refused:
            if self._has_room(group, int(rows[0])):
                return True
            self._refuse(group, rows)
        if same(group) in self._refused:
            most = DEPTH if self._board.policy.backfill == "conservative" else 1
            self._blocked.append((group, rows[:most]))
        return False

    def _has_room(self, group: Group, row: int) -> bool:
        job, shape = self._of(group, row)
        if job.repair is None and beyond(self._board, self._ledger, shape):
            return False
        return self._fit(group, job, shape) is not None

    def _fit(self, group: Group, job: Waiting, shape: Shape) -> Fitting | None:
        """As ``fit``, which is not asked again while nothing was taken, promised or lifted."""
        ledger = self._ledger
        stamp = len(ledger.touched), len(ledger.promises), ledger.limits.soft
        seen, found = self._fitting.get(same(group), (None, None))
        if seen != stamp:
            found = fit(self._board, ledger, job, shape)
            self._fitting[same(group)] = stamp, found
        return found

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
            if len(rows) <= SINGLY or not self._at_once(parts, rows, part, self._least(parts)):
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
        size, refused = len(rows), len(self._refused)
        least = self._least(parts) if size > SINGLY else _NO_ROWS
        while len(rows) and not self._ahead.closed:
            size = min(size, len(rows), max(1, self._until_head(rows)))
            if size <= SINGLY:
                for row, number in zip(rows[:size].tolist(), part[:size].tolist(), strict=True):
                    self._one(parts[number][0], row)
                done, size = size, 4 * SINGLY
            elif self._at_once(parts, rows[:size], part[:size], least):
                done, size = size, 4 * size
            else:
                done, size = 0, size // 4
            rows, part = rows[done:], part[done:]
            if len(self._refused) > refused:
                refused = len(self._refused)
                rows, part = self._still(parts, rows, part)

    def _least(self, parts: list[Part]) -> Ints:
        """Chips that a job of each part takes in any case."""
        shapes = self._line.shapes
        chips = [1 if group.alone else at_least(shapes[group.shape]) for group, _ in parts]
        return np.array(chips, dtype=np.int64)

    def _still(self, parts: list[Part], rows: Ints, part: Ints) -> tuple[Ints, Ints]:
        """Rows that are not refused with those before them."""
        fine = np.array([same(group) not in self._refused for group, _ in parts], dtype=bool)
        kept = fine[part]
        if self._heads:
            kept |= (
                np.isin(rows, list(self._heads)) if len(rows) > SINGLY else self._are_heads(rows)
            )
        return rows[kept], part[kept]

    def _are_heads(self, rows: Ints) -> Bools:
        return np.array([row in self._heads for row in rows.tolist()], dtype=bool)

    def _at_once(self, parts: list[Part], rows: Ints, part: Ints, least: Ints) -> bool:
        """All of ``rows`` take their chips, or none does; whether they did.

        ``least``: chips that a job of each part takes in any case.
        """
        if least[part].sum() > np.maximum(self._ledger.free, 0).sum():
            return False
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

    def _until_head(self, rows: Ints) -> int:
        """How many rows come before the next that is known not to fit."""
        if not self._heads:
            return len(rows)
        near = self._are_heads(rows[:SINGLY])
        heads = near if near.any() else np.isin(rows, list(self._heads))
        return int(heads.argmax()) if heads.any() else len(rows)

    def _one(self, group: Group, row: int) -> None:
        head = row in self._heads
        if self._ahead.closed or (not head and same(group) in self._refused):
            return
        job, shape = self._of(group, row)
        if head:
            self._heads.discard(row)
            if not self._ahead.take_up(job, shape) and self._overdue(np.array([row])):
                self._keep(group, row, job, shape)
            return
        found = self._fit(group, job, shape)
        if found:
            self._given.append((row, take(self._board, self._ledger, *found)))
            return
        self._refuse(group, np.array([row], dtype=np.int64))
        if same(group) not in self._refused:
            return
        done = self._ahead.wants(shape) and self._ahead.take_up(job, shape)
        if not done and self._overdue(np.array([row])):
            self._keep(group, row, job, shape)

    def _keep(self, group: Group, row: int, job: Waiting, shape: Shape) -> None:
        self._ahead.hunt.by_level = False
        self._forget.add(same(group))
        keep_for(self._board, self._ledger, self._line.ids[row], job, shape)

    def settle_claims(self) -> None:
        """Before all others: who gets the chips that were kept for it, and who still waits."""
        settled = settle_claims(self._ahead.timeline, self._line)
        self._given += settled.given
        self._ahead.told |= settled.waiting
        self._ahead.again = min(self._ahead.again, settled.again)

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

    def placements(self, grown: Sequence[Placement] = ()) -> Lazy[Placement]:
        """The decisions on who was given chips, in order; then those that ``grown`` are."""
        count = len(grown) + sum(len(g.rows) if isinstance(g, Given) else 1 for g in self._given)

        def make() -> Iterator[Placement]:
            line, last, like = self._line, None, None
            for row, taken in self._each():
                alone = line.groups[line.keys[row]].alone
                rank = alone.repair.rank if alone and alone.repair else None
                job, version = line.ids[row], int(line.version[row])
                if taken is last and like is not None and alone is None:
                    yield replace(like, job=job, version=version)
                    continue
                last, like = taken, placement(self._board, job, version, rank, taken)
                yield like
            yield from grown

        return Lazy(count, make)

    def refusals(self) -> Refusals:
        """The decisions on all others."""
        placed: set[int] = set()
        for given in self._given:
            placed.update(given.rows.tolist() if isinstance(given, Given) else given[:1])
        return Refusals(self._ahead, self._line, placed)
