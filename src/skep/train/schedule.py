"""When a round opens and when it closes. Pure; times are arguments (seconds)."""

from __future__ import annotations

from collections.abc import Mapping

FIRST_S = 5.0  # patience before anything was measured: nobody is blocked by waiting
SMOOTH = 0.3  # weight of the newest measurement in a moving average


def smooth(old: float | None, new: float, share: float = SMOOTH) -> float:
    """An exponential moving average; the first measurement counts in full."""
    return new if old is None else old + share * (new - old)


def patience(arrival_s: float | None, grace_s: float | None) -> float:
    """Seconds after the call for which a round waits for everyone."""
    if grace_s is not None:
        return grace_s
    return FIRST_S if arrival_s is None else min(max(2.0 * arrival_s + 0.25, 0.5), 60.0)


def may_close(
    elapsed: float, limit: float, rates: Mapping[str, float], arrived: set[str], expected: set[str]
) -> bool:
    """Whether a round closes: all are in, or the limit is over and most of the tokens are in.

    ``rates`` are tokens per second by site. After three limits it closes with whoever came, be it
    nobody.
    """
    if expected <= arrived:
        return True
    if elapsed < limit:
        return False
    total = sum(rates.get(site, 1.0) for site in expected | arrived)
    present = sum(rates.get(site, 1.0) for site in arrived)
    return 2 * present > total or elapsed >= 3 * limit
