"""Board: the snapshot indexed by chip kind, with the masks that jobs of one shape share.

Everything is filled when first asked for, so that a cycle pays only for what waits.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from skep.model.policy import Policy
from skep.model.snapshot import Bools, Floats, Ints, Snapshot
from skep.rules.decide import DEFAULT, Decision, Facts, concerning, decide, ever_allowed
from skep.scheduler.ledger import Ledger, meter_power

# A chip without a known draw: any headroom that is not negative is enough for all of them.
_NO_DRAW = 1e-12


class Stage(IntEnum):
    """The masks in order: the first that refuses a site names the reason."""

    LOST = 0
    DRAINED = 1
    RULE = 2
    KIND = 3
    JOINED = 4  # a repair: the job runs there already
    CHIPS = 5
    POWER = 6
    LINK = 7
    OTHERS = 8  # this site would do, too few others would


@dataclass(frozen=True, slots=True)
class Gate:
    """Where a queue may use a chip kind at all.

    ``stage`` per site: LOST, DRAINED, RULE, KIND, or OTHERS where the gate is open; ``open`` the
    same per row of the kind's columns; ``ever`` where neither runs nor days, only the policy or
    the pool would have to change; ``verdicts`` what the rules say per site.
    """

    stage: Ints
    open: Bools
    ever: Bools
    verdicts: tuple[Decision, ...]


class Columns:
    """The pools of one chip kind, in order of site name: first of equals is first by name."""

    def __init__(self, snapshot: Snapshot, kind: str) -> None:
        sites, pools = snapshot.sites, snapshot.pools
        rows = [row for row, k in enumerate(pools.kind) if k == kind]
        rows.sort(key=lambda row: (sites.names[pools.site[row]], pools.index[row]))
        self.kind = kind
        self.rows: Ints = np.array(rows, dtype=np.int64)
        self.site: Ints = pools.site[self.rows]
        self.chips: Ints = pools.chips[self.rows]
        self.node: Ints = np.maximum(pools.chips_per_node[self.rows], 1)
        self.block: Ints = np.maximum(pools.block_chips[self.rows], 1)
        self.watts: Floats = meter_power(pools, sites.pue)[self.rows]
        self.divisor: Floats = np.maximum(self.watts, _NO_DRAW)
        self.speed: Floats = pools.speed[self.rows]
        self.clean: Floats = sites.clean[self.site]
        self.alone = len(set(self.site.tolist())) == len(rows)  # one pool of the kind per site
        self._sites = sites

    @cached_property
    def linked(self) -> Bools:
        """Which rows can work in one job: at other sites, with a link between. Not with itself."""
        width = self._sites.bandwidth[np.ix_(self.site, self.site)]
        linked: Bools = (width > 0) & (self.site[:, None] != self.site[None, :])
        return linked

    @cached_property
    def quality(self) -> Floats:
        """0..1 for each two rows: bandwidth over that of the pool's widest link; 1 if no limit."""
        width = self._sites.bandwidth[np.ix_(self.site, self.site)]
        finite = self._sites.bandwidth[np.isfinite(self._sites.bandwidth)]
        widest = max(float(finite.max(initial=0.0)), 1.0)
        return np.minimum(width / widest, 1.0)

    def at(self, board: Board, names: frozenset[str]) -> Bools:
        """Rows at one of the sites ``names``."""
        return np.isin(self.site, [board.row[name] for name in names if name in board.row])


class Board:
    """A snapshot under a policy on a day."""

    def __init__(self, snapshot: Snapshot, policy: Policy, now: float) -> None:
        self.snapshot, self.policy = snapshot, policy
        self.date = datetime.datetime.fromtimestamp(now, tz=datetime.UTC).date()
        self.queues = {queue.name: queue for queue in reversed(policy.queues)}
        self.row = {name: row for row, name in enumerate(snapshot.sites.names)}
        self.kinds = tuple(dict.fromkeys(snapshot.pools.kind))
        self._columns: dict[str, Columns] = {}
        self._gates: dict[tuple[str, str], Gate] = {}

    @cached_property
    def idle(self) -> Ledger:
        """What would be free if no run were alive."""
        return Ledger.empty_pool(self.snapshot, self.policy)

    def columns(self, kind: str) -> Columns:
        """The pools of ``kind``; none at all for a kind that no site has."""
        if kind not in self._columns:
            self._columns[kind] = Columns(self.snapshot, kind)
        return self._columns[kind]

    def gate(self, queue: str, kind: str) -> Gate:
        """Where ``queue`` may use ``kind``."""
        if (queue, kind) not in self._gates:
            self._gates[queue, kind] = self._gate(queue, kind)
        return self._gates[queue, kind]

    def _gate(self, queue: str, kind: str) -> Gate:
        sites, columns = self.snapshot.sites, self.columns(kind)
        verdicts, ever = self._verdicts(queue, kind)
        has = np.zeros(len(sites.names), dtype=bool)
        has[columns.site] = True
        allowed = np.array([v.allowed for v in verdicts], dtype=bool)
        conditions = [~sites.up, sites.drained, ~allowed, ~has]
        stages = [Stage.LOST, Stage.DRAINED, Stage.RULE, Stage.KIND]
        stage = np.select(conditions, stages, default=Stage.OTHERS)
        return Gate(stage, stage[columns.site] == Stage.OTHERS, ever[columns.site], verdicts)

    def _verdicts(self, queue: str, kind: str) -> tuple[tuple[Decision, ...], Bools]:
        sites = self.snapshot.sites
        rules = concerning(self.policy.rules, queue, kind)
        if not rules:
            return (DEFAULT,) * len(sites.names), np.ones(len(sites.names), dtype=bool)
        facts = [
            Facts(queue, kind, *where) for where in zip(sites.names, sites.countries, strict=True)
        ]
        ever = np.array([ever_allowed(rules, f, self.date) for f in facts], dtype=bool)
        return tuple(decide(rules, f, self.date) for f in facts), ever
