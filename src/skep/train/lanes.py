"""How many connections carry the data to one peer. Pure."""

from __future__ import annotations

# What one connection keeps on its way at about two lost packets in 10,000: 1.2 / sqrt(p) packets of
# 1460 bytes (Mathis, Semke, Mahdavi and Ott, CCR 27(3), 1997).
EACH = 1 << 17
MOST = 8


def lanes_for(rate: float | None, round_trip: float | None) -> int:
    """By what the link was measured to carry (bytes/s) and its shortest round trip (s).

    The rate is that of the connections there are, so more are opened step by step, for as long as
    they carry more together.
    """
    if not rate or not round_trip:
        return 1
    return min(max(round(rate * round_trip / EACH), 1), MOST)


def why_lanes(wished: int | None, rate: float | None, round_trip: float | None) -> str:
    """The end of a sentence: why data goes over so many connections (``wished``: as set)."""
    if wished:
        return f" of {wished}, as set"
    speed, trip = 8e-6 * (rate or 0.0), 1e3 * (round_trip or 0.0)
    return f": the link carries {speed:.3g} Mbit/s so far, with a round trip of {trip:.3g} ms"
