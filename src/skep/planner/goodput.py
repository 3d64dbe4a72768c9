"""Goodput: what is left of a long job's time when chips fail. Pure arithmetic, s.

A failure anywhere stops the whole synchronous job; it starts again from its last checkpoint. With
failures at random (rate 1/M), a pause of w per checkpoint every D of work, and R to start again, a
stretch of D takes  M e^(R/M) (e^((D+w)/M) - 1)  in the mean (Daly, FGCS 22, 2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, expm1, sqrt

DAY = 86400.0
RATES = (2.34e-3, 3.8e-3, 6.5e-3)
"""Failures per node (8 chips) and day: RSC-2, Llama 3 (419 in 54 days on 2,048 nodes), RSC-1."""
NODE = 8
MOST_EXPONENT = 500.0


@dataclass(frozen=True, slots=True)
class Failing:
    """How often nodes fail and what it costs. Times in s."""

    per_node_day: float = RATES[1]
    node_chips: int = NODE
    checkpoint: float = 30.0  # pause while the state is copied; writing it goes on behind
    restart: float = 600.0  # to notice, to find spares, to load
    repair: float = DAY  # until a node is back

    def between(self, chips: float) -> float:
        """Mean time between failures of a job on ``chips`` chips, s."""
        return DAY * self.node_chips / (self.per_node_day * max(chips, 1.0))

    def spares(self, chips: float) -> int:
        """Chips beside those of the job so that 99.9 % of the time enough nodes are whole.

        Nodes under repair are Poisson with mean nodes x rate x repair.
        """
        mean = chips / self.node_chips * self.per_node_day * self.repair / DAY
        return self.node_chips * ceil(mean + 3.09 * sqrt(mean))


@dataclass(frozen=True, slots=True)
class Goodput:
    """``share`` of the time that is progress, at the best ``interval`` (s) of checkpoints."""

    share: float
    interval: float
    between: float
    spares: int


def goodput(chips: float, failing: Failing | None = None, islands: int = 1) -> Goodput:
    """Goodput of a job on ``chips`` chips.

    ``islands``: parts that go on without each other (sites that train with little communication):
    a failure then stops one of them, and the others lose nothing.
    """
    of = failing or Failing()
    between = of.between(chips / max(1, islands))
    interval = best_interval(of.checkpoint, between)
    return Goodput(share(interval, of, between), interval, between, of.spares(chips))


def best_interval(pause: float, between: float) -> float:
    """Work between two checkpoints, s, that wastes least: Young's sqrt(2 w M) with Daly's terms."""
    if pause >= 2 * between:
        return between
    part = sqrt(pause / (2 * between))
    return max(sqrt(2 * pause * between) * (1 + part / 3 + part * part / 9) - pause, pause)


def share(interval: float, of: Failing, between: float) -> float:
    """Progress per time with a checkpoint every ``interval`` s of work; 0 where there is none."""
    exponent = (interval + of.checkpoint) / between
    if of.restart / between + exponent > MOST_EXPONENT:
        return 0.0
    return interval / (between * exp(of.restart / between) * expm1(exponent))
