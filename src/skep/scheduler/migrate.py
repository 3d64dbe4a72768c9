"""Migrate: which running jobs should stop here and go on there, because it is worth it.

A move costs all of the job's chips the work since the last checkpoint, the grace and starting
again. It gains, in chip-seconds of the job's work:

    faster chips    (remaining - remaining * speed here / speed there) * chips
    cleaner power   (clean there - clean here) * remaining * chips * CLEAN_WORTH
    room            chips of a job that can start in its stead, times how long it would have waited

It must gain ``FACTOR`` times its cost. A job moves at most once in ``REST`` s, and twice as long
after each further time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skep.model.snapshot import Holder, Migration, Shape, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.ledger import Ledger
from skep.scheduler.place import placement, take
from skep.scheduler.preempt import SLACK
from skep.scheduler.prey import RESTART
from skep.scheduler.room import room
from skep.scheduler.score import scores
from skep.scheduler.search import choose
from skep.units import duration

CLEAN_WORTH = 0.25  # chip-seconds that one of wholly clean power instead of none is worth
FACTOR = 2.0
REST = 3600.0
LEAST_LEFT = 1800.0  # s that a job must be expected to work yet
LONGEST_WAIT = 4 * 3600.0  # more than that a job that waits is not counted with
# So many jobs are looked at, the largest first, and so many moved, each time.
LOOKED_AT, MOST = 16, 2


@dataclass(frozen=True, slots=True)
class Blocked:
    """A job that waits for chips, and when it would start as things are."""

    job: Waiting
    shape: Shape
    start: float


def migrate(
    board: Board, ledger: Ledger, blocked: Sequence[Blocked], gone: set[str], now: float
) -> list[Migration]:
    """The moves that are worth it, their targets taken from the ledger. ``gone``: runs to stop.

    ``blocked`` are the jobs that were promised chips.
    """
    found: list[Migration] = []
    movable = [h for h in _holders(board) if _may_move(h, gone, now)]
    for case in blocked:
        if len(found) < MOST and (move := _make_room(board, ledger, case, movable, now)):
            found.append(move)
            movable = [h for h in movable if h.job != move.job]
    movable.sort(key=lambda h: (-h.chips * (h.end - now), h.job))
    for holder in movable[:LOOKED_AT]:
        if len(found) < MOST and (move := _improve(board, ledger, holder, now)):
            found.append(move)
    return found


def _holders(board: Board) -> Iterator[Holder]:
    seen = {h.job: h for held in board.snapshot.running for h in held.holder}
    return iter(seen.values())


def _may_move(holder: Holder, gone: set[str], now: float) -> bool:
    if not holder.loose or not holder.spec.preemptible or len(holder.shares) != 1:
        return False
    if holder.end - now < LEAST_LEFT or holder.shares[0].run in gone:
        return False
    rest = REST * 2.0 ** min(max(0, holder.migrations - 1), 16)
    return holder.moved_at is None or now >= holder.moved_at + rest


def cost_of(holder: Holder, now: float) -> float:
    """Chip-seconds that a move of the job costs."""
    return holder.chips * (holder.unsaved(now) + holder.spec.grace + RESTART)


def _make_room(
    board: Board, ledger: Ledger, case: Blocked, movable: Sequence[Holder], now: float
) -> Migration | None:
    """One job that goes elsewhere so that a larger one can start at its site."""
    wait = min(case.start - now, LONGEST_WAIT)
    for ask in asks_of(case.job, case.shape, board, ledger):
        if ask.sites_max != 1:
            continue
        columns, gain = board.columns(ask.kind), ask.least * wait
        rows = columns.row_of_pool
        for holder in sorted(movable, key=lambda h: (cost_of(h, now), h.job)):
            share = holder.shares[0]
            if gain <= FACTOR * cost_of(holder, now):
                break
            if share.row not in rows or holder.priority > case.job.priority:
                continue
            if int(ledger.free[share.row]) + share.chips < ask.least:
                continue
            what = f"so that {case.job.job} can start {duration(wait)} sooner"
            if move := _to(board, ledger, holder, now, gain, what):
                return move
    return None


def _improve(board: Board, ledger: Ledger, holder: Holder, now: float) -> Migration | None:
    """A site where the job has faster chips or cleaner power, if that is worth it."""
    cost, best = cost_of(holder, now), None
    for ask, choice in _ways(board, ledger, holder, now):
        gain, what = _gain(board, holder, ask, choice, now)
        if gain > FACTOR * cost and (best is None or gain > best[0]):
            best = (gain, what, ask, choice)
    if best is None:
        return None
    gain, what, ask, choice = best
    return _move(board, ledger, holder, ask, choice, now, gain, what)


def leave(board: Board, ledger: Ledger, holder: Holder, now: float, why: str) -> Migration | None:
    """A move of a job that cannot stay, if there is room for it: it gains all it has yet to do."""
    if len(holder.shares) != 1:
        return None
    gain = cost_of(holder, now) + holder.chips * max(1.0, holder.end - now)
    return _to(board, ledger, holder, now, gain, why)


def _to(
    board: Board, ledger: Ledger, holder: Holder, now: float, gain: float, what: str
) -> Migration | None:
    """Anywhere else."""
    for ask, choice in _ways(board, ledger, holder, now):
        if len(choice.rows) == 1:
            return _move(board, ledger, holder, ask, choice, now, gain, what)
    return None


def _ways(board: Board, ledger: Ledger, holder: Holder, now: float) -> Iterator[tuple[Ask, Choice]]:
    """The best place of each kind that is not where the job is; the same kind no smaller."""
    here = holder.shares[0]
    site, kind = int(board.snapshot.pools.site[here.row]), board.snapshot.pools.kind[here.row]
    shape = Shape.of(holder.spec, max(1.0, holder.end - now), holder.rates)
    job = Waiting(holder.job, 0, 0, holder.priority, 0.0)
    for ask in asks_of(job, shape, board, ledger):
        if ask.sites_min > 1 or "+" in ask.kind or ask.worth:
            continue
        count = here.chips if ask.kind == kind else ask.least
        fixed = replace(ask, least=count, most=count, sites_min=1, sites_max=1)
        columns = board.columns(ask.kind)
        rooms = np.where(columns.site == site, 0, room(board, ledger, fixed))
        choice = choose(columns, rooms, fixed, scores(board, columns, ledger, fixed))
        if choice is not None:
            yield fixed, choice


def _gain(board: Board, holder: Holder, ask: Ask, choice: Choice, now: float) -> tuple[float, str]:
    """Chip-seconds that the job gains there, and what that is."""
    pools, columns, here = board.snapshot.pools, board.columns(ask.kind), holder.shares[0]
    left, row = holder.end - now, int(choice.rows[0])
    old = board.speed(pools.kind[here.row], holder.rates) * here.chips
    new = float(columns.speed(holder.rates)[row]) * int(choice.chips[0])
    faster = left * (1.0 - old / new) * here.chips if old > 0 and new > 0 else 0.0
    before = _clean(board, int(pools.site[here.row]), left, now)
    after = _clean(board, int(columns.site[row]), left, now)
    cleaner = (after - before) * left * here.chips * CLEAN_WORTH
    words = []
    if faster > 0:
        words.append(f"{ask.kind} is {new / old:.2g} times as fast")
    if cleaner > 0:
        words.append(f"{100 * after:.0f} % clean power instead of {100 * before:.0f} %")
    return faster + cleaner, " and ".join(words)


def _clean(board: Board, site: int, length: float, now: float) -> float:
    """Share 0..1 of the site's present draw that is clean over the next ``length`` s."""
    forecast, sites = board.snapshot.forecast, board.snapshot.sites
    if forecast is None:
        return float(sites.clean[site])
    first = max(0, int((now - forecast.start) // 3600.0))
    last = first + max(1, int(np.ceil(length / 3600.0)))
    own = forecast.own[site, first:last]
    if not len(own):
        return float(sites.clean[site])
    drawn = max(float(sites.power_drawn[site]), 1e-9)
    share = np.minimum(1.0, own / drawn)
    return float(np.mean(share + (1.0 - share) * forecast.green[site]))


def _move(
    board: Board,
    ledger: Ledger,
    holder: Holder,
    ask: Ask,
    choice: Choice,
    now: float,
    gain: float,
    what: str,
) -> Migration:
    shares = placement(board, holder.job, 0, None, take(board, ledger, ask, choice)).shares
    cost, share = cost_of(holder, now), shares[0]
    source = board.snapshot.sites.names[board.snapshot.pools.site[holder.shares[0].row]]
    reason = (
        f"moves from {source} to {share.chips} {share.chip} at {share.site}: {what}; gains"
        f" {gain / 3600:.1f} chip-hours, costs {cost / 3600:.1f}"
    )
    return Migration(
        job=holder.job,
        runs=tuple(s.run for s in holder.shares),
        shares=shares,
        until=now + holder.spec.grace + SLACK,
        gain=gain,
        cost=cost,
        grace=holder.spec.grace,
        reason=reason,
    )
