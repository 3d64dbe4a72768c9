"""What does not change while a control plane runs: the pool file as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from skep.control.rates import usual_rates
from skep.model.chip import Chip
from skep.model.site import NodePool, Pool, Site
from skep.model.snapshot import Floats, Ints
from skep.power.draw import idle_draw
from skep.scheduler.blocks import packed


@dataclass(frozen=True, slots=True)
class Topology:
    """Columns over sites (length S) and over pools (length P, ordered by site and pool index)."""

    pool: Pool
    chips: Mapping[str, Chip]
    names: tuple[str, ...]
    row: Mapping[str, int]  # site name -> row
    countries: tuple[str, ...]
    cap: Floats
    pue: Floats
    idle: Floats  # W at the meter with all chips idle
    bandwidth: Floats
    rtt: Floats
    pool_row: Mapping[tuple[str, int], int]  # (site, pool index) -> row of the pool
    pool_site: Ints
    pool_index: Ints
    kind: tuple[str, ...]
    total: Ints
    chips_per_node: Ints
    block_chips: Ints
    first_block: Ints  # of pool p blocks first_block[p] to first_block[p + 1]; length P + 1
    block_chips_of_each: Ints  # chips of each block of each pool
    speeds: Mapping[str, float]  # FLOP/s of one chip, of every kind that is known
    marginal: Floats
    speed: Floats

    def site(self, name: str) -> Site:
        """The site's specification. Raises ``KeyError``."""
        return self.pool.sites[self.row[name]]


def topology(pool: Pool, chips: Mapping[str, Chip]) -> Topology:
    """Columns of ``pool``; ``chips`` must have every kind that it names."""
    flat = [(r, i, p) for r, s in enumerate(pool.sites) for i, p in enumerate(s.pools)]
    kinds = [chips[p.chip] for _, _, p in flat]
    row = {s.name: r for r, s in enumerate(pool.sites)}
    speeds = usual_rates(chips)
    bandwidth, rtt = _links(pool, row)
    blocks = [packed(p.chips, _block(p)) for _, _, p in flat]
    return Topology(
        pool=pool,
        chips=chips,
        names=tuple(row),
        row=row,
        countries=tuple(s.place.country if s.place else "" for s in pool.sites),
        cap=np.array([s.power.cap if s.power else np.inf for s in pool.sites]),
        pue=np.array([s.power.pue if s.power else 1.0 for s in pool.sites]),
        idle=np.array([idle_draw(s, chips) for s in pool.sites]),
        bandwidth=bandwidth,
        rtt=rtt,
        pool_row={(pool.sites[r].name, i): n for n, (r, i, _) in enumerate(flat)},
        pool_site=np.array([r for r, _, _ in flat], dtype=np.int64),
        pool_index=np.array([i for _, i, _ in flat], dtype=np.int64),
        kind=tuple(p.chip for _, _, p in flat),
        total=np.array([p.chips for _, _, p in flat], dtype=np.int64),
        chips_per_node=np.array([p.chips_per_node for _, _, p in flat], dtype=np.int64),
        block_chips=np.array([_block(p) for _, _, p in flat], dtype=np.int64),
        first_block=np.cumsum([0, *map(len, blocks)], dtype=np.int64),
        block_chips_of_each=np.array([c for each in blocks for c in each], dtype=np.int64),
        speeds=speeds,
        marginal=np.array([max(0.0, c.busy_power - c.idle_power) for c in kinds]),
        speed=np.array([speeds.get(c.kind, 0.0) for c in kinds]),
    )


def _block(pool: NodePool) -> int:
    return pool.block_nodes * pool.chips_per_node


def _links(pool: Pool, row: Mapping[str, int]) -> tuple[Floats, Floats]:
    """S x S bandwidth and rtt. A pool file without any links: all sites reach each other."""
    count = len(row)
    bandwidth = np.full((count, count), 0.0 if pool.links else np.inf)
    np.fill_diagonal(bandwidth, np.inf)
    rtt = np.zeros((count, count))
    for link in pool.links:
        a, b = (row[name] for name in link.between)
        bandwidth[a, b] = bandwidth[b, a] = link.bandwidth
        rtt[a, b] = rtt[b, a] = link.rtt
    return bandwidth, rtt
