"""A site's own parameters beside the shared anchor: no local step is lost, none counted twice.

``parameters = anchor + progress``. When a new anchor arrives, the progress that it has not merged
is put on top of it; what it has merged (known by number from ``merged``) is taken off. So rounds
can close while the site trains on, and a contribution that came too late or died with its leader
is simply part of the next one. What others learned meanwhile is not learned twice: of the own
progress, as much as points the same way as the anchor's move is taken to be in it.

What the codec dropped of a merged contribution is kept beside the parameters (``owed``) and added
to the next one: error feedback. It is not put back into the parameters, so that sites train from
nearly the same place however coarse the codec is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from skep.train.codec import kept
from skep.train.outer import OuterState
from skep.train.parts import Part

KEPT = 4  # contributions that are remembered until one of them is merged


@dataclass(frozen=True, slots=True)
class _Sent:
    progress: torch.Tensor
    part: Part
    at: float


class Replica:
    """Book-keeping between ``state`` (the outer state last applied) and the local parameters."""

    def __init__(
        self, site: str, run: str, state: OuterState, now: float, pending: int = 0
    ) -> None:
        self.site, self.run, self.state = site, run, state
        self.pending = pending  # tokens in the local progress
        self._since = now  # when the pending progress began
        self._number = 0
        self._after = 0
        self._beside = 0  # tokens of others that were merged since the pending progress began
        self._sent: dict[int, _Sent] = {}
        self.owed: torch.Tensor | None = None  # what codecs have dropped; None: nothing
        self._leaky = False  # of that a part is forgotten each time

    def part(self, parameters: torch.Tensor, now: float, last: bool = False) -> Part | None:
        """All progress so far as a contribution; None when it is not finite.

        The ``last`` one is not followed by others that could make good an overshoot.
        """
        progress = parameters - self.state.anchor
        if not bool(torch.isfinite(progress).all()):
            return None
        self._number += 1
        seconds = max(now - self._since, 0.0)
        owed = None if last and self._leaky else self.owed
        whole = progress if owed is None else progress + owed
        part = Part(whole, self.run, self._number, self._after, self.pending, seconds, self._beside)
        self._sent[self._number] = _Sent(progress, part, now)
        self._sent.pop(self._number - KEPT, None)
        return part

    def adopt(self, parameters: torch.Tensor, state: OuterState) -> torch.Tensor:
        """The new local parameters on top of ``state``."""
        old, self.state = self.state, state
        if state.origin != old.origin:
            return self._start_over()
        progress = parameters - old.anchor
        run, number = state.merged.get(self.site, ("", 0))
        number = number if run == self.run else 0
        if number == self._after:
            self._beside += max(state.tokens - old.tokens, 0)
            return state.anchor + beyond(progress, state.anchor - old.anchor)
        self._beside = 0
        sent = self._sent.get(number)
        self._sent.clear()
        self._after = number
        if sent is None:
            return state.anchor + progress
        self.pending -= sent.part.tokens
        self._since = sent.at
        arrived = sent.part.arrived
        share = kept(sent.part.codec)
        self._leaky = share < 1.0
        self.owed = None if arrived is None else share * (sent.part.progress - arrived)
        return state.anchor + (progress - sent.progress)

    def reset(self) -> torch.Tensor:
        """Drop the local progress: the parameters are the anchor's."""
        self._sent.clear()
        self.pending, self.owed, self._beside = 0, None, 0
        return self.state.anchor.clone()

    def _start_over(self) -> torch.Tensor:
        """The state comes from other initial parameters: own progress means nothing there."""
        run, number = self.state.merged.get(self.site, ("", 0))
        self._after = number if run == self.run else 0
        return self.reset()


def beyond(progress: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """``progress`` less what the anchor has learned as well by having ``moved``.

    The part of ``progress`` along ``moved``, at most all of ``moved``, is taken off: sites that
    train the same model apart learn much of the same, and its sum is one step too far (measured:
    docs/decisions/0007). Progress in other directions stays whole.
    """
    length = float(torch.dot(moved, moved))
    along = float(torch.dot(progress, moved))
    return progress - moved * min(along / length, 1.0) if length > 0 and along > 0 else progress
