"""The gain gauge: how much joining sites helps, from what their contributions have in common.

A site's progress over a round is a signal that all sites share, and noise of its own batches. With
``t_i`` tokens of site i and ``T`` of all:

    E <p_i, p_j> = t_i t_j s        (i != j: only the signal is common)
    E |p_i|^2    = t_i^2 s + t_i v

Averaging keeps the signal and divides the noise. By the model of the gradient noise scale
(McCandlish et al. 2018, arXiv 1812.06162) progress on ``t`` tokens is worth ``1 / (1 + v / (t s))``
of a noiseless one, so that a round of all sites is worth

    speed_up = (1 + v / (t s)) / (1 + v / (T s))

rounds of a site that trains on ``t`` tokens alone: from 1 (no noise: all sites learn the same, as
with large batches) to ``T / t``. Pure. What delay and rounding cost is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from skep.train.parts import Part

MEMORY = 0.9  # of what was summed before, kept at each contribution to the sums
ENOUGH = 8  # rounds (of any fragment) before anything is said
LITTLE = 1.1


class Moments(NamedTuple):
    """Sums over the contributions of one round."""

    cross: float  # <p_i, p_j> over the pairs i < j
    own: float  # |p_i|^2
    pairs: float  # t_i t_j over the pairs
    squares: float  # t_i^2
    tokens: float  # t_i
    largest: float  # max t_i


def moments(parts: Mapping[str, Part]) -> Moments:
    """Of one contribution alone nothing is in common with others: no pairs."""
    useful = [part for _, part in sorted(parts.items()) if part.tokens > 0]
    if not useful:
        return Moments(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    whole = useful[0].progress.clone()
    for part in useful[1:]:
        whole += part.progress
    own = sum(float(part.progress.square().sum()) for part in useful)
    tokens = [float(part.tokens) for part in useful]
    total, squares = sum(tokens), sum(t * t for t in tokens)
    cross = (float(whole.square().sum()) - own) / 2
    return Moments(cross, own, (total**2 - squares) / 2, squares, total, max(tokens))


def together(groups: Iterable[Sequence[float]]) -> Moments | None:
    """Moments of several groups as those of one round; None where no two can be compared.

    The pairs are those inside the groups: what any two sites have in common is the signal.
    """
    found = [Moments(*one) for one in groups if one]
    if not any(one.pairs for one in found):
        return None
    sums = Moments(*(sum(values) for values in zip(*found, strict=True)))
    return sums._replace(largest=max(one.largest for one in found))


@dataclass(slots=True)
class Gauge:
    """Moments of the rounds of late, older ones counting less and less."""

    sums: tuple[float, ...] = (0.0,) * len(Moments._fields)
    rounds: int = 0

    def take(self, new: Moments) -> None:
        """One round of one fragment."""
        self.sums = tuple(MEMORY * old + one for old, one in zip(self.sums, new, strict=True))
        self.rounds += 1

    def _noise(self) -> tuple[float, float] | None:
        """Noise over signal in the progress of all sites together, and in the largest one's."""
        cross, own, pairs, squares, tokens, largest = self.sums
        signal = cross / pairs
        if signal <= 0:
            return None
        noise = max(own - signal * squares, 0.0) / tokens
        # the sums of tokens decay as the others do: back to those of an average round
        per_round = signal * (1 - MEMORY) / (1 - MEMORY**self.rounds)
        return noise / (tokens * per_round), noise / (largest * per_round)

    @property
    def speed_up(self) -> float | None:
        """Rounds alone of the largest site that a common round is worth; None: not known yet.

        0 where the contributions have less than nothing in common: the sites pull apart.
        """
        if self.rounds < ENOUGH:
            return None
        found = self._noise()
        return 0.0 if found is None else (1 + found[1]) / (1 + found[0])

    @property
    def most(self) -> float:
        """What ``speed_up`` can be at most: tokens of all sites over those of the largest."""
        tokens, largest = self.sums[4:6]
        return tokens / largest if largest else 1.0

    def said(self) -> str:
        """One line; a warning where joining brings little or nothing. Empty: not known yet."""
        times = self.speed_up
        if times is None:
            return ""
        if times == 0.0:
            return (
                "warning: the sites' updates have nothing in common; joining them does not help: "
                "is their data of one kind, the interval short enough?"
            )
        if times < LITTLE:
            return (
                f"warning: joining sites helps little: a common round is worth {times:.2f} of the "
                "largest site's own, as all learn the same; smaller batches per step would"
            )
        return f"gain: a common round is worth {times:.2f} of the largest site's own"
