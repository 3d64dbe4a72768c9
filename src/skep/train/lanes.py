"""How many connections carry the data to one peer. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# What one connection keeps on its way at about seven lost packets in 10,000: 1.2 / sqrt(p) packets
# of 1460 bytes (Mathis, Semke, Mahdavi and Ott, CCR 27(3), 1997).
ONE = 1 << 16
MOST = 8
GAIN = 1.1  # as much more has to be carried, or the connections opened last were of no use
FIRST = 2  # one for data alone beside that for calls would carry no more than it does


@dataclass(slots=True)
class Widening:
    """Decides when more connections are opened, if their number is not ``wished``.

    Two where the measured rate times the shortest round trip is more than ``ONE``, then twice as
    many for as long as that carries more, measured anew once they are open: a congestion control
    that heeds losses little (BBR) needs no second one.
    """

    wished: int | None = None
    count: int = 0
    before: float = 0.0  # bytes/s that were carried when the last ones were opened

    def wants(self, rate: float | None, round_trip: float | None) -> int:
        """How many to open now; the link was measured to carry ``rate`` (bytes/s)."""
        if self.wished is not None:
            return self.wished - self.count if self.wished > 1 else 0
        if not rate or not round_trip or rate * round_trip <= ONE:
            return 0
        if self.count == 0:
            return FIRST
        return min(self.count, MOST - self.count) if rate >= GAIN * self.before else 0

    def opened(self, rate: float | None) -> None:
        """One has been opened, when the others carried ``rate``."""
        self.count, self.before = self.count + 1, rate or 0.0


def why_lanes(wished: int | None, rate: float | None, round_trip: float | None) -> str:
    """The end of a sentence: why data goes over so many connections (``wished``: as set)."""
    if wished:
        return f" of {wished}, as set"
    speed, trip = 8e-6 * (rate or 0.0), 1e3 * (round_trip or 0.0)
    return f": the link carries {speed:.3g} Mbit/s so far, with a round trip of {trip:.3g} ms"
