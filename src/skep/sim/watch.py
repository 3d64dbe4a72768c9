"""What must hold at every moment of a simulation, whatever breaks."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from skep.control.service import Control
from skep.control.world import World
from skep.lifecycle import replay
from skep.model.event import Event
from skep.model.policy import Policy
from skep.sim.engine import SimulatedEngine, SimulatedRun
from skep.store.base import Store

_ROUNDING = 1e-6


class Watch:
    """Collects violations; a right product leaves ``violations`` empty."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._starts: dict[str, float] = {}
        self._shares: dict[tuple[str, int], list[tuple[SimulatedEngine, SimulatedRun]]]
        self._shares = defaultdict(list)

    def started(self, engine: SimulatedEngine, run: SimulatedRun) -> None:
        """A run's processes start: never the same id again, never beside another attempt."""
        now, name = engine.clock(), run.order.run
        if name in self._starts:
            self._say(now, f"run {name} is started twice, first at {self._starts[name]:.3f}")
        self._starts[name] = now
        share = self._shares[run.order.job, run.order.share.rank]
        for place, other in share:
            place.settle()
            if other.runs_at(place.clock()):
                self._say(now, f"runs {other.order.run} and {name} of one share live at once")
        share[:] = [(place, other) for place, other in share if other.runs_at(place.clock())]
        share.append((engine, run))

    def check(self, world: World, policy: Policy, now: float) -> None:
        """Cheap checks over columns: after each step of the simulation."""
        topology = world.topology
        if np.any(world.free < 0) or np.any(world.free > topology.total):
            self._say(now, f"free chips are {world.free.tolist()} of {topology.total.tolist()}")
        most = topology.cap * (1.0 - policy.power_margin) + _ROUNDING
        over = (world.drawn > most) & (world.drawn > topology.idle + _ROUNDING)
        for row in np.flatnonzero(over):
            drawn, allowed = world.drawn[row], most[row]
            self._say(now, f"{topology.names[row]} draws {drawn:.0f} W of {allowed:.0f} W")

    def check_all(self, control: Control, acknowledged: set[str], now: float) -> None:
        """Everything that the log and the state say: at the end, or seldom."""
        world = control.world
        self.check(world, control.policy, now)
        self._check_held(world, now)
        log = whole_log(control.store)
        jobs, sites = replay(log)
        for name in acknowledged - jobs.keys():
            self._say(now, f"job {name} was acknowledged and is not in the log")
        for name, job in jobs.items():
            known = world.jobs.get(name) or control.store.job(name)
            if known != job:
                self._say(now, f"job {name}: the log says {job}, the world says {known}")
            if job.ended and job.live():
                self._say(now, f"job {name} has ended and holds {job.live()}")
        for name, site in sites.items():
            if world.sites[name] != site:
                self._say(now, f"site {name}: log {site}, world {world.sites[name]}")

    def _check_held(self, world: World, now: float) -> None:
        topology = world.topology
        free, drawn = topology.total.copy(), topology.idle.copy()
        held = {name: set[str]() for name in topology.names}
        for job in world.jobs.values():
            for run in job.live() if not job.ended else ():
                share = run.share
                free[topology.pool_row[share.site, share.pool]] -= share.chips
                drawn[topology.row[share.site]] += share.power
                held[share.site].add(run.run)
        if not np.array_equal(free, world.free):
            self._say(now, "free chips are not all chips less those of live runs")
        seen = [int(pool.chips.sum()) for pool in world.holding.columns()]
        if seen != (topology.total - free).tolist():
            self._say(now, "what plans see as held is not what live runs hold")
        if not np.allclose(drawn, world.drawn, rtol=1e-9, atol=1e-3):
            self._say(now, "the draw is not the idle draw and that of live runs")
        if held != {name: set(runs) for name, runs in world.runs.items()}:
            self._say(now, "the runs by site are not those of the jobs")

    def _say(self, now: float, text: str) -> None:
        self.violations.append(f"{now:.3f}: {text}")


def whole_log(store: Store) -> list[Event]:
    """Every event of the store, oldest first."""
    log: list[Event] = []
    after = 0
    while page := store.events(after=after, limit=10_000):
        log += [entry.event for entry in page]
        after = page[-1].seq
    return log
