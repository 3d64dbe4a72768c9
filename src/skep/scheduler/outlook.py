"""Outlook: what a refused ask could have now, and what it could have of an empty pool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skep.model.evolve import quick, replace
from skep.model.snapshot import Bools, Ints
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.room import beside, free_in_nodes, in_worth, powered, room
from skep.scheduler.search import choose, possible


@quick
@dataclass(frozen=True, slots=True)
class Outlook:
    """``now`` and ``later``: chips per row; ``most_now``, ``most_ever``: the most at once of them.

    Later is with no run alive, all sites up, none drained, and on any later day of the rules;
    ``allowed`` is per row, ``ever`` is whether the ask fits then.
    """

    ask: Ask
    now: Ints
    later: Ints
    allowed: Bools
    most_now: int
    most_ever: int
    ever: bool


def outlook(board: Board, ledger: Ledger, ask: Ask) -> Outlook:
    """What ``ask`` could have, now and with the pool as it is but idle."""
    allowed = _allowed_ever(board, ask)
    now, later = room(board, ledger, ask), _room_ever(board, ask, allowed)
    return Outlook(
        ask,
        now,
        later,
        allowed,
        most_now=most(board, ask, now),
        most_ever=most(board, ask, later),
        ever=possible(board.columns(ask.kind), later, ask),
    )


def _room_ever(board: Board, ask: Ask, allowed: Bools) -> Ints:
    """Chips per row that the pool could give if nothing ran and every site was up."""
    columns, idle = board.columns(ask.kind), board.idle
    chips = np.minimum(free_in_nodes(columns, idle, ask), powered(columns, idle, ask))
    return in_worth(board, columns, ask, np.where(allowed, chips, 0))


def _allowed_ever(board: Board, ask: Ask) -> Bools:
    columns, ever = board.columns(ask.kind), board.gate(ask.queue, ask.kind).ever
    return ever & beside(board, columns, ask) if ask.others else ever


def most(board: Board, ask: Ask, rooms: Ints) -> int:
    """The most chips, up to what is asked, that one placement gets from ``rooms``; 0 for none."""
    columns = board.columns(ask.kind)
    wish = replace(ask, least=1)
    found = choose(columns, rooms, wish, np.zeros(len(rooms)))
    return 0 if found is None else int(found.chips.sum())


def sites_needed(board: Board, ask: Ask, rooms: Ints) -> int | None:
    """The fewest sites over which ``ask`` goes into ``rooms``; None where no number does."""
    columns = board.columns(ask.kind)
    wide = replace(ask, most=ask.least, sites_max=max(len(rooms), ask.sites_min))
    found = choose(columns, rooms, wide, np.zeros(len(rooms)))
    return None if found is None else len(found.rows)
