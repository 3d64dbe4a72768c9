"""Migrate: which running jobs should stop here and go on there, because it is worth it.

A move costs all of the job's chips the work since the last checkpoint, the grace and starting
again. It gains, in chip-seconds of the job's work, in chips of the reference (``worth``):

    faster          (remaining - remaining * speed here / speed there) * chips
    cleaner power   (clean there - clean here) * remaining * chips * CLEAN_WORTH
    room            chips of a job that can start in its stead, times how long it would have waited

Speed and clean power are those of all shares together: a job over several sites moves as a whole.
It must gain ``FACTOR`` times its cost. A job moves at most once in ``REST`` s, and twice as long
after each further time (see ``again``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skep.model.snapshot import Holder, Migration, Shape, Waiting
from skep.scheduler.again import FACTOR, cost_of, held_in, move, rested, without
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.fair import worth_in
from skep.scheduler.ledger import Ledger
from skep.scheduler.room import room
from skep.scheduler.score import scores
from skep.scheduler.search import choose
from skep.units import duration

CLEAN_WORTH = 0.25  # chip-seconds that one of wholly clean power instead of none is worth
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
    movable.sort(key=lambda h: (-h.weight * (h.end - now), h.job))
    for holder in movable[:LOOKED_AT]:
        if len(found) < MOST and (move := _improve(board, ledger, holder, now)):
            found.append(move)
    return found


def _holders(board: Board) -> Iterator[Holder]:
    seen = {h.job: h for held in board.snapshot.running for h in held.holder}
    return iter(seen.values())


def _may_move(holder: Holder, gone: set[str], now: float) -> bool:
    if holder.end - now < LEAST_LEFT or any(share.run in gone for share in holder.shares):
        return False
    return rested(holder, now)


def _make_room(
    board: Board, ledger: Ledger, case: Blocked, movable: Sequence[Holder], now: float
) -> Migration | None:
    """One job that goes elsewhere so that a larger one can start at its site."""
    wait, worth = min(case.start - now, LONGEST_WAIT), worth_in(board.snapshot)
    alone = [holder for holder in movable if len(holder.shares) == 1]
    for ask in asks_of(case.job, case.shape, board, ledger):
        if ask.sites_max != 1:
            continue
        each = min(worth.of(kind, case.shape.rates) for kind in ask.kind.split("+"))
        columns, gain = board.columns(ask.kind), ask.least * each * wait
        rows = columns.row_of_pool
        for holder in sorted(alone, key=lambda h: (cost_of(h, now), h.job)):
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
    """Chips that are faster or more, or sites with cleaner power, if that is worth it."""
    cost, best = cost_of(holder, now), None
    for ask, choice in _better(board, ledger, holder, now):
        gain, what = _gain(board, holder, ask, choice, now)
        if gain > FACTOR * cost and (best is None or gain > best[0]):
            best = (gain, what, ask, choice)
    if best is None:
        return None
    gain, what, ask, choice = best
    return _move(board, ledger, holder, ask, choice, gain, what)


def leave(board: Board, ledger: Ledger, holder: Holder, now: float, why: str) -> Migration | None:
    """A move of a job that cannot stay, if there is room for it: it gains all it has yet to do."""
    if len(holder.shares) != 1:
        return None
    gain = cost_of(holder, now) + holder.weight * max(1.0, holder.end - now)
    return _to(board, ledger, holder, now, gain, why)


def _to(
    board: Board, ledger: Ledger, holder: Holder, now: float, gain: float, what: str
) -> Migration | None:
    """Any other site, for a job of one share."""
    for ask, choice in _elsewhere(board, ledger, holder, now):
        if len(choice.rows) == 1:
            return _move(board, ledger, holder, ask, choice, gain, what)
    return None


def _asks(board: Board, ledger: Ledger, holder: Holder, now: float) -> Iterator[Ask]:
    """The ways in which the job may go on, the same kind with no fewer chips than it has."""
    shape = Shape.of(holder.spec, max(1.0, holder.end - now), holder.rates)
    kinds = {board.snapshot.pools.kind[share.row] for share in holder.shares}
    for ask in asks_of(Waiting(holder.job, 0, 0, holder.priority, 0.0), shape, board, ledger):
        if "+" not in ask.kind and not ask.worth:
            same = kinds == {ask.kind}
            most = max(ask.most, holder.chips)
            yield replace(ask, least=holder.chips, most=most) if same else ask


def _elsewhere(
    board: Board, ledger: Ledger, holder: Holder, now: float
) -> Iterator[tuple[Ask, Choice]]:
    """The best place of each kind at one site that is not where the job is."""
    site = int(board.snapshot.pools.site[holder.shares[0].row])
    for ask in _asks(board, ledger, holder, now):
        if ask.sites_min == 1:
            fixed, columns = replace(ask, most=ask.least, sites_max=1), board.columns(ask.kind)
            rooms = np.where(columns.site == site, 0, room(board, ledger, fixed))
            choice = choose(columns, rooms, fixed, scores(board, columns, ledger, fixed))
            if choice is not None:
                yield fixed, choice


def _better(
    board: Board, ledger: Ledger, holder: Holder, now: float
) -> Iterator[tuple[Ask, Choice]]:
    """The best places of each kind if the job held nothing, and those without its own sites.

    Only such as are not what it has.
    """
    seen = without(ledger, holder, board)
    sites = [int(board.snapshot.pools.site[share.row]) for share in holder.shares]
    for ask in _asks(board, ledger, holder, now):
        columns = board.columns(ask.kind)
        score, rooms = scores(board, columns, seen, ask), room(board, seen, ask)
        away = np.where(columns.at(sites), 0, rooms)
        for some in (rooms, away):
            choice = choose(columns, some, ask, score)
            if choice is not None and _allowed(board, ledger, holder, ask, choice):
                yield ask, choice


def _allowed(board: Board, ledger: Ledger, holder: Holder, ask: Ask, choice: Choice) -> bool:
    """Whether it is another place, and the quota bears what is more there."""
    pools = board.columns(ask.kind).rows[choice.rows]
    more = np.maximum(choice.chips - held_in(holder, pools), 0)
    return 0 < int(more.sum()) <= ledger.limits.left(ask.queue, ask.kind)


def _gain(board: Board, holder: Holder, ask: Ask, choice: Choice, now: float) -> tuple[float, str]:
    """Chip-seconds, of the reference, that the job gains there, and what that is."""
    pools, columns = board.snapshot.pools, board.columns(ask.kind)
    left, weight = holder.end - now, holder.weight
    old = sum(board.speed(pools.kind[s.row], holder.rates) * s.chips for s in holder.shares)
    new = float(columns.speed(holder.rates)[choice.rows] @ choice.chips)
    faster = left * (1.0 - old / new) * weight if old > 0 and new > 0 else 0.0
    chips = int(choice.chips.sum())
    before = sum(
        _clean(board, int(pools.site[s.row]), left, now) * s.chips / holder.chips
        for s in holder.shares
    )
    there = zip(columns.site[choice.rows].tolist(), choice.chips.tolist(), strict=True)
    after = sum(_clean(board, site, left, now) * some / chips for site, some in there)
    cleaner = (after - before) * left * weight * CLEAN_WORTH
    words = []
    if faster > 0:
        words.append(_faster(board, holder, ask, new / old, chips))
    if cleaner > 0:
        words.append(f"{100 * after:.0f} % clean power instead of {100 * before:.0f} %")
    return faster + cleaner, " and ".join(words)


def _faster(board: Board, holder: Holder, ask: Ask, ratio: float, chips: int) -> str:
    if {board.snapshot.pools.kind[share.row] for share in holder.shares} == {ask.kind}:
        return f"{chips} chips instead of {holder.chips}"
    more = f" with {chips} chips instead of {holder.chips}" if chips != holder.chips else ""
    return f"{ask.kind} is {ratio:.2g} times as fast{more}"


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
    board: Board, ledger: Ledger, holder: Holder, ask: Ask, choice: Choice, gain: float, what: str
) -> Migration:
    names, pools = board.snapshot.sites.names, board.snapshot.pools
    columns = board.columns(ask.kind)
    source = " and ".join(names[pools.site[share.row]] for share in holder.shares)
    there = zip(columns.site[choice.rows].tolist(), choice.chips.tolist(), strict=True)
    target = " and ".join(f"{chips} {ask.kind} at {names[site]}" for site, chips in there)
    told = f"moves from {source} to {target}: {what}"
    return move(board, ledger, holder, ask, choice, gain, told)
