"""Columns: the pools of one chip kind, or of several for jobs that mix them. They do not change."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from skep.model.snapshot import Bools, Floats, Ints, Rates, Snapshot
from skep.scheduler.ledger import meter_power

# A chip without a known draw: any headroom that is not negative is enough for all of them.
_NO_DRAW = 1e-12


class Columns:
    """In order of site name: the first of equals is the first by name.

    ``kind`` of several kinds is their names with ``+`` between; ``kinds`` is the kind per row.
    """

    def __init__(self, snapshot: Snapshot, kind: str) -> None:
        sites, pools = snapshot.sites, snapshot.pools
        wanted = set(kind.split("+"))
        rows = [row for row, k in enumerate(pools.kind) if k in wanted]
        rows.sort(key=lambda row: (sites.names[pools.site[row]], pools.index[row]))
        self.kind = kind
        self.kinds = tuple(pools.kind[row] for row in rows)
        self.rows: Ints = np.array(rows, dtype=np.int64)
        self.site: Ints = pools.site[self.rows]
        self.pool_site: Ints = pools.site  # of every pool, of whatever kind
        self.index: Ints = pools.index[self.rows]
        self.chips: Ints = pools.chips[self.rows]
        self.node: Ints = np.maximum(pools.chips_per_node[self.rows], 1)
        self.block: Ints = np.maximum(pools.block_chips[self.rows], 1)
        self.watts: Floats = meter_power(pools, sites.pue)[self.rows]
        self.divisor: Floats = np.maximum(self.watts, _NO_DRAW)
        self._speed: dict[Rates, Floats] = {(): pools.speed[self.rows]}
        self.row_of_pool = {pool: row for row, pool in enumerate(rows)}
        self.alone = len(set(self.site.tolist())) == len(rows)  # one pool of the kind per site
        self._sites = sites
        self._linked: dict[tuple[float, float], Bools] = {}

    def linked(self, bandwidth: float = 0.0, rtt: float = np.inf) -> Bools:
        """Which rows can work in one job: at other sites, with a link between. Not with itself.

        The link bears ``bandwidth`` (bit/s) or more, there and back in ``rtt`` (s) or less.
        """
        if (bandwidth, rtt) not in self._linked:
            good = good_links(self._sites.bandwidth, self._sites.rtt, bandwidth, rtt)
            apart = self.site[:, None] != self.site[None, :]
            self._linked[bandwidth, rtt] = good[np.ix_(self.site, self.site)] & apart
        return self._linked[bandwidth, rtt]

    def speed(self, rates: Rates) -> Floats:
        """FLOP/s of one chip per row for a job of these ``rates``; 0 where not known."""
        if rates not in self._speed:
            known = dict(rates)
            found = [known.get(kind, 0.0) for kind in self.kinds]
            self._speed[rates] = np.array(found, dtype=np.float64)
        return self._speed[rates]

    @cached_property
    def all_linked(self) -> bool:
        """Whether any two sites of the kind have a link."""
        return self.alone and bool(self.linked().sum() == len(self.rows) * (len(self.rows) - 1))

    @cached_property
    def quality(self) -> Floats:
        """0..1 for each two rows: bandwidth over that of the pool's widest link; 1 if no limit."""
        width = self._sites.bandwidth[np.ix_(self.site, self.site)]
        finite = self._sites.bandwidth[np.isfinite(self._sites.bandwidth)]
        widest = max(float(finite.max(initial=0.0)), 1.0)
        return np.minimum(width / widest, 1.0)

    def at(self, sites: list[int]) -> Bools:
        """Rows at one of ``sites`` (rows of sites)."""
        return np.isin(self.site, sites)


def good_links(width: Floats, rtt: Floats, bandwidth: float, longest: float) -> Bools:
    """Which of the links of ``width`` and ``rtt`` are there and at least so good."""
    good: Bools = (width > 0) & (width >= bandwidth) & (rtt <= longest)
    return good
