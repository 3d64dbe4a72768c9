"""Defer: whether a job that can wait should, because power will be cleaner or cheaper later.

For each site and each hour in which the job may start, the mean over the hours that it works of

    clean = own + (1 - own) * green,   own = min(1, max(0, sun + wind - draw) / needed)
    cost  = (1 - own) * price

``draw`` is what the site draws now without it, ``needed`` the W of its chips at work. It is held
back if the best later start is cleaner by ``CLEANER`` or cheaper by ``CHEAPER`` than the best one
now, and starts at the latest when its window ends.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np

from skep.model.snapshot import Bools, Floats, Forecast, Ints
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.room import room

CLEANER = 0.10
CHEAPER = 0.10
# Of later starts about as good as the best (this near) the earliest is taken.
_NEAR = 0.02
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Later:
    """Hold the job until ``start`` (epoch s), and why."""

    start: float
    reason: str


def better_later(
    board: Board, ledger: Ledger, ask: Ask, length: float, start_by: float, now: float
) -> Later | None:
    """When the job should rather start; None for now."""
    forecast = board.snapshot.forecast
    if forecast is None or start_by <= now:
        return None
    columns = board.columns(ask.kind)
    part = -(-ask.least // ask.sites_max)
    open_ = board.gate(ask.queue, ask.kind).open & (columns.chips >= part)
    here = open_ & (room(board, ledger, ask) >= part)
    if not here.any():
        return None
    first = int((now - forecast.start) // HOUR)
    last = min(int((start_by - forecast.start) // HOUR), forecast.own.shape[1] - 1)
    if last <= first:
        return None
    sites, watts = columns.site, columns.watts * part
    own = _own(forecast, board.snapshot.sites.power_drawn, sites, watts)
    clean = _means(own + (1.0 - own) * forecast.green[sites][:, None], length, first, last)
    cost = _means((1.0 - own) * forecast.price[sites], length, first, last)
    found = _cleaner(clean, here, open_) or _cheaper(cost, here, open_)
    if found is None:
        return None
    hour, row, words = found
    start = forecast.start + (first + hour) * HOUR
    name = board.snapshot.sites.names[sites[row]]
    reason = f"held until {_clock(start)}: {words} at {name} by the forecast"
    return Later(start, f"{reason}; starts by {_clock(start_by)}")


def _own(forecast: Forecast, drawn: Floats, sites: Ints, watts: Floats) -> Floats:
    """Share 0..1 of the job's draw that each row's own sun and wind bear, by hour."""
    spare = np.maximum(0.0, forecast.own - drawn[:, None])[sites]
    share = (spare > 0).astype(np.float64)
    needed = watts[:, None]
    np.divide(spare, needed, out=share, where=spare < needed)
    return np.asarray(share)


def _means(values: Floats, length: float, first: int, last: int) -> Floats:
    """Means over the job's hours for a start in each hour ``first`` to ``last``; rows x starts."""
    hours = values.shape[1]
    count = max(1, min(int(np.ceil(length / HOUR)), hours)) if np.isfinite(length) else hours
    total = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    starts = np.arange(first, last + 1)
    ends = np.minimum(starts + count, hours)
    return np.asarray((total[:, ends] - total[:, starts]) / np.maximum(ends - starts, 1))


def _cleaner(clean: Floats, here: Bools, open_: Bools) -> tuple[int, int, str] | None:
    now = float(clean[here, 0].max())
    later = np.where(open_[:, None], clean, -np.inf)[:, 1:].max(axis=0)
    best = float(later.max())
    if best < now + CLEANER:
        return None
    hour = 1 + int(np.argmax(later >= best - _NEAR))
    row = int(np.argmax(np.where(open_, clean[:, hour], -np.inf)))
    return hour, row, f"{100 * clean[row, hour]:.0f} % clean power instead of {100 * now:.0f} %"


def _cheaper(cost: Floats, here: Bools, open_: Bools) -> tuple[int, int, str] | None:
    known = np.isfinite(cost).all(axis=1)
    if not (known & here).any():
        return None
    now = float(cost[known & here, 0].min())
    later = np.where((open_ & known)[:, None], cost, np.inf)[:, 1:].min(axis=0)
    best = float(later.min())
    if not best < now - CHEAPER * abs(now):
        return None
    hour = 1 + int(np.argmax(later <= best + _NEAR * abs(now)))
    row = int(np.argmin(np.where(open_ & known, cost[:, hour], np.inf)))
    return hour, row, f"power for {cost[row, hour]:.0f} instead of {now:.0f} USD/MWh"


def _clock(when: float) -> str:
    moment = datetime.datetime.fromtimestamp(when, tz=datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"
