"""Clique: sites that are all linked to each other and give enough chips together.

With every site linked to every other the first try succeeds: a site is only picked if the roomiest
of the rest can make up what is then missing, so nothing is ever taken back. With links between
some sites only, this is a search for a clique: exact where a try takes ``BUDGET`` steps or fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skep.model.evolve import quick
from skep.model.snapshot import Bools, Floats, Ints
from skep.scheduler.ask import Ask
from skep.scheduler.columns import Columns
from skep.scheduler.room import one_pool_per_site
from skep.scheduler.score import LINK
from skep.scheduler.split import split

# Steps of one try, about 20 µs each: first in the order of the score, then the best linked first.
BUDGET = 300
# Tries of one search: how many chips an elastic job gets is found by bisection.
TRIES = 6


@quick
@dataclass(frozen=True, slots=True)
class Choice:
    """Rows of the kind's columns and the chips of each; ``fitting`` is how many sites would do."""

    rows: Ints
    chips: Ints
    fitting: int = 0


class Clique:
    """One search for the sites of ``ask`` among ``rooms``; ``cut_short`` where it was too long."""

    def __init__(self, columns: Columns, rooms: Ints, ask: Ask, score: Floats) -> None:
        self._columns, self._rooms, self._ask, self._score = columns, rooms, ask, score
        whole = ask.whole_nodes and not ask.worth
        self._grain = columns.node if whole else np.ones_like(columns.node)
        self._links = columns.linked(ask.bandwidth, ask.rtt)
        self._able: Bools = (rooms > 0) & (rooms >= self._grain)
        self._left = 0
        self._tries = TRIES
        self.cut_short = False

    def at_most(self) -> int:
        """No placement has more chips: the roomiest sites together, links not looked at."""
        rooms = np.sort(one_pool_per_site(self._columns, self._rooms))[::-1]
        high = min(self._ask.most, int(rooms[: self._ask.sites_max].sum()))
        return high - high % int(np.gcd.reduce(self._grain)) if high else 0

    def run(self, least: int) -> Choice | None:
        """At least ``least`` chips over the fewest sites, or None."""
        if found := self._by(self._score, least):
            return found
        if self._left > 0:
            return None
        found = self._by(self._linked(self._able).sum(axis=1).astype(np.float64), least)
        self._tries -= 1
        self.cut_short |= found is None and self._left <= 0
        return found

    def _by(self, score: Floats, least: int) -> Choice | None:
        self._left = BUDGET if self._tries > 0 else 0
        top = np.cumsum(np.sort(self._rooms[self._able])[::-1])
        enough = int(np.searchsorted(top, least)) + 1
        highest = min(self._ask.sites_max, len(top), self._ask.most)
        for count in range(max(self._ask.sites_min, enough), highest + 1):
            if self._left <= 0:
                break
            able = self._sociable(count)
            if found := self._pick([], able, score, np.ones(len(able)), count, least):
                return found
        return None

    def _sociable(self, count: int) -> Bools:
        """Rows that have as many links to each other as each of ``count`` sites needs."""
        able = self._able
        while True:
            enough = able & (self._linked(able).sum(axis=1) >= count - 1)
            if bool((enough == able).all()):
                return able
            able = enough

    def _linked(self, able: Bools) -> Bools:
        return np.asarray(self._links & able)

    def _pick(
        self, chosen: list[int], able: Bools, score: Floats, width: Floats, count: int, least: int
    ) -> Choice | None:
        """Add ``count`` more rows of ``able`` to ``chosen``, so that all give ``least`` or more."""
        if count == 0:
            return self._leaf(chosen, least)
        able = able.copy()
        have = int(self._rooms[chosen].sum())
        worth = score + LINK * width if chosen else score
        while self._left > 0:
            fits = self._reaching(able, count, least - have)
            if not fits.any():
                return None
            self._left -= 1
            row = int(np.argmax(np.where(fits, worth, -np.inf)))
            rest = able & self._links[row]
            narrow = np.minimum(width, self._columns.quality[row])
            if found := self._pick([*chosen, row], rest, score, narrow, count - 1, least):
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
        weights = self._columns.speed(self._ask.rates)[rows] * rooms
        chips = split(rooms, weights, self._grain[rows], self._ask.most)
        if chips is None or int(chips.sum()) < least:
            return None
        return Choice(rows, chips, int(np.count_nonzero(self._able)))
