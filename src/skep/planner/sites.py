"""One training over several sites: what a round of exchange costs, and what link is enough.

Sites take ``interval`` steps of their own, then average their parameters. A round takes
``interval x step`` of work and an exchange; ``utilisation = H t / (H t + max(0, T - hidden))``
(INTELLECT-1: 2,280 s of work and 103 / 382 / 469 s give 95.7 / 85.6 / 82.9 %; reported 96 / 85.6 /
83 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from skep.planner.lowcomm import ring_bytes

ENOUGH = 0.95
"""Share of the time that is work from which on a faster link is hardly worth it: the knee."""
SMALL, LARGE = 51e6, 1e9
"""Parameters of the two published points of the loss penalty."""
LOSS_AT_25, PER_E = 0.0301, 0.0217
"""3.0 % at H = 25 and 2.2 % more for each e-fold: a line through ft-diloco's five points (51 M)."""
SHRINKS = 0.94
"""Power of the parameters by which it shrinks: 6.3 % at 51 M, 0.4 % at 1 G (2501.18512)."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """How sites average: every ``interval`` steps, with ``bits`` per parameter.

    ``overlap`` is the share of a round's work that the exchange may hide behind (1: all of it).
    """

    interval: int = 100
    bits: float = 8.0
    overlap: float = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round over ``sites`` sites: s of work, s of exchange, what is left of the speed."""

    sites: int
    work: float
    exchange: float
    utilisation: float
    bytes_per_site: float
    enough: float  # bit/s from which on the utilisation is ENOUGH
    loss_penalty: float  # relative, at equal tokens


def exchange_time(
    parameters: float, sites: int, bandwidth: float, rtt: float, how: Exchange
) -> float:
    """s of one exchange in a ring over links of ``bandwidth`` bit/s and ``rtt`` s."""
    if sites < 2:
        return 0.0
    sent = _bytes_per_site(parameters, sites, how)
    return sent * 8.0 / bandwidth + 2 * (sites - 1) * rtt


def round_of(
    parameters: float,
    sites: int,
    step: float,
    bandwidth: float,
    rtt: float,
    how: Exchange,
) -> Round:
    """One round of ``sites`` equal sites whose step takes ``step`` s."""
    work = how.interval * step
    time = exchange_time(parameters, sites, bandwidth, rtt, how)
    waits = max(0.0, time - how.overlap * work)
    return Round(
        sites=sites,
        work=work,
        exchange=time,
        utilisation=work / (work + waits),
        bytes_per_site=_bytes_per_site(parameters, sites, how),
        enough=enough(parameters, sites, step, rtt, how),
        loss_penalty=loss_penalty(parameters, sites, how.interval),
    )


def enough(parameters: float, sites: int, step: float, rtt: float, how: Exchange) -> float:
    """The link, bit/s, from which on ``ENOUGH`` of the time is work; 0 for one site.

    ``inf`` where the round trips alone take too long.
    """
    if sites < 2:
        return 0.0
    work = how.interval * step
    spare = work * (1 / ENOUGH - 1 + how.overlap) - 2 * (sites - 1) * rtt
    if spare <= 0:
        return float("inf")
    return _bytes_per_site(parameters, sites, how) * 8.0 / spare


def loss_penalty(parameters: float, sites: int, interval: int) -> float:
    """How much higher the loss is at equal tokens than without low communication, relative.

    Between two published points: 51 M parameters (+2.8 % at 25 steps, 9.4 % at 500; ft-diloco) and
    1 G (+0.4 %; Streaming DiLoCo, arXiv:2501.18512). Larger models: less than that, unmeasured.
    """
    if sites < 2 or interval <= 1:
        return 0.0
    small = max(0.0, LOSS_AT_25 + PER_E * log(interval / 25.0))
    return small * float((SMALL / max(parameters, SMALL)) ** SHRINKS)


def _bytes_per_site(parameters: float, sites: int, how: Exchange) -> float:
    return ring_bytes(int(parameters), sites, how.bits / 8.0) / sites if sites > 1 else 0.0
