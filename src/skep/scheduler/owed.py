"""Owed: which queues hold chips of another's part, which may take them back by force.

A queue's part is its ``soft_chips``; without those, under fair share, its part of the pool by
weight, in chips of the reference. What a queue of one team lends another team's is the teams'
affair: a debt is between the two queues (or the queues above them) that share a parent, and every
queue from there down to who is to be stopped must hold more than its part.
"""

from __future__ import annotations

import math

from skep.scheduler.ask import Ask
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger

_ROUNDING = 1e-6  # chips; sums of floats
Debts = dict[str, float]
"""Queue -> chips of the kind asked for that it holds above its part."""


def owed_to(board: Board, ledger: Ledger, ask: Ask) -> Debts:
    """What others hold of the part of the queue of ``ask``; nothing where it may take none."""
    own = board.queues.get(ask.queue)
    if own is None or not own.preempt:
        return {}
    path = ledger.tree.path(ask.queue)
    spare = {name: _above(board, ledger, name, ask) + ask.least for name in path}
    found: Debts = {}
    for queue in board.queues:
        theirs = ledger.tree.path(queue)
        same = sum(1 for a, b in zip(path, theirs, strict=False) if a == b)
        below = [_above(board, ledger, name, ask) for name in theirs[same:]]
        fits = path[same:] and all(spare[name] <= _ROUNDING for name in path[same:])
        if below and fits and min(below) > _ROUNDING:
            found[queue] = min(below)
    return found


def _above(board: Board, ledger: Ledger, name: str, ask: Ask) -> float:
    """Chips that ``name`` holds above its part; -inf without a part."""
    soft = board.queues[name].soft_chips
    if soft is not None:
        return float(ledger.limits.held_softly(name) - soft)
    if not ledger.tree.on:
        return -math.inf
    worth = max(ledger.tree.worth.of(kind, ask.rates) for kind in ask.kind.split("+"))
    return ledger.tree.over(name) / worth
