"""Promises: what is to be left whole from a time to come, by everything that is placed now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from skep.model.policy import Policy
from skep.model.snapshot import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Window:
    """Maintenance at one site (a row): closed where ``cap`` is None, else at most so many W."""

    site: int
    start: float
    end: float
    cap: float | None
    reason: str


@dataclass(slots=True)
class InBlock:
    """Where a promise lies in one block: of its ``pool``, with ``chips``.

    ``spare`` is what others may have of the block at the promise's start; it falls as they do.
    """

    pool: int
    block: int
    chips: int
    spare: int

    def same(self, other: InBlock) -> bool:
        """Whether both are of one block."""
        return (self.pool, self.block) == (other.pool, other.block)


@dataclass(frozen=True, slots=True)
class Promise:
    """From ``start`` to ``end``: ``chips`` of ``pools`` and ``power`` (W) of ``sites`` are taken.

    ``job`` is "" for the power that a window takes away. ``free`` (per pool) and ``headroom`` (per
    site) are what is left beside it at its start; both fall with each placement that lasts so long.
    """

    job: str
    start: float
    end: float
    pools: Ints
    sites: Ints
    chips: Ints
    power: Floats
    free: Ints
    headroom: Floats
    block: InBlock | None = None


def less(
    free: Ints, headroom: Floats, pools: Ints, sites: Ints, chips: Ints, power: Floats
) -> None:
    """Take ``chips`` of ``pools`` off ``free``, and ``power`` of ``sites`` off ``headroom``."""
    if len(pools) != 1 or len(sites) != 1:
        free[pools] -= chips
        np.subtract.at(headroom, sites, power)
    else:  # as most are: a tenth of the time
        free[pools.item()] -= chips.item()
        headroom[sites.item()] -= power.item()


def windows_of(policy: Policy, names: Iterable[str], now: float) -> list[Window]:
    """The policy's windows that are not over, at the sites ``names``; in order of start."""
    row = {name: number for number, name in enumerate(names)} if policy.maintenance else {}
    found = [
        Window(row[w.site], w.start.timestamp(), w.end.timestamp(), w.cap, w.reason)
        for w in policy.maintenance
        if w.site in row and w.end.timestamp() > now
    ]
    return sorted(found, key=lambda window: (window.start, window.site))


def shut_sites(windows: Iterable[Window], sites: int, start: float, end: float) -> Bools | None:
    """Which of so many sites are closed at some time of ``start`` to ``end``; None for none."""
    rows = [w.site for w in windows if w.cap is None and w.start < end and w.end > start]
    if not rows:
        return None
    shut = np.zeros(sites, dtype=bool)
    shut[rows] = True
    return shut
