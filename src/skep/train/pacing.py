"""Virtual chips: a process is held to a stated speed by padding its steps with sleep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pacer:
    """Says how long to sleep so that a step takes ``step_s`` seconds at least, on average.

    The due time of each step is kept. A step that overran leaves a debt that the following steps
    may catch up, but of at most ``backlog_s``: the jitter of a busy machine is evened out, a
    machine that is too slow stays too slow, and the stated speed is never exceeded by more than
    the backlog over any span. ``clock`` times come from the caller (seconds, monotonic).
    """

    step_s: float
    backlog_s: float
    due: float = 0.0
    steps: int = 0
    over: int = 0
    lost_s: float = 0.0

    def start(self, now: float) -> None:
        """The chip starts to count at ``now``."""
        self.due = now

    def sleep_s(self, now: float) -> float:
        """A step has ended at ``now``: seconds to sleep (0 when it is behind)."""
        self.steps += 1
        self.due += self.step_s
        if now <= self.due:
            return self.due - now
        self.over += 1
        behind = now - self.due
        if behind > self.backlog_s:
            self.lost_s += behind - self.backlog_s
            self.due = now - self.backlog_s
        return 0.0

    @property
    def over_share(self) -> float:
        """Share of the steps that ended behind the stated speed."""
        return self.over / self.steps if self.steps else 0.0
