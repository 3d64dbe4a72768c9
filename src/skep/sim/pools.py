"""Pools made up for a scenario: sites near real places, caps and supplies that fit their chips.

Sizes are drawn: a few sites are large, most are small (a lognormal, as published lists of data
centres look). Caps, wind and sun follow from the chips; nothing here is a real site's figure.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources

import numpy as np

from skep.errors import InputError, nearest
from skep.model.chip import Chip
from skep.model.site import NodePool, Place, Pool, Power, Site
from skep.model.snapshot import Ints
from skep.model.supply import Grid, Sun, Supply, Wind
from skep.sim.scenario import Chips, Generated

SPREAD = 0.6  # sigma of the sizes of sites
# Above what the chips need: what a policy keeps free (2 % by default), and 3 % of rounding up.
HEADROOM = 1.05
_JITTER = 0.3  # degrees around a place
_WIND, _SUN = 1.0, 0.5  # capacity of each, in caps


def generated_pool(spec: Generated, chips: Mapping[str, Chip], name: str) -> Pool:
    """The pool of the specification; the same one for the same seed. Raises ``InputError``."""
    chance = np.random.default_rng([spec.seed, 300])
    held: list[list[tuple[Chips, int]]] = [[] for _ in range(spec.sites)]
    for row, kind in enumerate(spec.chips):
        if kind.kind not in chips:
            allowed = f"allowed: a kind of skep's catalogue{nearest(kind.kind, chips)}"
            raise InputError(f"pool.chips[{row}].kind", kind.kind, allowed)
        for site, nodes in enumerate(_spread(kind, row, spec.sites, chance)):
            if nodes:
                held[site].append((kind, int(nodes)))
    empty = sum(not pools for pools in held)
    if empty:
        raise InputError("pool.sites", spec.sites, f"allowed: {spec.sites - empty}: all have chips")
    sites = tuple(_site(spec, row, pools, chips, chance) for row, pools in enumerate(held))
    return Pool(name=name, sites=sites, lease=spec.lease)


def _spread(kind: Chips, row: int, sites: int, chance: np.random.Generator) -> Ints:
    """Nodes at each site: at least one at each that has any; the sum is exact."""
    field = f"pool.chips[{row}]"
    nodes, rest = divmod(kind.chips, kind.chips_per_node)
    if rest:
        allowed = f"allowed: a multiple of {kind.chips_per_node} (chips_per_node)"
        raise InputError(f"{field}.chips", kind.chips, allowed)
    count = kind.sites or sites
    if not count <= min(sites, nodes):
        raise InputError(f"{field}.sites", count, f"allowed: at most {min(sites, nodes)}")
    found = np.zeros(sites, dtype=np.int64)
    at = np.sort(chance.choice(sites, size=count, replace=False))
    weights = chance.lognormal(0.0, SPREAD, size=count)
    exact = weights / weights.sum() * (nodes - count)
    whole = np.floor(exact).astype(np.int64)
    last = np.argsort(whole - exact, kind="stable")[: nodes - count - int(whole.sum())]
    whole[last] += 1
    found[at] = whole + 1
    return found


def _site(
    spec: Generated,
    row: int,
    held: list[tuple[Chips, int]],
    chips: Mapping[str, Chip],
    chance: np.random.Generator,
) -> Site:
    known = _places()
    place = known[row % len(known)]
    draw = sum(_need(kind, nodes, chips[kind.kind]) for kind, nodes in held) * spec.pue
    cap = float(np.ceil(draw * HEADROOM))
    shift = chance.uniform(-_JITTER, _JITTER, size=2)
    return Site(
        name=f"{place['place']}-{row // len(known) + 1}",
        engine="simulated",
        place=Place(
            latitude=round(float(place["latitude"]) + float(shift[0]), 2),
            longitude=round(float(place["longitude"]) + float(shift[1]), 2),
            country=place["country"],
            region=place["region"],
        ),
        pools=tuple(_pool(kind, nodes) for kind, nodes in held),
        power=Power(cap=cap, pue=spec.pue, supply=_supply(spec, row, place, cap)),
    )


def _need(kind: Chips, nodes: int, chip: Chip) -> float:
    """W of the nodes with the powered part of the chips at work and the others idle."""
    busy = max(0.0, chip.busy_power - chip.idle_power)
    return nodes * kind.chips_per_node * (chip.idle_power + kind.powered * busy)


def _pool(kind: Chips, nodes: int) -> NodePool:
    return NodePool(
        chip=kind.kind,
        nodes=nodes,
        chips_per_node=kind.chips_per_node,
        nodes_per_block=kind.nodes_per_block,
    )


def _supply(spec: Generated, row: int, place: Mapping[str, str], cap: float) -> Supply:
    grid = Grid(carbon=float(place["carbon_g_kwh"]), source=place["source"])
    if not spec.supply:
        return Supply(grid=grid)
    wind = None
    if place["wind_capacity_factor"]:
        wind = Wind(
            capacity=cap * _WIND,
            capacity_factor=float(place["wind_capacity_factor"]),
            seed=spec.seed * 100_003 + row,
            source=place["source"],
        )
    return Supply(sun=Sun(capacity=cap * _SUN), wind=wind, grid=grid)


@cache
def _places() -> tuple[dict[str, str], ...]:
    table = resources.files("skep.data").joinpath("places.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(table.splitlines()))
