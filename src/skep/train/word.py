"""What the ranks of a site tell each other between two steps, so that all decide alike. Pure.

Each rank brings a ``Word``; their sum is the same on every rank, and whatever follows from it and
from nothing else is decided alike everywhere, without one rank deciding for the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from skep.train.outer import OuterState

_MARK_BITS = 20  # so small that sums of squares over thousands of ranks stay exact in float64


class Word(NamedTuple):
    """Numbers to be summed over the ranks. The second half is rank 0's alone."""

    tokens: float = 0.0  # trained in this step
    speaking: float = 0.0  # ranks that exchange
    changed: float = 0.0  # fragments with a new anchor
    apart: float = 0.0  # ranks whose fragments do not fit together
    mark: float = 0.0  # of the origin of a rank's fragments
    mark_squared: float = 0.0
    asked: float = 0.0  # calls that want a new snapshot, if new anchors are not applied now
    asked_then: float = 0.0  # the same if they are
    linked: float = 0.0  # ranks whose connections have changed
    sent: float = 0.0
    received: float = 0.0
    product: float = 0.0  # of the gradient that was clipped (``clipping.Looked``)
    square: float = 0.0
    before: float = 0.0

    together: float = 0.0  # tokens of all sites
    round: float = 0.0
    sites: float = 0.0
    times: float = 0.0  # tokens of all sites over those of this one
    norm: float = 0.0  # of the gradient that was clipped
    elapsed: float = 0.0  # seconds
    patience: float = 0.0
    calls: float = 0.0
    save: float = 0.0  # 1: a checkpoint is due

    @property
    def fits(self) -> bool:
        """Whether the newest anchors of all ranks come from the same initial parameters.

        All marks are equal if and only if the mean of squares is the square of the mean.
        """
        equal = int(self.speaking) * int(self.mark_squared) == int(self.mark) ** 2
        return equal and not self.apart


def mark_of(states: Sequence[OuterState]) -> int:
    """A short number for the origin of ``states``, which have one."""
    digest = hashlib.blake2b(states[0].origin.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> (32 - _MARK_BITS)


@dataclass(slots=True)
class Gate:
    """Decides when new anchors are applied: all at one step, on all ranks of the site.

    Averaged pieces beside pieces that are not make a model that nobody has trained, so those that
    have come wait for the others, but no longer than the patience: a leader may have died.
    """

    total: int  # fragments of all ranks
    waiting_since: float | None = None

    def opens(self, word: Word) -> bool:
        """Whether all new anchors are applied now."""
        if not word.changed or not word.fits or word.changed >= self.total:
            self.waiting_since = None
            return word.fits and word.changed >= self.total > 0
        if self.waiting_since is None:
            self.waiting_since = word.elapsed
        if word.elapsed - self.waiting_since < word.patience:
            return False
        self.waiting_since = None
        return True
