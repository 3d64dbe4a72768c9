"""Ledger: the working copy of what is free while one plan is made; nothing else is written to.

It only ever falls within a cycle, so what was refused once in a cycle stays refused in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skep.model.policy import Policy
from skep.model.snapshot import Floats, Ints, Pools, Snapshot


@dataclass(frozen=True, slots=True)
class Ledger:
    """Chips free per pool (length P), W free at the meter per site (length S), held per queue."""

    free: Ints
    headroom: Floats
    held: dict[str, int]

    @classmethod
    def now(cls, snapshot: Snapshot, policy: Policy) -> Ledger:
        """What is free in the snapshot; the policy's power margin is kept free."""
        sites = snapshot.sites
        headroom = sites.power_cap * (1.0 - policy.power_margin) - sites.power_drawn
        return cls(snapshot.pools.free.copy(), headroom, dict(snapshot.held))

    @classmethod
    def empty_pool(cls, snapshot: Snapshot, policy: Policy) -> Ledger:
        """What would be free if no run were alive."""
        sites, pools = snapshot.sites, snapshot.pools
        idle = sites.power_drawn - _drawn_by_runs(pools, sites.pue)
        headroom = sites.power_cap * (1.0 - policy.power_margin) - idle
        return cls(pools.chips.copy(), headroom, {})

    def take(self, rows: Ints, sites: Ints, chips: Ints, power: Floats, queue: str) -> None:
        """Take ``chips`` off the pools ``rows`` and ``power`` (W) off ``sites``; no row twice."""
        self.free[rows] -= chips
        self.headroom[sites] -= power
        self.held[queue] = self.held.get(queue, 0) + int(chips.sum())


def meter_power(pools: Pools, pue: Floats) -> Floats:
    """W at the meter that one chip at work adds, per pool (length P)."""
    return pools.marginal_power * pue[pools.site]


def _drawn_by_runs(pools: Pools, pue: Floats) -> Floats:
    held = (pools.chips - pools.free) * meter_power(pools, pue)
    drawn: Floats = np.bincount(pools.site, weights=held, minlength=len(pue)).astype(np.float64)
    return drawn
