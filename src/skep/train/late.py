"""The model that comes out: the average of the anchors of the last rounds, not the last one alone.

Near the end of a training the anchor wanders about a place that is better than any of its own, by
as much as the learning rate and the noise of the batches make it. The average of the last part of
its way lies nearer to that place (Polyak and Juditsky 1992; of the last iterates of deep networks:
arXiv 1803.05407), and costs a vector and one sum a round. The part is a share of all rounds so far,
so that what was learned long ago is forgotten at any length (arXiv 1212.1824): with round ``n``

    mean <- mean + w (anchor - mean)        w = min(1, 1 / (share n))

Every site keeps it of what it has seen. Who leads the last round puts it in place of that round's
average, as bytes like those of any other round, so that all end on the same model, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from skep.train.outer import OuterState

SHARE = 0.03  # of the rounds


@dataclass(slots=True)
class Late:
    """Of one fragment. With a ``share`` of 0 the mean is the last anchor."""

    share: float = SHARE
    mean: torch.Tensor | None = None
    round: int = 0
    origin: str = ""

    def saw(self, state: OuterState) -> None:
        """``state`` is the newest; one that follows after others that were not seen counts as all
        of them."""
        weight = self._weight(state.round, max(state.round - self.round, 1))
        if self.mean is None or state.origin != self.origin or weight >= 1.0:
            self.mean = state.anchor
        else:
            self.mean = torch.lerp(self.mean, state.anchor, weight)
        self.round, self.origin = state.round, state.origin

    def instead(self, state: OuterState, average: torch.Tensor) -> torch.Tensor:
        """What to add to the anchor of ``state`` in the last round, in place of its ``average``."""
        weight = self._weight(state.round + 1, 1)
        if self.mean is None or state.origin != self.origin or weight >= 1.0:
            return average
        return torch.lerp(self.mean - state.anchor, average, weight)

    def _weight(self, number: int, rounds: int) -> float:
        """Of the anchor of round ``number``, which stands for so many."""
        one = 1.0 / max(self.share * number, 1.0)
        return 1.0 - (1.0 - one) ** rounds if one < 1.0 else 1.0
