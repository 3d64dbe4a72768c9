"""Refusals: each waiting job that was given nothing, explained when it is asked for.

Jobs that are decided alike share one explanation. It is told from what is left at the end of the
cycle, which is what the next job would find.
"""

from __future__ import annotations

from collections.abc import Iterator

from skep.model.snapshot import Refusal, Shape, Waiting
from skep.scheduler.ahead import Ahead
from skep.scheduler.behind import behind
from skep.scheduler.expect import Expected, expected_start
from skep.scheduler.explain import Explained, explain
from skep.scheduler.gate import turned_away
from skep.scheduler.line import Line
from skep.scheduler.memory import Same, same
from skep.scheduler.nearer import Change, changes
from skep.scheduler.order import in_order
from skep.scheduler.place import Lazy


class Refusals(Lazy[Refusal]):
    """In the order in which they were looked at; ``of`` finds that of one job."""

    def __init__(self, ahead: Ahead, line: Line, placed: set[int]) -> None:
        super().__init__(len(line) - len(placed))
        self._board, self._ledger, self._line = ahead.board, ahead.ledger, line
        self._ahead, self._placed, self._now = ahead, placed, ahead.timeline.now
        self._known: dict[Same, Explained] = {}

    def of(self, job: str) -> Refusal | None:
        """The refusal of ``job``; None for one that does not wait, or was placed."""
        row = self._line.row.get(job)
        return None if row is None or row in self._placed else self._at(row)

    def briefly(self, job: str) -> tuple[int, Explained] | None:
        """The version of ``job`` and why it is refused, of which only the line is worked out."""
        row = self._line.row.get(job)
        if row is None or row in self._placed:
            return None
        found = self._line.job(row)
        return found.version, self._why(row, found)

    def changes(self, job: str) -> tuple[Change, ...]:
        """What of its request, changed alone, would let ``job`` start now; the smallest first."""
        row = self._line.row.get(job)
        if row is None or row in self._placed:
            return ()
        found = self._line.job(row)
        if turned_away(found, self._line.shapes[found.shape], self._board, self._now):
            return ()
        shape, seen = self._line.shapes[found.shape], self._ledger.seen_by(job)
        return changes(self._board, seen, found, shape, self._priority)

    def expected(self, job: str) -> Expected | None:
        """When ``job`` is thought to start, and why then; None where nothing is known."""
        row = self._line.row.get(job)
        if row is None or row in self._placed or job in self._ahead.told:
            return None
        parts = [(group, group.rows) for group in self._line.groups.values()]
        rows, _ = in_order(self._line, parts, self._now)
        order = [one for one in rows.tolist() if one not in self._placed]
        return expected_start(self._ahead, self._line, order[: order.index(row)], row)

    def _priority(self, job: str) -> int | None:
        found = self._line.find(job)
        late = found is None or found.submitted_at + self._line.patience <= self._now
        return None if found is None or late else found.priority

    def _made(self) -> Iterator[Refusal]:
        parts = [(group, group.rows) for group in self._line.groups.values()]
        rows, _ = in_order(self._line, parts, self._now)
        return (self._at(row) for row in rows.tolist() if row not in self._placed)

    def _at(self, row: int) -> Refusal:
        job = self._line.job(row)
        return self._why(row, job).refusal(job)

    def _why(self, row: int, job: Waiting) -> Explained:
        group = self._line.groups[self._line.keys[row]]
        shape = self._line.shapes[group.shape]
        if refusal := turned_away(job, shape, self._board, self._now):
            return Explained.of(refusal)
        if told := self._ahead.told.get(job.job):
            return Explained(told)
        if promised := self._ahead.promised(job.job):
            known = self._known.get(same(group)) or self._explain(job, shape)
            return known if known.never else known.promised(promised.reason)
        if same(group) not in self._known:
            self._known[same(group)] = self._explain(job, shape)
        return self._known[same(group)]

    def _explain(self, job: Waiting, shape: Shape) -> Explained:
        seen = self._ledger.seen_by(job.job)
        if refusal := behind(self._ahead, seen, job, shape):
            return Explained.of(refusal)
        return explain(self._board, seen, job, shape)
