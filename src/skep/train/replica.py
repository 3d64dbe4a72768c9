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

from dataclasses import replace

import torch

from skep.train.codec import kept
from skep.train.ledger import Ledger, Piece
from skep.train.outer import OuterState
from skep.train.parts import Part
from skep.train.shelf import Want, minus, tidy

KEPT = 4  # contributions that are remembered as they were sent, until one of them is merged


class Replica:
    """Book-keeping between ``state`` (the outer state last applied) and the local parameters."""

    def __init__(
        self, site: str, run: str, state: OuterState, now: float, pending: int = 0
    ) -> None:
        self.site, self.run, self.state = site, run, state
        self.pending = pending  # tokens in the local progress
        self._resumed = pending > 0  # some of it is that of an earlier run
        self._since = now  # when the pending progress began
        self._number = 0
        # Tokens of others, and rounds, that were merged since the pending progress began.
        self._beside = self._missed = 0
        self._sent: dict[int, Part] = {}
        self._ledger = Ledger()  # what of it any history has merged
        self.owed: torch.Tensor | None = None  # what codecs have dropped; None: nothing
        self._leaky = False  # of that a part is forgotten each time, as it is learned again
        self._lately: tuple[int, torch.Tensor] | None = None  # tokens of the last one, what it lost
        self.want: Want | None = None  # samples in the local progress, and how many more are wanted

    def part(
        self,
        parameters: torch.Tensor,
        now: float,
        last: bool = False,
        since: int = 0,
        want: Want | None = None,
    ) -> Part | None:
        """All progress up to ``parameters`` as a contribution; None when it is not finite.

        ``since`` tokens were trained after them. The ``last`` one is not followed by others that
        could make good an overshoot: of what a leaky codec dropped it holds what the site had
        learned for the contribution before and has not had the time to learn again.
        """
        progress = parameters - self.state.anchor
        if not bool(torch.isfinite(progress.sum())):
            return None
        self._number += 1
        seconds = max(now - self._since, 0.0)
        numbers = (self._number, self._ledger.after)
        others = (self._beside, self._missed)
        tokens = max(self.pending - since, 0)
        owed = self._not_again(tokens) if last and self._leaky else self.owed
        whole = progress if owed is None else progress + owed
        part = Part(whole, self.run, *numbers, tokens, seconds, *others, want)
        used = () if want is None else want.used
        self._ledger.note(Piece(self._number, tokens, used, now), progress)
        self._sent[self._number] = part
        self._sent.pop(self._number - KEPT, None)
        return part

    def _not_again(self, tokens: int) -> torch.Tensor | None:
        if self._lately is None or tokens >= self._lately[0]:
            return None
        before, lost = self._lately
        return lost * (1.0 - tokens / before)

    def adopt(self, parameters: torch.Tensor, state: OuterState) -> torch.Tensor:
        """The new local parameters on top of ``state``."""
        old, self.state = self.state, state
        if state.origin != old.origin:
            return self._start_over()
        progress = parameters - old.anchor
        run, number = state.merged.get(self.site, ("", 0))
        if self._resumed and (run, number) != old.merged.get(self.site, ("", 0)):
            self._resumed = False
            if run != self.run:  # the earlier one delivered after its checkpoint: maybe all of it
                return self.reset()
        number = number if run == self.run else 0
        moved = state.anchor - old.anchor
        if number == self._ledger.after:
            self._beside += max(state.tokens - old.tokens, 0)
            self._missed += max(state.round - old.round, 0)
            return state.anchor + beyond(progress, moved)
        self._beside = self._missed = 0
        if number < self._ledger.after:
            return state.anchor + progress + self._restored(number)
        return state.anchor + self._delivered(number, progress, moved)

    def _delivered(self, number: int, progress: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
        """What is left of ``progress`` once contribution ``number`` is merged."""
        part = self._sent.get(number)
        self._sent = {other: sent for other, sent in self._sent.items() if other > number}
        if part is not None:
            share = kept(part.codec)
            self._leaky = share < 1.0
            self.owed = None if part.arrived is None else share * (part.progress - part.arrived)
        span = self._ledger.move(number)
        if span is None:
            return progress
        self._lately = None
        if self._leaky and part is not None and part.arrived is not None:
            self._lately = (span.tokens, span.progress * (part.arrived == 0.0))
        self.pending -= span.tokens
        if self.want is not None:
            self.want = replace(self.want, used=minus(self.want.used, span.used))
        self._since = span.last.at
        since = progress - span.progress
        usual = self.pending / span.tokens if span.tokens else 0.0
        apart = since - moved * min(usual, 1.0)
        return since - mended(moved - span.progress, apart)

    def _restored(self, number: int) -> torch.Tensor:
        """What was merged after contribution ``number``, in a history that has been given up.

        As far as it is remembered, it is progress that is owed again.
        """
        self._sent.clear()
        self.owed = self._lately = None
        span = self._ledger.move(number)
        if span is None:
            return torch.zeros_like(self.state.anchor)
        self.pending += span.tokens
        if self.want is not None:
            self.want = replace(self.want, used=tidy((*self.want.used, *span.used)))
        return span.progress

    def reset(self) -> torch.Tensor:
        """Drop the local progress: the parameters are the anchor's."""
        self._sent.clear()
        self._ledger.drop()
        self.pending, self.owed, self._lately = 0, None, None
        self._beside = self._missed = 0
        if self.want is not None:
            self.want = replace(self.want, used=())
        return self.state.anchor.clone()

    def _start_over(self) -> torch.Tensor:
        """The state comes from other initial parameters: own progress means nothing there."""
        run, number = self.state.merged.get(self.site, ("", 0))
        self._ledger = Ledger(number if run == self.run else 0)
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


def mended(correction: torch.Tensor, apart: torch.Tensor) -> torch.Tensor:
    """What of ``correction`` the site has done by itself meanwhile, value by value.

    ``correction`` takes what a site has trained alone to the average of all; it arrives some steps
    late. ``apart`` is how these steps went otherwise than the average. Where both go the same way
    the site has mended its deviation by itself, and to mend it once more puts it back with the
    opposite sign: with the example's model, an average that arrives after half of the interval,
    held-out losses fell by 0.004 to 0.015 (docs/decisions/0007).
    """
    return torch.clamp(apart, correction.clamp(max=0.0), correction.clamp(min=0.0))
