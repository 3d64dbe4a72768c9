"""What runs do once they have started: how long they work and how they end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skep.model.message import Order


@dataclass(frozen=True, slots=True)
class Stint:
    """One run's work: ``setup`` s of preparing, ``work`` s of running, then its exit code.

    ``behind`` is what its share had done before, in s.
    """

    setup: float
    work: float
    exit_code: int = 0
    reason: str = ""
    behind: float = 0.0


@dataclass(slots=True)
class Effort:
    """How long each job works, and how much of it its shares have behind them.

    The product is not told: only simulated engines ask. A share that stops early keeps what it
    did up to its last checkpoint (every ``checkpoint`` s; None: nothing is kept).
    """

    durations: Mapping[str, float]
    setup: float = 30.0
    checkpoint: float | None = None
    exit_codes: Mapping[str, int] = field(default_factory=dict)
    lost_chip_seconds: float = 0.0
    _done: dict[tuple[str, int], float] = field(default_factory=dict)

    def plan(self, order: Order) -> Stint:
        """The stint of a run that is taken on now. A job that is not known works for no time."""
        done = self._done.get((order.job, order.share.rank), 0.0)
        work = max(0.0, self.durations.get(order.job, 0.0) - done)
        code = self.exit_codes.get(order.job, 0)
        reason = f"the process ended with exit code {code}" if code else ""
        return Stint(self.setup, work, code, reason, done)

    def interrupted(self, order: Order, stint: Stint, worked: float) -> None:
        """Take in that a run ended after ``worked`` s, before its work was done."""
        kept = worked - worked % self.checkpoint if self.checkpoint else 0.0
        key = (order.job, order.share.rank)
        self._done[key] = max(self._done.get(key, 0.0), stint.behind + kept)
        self.lost_chip_seconds += (worked - kept) * order.share.chips
