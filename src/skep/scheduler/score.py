"""Score: which of the sites that fit is better. All are scored; the highest wins, ties by name."""

from __future__ import annotations

from skep.model.snapshot import Floats
from skep.scheduler.board import Columns
from skep.scheduler.ledger import Ledger

# Each term is between 0 and 1. See docs/decisions/0005-scheduler.md.
CLEAN = 1.0  # share of the site's draw that wind and sun cover
FIT = 0.5  # share of the pool left free after this job: a nearly full pool is filled up first
LINK = 0.5  # width of the links to the sites chosen so far


def scores(columns: Columns, ledger: Ledger, wanted: float) -> Floats:
    """Score per row of a share of ``wanted`` chips; only the differences mean something."""
    left = (ledger.free[columns.rows] - wanted) / columns.chips
    return CLEAN * columns.clean - FIT * left
