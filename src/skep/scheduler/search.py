"""Search: which sites give a job its chips. The fewest that fit; of those, the best by score.

With all sites linked to each other the first try succeeds: a site is only picked if the roomiest
of the rest can make up what is then missing. With links between some sites only, the chosen ones
must all be linked to each other, which is a search for a clique: exact up to ``BUDGET`` steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skep.model.snapshot import Bools, Floats, Ints
from skep.scheduler.ask import Ask
from skep.scheduler.board import Columns
from skep.scheduler.room import one_pool_per_site
from skep.scheduler.score import LINK
from skep.scheduler.split import split

# Steps of one search over sites that are not all linked. Beyond, the job is refused.
BUDGET = 2000


@dataclass(frozen=True, slots=True)
class Choice:
    """Rows of the kind's columns and the chips of each; ``fitting`` is how many sites would do."""

    rows: Ints
    chips: Ints
    fitting: int = 0


def choose(columns: Columns, rooms: Ints, ask: Ask, score: Floats) -> Choice | None:
    """As many chips as fit from ``ask.least`` to ``ask.most``, over the fewest sites; or None."""
    if ask.sites_max == 1:
        return _one_site(columns, rooms, ask, score)
    # Of whole nodes the roomiest pool of a site need not be the one whose nodes add up.
    rooms = rooms if ask.whole_nodes else one_pool_per_site(columns, rooms)
    return _some_sites(columns, rooms, ask, score)


def at_most(columns: Columns, rooms: Ints, ask: Ask) -> int:
    """No placement has more chips than this: the roomiest sites together, links not looked at."""
    rooms = one_pool_per_site(columns, rooms)
    return int(np.sort(rooms)[::-1][: ask.sites_max].sum())


def _one_site(columns: Columns, rooms: Ints, ask: Ask, score: Floats) -> Choice | None:
    chips = np.minimum(rooms, ask.most)
    if ask.whole_nodes:
        chips = chips - chips % columns.node
    best = int(chips.max(initial=0))
    if best < ask.least:
        return None
    fits = np.flatnonzero(chips == best)
    row = fits[score[fits].argmax()]
    return Choice(row[None], chips[row][None], len(fits))


def _some_sites(columns: Columns, rooms: Ints, ask: Ask, score: Floats) -> Choice | None:
    high = min(ask.most, at_most(columns, rooms, ask))
    if high < ask.least:
        return None
    if ask.whole_nodes:
        high -= high % int(np.gcd.reduce(columns.node))
    search = _Search(columns, rooms, ask, score)
    if high >= ask.least and (found := search.run(high)):
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


class _Search:
    def __init__(self, columns: Columns, rooms: Ints, ask: Ask, score: Floats) -> None:
        self._columns, self._rooms, self._ask, self._score = columns, rooms, ask, score
        self._grain = columns.node if ask.whole_nodes else np.ones_like(columns.node)
        self._able = rooms >= self._grain
        self._able &= rooms > 0
        self._left = 0

    def run(self, least: int) -> Choice | None:
        """At least ``least`` chips over the fewest sites, or None."""
        top = np.cumsum(np.sort(self._rooms[self._able])[::-1])
        enough = int(np.searchsorted(top, least)) + 1
        highest = min(self._ask.sites_max, len(top), self._ask.most)
        self._left = BUDGET
        for count in range(max(self._ask.sites_min, enough), highest + 1):
            free = np.ones(len(self._rooms))
            if found := self._pick([], self._able, free, count, least):
                return found
        return None

    def _pick(
        self, chosen: list[int], able: Bools, width: Floats, count: int, least: int
    ) -> Choice | None:
        """Add ``count`` more rows of ``able`` to ``chosen``, so that all give ``least`` or more."""
        if count == 0:
            return self._leaf(chosen, least)
        able = able.copy()
        have = int(self._rooms[chosen].sum())
        score = self._score + LINK * width if chosen else self._score
        while self._left > 0:
            self._left -= 1
            fits = self._reaching(able, count, least - have)
            if not fits.any():
                return None
            row = int(np.argmax(np.where(fits, score, -np.inf)))
            rest = able & self._columns.linked[row]
            narrow = np.minimum(width, self._columns.quality[row])
            if found := self._pick([*chosen, row], rest, narrow, count - 1, least):
                return found
            able[row] = False
        return None

    def _reaching(self, able: Bools, count: int, missing: int) -> Bools:
        """Rows of ``able`` that, with the roomiest others, make up what is missing."""
        top = np.sort(self._rooms[able])[::-1][:count]
        if len(top) < count:
            return np.zeros_like(able)
        reach = np.minimum(int(top[:-1].sum()) + self._rooms, int(top.sum()))
        return able & (reach >= missing)

    def _leaf(self, chosen: list[int], least: int) -> Choice | None:
        rows = np.array(sorted(chosen))
        rooms = self._rooms[rows]
        chips = split(rooms, self._columns.speed[rows] * rooms, self._grain[rows], self._ask.most)
        if chips is None or int(chips.sum()) < least:
            return None
        return Choice(rows, chips, int(np.count_nonzero(self._able)))
