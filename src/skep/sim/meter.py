"""The meter: what a simulation measures while it goes."""

from __future__ import annotations

from collections import Counter

import numpy as np

from skep.control.topology import Topology
from skep.control.world import World
from skep.model.event import Event, JobEnded, Placed, RunEnded, RunStarted, Submitted
from skep.store.base import Store

HOUR = 3600.0
_PAGE = 10_000


class Meter:
    """Follows the event log and the world; times are simulated unless called wall time."""

    def __init__(self, topology: Topology, start: float) -> None:
        self.topology, self.start = topology, start
        self.outcomes: Counter[str] = Counter()  # of jobs
        self.runs: Counter[str] = Counter()  # outcomes of runs
        self.faults: Counter[str] = Counter()
        self.submitted: dict[str, float] = {}
        self.started: dict[str, float] = {}  # job -> when its first process started
        self.placements = 0
        self.events = 0
        self.cycles: list[float] = []  # wall seconds of each cycle
        self.peak = topology.idle.copy()  # W at the meter, per site
        self.chip_hours: list[float] = []  # chips held, mean of each hour
        self._held = 0.0
        self._since = start

    def follow(self, store: Store, world: World | None, now: float) -> bool:
        """Take in what happened since the last call; whether there were new events."""
        before = self.events
        while page := store.events(after=self.events, limit=_PAGE):
            self.events = page[-1].seq
            for entry in page:
                self._take(entry.event)
        if self.events == before:
            return False
        self.integrate(now)
        if world is not None:
            self._held = float((self.topology.total - world.free).sum())
            np.maximum(self.peak, world.drawn, out=self.peak)
        return True

    def _take(self, event: Event) -> None:
        match event:
            case Submitted():
                self.submitted[event.job] = event.at
            case Placed():
                self.placements += 1
            case RunStarted():
                self.started.setdefault(event.job, event.at)
            case RunEnded():
                self.runs[event.outcome] += 1
            case JobEnded():
                self.outcomes[event.outcome] += 1
            case _:
                pass

    def integrate(self, now: float) -> None:
        """Add what was held since the last call to the hours that it fell into."""
        while self._since < now:
            hour = int((self._since - self.start) // HOUR)
            until = min(now, self.start + (hour + 1) * HOUR)
            self.chip_hours.extend([0.0] * (hour + 1 - len(self.chip_hours)))
            self.chip_hours[hour] += self._held * (until - self._since) / HOUR
            self._since = until
