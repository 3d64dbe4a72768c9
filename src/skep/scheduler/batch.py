"""Batch: many jobs of few shapes decided at once.

Where all jobs of a stretch of the queue fit together, their order among themselves gives no one
anything: jobs of one shape then take their chips by cumulative sums, the best sites filled first.
Where they do not all fit, the stretch is taken back, and a shorter one tried, down to single jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skep.model.evolve import quick, replace
from skep.model.snapshot import Ints, Shape, Waiting
from skep.scheduler.ask import Ask
from skep.scheduler.blocks import Parts
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.columns import Columns
from skep.scheduler.ledger import Ledger
from skep.scheduler.place import Taken, count, fit, take
from skep.scheduler.room import room
from skep.scheduler.score import scores


@quick
@dataclass(frozen=True, slots=True)
class Run:
    """Equal jobs that were given the same: ``times`` jobs; ``fills`` tells the blocks of each.

    ``fills``: (parts of one job, how many jobs in a row have them).
    """

    ask: Ask
    choice: Choice
    times: int
    fills: tuple[tuple[tuple[Parts, ...], int], ...]

    def each(self) -> Iterator[Taken]:
        """What each of the jobs was given."""
        for parts, times in self.fills:
            taken = Taken(self.ask, self.choice, parts)
            for _ in range(times):
                yield taken


def take_all(
    board: Board, ledger: Ledger, job: Waiting, shape: Shape, jobs: int
) -> list[Run] | None:
    """Take the chips of ``jobs`` jobs like ``job``; None where not all of them fit."""
    runs: list[Run] = []
    while jobs:
        found = fit(board, ledger, job, shape)
        if found is None:
            return None
        ask, choice = found
        by_score = not (job.avoid or job.off or job.repair)  # whatever failed the job before
        if by_score and ask.sites_max == 1 and ask.least == ask.most and not ask.in_block:
            more = _fill(board, ledger, ask, choice, jobs)
        else:
            more = [_repeat(board, ledger, ask, choice, jobs)]
        runs += more
        jobs -= sum(run.times for run in more)
    return runs


def _repeat(board: Board, ledger: Ledger, ask: Ask, choice: Choice, jobs: int) -> Run:
    """The same choice as often as it goes."""
    columns = board.columns(ask.kind)
    times = 1
    if "+" not in ask.kind and int(choice.chips.sum()) == ask.most and columns.alone:
        wide = room(board, ledger, replace(ask, spread=None))[choice.rows]
        left = ledger.limits.left(ask.queue, ask.kind) // ask.most
        times = max(1, int(min(jobs, (wide // choice.chips).min(), left)))
    fills = tuple((take(board, ledger, ask, choice).parts, 1) for _ in range(times))
    return Run(ask, choice, times, fills)


def _fill(board: Board, ledger: Ledger, ask: Ask, choice: Choice, jobs: int) -> list[Run]:
    """Single sites, best first, each with as many of the jobs as it has room for."""
    columns, chips = board.columns(ask.kind), ask.most
    if not columns.alone:
        return [_repeat(board, ledger, ask, choice, jobs)]
    fits = room(board, ledger, ask) >= chips
    holds = np.where(fits, room(board, ledger, replace(ask, spread=None)) // chips, 0)
    rows = np.flatnonzero(fits)
    rows = rows[np.argsort(-scores(board, columns, ledger, ask)[rows], kind="stable")]
    left = ledger.limits.left(ask.queue, ask.kind) // chips
    ends = np.minimum(np.cumsum(holds[rows]), min(jobs, left)).astype(np.int64)
    times = np.diff(ends, prepend=0)
    fitting = int(np.count_nonzero(fits))
    some = times > 0
    return [
        _same_site(ledger, ask, columns, row, n, fitting)
        for row, n in zip(rows[some].tolist(), times[some].tolist(), strict=True)
    ]


def _same_site(
    ledger: Ledger, ask: Ask, columns: Columns, row: int, times: int, fitting: int
) -> Run:
    chips, pool, site = ask.most, int(columns.rows[row]), int(columns.site[row])
    fills = tuple(
        ((parts,), n)
        for parts, n in ledger.take_often(pool, site, chips, times, columns.watts[row], ask.length)
    )
    at: Ints = np.array([row], dtype=np.int64)
    total = np.array([times * chips], dtype=np.int64)
    count(ledger, ask, columns, at, columns.site[at], total)
    return Run(ask, Choice(at, np.array([chips]), fitting), times, fills)
