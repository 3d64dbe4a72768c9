"""What the control plane knows of electricity: each site's supply, and who drew how much.

Series are made when first asked for: a command that only lists jobs does not wait for the sun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from skep.control.topology import Topology
from skep.model.snapshot import Floats, Forecast
from skep.model.state import RunState
from skep.model.views import PowerView
from skep.power.account import Account, Draw, run_energy
from skep.power.draw import held_draw
from skep.power.hours import HOUR, hour_of
from skep.power.series import SupplySeries, covered, mix, site_supply

YEAR = 366 * 24
AHEAD = 72
"""Hours that ``Electricity.forecast`` looks ahead."""
Tables = Mapping[str, tuple[float, Mapping[str, Floats]]]
"""Site -> (start of the first hour, columns) for sites whose supply is the user's file."""


class Electricity:
    """Supply of every site over ``hours`` hours from ``start`` (epoch s); repeats afterwards."""

    def __init__(
        self,
        topology: Topology,
        start: float,
        *,
        hours: int = YEAR,
        tables: Tables | None = None,
        on: bool = True,
    ) -> None:
        self._topology, self._start, self._hours = topology, start, hours
        self._tables, self._on = tables or {}, on
        self._series: dict[str, SupplySeries] = {}
        self._own: tuple[int, Floats] | None = None  # hour, W of own supply per site
        self._forecast: tuple[int, Forecast] | None = None  # hour of its first column

    def series(self, site: str) -> SupplySeries | None:
        """The site's supply; None where its power is not described (or all is turned off)."""
        spec = self._topology.site(site)
        if not self._on or spec.power is None:
            return None
        if site not in self._series:
            start, columns = self._tables.get(site, (self._start, None))
            self._series[site] = site_supply(spec, start, self._hours, columns)
        return self._series[site]

    def clean(self, drawn: Floats, now: float) -> Floats:
        """Share (0..1) of each site's draw that its own sun and wind cover now. Length S."""
        return covered(self._own_now(now), drawn)

    def _own_now(self, now: float) -> Floats:
        hour = hour_of(now)
        if self._own is None or self._own[0] != hour:
            found = (self.series(name) for name in self._topology.names)
            own = [0.0 if s is None else float(s.own[s.row(now)]) for s in found]
            self._own = hour, np.array(own)
        return self._own[1]

    def forecast(self, now: float) -> Forecast | None:
        """Every site's power in the next ``AHEAD`` hours; None where all is turned off.

        The series of a site are what is known: computed, they are its clear sky and typical wind.
        """
        if not self._on:
            return None
        hour = hour_of(now)
        if self._forecast is None or self._forecast[0] != hour:
            self._forecast = hour, self._ahead(float(hour * HOUR))
        return self._forecast[1]

    def _ahead(self, start: float) -> Forecast:
        found = [self.series(name) for name in self._topology.names]
        times = start + HOUR * np.arange(AHEAD, dtype=np.float64)
        unknown = np.full(AHEAD, np.nan)

        def column(series: SupplySeries | None, values: Floats | None) -> Floats:
            return unknown if series is None or values is None else values[series.rows(times)]

        return Forecast(
            start=start,
            own=np.array([np.zeros(AHEAD) if s is None else s.own[s.rows(times)] for s in found]),
            carbon=np.array([column(s, s.carbon if s else None) for s in found]),
            price=np.array([column(s, s.price if s else None) for s in found]),
            green=np.array([0.0 if s is None else s.renewable_share for s in found]),
        )

    def at_site(self, site: str, drawn: float, now: float) -> PowerView | None:
        """What feeds the site's draw now; None where its power is not described."""
        series, power = self.series(site), self._topology.site(site).power
        if series is None or power is None:
            return None
        fed = mix(series, now, drawn)
        return PowerView(
            cap=power.cap,
            drawn=drawn,
            sun=fed.sun,
            wind=fed.wind,
            grid=fed.grid,
            renewable=fed.renewable,
            carbon=fed.carbon,
        )

    def of_run(
        self, runs_at: Callable[[str], Iterable[RunState]], now: float
    ) -> Callable[[RunState], tuple[float, float]]:
        """A function run -> (J at the meter so far, renewable share of it).

        ``runs_at`` gives all runs of a site: they share its supply.
        """
        accounts: dict[str, Account | None] = {}

        def energy(run: RunState) -> tuple[float, float]:
            site = run.share.site
            if run.started_at is None:
                return 0.0, 0.0
            if site not in accounts:
                accounts[site] = self._account(site, runs_at(site), now)
            account = accounts[site]
            drawn = account.runs.get(run.run) if account else None
            return (drawn.joules, drawn.renewable_share) if drawn else (0.0, 0.0)

        return energy

    def _account(self, site: str, runs: Iterable[RunState], now: float) -> Account | None:
        series = self.series(site)
        draws = [self._draw(run, now) for run in runs if run.started_at is not None]
        if series is None or not draws:
            return None
        idle = float(self._topology.idle[self._topology.row[site]])
        return run_energy(draws, idle, series, min(d.start for d in draws), now)

    def _draw(self, run: RunState, now: float) -> Draw:
        end = now if run.ended_at is None else run.ended_at
        return Draw(run.run, run.started_at or now, end, run.share.power, self.held(run))

    def held(self, run: RunState) -> float:
        """W at the meter that the run's chips would draw idle."""
        share = run.share
        pue = float(self._topology.pue[self._topology.row[share.site]])
        return held_draw(self._topology.chips[share.chip], share.chips, pue)
