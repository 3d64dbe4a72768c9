"""One direction of an emulated link: who sends when, and when it arrives. No clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

# Bytes may wait at the entry of a line for so long before their sender is held back, in seconds.
QUEUE = 0.02


@dataclass(slots=True)
class Line:
    """A line of ``bandwidth`` bit/s and ``delay`` seconds, shared by all that goes over it.

    What is sent leaves in order, one after another, each byte taking 8 / bandwidth seconds;
    after ``delay`` more it has arrived.
    """

    bandwidth: float
    delay: float
    free_at: float = 0.0

    def send(self, size: int, now: float) -> float:
        """When ``size`` bytes that are ready at ``now`` have arrived."""
        self.free_at = max(self.free_at, now) + 8 * size / self.bandwidth
        return self.free_at + self.delay

    def hold_back(self, now: float) -> float:
        """Seconds for which a sender has to wait, so that the queue stays short."""
        return max(0.0, self.free_at - now - QUEUE)

    @property
    def in_flight(self) -> int:
        """Bytes that the line and its queue hold at most."""
        return int(self.bandwidth * (self.delay + QUEUE) / 8) + 64 * 1024
