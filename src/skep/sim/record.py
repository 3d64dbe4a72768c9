"""What a replay keeps of each job and of each span of time. Columns, no object per job."""

from __future__ import annotations

from collections import Counter

import numpy as np

from skep.model.snapshot import Floats, Ints
from skep.sim.trace import Trace

BINS = 240  # at least so many spans, at most four times as many


class Record:
    """Per job: when it first started, when it ended, what it lost. nan: it has not."""

    def __init__(self, trace: Trace) -> None:
        count = len(trace)
        self.trace = trace
        self.started: Floats = np.full(count, np.nan)  # s after the start of the trace
        self.ended: Floats = np.full(count, np.nan)
        self.lost: Floats = np.zeros(count)  # chip-s of work done again
        self.preempted: Ints = np.zeros(count, dtype=np.int64)
        self.attempts: Ints = np.zeros(count, dtype=np.int64)
        self.site: Ints = np.full(count, -1, dtype=np.int64)  # of its last first share
        self.outcome: Ints = np.zeros(count, dtype=np.int64)  # row of OUTCOMES
        self.refused: dict[int, str] = {}
        self.events: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()


State = tuple[float, float, float, float, float]
"""Waiting jobs, chips that they want, part of the free chips in nodes held in part; free chips, and
how many of them are fragments."""

OUTCOMES = ("unended", "succeeded", "failed", "cancelled", "refused")


class Timeline:
    """Means over equal spans of time: chips held per site, jobs and chips waiting, fragments.

    The number of spans stays between ``BINS`` and four times that: when there are more, two and
    two become one.
    """

    def __init__(self, sites: int, width: float) -> None:
        self.width = max(width, 1e-3)
        self.sites = sites
        self._table = np.zeros((4 * BINS, sites + 6))  # sites, then as in ``State``, seconds
        self._state = np.ones(sites + 6)  # a row of it for one second
        self._last = 0
        self.longest = 0  # jobs that waited at once

    def add(self, since: float, until: float, held: Floats | Ints, state: State) -> None:
        """State that held from ``since`` to ``until`` (s after the start)."""
        self.longest = max(self.longest, int(state[0]))
        self._state[: self.sites] = held
        self._state[self.sites : -1] = state
        while since < until:
            row = int(since / self.width)
            while row >= len(self._table):
                self._halve()
                row = int(since / self.width)
            end = min(until, (row + 1) * self.width)
            if end <= since:  # a rounding of the width: the next span
                end = min(until, (row + 2) * self.width)
            self._table[row] += self._state * (end - since)
            self._last = max(self._last, row)
            since = end

    def _halve(self) -> None:
        half = self._table[0::2] + self._table[1::2]
        self._table[: len(half)] = half
        self._table[len(half) :] = 0.0
        self.width *= 2
        self._last //= 2

    @property
    def times(self) -> Floats:
        """The middle of each span, s after the start."""
        middles: Floats = (np.arange(self._last + 1, dtype=np.float64) + 0.5) * self.width
        return middles

    @property
    def held(self) -> Floats:
        """Mean chips held, spans x sites."""
        return self._means(slice(0, self.sites))

    @property
    def waiting(self) -> Floats:
        """Mean number of waiting jobs, and of chips that they want: spans x 2."""
        return self._means(slice(self.sites, self.sites + 2))

    @property
    def broken_up(self) -> Floats:
        """Mean part of the free chips that lie in nodes held in part: per span."""
        return self._means(slice(self.sites + 2, self.sites + 3))[:, 0]

    @property
    def fragmented(self) -> Floats:
        """Mean free chips, and of them those that are fragments: spans x 2 (see ``fragments``)."""
        return self._means(slice(self.sites + 3, self.sites + 5))

    @property
    def seconds(self) -> Floats:
        """Simulated seconds in each span."""
        return self._table[: self._last + 1, -1]

    def _means(self, columns: slice) -> Floats:
        part = self._table[: self._last + 1]
        means: Floats = part[:, columns] / np.maximum(part[:, -1:], 1e-12)
        return means
