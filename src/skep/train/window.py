"""How much data may be on its way to a peer: half a second of what the link was measured to carry.

The peer acknowledges data as it arrives. So no queue builds up in the network that calls and beats
would have to wait in, whatever the link, and the rate of the link is known. Pure; times are
arguments (seconds).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

LEAST = 1 << 16  # bytes that may always be on their way
AHEAD_S = 0.5
SAMPLE_S = 0.1  # span over which a delivery rate is measured
MEMORY_S = 30.0  # for which the best rate is remembered


@dataclass(slots=True)
class Window:
    """Of one direction of one connection."""

    sent: int = 0
    acknowledged: int = 0
    rate: float | None = None  # bytes/s that the link has carried at its best of late, when full
    _marks: deque[tuple[float, int]] = field(default_factory=deque)
    _best: deque[tuple[float, float]] = field(default_factory=deque)

    @property
    def open(self) -> bool:
        """Whether more data may be sent now."""
        limit = LEAST + AHEAD_S * (self.rate or 0.0)
        return self.sent - self.acknowledged < limit

    def put(self, count: int) -> None:
        """``count`` bytes of data go out."""
        if self.sent == self.acknowledged:
            self._marks.clear()  # it was idle: measured from the next acknowledgement on
        self.sent += count

    def acknowledge(self, total: int, now: float) -> None:
        """The peer has ``total`` bytes of data so far. Raises ``ValueError`` when it cannot."""
        if not self.acknowledged <= total <= self.sent:
            raise ValueError(f"{total} bytes acknowledged of {self.sent}")
        if self.open:
            self._marks.clear()  # more could have been sent: that tells of the sender, not the link
        self.acknowledged = total
        while len(self._marks) > 1 and now - self._marks[1][0] >= SAMPLE_S:
            self._marks.popleft()
        if self._marks and now - self._marks[0][0] >= SAMPLE_S:
            began, before = self._marks[0]
            self._note((total - before) / (now - began), now)
        self._marks.append((now, total))

    def _note(self, rate: float, now: float) -> None:
        while self._best and now - self._best[0][0] > MEMORY_S:
            self._best.popleft()
        while self._best and self._best[-1][1] <= rate:
            self._best.pop()
        self._best.append((now, rate))
        self.rate = self._best[0][1]
