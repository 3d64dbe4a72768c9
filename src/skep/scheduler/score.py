"""Score: which of the sites that fit is better. All are scored; the highest wins, ties by name."""

from __future__ import annotations

import numpy as np

from skep.model.snapshot import Floats
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board
from skep.scheduler.columns import Columns
from skep.scheduler.ledger import Ledger

# Each term is between 0 and 1. See docs/decisions/0005-scheduler.md.
CLEAN = 1.0  # share of the site's draw that wind and sun cover
FIT = 0.5  # share of the pool left free after this job: a nearly full pool is filled up first
LINK = 0.5  # width of the links to the sites chosen so far
DATA = 1.5  # its data or checkpoints lie there
SPLIT = 0.75  # it would go into one block, and would not get one here

_ALONE: Floats = np.zeros(1)


def scores(board: Board, columns: Columns, ledger: Ledger, ask: Ask) -> Floats:
    """Score per row of a fair part of ``ask``; only the differences mean something."""
    if len(columns.rows) == 1:
        return _ALONE
    wanted = ask.least / ask.sites_max
    left = (ledger.free[columns.rows] - wanted) / columns.chips
    score = CLEAN * board.clean(columns.kind) - FIT * left
    split = (wanted <= columns.block) & (ledger.largest[columns.rows] < wanted)
    score = score - SPLIT * split
    if ask.data:
        score = score + DATA * columns.at(board.sites_of(ask.data))
    found: Floats = np.asarray(score, dtype=np.float64)
    return found
