"""Reasons: each site's own, the first mask that refuses it, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from skep.model.snapshot import Bools, Ints
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board, Stage
from skep.scheduler.columns import good_links
from skep.scheduler.ledger import Ledger
from skep.scheduler.remedy import names
from skep.scheduler.room import free_in_nodes, powered, under, worth
from skep.units import si

# More reasons than these that differ only in numbers become one with the range of the numbers.
MOST_ALIKE = 3


def site_reasons(
    board: Board, ledger: Ledger, asks: tuple[Ask, ...]
) -> Mapping[str, tuple[str, ...]]:
    """Reason -> sites, each site once: of several alternatives the one that came furthest."""
    stories = [_Story(board, ledger, ask) for ask in asks]
    stages = np.array([story.stage for story in stories])
    best = stages.argmax(axis=0)
    reasons: dict[str, list[str]] = {}
    last = stages.max(axis=0)
    for stage, number in sorted(set(zip(last.tolist(), best.tolist(), strict=True))):
        sites = np.flatnonzero((best == number) & (last == stage))
        for text, where in stories[number].tell(Stage(stage), sites).items():
            reasons.setdefault(text, []).extend(where)
    return {text: tuple(where) for text, where in reasons.items()}


class _Story:
    """Why each site refuses one ask."""

    def __init__(self, board: Board, ledger: Ledger, ask: Ask) -> None:
        self._board, self._ledger, self._ask = board, ledger, ask
        self._columns = columns = board.columns(ask.kind)
        self._gate = board.gate(ask.queue, ask.kind)
        # A site's fair part: what it would have to give at least if all gave the same.
        self._part = self._fair_part()
        free, bears = free_in_nodes(columns, ledger, ask), powered(columns, ledger, ask)
        self._row = self._roomiest(np.minimum(free, bears))
        self.stage = self._stages(free, bears)

    @cached_property
    def _good(self) -> Bools:
        places, ask = self._board.snapshot.sites, self._ask
        return good_links(places.bandwidth, places.rtt, ask.bandwidth, ask.rtt)

    def _fair_part(self) -> int:
        ask = self._ask
        part = -(-ask.least // ask.sites_max)
        if not ask.worth or not len(self._columns.rows):
            return part
        return int(max(1.0, part / float(worth(self._board, self._columns, ask).max())))

    def _roomiest(self, rooms: Ints) -> Ints:
        """Per site the row of its roomiest pool of the kind; -1 where it has none."""
        row = np.full(len(self._board.row), -1)
        order = np.argsort(rooms, kind="stable")
        row[self._columns.site[order]] = order
        return row

    def _stages(self, free: Ints, bears: Ints) -> Ints:
        stage = self._gate.stage.copy()
        open_ = np.flatnonzero((stage == Stage.OTHERS) & (self._row >= 0))
        found = np.full(len(open_), Stage.OTHERS)
        for where, what in reversed(self._conditions(open_, free, bears)):  # the first one counts
            found[where] = what
        stage[open_] = found
        return stage

    def _conditions(self, sites: Ints, free: Ints, bears: Ints) -> list[tuple[Bools, Stage]]:
        """Which of ``sites`` are refused by what; what there is none of refuses nobody."""
        ask, ledger, columns, row = self._ask, self._ledger, self._columns, self._row[sites]
        pools, found = columns.rows[row], list[tuple[Bools, Stage]]()
        if ask.others:
            found.append((columns.at(self._board.sites_of(ask.others))[row], Stage.JOINED))
        if ledger.limits.at_sites(ask.queue, ask.kind):
            found.append((self._capped()[row] < self._part, Stage.QUOTA))
        if ledger.kept:
            found.append((np.isin(pools, list(ledger.kept)), Stage.KEPT))
        few = free[row] < self._part
        if ask.in_block:
            found += [(few & (ledger.free[pools] < self._part), Stage.CHIPS), (few, Stage.BLOCK)]
        else:
            found.append((few, Stage.CHIPS))
        found.append((bears[row] < self._part, Stage.POWER))
        if ask.others or ask.sites_max > 1:
            found.append((~self._linked(sites), Stage.LINK))
        return found

    def _capped(self) -> Ints:
        """Per row what the quotas at single sites leave."""
        caps = np.full(len(self._columns.rows), np.iinfo(np.int64).max)
        for limit in self._ledger.limits.at_sites(self._ask.queue, self._ask.kind):
            rows = under(self._columns, limit.site, limit.kind)
            caps = np.where(rows, np.minimum(caps, limit.left), caps)
        return caps

    def _linked(self, sites: Ints) -> Bools:
        """Which of ``sites`` have links to all sites that they would work with."""
        return np.asarray(self._good[np.ix_(sites, self._partners())].all(axis=1))

    def _partners(self) -> Ints:
        """Open sites; of a repair those where the job runs; none where one site is enough."""
        row = self._board.row
        if self._ask.others:
            return np.array([row[n] for n in sorted(self._ask.others) if n in row], dtype=np.int64)
        if self._ask.sites_max == 1:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(self._gate.stage == Stage.OTHERS)

    def tell(self, stage: Stage, sites: Ints) -> dict[str, list[str]]:
        """Reason -> names of ``sites``, which this ask lost at ``stage``."""
        if stage == Stage.CHIPS:
            return self._of_chips(sites)
        if stage == Stage.POWER:
            return self._of_power(sites)
        if stage == Stage.RULE:
            return self._grouped(sites, [str(self._gate.verdicts[site]) for site in sites])
        if stage == Stage.LINK:
            return self._of_link(sites)
        if stage in (Stage.QUOTA, Stage.KEPT):
            return self._of_others(stage, sites)
        fixed = {
            Stage.BLOCK: f"no block has {self._part} {self._ask.kind} free",
            Stage.LOST: "site is lost",
            Stage.DRAINED: "site is drained",
            Stage.KIND: f"has no {self._ask.kind}",
            Stage.JOINED: "the job already runs there",
            Stage.OTHERS: "has room, but too few other sites have",
        }
        return {fixed[stage]: self._named(sites)}

    def _named(self, sites: Ints) -> list[str]:
        return [self._board.snapshot.sites.names[site] for site in sites.tolist()]

    def _grouped(self, sites: Ints, texts: list[str]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for name, text in zip(self._named(sites), texts, strict=True):
            groups.setdefault(text, []).append(name)
        return groups

    def _of_others(self, stage: Stage, sites: Ints) -> dict[str, list[str]]:
        rows = self._row[sites]
        if stage == Stage.KEPT:
            kept = [self._ledger.kept[pool] for pool in self._columns.rows[rows].tolist()]
            texts = [f"kept for {job}, which has waited too long" for job, _ in kept]
            return self._grouped(sites, texts)
        left = self._capped()[rows].tolist()
        return self._grouped(sites, [f"queue {self._ask.queue} may take {n} more" for n in left])

    def _of_link(self, sites: Ints) -> dict[str, list[str]]:
        partners = self._partners()
        lacking = ~self._good[np.ix_(sites, partners)]
        wish = self._ask.bandwidth > 0 or np.isfinite(self._ask.rtt)
        no = "no link good enough" if wish else "no link"
        if len(sites) <= MOST_ALIKE:
            missing = [names(self._board, partners[row].tolist()) for row in lacking]
            return self._grouped(sites, [f"{no} to {others}" for others in missing])
        count = _span(lacking.sum(axis=1))
        return {f"{no} to {count} of the {len(partners)} sites": self._named(sites)}

    def _of_chips(self, sites: Ints) -> dict[str, list[str]]:
        rows = self._row[sites]
        free, chips = self._ledger.free[self._columns.rows[rows]], self._columns.chips[rows]
        pairs = list(zip(free.tolist(), chips.tolist(), strict=True))
        if len(set(pairs)) > MOST_ALIKE:
            return {f"{_span(free)} of {_span(chips)} {self._ask.kind} free": self._named(sites)}
        return self._grouped(sites, [f"{f} of {c} {self._ask.kind} free" for f, c in pairs])

    def _of_power(self, sites: Ints) -> dict[str, list[str]]:
        free = np.maximum(self._ledger.headroom[sites], 0.0).tolist()
        caps = self._board.snapshot.sites.power_cap[sites].tolist()
        needed = (self._part * self._columns.watts[self._row[sites]]).tolist()
        rows = list(zip(free, caps, needed, strict=True))
        if len(set(rows)) > MOST_ALIKE:
            low, high, most = si(min(free), "W"), si(max(free), "W"), si(max(needed), "W")
            text = f"power: {low} to {high} free under the caps, {most} needed"
            return {text: self._named(sites)}
        return self._grouped(sites, [_power(*row) for row in rows])


def _power(free: float, cap: float, needed: float) -> str:
    return f"power: {si(free, 'W')} free under the cap of {si(cap, 'W')}, {si(needed, 'W')} needed"


def _span(values: Ints) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
