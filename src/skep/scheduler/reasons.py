"""Reasons: each site's own, the first mask that refuses it, in words and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from skep.model.snapshot import Ints
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board, Stage
from skep.scheduler.ledger import Ledger
from skep.scheduler.remedy import names
from skep.scheduler.room import free_in_nodes, powered
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
    for stage in Stage:
        for number, story in enumerate(stories):
            sites = np.flatnonzero((best == number) & (stages[number] == stage))
            for text, where in story.tell(stage, sites).items():
                reasons.setdefault(text, []).extend(where)
    return {text: tuple(where) for text, where in reasons.items()}


class _Story:
    """Why each site refuses one ask."""

    def __init__(self, board: Board, ledger: Ledger, ask: Ask) -> None:
        self._board, self._ledger, self._ask = board, ledger, ask
        self._columns = columns = board.columns(ask.kind)
        self._gate = board.gate(ask.queue, ask.kind)
        # A site's fair part: what it would have to give at least if all gave the same.
        self._part = -(-ask.least // ask.sites_max)
        free, bears = free_in_nodes(columns, ledger, ask), powered(columns, ledger, ask)
        self._row = self._roomiest(np.minimum(free, bears))
        self.stage = self._stages(free, bears)

    def _roomiest(self, rooms: Ints) -> Ints:
        """Per site the row of its roomiest pool of the kind; -1 where it has none."""
        row = np.full(len(self._board.row), -1)
        order = np.argsort(rooms, kind="stable")
        row[self._columns.site[order]] = order
        return row

    def _stages(self, free: Ints, bears: Ints) -> Ints:
        stage = self._gate.stage.copy()
        open_ = np.flatnonzero((stage == Stage.OTHERS) & (self._row >= 0))
        row = self._row[open_]
        conditions = [free[row] < self._part, bears[row] < self._part, ~self._linked(open_)]
        found = np.select(conditions, [Stage.CHIPS, Stage.POWER, Stage.LINK], Stage.OTHERS)
        joined = self._columns.at(self._board, self._ask.others)[row]
        stage[open_] = np.where(joined, Stage.JOINED, found)
        return stage

    def _linked(self, sites: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array([not self._unlinked(int(site)) for site in sites], dtype=bool)

    def _unlinked(self, site: int) -> list[int]:
        """Open sites (of a repair: those where the job runs) to which ``site`` has no link."""
        if self._ask.others:
            partners = [
                self._board.row[n] for n in sorted(self._ask.others) if n in self._board.row
            ]
        elif self._ask.sites_max > 1:
            partners = np.flatnonzero(self._gate.stage == Stage.OTHERS).tolist()
        else:
            return []
        width = self._board.snapshot.sites.bandwidth[site]
        return [p for p in partners if p != site and not width[p] > 0]

    def tell(self, stage: Stage, sites: Ints) -> dict[str, list[str]]:
        """Reason -> names of ``sites``, which this ask lost at ``stage``."""
        groups = self._grouped(sites, self._teller(stage))
        if len(groups) > MOST_ALIKE and stage in (Stage.CHIPS, Stage.POWER):
            return {self._range(stage, sites): self._named(sites)}
        return groups

    def _teller(self, stage: Stage) -> Callable[[int], str]:
        fixed = {
            Stage.LOST: "site is lost",
            Stage.DRAINED: "site is drained",
            Stage.KIND: f"has no {self._ask.kind}",
            Stage.JOINED: "the job already runs there",
            Stage.OTHERS: "has room, but too few other sites have",
        }
        if stage in fixed:
            return lambda _site: fixed[stage]
        return {
            Stage.RULE: lambda site: str(self._gate.verdicts[site]),
            Stage.CHIPS: self._of_chips,
            Stage.POWER: self._of_power,
            Stage.LINK: lambda site: f"no link to {names(self._board, self._unlinked(site))}",
        }[stage]

    def _grouped(self, sites: Ints, teller: Callable[[int], str]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for site in sites.tolist():
            groups.setdefault(teller(site), []).append(self._board.snapshot.sites.names[site])
        return groups

    def _named(self, sites: Ints) -> list[str]:
        return [self._board.snapshot.sites.names[site] for site in sites.tolist()]

    def _of_chips(self, site: int) -> str:
        row = self._row[site]
        free = self._ledger.free[self._columns.rows[row]]
        return f"{free} of {self._columns.chips[row]} {self._ask.kind} free"

    def _of_power(self, site: int) -> str:
        cap = self._board.snapshot.sites.power_cap[site]
        free, needed = self._watts(site)
        return (
            f"power: {si(free, 'W')} free under the cap of {si(cap, 'W')}, {si(needed, 'W')} needed"
        )

    def _watts(self, site: int) -> tuple[float, float]:
        needed = self._part * float(self._columns.watts[self._row[site]])
        return max(0.0, float(self._ledger.headroom[site])), needed

    def _range(self, stage: Stage, sites: Ints) -> str:
        rows = self._row[sites]
        if stage == Stage.CHIPS:
            free, chips = self._ledger.free[self._columns.rows[rows]], self._columns.chips[rows]
            return f"{_span(free)} of {_span(chips)} {self._ask.kind} free"
        free_watts = np.maximum(self._ledger.headroom[sites], 0.0)
        needed = self._part * float(self._columns.watts[rows].max())
        low, high = si(float(free_watts.min()), "W"), si(float(free_watts.max()), "W")
        return f"power: {low} to {high} free under the caps, {si(needed, 'W')} needed"


def _span(values: Ints) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
