"""Board: the snapshot indexed by chip kind, with the masks that jobs of one shape share.

Everything is filled when first asked for, so that a cycle pays only for what waits; what does not
change between cycles is kept in the ``Atlas`` and taken along.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np

from skep.model.placement import Share
from skep.model.policy import Policy
from skep.model.snapshot import Bools, Floats, Ints, Rates, Snapshot
from skep.rules.decide import DEFAULT, Decision, Facts, concerning, decide, ever_allowed
from skep.scheduler.columns import Columns
from skep.scheduler.ledger import Ledger

_NOTHING: Ints = np.zeros(1, dtype=np.int64)


class Stage(IntEnum):
    """The masks in order: the first that refuses a site names the reason."""

    LOST = 0
    DRAINED = 1
    RULE = 2
    KIND = 3
    JOINED = 4  # a repair: the job runs there already
    QUOTA = 5  # of the queue at this site
    KEPT = 6  # for a job that has waited too long
    CHIPS = 7
    BLOCK = 8  # enough chips, not in one block
    POWER = 9
    LINK = 10
    OTHERS = 11  # this site would do, too few others would


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


class Atlas:
    """What of a pool does not change from cycle to cycle, and what the rules say on a day."""

    def __init__(self, snapshot: Snapshot, policy: Policy, date: datetime.date) -> None:
        self.snapshot, self.policy, self.date = snapshot, policy, date
        self.row = {name: row for row, name in enumerate(snapshot.sites.names)}
        self.kinds = tuple(dict.fromkeys(snapshot.pools.kind))
        places = zip(snapshot.pools.site.tolist(), snapshot.pools.index.tolist(), strict=True)
        self.pools = {place: row for row, place in enumerate(places)}
        self.queues = {queue.name: queue for queue in reversed(policy.queues)}
        speeds = zip(snapshot.pools.kind, snapshot.pools.speed.tolist(), strict=True)
        self.speeds = {**snapshot.speeds, **dict(speeds)}
        self.columns: dict[str, Columns] = {}
        self.gates: dict[tuple[str, str], Gate] = {}

    def covers(self, snapshot: Snapshot, policy: Policy, date: datetime.date) -> bool:
        """Whether it is also that of ``snapshot``: the same pool, sites up and drained, day."""
        ours, theirs = self.snapshot, snapshot
        return (
            ours.pools.kind is theirs.pools.kind
            and ours.pools.chips is theirs.pools.chips
            and ours.sites.bandwidth is theirs.sites.bandwidth
            and self.policy is policy
            and self.date == date
            and _alike(ours.sites.up, theirs.sites.up)
            and _alike(ours.sites.drained, theirs.sites.drained)
        )


class Board:
    """A snapshot under a policy on a day."""

    def __init__(
        self, snapshot: Snapshot, policy: Policy, now: float, atlas: Atlas | None = None
    ) -> None:
        self.snapshot, self.policy = snapshot, policy
        self.date = day_of(now)
        self.atlas = atlas or Atlas(snapshot, policy, self.date)
        self.queues, self.row, self.kinds = self.atlas.queues, self.atlas.row, self.atlas.kinds
        self._clean: dict[str, Floats] = {}
        self._free: dict[str, tuple[int, Ints]] = {}
        self._most: dict[str, tuple[int, int]] = {}

    @cached_property
    def idle(self) -> Ledger:
        """What would be free if no run were alive."""
        return Ledger.empty_pool(self.snapshot, self.policy)

    def columns(self, kind: str) -> Columns:
        """The pools of ``kind``; none at all for a kind that no site has."""
        found = self.atlas.columns.get(kind)
        if found is None:
            found = self.atlas.columns[kind] = Columns(self.snapshot, kind)
        return found

    def speed(self, kind: str, rates: Rates = ()) -> float:
        """FLOP/s of one chip for a job of these ``rates``; of several kinds that of the slowest.

        0 where it is not known.
        """
        known = dict(rates) if rates else self.atlas.speeds
        return min(float(known.get(one, 0.0)) for one in kind.split("+"))

    def clean(self, kind: str) -> Floats:
        """Clean share (0..1) of the draw, per row of the kind's columns."""
        if kind not in self._clean:
            self._clean[kind] = self.snapshot.sites.clean[self.columns(kind).site]
        return self._clean[kind]

    def pool_row(self, share: Share) -> int:
        """Row of the pool that ``share`` lies in."""
        return self.atlas.pools[self.row[share.site], share.pool]

    def free(self, kind: str, ledger: Ledger) -> int:
        """Chips of ``kind`` free in ``ledger``, all sites together."""
        return int(self._roomiest(kind, ledger)[-1])

    def free_over(self, kind: str, sites: int, ledger: Ledger) -> int:
        """The most chips of ``kind`` that so many pools have free together."""
        if sites == 1:
            seen, most = self._most.get(kind, (-1, 0))
            if seen != len(ledger.touched):
                most = int(ledger.free[self.columns(kind).rows].max(initial=0))
                self._most[kind] = len(ledger.touched), most
            return most
        sums = self._roomiest(kind, ledger)
        return int(sums[min(sites, len(sums) - 1)])

    def _roomiest(self, kind: str, ledger: Ledger) -> Ints:
        """Free chips of the n roomiest pools of ``kind`` together, for n from 0 on."""
        seen, sums = self._free.get(kind, (-1, _NOTHING))
        if seen != len(ledger.touched):
            free = np.sort(ledger.free[self.columns(kind).rows])[::-1]
            sums = np.concatenate([_NOTHING, np.cumsum(free)])
            self._free[kind] = len(ledger.touched), sums
        return sums

    def sites_of(self, names: tuple[str, ...] | frozenset[str]) -> list[int]:
        """Rows of the sites of those names that the pool has."""
        return [self.row[name] for name in names if name in self.row]

    def gate(self, queue: str, kind: str) -> Gate:
        """Where ``queue`` may use ``kind``."""
        gates = self.atlas.gates
        if (queue, kind) not in gates:
            kinds = kind.split("+")
            one = [self._gate(queue, each) for each in kinds]
            gates[queue, kind] = one[0] if len(one) == 1 else self._joint(kind, kinds, one)
        return gates[queue, kind]

    def _joint(self, kind: str, kinds: list[str], gates: list[Gate]) -> Gate:
        """The gate of several kinds: open where that of the row's own kind is."""
        columns = self.columns(kind)
        open_, ever = np.zeros(len(columns.rows), bool), np.zeros(len(columns.rows), bool)
        for each, gate in zip(kinds, gates, strict=True):
            mine = np.array([k == each for k in columns.kinds], dtype=bool)
            open_[mine], ever[mine] = gate.open, gate.ever
        furthest = np.argmax([gate.stage for gate in gates], axis=0).tolist()
        verdicts = tuple(gates[best].verdicts[site] for site, best in enumerate(furthest))
        return Gate(np.maximum.reduce([g.stage for g in gates]), open_, ever, verdicts)

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


def _alike(one: Bools, other: Bools) -> bool:
    return one is other or np.array_equal(one, other)


def day_of(now: float) -> datetime.date:
    """The day (UTC) of ``now``, seconds since the epoch."""
    return datetime.datetime.fromtimestamp(now, tz=datetime.UTC).date()
