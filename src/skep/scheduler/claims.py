"""Claims: chips that others give back are for whom they were taken, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skep.model.snapshot import Kept, Shape, Waiting
from skep.scheduler.ask import asks_of
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.ledger import Ledger
from skep.scheduler.line import Line
from skep.scheduler.place import Taken, take
from skep.scheduler.timeline import Timeline

# Seconds before a claim runs out by which its chips are expected to have come.
_SLACK = 120.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """``rows`` of the line that get their chips now, and jobs that still wait for theirs."""

    given: list[tuple[int, Taken]]
    waiting: dict[str, str]  # job -> why it waits
    again: float = np.inf  # when the first of them waits no more


def settle_claims(timeline: Timeline, line: Line) -> Claimed:
    """Give what has come, and keep what has not; both are taken from the ledger."""
    board, ledger = timeline.board, timeline.ledger
    given: list[tuple[int, Taken]] = []
    waiting: dict[str, str] = {}
    for kept in board.snapshot.kept:
        row = line.row.get(kept.job)
        if row is None:  # it has not stopped yet where it was: a migration
            _keep(timeline, kept)
            continue
        job, shape = line.job(row), line.shapes[line.groups[line.keys[row]].shape]
        found = _given(board, ledger, job, shape, kept)
        if found is not None:
            given.append((row, found))
        elif _open(board, kept):
            _keep(timeline, kept)
            for share in kept.claim.shares:
                site = board.row[share.site]
                ledger.charge(shape.queue, share.chip, site, share.chips, shape.rates)
            names = ", ".join(name for name in kept.claim.victims if name != kept.job)
            what = f"{names} to end" if names else "its chips"
            waiting[kept.job] = f"waits for {what}: chips are kept for it"
    until = (kept.claim.until for kept in board.snapshot.kept if kept.job in waiting)
    return Claimed(given, waiting, min(until, default=np.inf))


def _given(board: Board, ledger: Ledger, job: Waiting, shape: Shape, kept: Kept) -> Taken | None:
    """The claim taken as it is, where all of its chips and their power are free."""
    wanted = {board.pool_row(share): share for share in kept.claim.shares}
    for ask in asks_of(job, shape, board, ledger):
        columns = board.columns(ask.kind)
        rows = sorted(columns.row_of_pool[p] for p in wanted if p in columns.row_of_pool)
        if len(rows) != len(wanted):
            continue
        gate = board.gate(ask.queue, ask.kind)
        chips = [wanted[int(columns.rows[row])].chips for row in rows]
        choice = Choice(np.array(rows), np.array(chips, dtype=np.int64), 1)
        total = int(choice.chips.sum())
        if not gate.open[choice.rows].all() or total > ledger.limits.left(ask.queue, ask.kind):
            continue
        free = ledger.free_for(ask.length, columns.pool_site)[columns.rows[choice.rows]]
        if ask.in_block:
            free = np.minimum(free, ledger.largest_for(ask.length)[columns.rows[choice.rows]])
        bears = ledger.headroom_for(ask.length)[columns.site[choice.rows]]
        power = columns.watts[choice.rows] * choice.chips
        if (free >= choice.chips).all() and (bears + 5e-7 >= power).all():
            return take(board, ledger, ask, choice)
    return None


def _open(board: Board, kept: Kept) -> bool:
    """Whether all its sites are still up; else it is a job like any other."""
    sites = board.snapshot.sites
    rows = [board.row[share.site] for share in kept.claim.shares]
    return bool(sites.up[rows].all() and not sites.drained[rows].any())


def _keep(timeline: Timeline, kept: Kept) -> None:
    board, ledger, claim = timeline.board, timeline.ledger, kept.claim
    pools, chips, power = [], [], []
    for share in claim.shares:
        pool = board.pool_row(share)
        coming = sum(_to_come(board, kept, pool))
        each = share.power / share.chips
        site, here = board.row[share.site], share.chips - coming
        some, watts = ledger.withhold(pool, site, here, each * here, share.in_blocks)
        for promise in ledger.promises:
            promise.free[pool] -= some
            promise.headroom[site] -= watts
        if coming > 0:
            some = min(coming, share.chips)
            pools.append(pool)
            chips.append(some)
            power.append(some * each)
    if pools:
        start = max(ledger.at, claim.until - _SLACK)
        timeline.promise(kept.job, start, np.inf, np.array(pools), np.array(chips), np.array(power))


def _to_come(board: Board, kept: Kept, pool: int) -> Iterator[int]:
    """Chips of that pool which the claim's victims have not given back yet."""
    names = frozenset(kept.claim.victims)
    for holder in board.snapshot.running[pool].holder if board.snapshot.running else ():
        if holder.job in names:
            yield from (s.chips for s in holder.shares if s.row == pool and s.stopping)
