"""Split: how many chips each of the chosen sites gives."""

from __future__ import annotations

import numpy as np

from skep.model.snapshot import Floats, Ints


def split(rooms: Ints, weights: Floats, grain: Ints, most: int) -> Ints | None:
    """Chips per site, as near to ``most`` in all as fits and never more; None if nothing fits.

    Each site gives at least one grain (a chip, or a node where nodes are whole), a multiple of its
    grain and no more than its room; the parts follow ``weights`` (speed times room).
    """
    total = min(most, int(rooms.sum()))
    if total < int(grain.sum()) or bool((rooms < grain).any()):
        return None
    if bool((grain == grain[0]).all()):
        unit = int(grain[0])
        parts: Ints = _even(rooms // unit, weights, total // unit) * unit
        return parts
    return _largest_first(rooms, grain, total)


def _even(rooms: Ints, weights: Floats, total: int) -> Ints:
    """Proportional parts of ``total``, by largest remainder, between 1 and ``rooms`` each."""
    if not weights.sum() > 0:
        weights = rooms.astype(np.float64)
    target = total * (weights / weights.sum())
    parts: Ints = np.clip(np.floor(target).astype(np.int64), 1, rooms)
    while missing := total - int(parts.sum()):
        step = 1 if missing > 0 else -1
        movable = np.flatnonzero(parts < rooms if step > 0 else parts > 1)
        behind = np.argsort(step * (parts - target)[movable], kind="stable")
        turn = movable[behind][: abs(missing)]
        spare = (rooms - parts if step > 0 else parts - 1)[turn]
        parts[turn] += step * np.minimum(spare, max(1, abs(missing) // len(turn)))
    return parts


def _largest_first(rooms: Ints, grain: Ints, total: int) -> Ints:
    """Exact for node sizes that divide each other: the large nodes first, the small fill up."""
    parts = grain.copy()
    left = total - int(grain.sum())
    for site in np.argsort(-grain, kind="stable").tolist():
        more = min(left, int(rooms[site] - parts[site])) // int(grain[site]) * int(grain[site])
        parts[site] += more
        left -= more
    return parts
