"""The agenda: what happens next, in simulated time. The only clock of a simulation."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

Action = Callable[[], None]


class Agenda:
    """Actions by time; those of one time in the order in which they were noted."""

    def __init__(self, start: float) -> None:
        self.now = start
        self.done = 0  # actions taken so far
        self._heap: list[tuple[float, int, Action]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        """The simulated time, s since the Unix epoch."""
        return self.now

    def at(self, when: float, action: Action) -> None:
        """Do ``action`` at ``when``, or now where that has passed."""
        heapq.heappush(self._heap, (max(when, self.now), next(self._order), action))

    def next(self) -> float:
        """When the next action is due; infinity where there is none."""
        return self._heap[0][0] if self._heap else float("inf")

    def step(self) -> None:
        """Move to the next time and do all that is noted for it."""
        self.now = self._heap[0][0]
        while self._heap and self._heap[0][0] <= self.now:
            _, _, action = heapq.heappop(self._heap)
            self.done += 1
            action()
