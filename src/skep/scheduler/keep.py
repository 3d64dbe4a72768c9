"""Keep: chips kept free for a job that has waited longer than the policy's patience.

Without it a large job could wait for ever behind small ones that always fit first.
"""

from __future__ import annotations

import numpy as np

from skep.model.evolve import replace
from skep.model.snapshot import Shape, Waiting
from skep.scheduler.ask import asks_of
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.room import room
from skep.scheduler.search import choose


def keep_for(board: Board, ledger: Ledger, name: str, job: Waiting, shape: Shape) -> None:
    """Keep what is free at the sites that lack the least for ``job``, for no one behind it.

    Sites that could hold it with nothing running, as they are up and allowed now. Nothing is kept
    where its queue's quota would refuse it, or where no such sites are.
    """
    for ask in asks_of(job, shape, board, ledger):
        if ask.least > ledger.limits.left(ask.queue, ask.kind):
            continue
        columns, wish = board.columns(ask.kind), replace(ask, most=ask.least)
        nearest = room(board, ledger, ask).astype(np.float64)
        choice = choose(columns, room(board, board.idle, wish), wish, nearest)
        if choice is not None:
            ledger.keep(name, columns.rows[choice.rows], columns.site[choice.rows])
            return
