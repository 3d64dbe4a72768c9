"""Usage: what each queue has had, folded from the runs; old use counts less.

In chips of the reference (``scheduler.worth``), held on average, weighted by
``2 ** (-age / half_life)``: a queue that has always held n of them has used n. A run's part depends
on its beginning and end alone, so that the sum is the same in whatever order events are folded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class _Sum:
    """At ``at`` (s): the use of ended runs; chips held since, and what they were not held before.

    With rate r = ln 2 / half_life, chips c held from a to b have by t the use
    ``c (exp(-r (t - b)) - exp(-r (t - a)))``; held still, ``c (1 - exp(-r (t - a)))``.
    """

    at: float
    ended: float = 0.0
    held: float = 0.0
    absent: float = 0.0  # sum of c exp(-r (at - a)) over what is held

    def move(self, to: float, rate: float) -> None:
        """Let time pass."""
        factor = math.exp(-rate * (to - self.at))
        self.ended *= factor
        self.absent *= factor
        self.at = to


class Usage:
    """Use per queue; it halves in ``half_life`` (s)."""

    def __init__(self, half_life: float) -> None:
        self._rate = math.log(2.0) / half_life
        self._sums: dict[str, _Sum] = {}

    def begins(self, queue: str, chips: float, start: float) -> None:
        """A run holds ``chips`` of the reference from ``start`` (its placement) on."""
        self._hold(queue, chips, start)

    def ends(self, queue: str, chips: float, start: float, end: float) -> None:
        """A run that began at ``start`` has ended."""
        self._hold(queue, -chips, start)
        self.had(queue, chips, start, end)

    def had(self, queue: str, chips: float, start: float, end: float) -> None:
        """A run of which nothing was counted held its chips from ``start`` to ``end``."""
        total = self._sum(queue, end)
        since_end = math.exp(-self._rate * (total.at - end))
        since_start = math.exp(-self._rate * (total.at - start))
        total.ended += chips * (since_end - since_start)

    def _hold(self, queue: str, amount: float, since: float) -> None:
        total = self._sum(queue, since)
        total.held += amount
        total.absent += amount * math.exp(-self._rate * (total.at - since))

    def _sum(self, queue: str, at: float) -> _Sum:
        total = self._sums.get(queue)
        if total is None:
            total = self._sums[queue] = _Sum(at)
        if at > total.at:
            total.move(at, self._rate)
        return total

    def used(self, now: float) -> dict[str, float]:
        """Per queue, in chips of the reference."""
        found = {}
        for queue, total in self._sums.items():
            factor = math.exp(-self._rate * (now - total.at))
            found[queue] = max(0.0, (total.ended - total.absent) * factor + total.held)
        return found
