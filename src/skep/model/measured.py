"""Measured: how fast a run of a real job stepped, as it told at its end."""

from __future__ import annotations

from skep.model.base import Spec


class Measured(Spec):
    """One run that has ended: chips of one kind at one site, and its mean step.

    ``flops`` are the floating-point operations of one step on one chip, counted by the run;
    ``tokens`` the tokens of one step of all chips of the site; ``step`` is in s.
    """

    job: str
    name: str
    run: str
    site: str
    chip: str
    chips: int
    step: float
    tokens: float
    flops: float
    steps: int

    @property
    def flops_per_token(self) -> float:
        """FLOPs that training on one token takes."""
        return self.flops * self.chips / self.tokens if self.tokens else 0.0
