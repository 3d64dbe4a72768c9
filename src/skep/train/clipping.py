"""Gradients clipped at one site as they would be on the batches of all sites together.

A norm at which gradients are clipped is meant for the average of all sites' gradients, as with data
parallelism. One site's is longer: with ``s`` of its square common to all sites (signal) and the
rest the noise of its own batch, the average over ``n`` such sites has

    |average|^2 = s |g|^2 + ((1 - s) |g|^2 + (n - 1) (1 - s) u^2) / n^2

where ``u`` is the usual norm of a site's gradient: of the other sites' noise only the usual size is
known here. So gradients are clipped with the norm of that average in place of their own, never
below what the given one would leave. Each site does so by itself: nothing is sent.

``s`` is the cosine of the angle between the gradients of two steps that follow each other, as an
average over some steps: in expectation noise adds nothing to their product, as the batches are
others. It and ``u`` are known from the steps before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, NamedTuple

import torch

from skep.train.flat import held, is_sharded
from skep.train.ranks import Ranks
from skep.train.settings import Settings

MEMORY = 0.98  # of what was known before, kept at each step
ENOUGH = 1 << 18  # values of a gradient that are looked at, or somewhat more
HUGE = 1e30  # a norm to which nothing is clipped


class Looked(NamedTuple):
    """Of the values of one gradient that are looked at; may be summed over the ranks of a site."""

    product: float = 0.0  # with those of the gradient before
    square: float = 0.0
    before: float = 0.0  # square of the gradient before


@dataclass(frozen=True, slots=True)
class Known:
    """What the steps so far tell of a site's gradients: decaying sums and those of their weights"""

    cosines: float = 0.0
    pairs: float = 0.0
    norms: float = 0.0
    steps: float = 0.0

    @property
    def common(self) -> float:
        """The share of the squared norm that all sites have in common, 0 to 1."""
        return min(max(self.cosines / self.pairs, 0.0), 1.0) if self.pairs else 1.0

    @property
    def usual(self) -> float:
        """The norm of a site's gradient, on average over the last steps."""
        return self.norms / self.steps if self.steps else 0.0

    def seen(self, looked: Looked, norm: float) -> Known:
        """With one more gradient; one that is zero or not finite tells nothing."""
        if not (isfinite(norm) and norm > 0.0):
            return self
        norms, steps = MEMORY * self.norms + norm, MEMORY * self.steps + 1.0
        both = (looked.square * looked.before) ** 0.5
        if not (isfinite(both) and both > 0.0 and isfinite(looked.product)):
            return replace(self, norms=norms, steps=steps)
        cosines = MEMORY * self.cosines + looked.product / both
        return Known(cosines, MEMORY * self.pairs + 1.0, norms, steps)


def together(norm: torch.Tensor, known: Known, times: float) -> torch.Tensor:
    """The norm that the average of all sites' gradients has where this site's is ``norm`` (0-D),
    on batches ``times`` as large as this one's together; never more than ``norm``."""
    square = norm.square()
    noise = (square + (times - 1) * known.usual**2) * ((1 - known.common) / times**2)
    return torch.minimum((square * known.common + noise).sqrt(), norm)


class Clip:
    """Clips the gradients of ``parameters``, at all ranks of a site alike."""

    def __init__(self, parameters: Iterable[torch.Tensor], ranks: Ranks, chosen: Settings) -> None:
        self.times = 1.0  # tokens of all sites over those of this one; 1: clipped as ever
        self._parameters = [p for p in parameters if p.requires_grad]
        self._ranks, self._apart = ranks, chosen.sharded and ranks.world > 1
        self._watch = not chosen.alone
        every = sum(held(p).numel() for p in self._parameters) // ENOUGH
        self._every = every | 1  # odd: it is not to be some columns of a matrix alone
        self._known = Known()
        self._before: torch.Tensor | None = None
        self._told: list[torch.Tensor] = []

    @torch.no_grad()
    def clip(self, most: float) -> torch.Tensor:
        """See ``Run.clip_grad_norm_``."""
        seen = self._look() if self._watch else []
        if self.times <= 1.0 and not self._apart:
            norm = torch.nn.utils.clip_grad_norm_(self._parameters, most)
            self._told = [*seen, whole_of(norm)] if seen else []
            return norm
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, HUGE)
        whole = whole_of(norm)
        if self._apart:
            norm = whole = whole.new_tensor(self._ranks.summed([float(whole) ** 2])[0] ** 0.5)
        self._told = [*seen, whole] if seen else []
        average = together(whole, self._known, self.times) if self.times > 1.0 else whole
        factor = (most / (average + 1e-6)).clamp(max=1.0)  # as torch's
        for parameter in self._parameters:
            if parameter.grad is not None:
                held(parameter.grad).mul_(factor.to(parameter.grad.device))
        return norm

    def told(self) -> tuple[Looked, float]:
        """Of the gradient that was clipped since the last call, what is to be summed over the ranks
        and the norm; zeros where there was none."""
        told, self._told = self._told, []
        numbers = torch.stack([one.float().cpu() for one in told]).tolist() if told else [0.0] * 4
        return Looked(*numbers[:3]), numbers[3]

    def learn(self, looked: Looked, norm: float, times: float) -> None:
        """What ``told`` gave, of all ranks together; what ``times`` is from now on."""
        self._known, self.times = self._known.seen(looked, norm), times

    def _look(self) -> list[torch.Tensor]:
        """Product with the gradient before, own square, that one's: of some of the values."""
        found = [p.grad for p in self._parameters if p.grad is not None]
        if not found:
            return []
        some = [held(g).reshape(-1)[:: self._every].float().to(found[0].device) for g in found]
        now, before = torch.cat(some), self._before
        if before is None or before.shape != now.shape:
            before = torch.zeros_like(now)
        self._before = now
        return [now @ before, now @ now, before @ before]


def whole_of(norm: torch.Tensor) -> torch.Tensor:
    """A norm over all shards: on all ranks that hold them."""
    sharded: Any = norm
    made: torch.Tensor = sharded.full_tensor() if is_sharded(norm) else norm
    return made
