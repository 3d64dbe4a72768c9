"""When a round opens and when it closes. Pure; times are arguments (seconds)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LINK_SHARE = 0.7  # of an interval that an exchange may take
FIRST_S = 5.0  # patience before anything was measured: nobody is blocked by waiting
SMOOTH = 0.3  # weight of the newest measurement in a moving average


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which an automatic interval is chosen, in local steps."""

    least_steps: float = 5.0
    most_steps: float = 200.0


def smooth(old: float | None, new: float, share: float = SMOOTH) -> float:
    """An exponential moving average; the first measurement counts in full."""
    return new if old is None else old + share * (new - old)


def choose_interval(exchange_s: float | None, step_s: float | None, bounds: Bounds) -> float:
    """Seconds between the calls of two rounds: the least that the slowest link keeps up with.

    Short intervals give a better loss at equal tokens, so the shortest is taken for which an
    exchange, measured from its call to its last delivery, fills at most ``LINK_SHARE`` of it.
    """
    step = step_s or 0.1
    wanted = (exchange_s or 0.0) / LINK_SHARE
    return min(max(wanted, bounds.least_steps * step), max(bounds.most_steps * step, 1.0))


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
