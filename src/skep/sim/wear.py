"""What breaks when, for a replayed trace: drawn from a failure model, or listed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from skep.control.topology import Topology
from skep.errors import InputError, nearest
from skep.model.snapshot import Floats, Ints
from skep.sim.conditions import BreakKind, Conditions, Mishap, Wear


@dataclass(frozen=True, slots=True, order=True)
class Broken:
    """At ``at`` s, thing ``row`` of pool (or site, or link) ``place`` breaks, for ``lasts`` s."""

    at: float
    kind: BreakKind
    place: int  # row of the pool; of the site for a site; of ``links(topology)`` for a link
    row: int
    lasts: float


def links(topology: Topology) -> tuple[tuple[str, str], ...]:
    """The links of the pool file."""
    return tuple(link.between for link in topology.pool.links)


def breakages(
    conditions: Conditions, topology: Topology, seed: int, until: float
) -> tuple[Broken, ...]:
    """All that breaks in the first ``until`` s, in order. Raises ``InputError`` for a bad list."""
    found = list(_listed(conditions.faults, topology, seed))
    for number, wear in enumerate(conditions.failures):
        found += _worn(wear, topology, np.random.default_rng([seed, 11, number]), until)
    return tuple(sorted(found))


def _worn(
    wear: Wear, topology: Topology, chance: np.random.Generator, until: float
) -> Iterator[Broken]:
    counts = _counts(wear.kind, topology)
    if wear.chip is not None:
        counts = counts * _of_kind(wear, topology)
    ends = np.cumsum(counts)
    times, units = _renewals(wear, int(ends[-1]) if len(ends) else 0, chance, until)
    repairs = chance.exponential(wear.repair, size=len(times))
    places = np.searchsorted(ends, units, side="right")
    rows = units - (ends[places] - counts[places]) if len(units) else units
    for at, place, row, lasts in zip(
        times.tolist(), places.tolist(), rows.tolist(), repairs.tolist(), strict=True
    ):
        yield Broken(at, wear.kind, place, row, lasts)


def _renewals(
    wear: Wear, things: int, chance: np.random.Generator, until: float
) -> tuple[Floats, Ints]:
    """Times and things of all failures: a renewal process for each thing, all new at 0."""
    scale = wear.every / math.gamma(1.0 + 1.0 / wear.shape)
    units = np.arange(things, dtype=np.int64)
    at = np.zeros(things)
    times: list[Floats] = []
    which: list[Ints] = []
    while len(units):
        at = at + scale * chance.weibull(wear.shape, size=len(units))
        alive = at < until
        units, at = units[alive], at[alive]
        times.append(at)
        which.append(units)
    if not times:
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    return np.concatenate(times), np.concatenate(which)


def _counts(kind: BreakKind, topology: Topology) -> Ints:
    """How many such things each pool (site, link) has."""
    if kind == "site":
        return np.ones(len(topology.names), dtype=np.int64)
    if kind == "link":
        return np.ones(len(links(topology)), dtype=np.int64)
    if kind == "chip":
        return topology.total
    size = topology.chips_per_node if kind == "node" else topology.block_chips
    counts: Ints = -(-topology.total // np.maximum(size, 1))
    return counts


def _of_kind(wear: Wear, topology: Topology) -> Ints:
    if wear.kind in ("site", "link"):
        allowed = "allowed: for kind chip, node and block only"
        raise InputError("failures.chip", wear.chip, allowed)
    if wear.chip not in topology.kind:
        near = nearest(str(wear.chip), topology.kind)
        raise InputError("failures.chip", wear.chip, f"allowed: a chip kind of the pool{near}")
    return np.array([kind == wear.chip for kind in topology.kind], dtype=np.int64)


def _listed(faults: Sequence[Mishap], topology: Topology, seed: int) -> Iterator[Broken]:
    chance = np.random.default_rng([seed, 12])
    for number, fault in enumerate(faults):
        drawn = chance.random(2)
        place = _place(fault, f"faults[{number}]", topology, float(drawn[0]))
        count = int(_counts(fault.kind, topology)[place])
        row = int(drawn[1] * count) if fault.row is None else fault.row
        if fault.kind in ("site", "link"):
            row = 0
        elif row >= count:
            allowed = f"allowed: 0 to {count - 1}, a {fault.kind} of the pool"
            raise InputError(f"faults[{number}].row", fault.row, allowed)
        yield Broken(fault.at, fault.kind, place, row, fault.lasts)


def _place(fault: Mishap, field: str, topology: Topology, drawn: float) -> int:
    if fault.kind == "link":
        known = [frozenset(pair) for pair in links(topology)]
        pair = frozenset(fault.between or ())
        if pair not in known:
            raise InputError(f"{field}.between", fault.between, "allowed: a link of the pool file")
        return known.index(pair)
    name = (
        fault.site if fault.site is not None else topology.names[int(drawn * len(topology.names))]
    )
    if name not in topology.row:
        near = nearest(name, topology.names)
        raise InputError(f"{field}.site", name, f"allowed: a site of the pool{near}")
    if fault.kind == "site":
        return int(topology.row[name])
    if (name, fault.pool) not in topology.pool_row:
        count = len(topology.site(name).pools)
        raise InputError(f"{field}.pool", fault.pool, f"allowed: 0 to {count - 1} at {name}")
    return int(topology.pool_row[name, fault.pool])
