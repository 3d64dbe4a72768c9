"""What a run measures about itself: tokens, steps, rates, seconds blocked."""

from __future__ import annotations

from dataclasses import dataclass

from skep.train.schedule import smooth
from skep.train.trace import Trace


@dataclass(slots=True)
class Meter:
    """Counts of one site. Times are monotonic seconds, given by the caller."""

    began: float = 0.0
    steps: int = 0
    tokens: int = 0
    exchange_s: float = 0.0
    step_s: float | None = None
    tokens_per_step: float | None = None
    last_step: float | None = None
    steps_since_part: int = 0
    trace: Trace | None = None
    _marked: float = 0.0
    _marked_tokens: int = 0
    _resumed: float = 0.0

    def start(self, now: float) -> None:
        self.began = self._marked = now

    def step(self, tokens: int, now: float) -> None:
        """A local step of ``tokens`` tokens (all ranks of the site together) has ended."""
        self.steps += 1
        self.steps_since_part += 1
        self.tokens += tokens
        self.tokens_per_step = smooth(self.tokens_per_step, float(tokens), 0.1)
        if self.last_step is not None and self.steps > 2:
            self.step_s = smooth(self.step_s, now - self.last_step, 0.1)
        if self.trace is not None:
            self.trace.step(self.steps, self._resumed or self.began, now)
        self.last_step = now

    def exchanged(self, start: float, end: float) -> None:
        """Between two steps, training stood still while skep took part in rounds."""
        self.exchange_s += end - start
        self._resumed = end
        if self.trace is not None:
            self.trace.between(start, end)

    @property
    def rate(self) -> float:
        """Tokens per second of late."""
        return (self.tokens_per_step or 0.0) / self.step_s if self.step_s else 0.0

    def rate_since_mark(self, now: float) -> float:
        """Tokens per second since the last call of this method."""
        span, tokens = now - self._marked, self.tokens - self._marked_tokens
        self._marked, self._marked_tokens = now, self.tokens
        return tokens / span if span > 0 else 0.0
