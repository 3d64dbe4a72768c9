"""Search: which sites give a job its chips. As many chips as fit, from the fewest sites."""

from __future__ import annotations

import numpy as np

from skep.model.snapshot import Floats, Ints
from skep.scheduler.ask import Ask
from skep.scheduler.clique import Choice, Clique
from skep.scheduler.columns import Columns
from skep.scheduler.room import one_pool_per_site


def choose(columns: Columns, rooms: Ints, ask: Ask, score: Floats) -> Choice | None:
    """As many chips as fit from ``ask.least`` to ``ask.most``, over the fewest sites; or None."""
    if ask.sites_max == 1:
        return _one_site(columns, rooms, ask, score)
    return _some_sites(Clique(columns, _usable(columns, rooms, ask), ask, score), ask)


def possible(columns: Columns, rooms: Ints, ask: Ask) -> bool:
    """Whether ``ask`` goes into ``rooms``; true also where the search was too long to tell."""
    score = np.zeros(len(rooms))
    if ask.sites_max == 1:
        return _one_site(columns, rooms, ask, score) is not None
    search = Clique(columns, _usable(columns, rooms, ask), ask, score)
    return _some_sites(search, ask) is not None or search.cut_short


def _usable(columns: Columns, rooms: Ints, ask: Ask) -> Ints:
    # Of whole nodes the roomiest pool of a site need not be the one whose nodes add up.
    return rooms if ask.whole_nodes and not ask.worth else one_pool_per_site(columns, rooms)


def _one_site(columns: Columns, rooms: Ints, ask: Ask, score: Floats) -> Choice | None:
    if ask.sites_min > 1:
        return None
    chips = np.minimum(rooms, ask.most)
    if ask.whole_nodes and not ask.worth:
        chips = chips - chips % columns.node
    best = int(chips.max(initial=0))
    if best < ask.least:
        return None
    fits = np.flatnonzero(chips == best)
    row = fits[score[fits].argmax()]
    return Choice(row[None], chips[row][None], len(fits))


def _some_sites(search: Clique, ask: Ask) -> Choice | None:
    high = search.at_most()
    if high < ask.least:
        return None
    if found := search.run(high):
        return found
    # Rarely: links or node sizes forbid the largest sum. Bisect for the largest that goes.
    best, low, high = None, ask.least, high - 1
    while low <= high:
        middle = (low + high) // 2 if best else low
        if found := search.run(middle):
            best, low = found, int(found.chips.sum()) + 1
        else:
            high = middle - 1
    return best
