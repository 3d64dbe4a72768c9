"""A virtual chip: counts the FLOPs of the first step, then holds each to the stated speed."""

from __future__ import annotations

import time

from skep.train.flops import StepFlops, estimate
from skep.train.pacing import Pacer

BACKLOG_S = 2.0  # of debt that a virtual chip may catch up


class Chip:
    """What this process is held to; ``speed`` in FLOP/s, None: as fast as it is."""

    def __init__(self, speed: float | None, parameters: int) -> None:
        self._speed, self._parameters = speed, parameters
        self._flops = StepFlops()
        self.pacer: Pacer | None = None
        self.step_flops = 0

    def start(self) -> None:
        if self._speed is not None:
            self._flops.start()

    def stop(self) -> None:
        self._flops.stop()

    def step(self, tokens: int) -> None:
        """A step on so many tokens of this process has ended: sleep until the chip has done it."""
        if self._speed is None:
            return
        if self.pacer is None:
            self.step_flops = self._flops.stop() or estimate(self._parameters, tokens)
            self.pacer = Pacer(self.step_flops / self._speed, BACKLOG_S)
            self.pacer.start(time.monotonic())
            return
        time.sleep(self.pacer.sleep_s(time.monotonic()))
