"""Accounts: whose energy it was, and where it came from.

The draw of a site is constant between edges: starts and ends of runs, and hours. In each step own
supply (sun, wind) covers the draw first and the grid covers the rest; every run, and what is idle,
has the same mix as the meter in that step. So all runs and the idle part add up to the meter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from skep.model.snapshot import Floats, Ints
from skep.power.series import SupplySeries, covered

JOULES_PER_KWH = 3.6e6
JOULES_PER_MWH = 3.6e9


@dataclass(frozen=True, slots=True)
class Draw:
    """What a run took from ``start`` to ``end`` (epoch s; ``inf`` while it lives).

    ``watts`` is what it added to the meter. ``held`` is the part of the site's idle draw that
    its own chips account for: it is moved from idle to the run, the meter does not change.
    """

    run: str
    start: float
    end: float
    watts: float
    held: float = 0.0


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy at the meter and where it came from. ``None`` means not known, never zero."""

    joules: float = 0.0
    own_joules: float = 0.0  # from the site's sun and wind
    grid_renewable_joules: float = 0.0  # the renewable share of what the grid delivered
    carbon_kg: float | None = 0.0  # of the grid's part; own supply counts as none
    location_carbon_kg: float | None = 0.0  # as if all of it had come from the grid
    usd: float | None = 0.0  # of the grid's part; own supply counts as paid for

    @property
    def renewable_joules(self) -> float:
        return self.own_joules + self.grid_renewable_joules

    @property
    def renewable_share(self) -> float:
        """0..1; 0 where there was no energy."""
        return min(1.0, self.renewable_joules / self.joules) if self.joules > 0 else 0.0

    def __add__(self, other: Energy) -> Energy:
        return Energy(
            self.joules + other.joules,
            self.own_joules + other.own_joules,
            self.grid_renewable_joules + other.grid_renewable_joules,
            _plus(self.carbon_kg, other.carbon_kg),
            _plus(self.location_carbon_kg, other.location_carbon_kg),
            _plus(self.usd, other.usd),
        )


@dataclass(frozen=True, slots=True)
class Account:
    """Energy of one site over a window: per run, idle, and the meter; runs + idle = meter."""

    runs: dict[str, Energy]
    idle: Energy
    meter: Energy


def run_energy(
    draws: Sequence[Draw], idle: float, series: SupplySeries, start: float, end: float
) -> Account:
    """Account of one site from ``start`` to ``end`` (epoch s).

    ``idle`` is its draw in W at the meter with every chip idle. Draws outside the window count
    only for the part inside; several draws of one run add up. Accounts of windows that follow
    each other add up too (``total``).
    """
    inside = [d for d in (_cut(d, start, end) for d in draws) if d.end > d.start]
    edges = _edges(inside, series, start, end)
    length = np.diff(edges)
    from_edge, to_edge, watts, held = _columns(inside, edges)
    meter = idle + _steps(from_edge, to_edge, watts, len(length))
    spare = idle - _steps(from_edge, to_edge, held, len(length))
    rates = _rates(series, edges[:-1], meter)
    sums = np.concatenate([np.zeros((len(rates), 1)), np.cumsum(rates * length, axis=1)], axis=1)
    per_run = (watts + held) * (sums[:, to_edge] - sums[:, from_edge])
    runs: dict[str, Energy] = {}
    for draw, column in zip(inside, per_run.T, strict=True):
        runs[draw.run] = runs.get(draw.run, nothing(series)) + _energy(column, series)
    return Account(
        runs=runs,
        idle=_energy((rates * (spare * length)).sum(axis=1), series),
        meter=_energy((rates * (meter * length)).sum(axis=1), series),
    )


def total(parts: Iterable[Energy]) -> Energy:
    """The sum; zero of everything where there are no parts."""
    answer = Energy()
    for part in parts:
        answer = answer + part
    return answer


def nothing(series: SupplySeries) -> Energy:
    """Zero energy; carbon and cost are ``None`` where ``series`` does not know them."""
    carbon = None if series.carbon is None else 0.0
    usd = None if series.price is None else 0.0
    return Energy(carbon_kg=carbon, location_carbon_kg=carbon, usd=usd)


def _plus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _cut(draw: Draw, start: float, end: float) -> Draw:
    return Draw(draw.run, max(draw.start, start), min(draw.end, end), draw.watts, draw.held)


def _edges(draws: Sequence[Draw], series: SupplySeries, start: float, end: float) -> Floats:
    """Sorted moments between which nothing changes; a single one where the window is empty."""
    if end <= start:
        return np.array([start])
    ends = [d.start for d in draws] + [d.end for d in draws]
    return np.unique(np.concatenate([[start, end], ends, series.edges(start, end)]))


def _columns(draws: Sequence[Draw], edges: Floats) -> tuple[Ints, Ints, Floats, Floats]:
    """Per draw: its first and last edge, W added, W held."""
    table = np.array([(d.start, d.end, d.watts, d.held) for d in draws], dtype=np.float64)
    start, end, watts, held = table.reshape(-1, 4).T
    first, last = np.searchsorted(edges, start), np.searchsorted(edges, end)
    return first.astype(np.int64), last.astype(np.int64), watts, held


def _steps(from_edge: Ints, to_edge: Ints, watts: Floats, count: int) -> Floats:
    """W of all draws together in each of ``count`` steps."""
    change = np.zeros(count + 1)
    np.add.at(change, from_edge, watts)
    np.subtract.at(change, to_edge, watts)
    return np.cumsum(change)[:-1]


def _rates(series: SupplySeries, starts: Floats, meter: Floats) -> Floats:
    """6 x steps: what one W of draw means per second, in the order of ``Energy``'s fields."""
    row = series.rows(starts)
    own = covered(series.own[row], meter)
    grid = 1.0 - own
    carbon = np.zeros(len(row)) if series.carbon is None else series.carbon[row]
    price = np.zeros(len(row)) if series.price is None else series.price[row]
    per_joule = carbon / 1000.0 / JOULES_PER_KWH
    cost = grid * price / JOULES_PER_MWH
    share = grid * series.renewable_share
    return np.stack([np.ones(len(row)), own, share, grid * per_joule, per_joule, cost])


def _energy(sums: Floats, series: SupplySeries) -> Energy:
    joules, own, green, carbon, location, usd = (float(x) for x in sums)
    known = series.carbon is not None
    return Energy(
        joules=joules,
        own_joules=own,
        grid_renewable_joules=green,
        carbon_kg=carbon if known else None,
        location_carbon_kg=location if known else None,
        usd=usd if series.price is not None else None,
    )
