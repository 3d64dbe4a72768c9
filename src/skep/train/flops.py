"""How much a step computes: counted once, on the first step."""

from __future__ import annotations

from torch.utils.flop_counter import FlopCounterMode


class StepFlops:
    """Counts floating-point operations between ``start`` and ``stop``."""

    def __init__(self) -> None:
        self._mode: FlopCounterMode | None = None

    def start(self) -> None:
        try:
            mode = FlopCounterMode(display=False)
            mode.__enter__()  # type: ignore[no-untyped-call]
            self._mode = mode
        except Exception:  # the counter must never stop a training: it is then estimated
            self._mode = None

    def stop(self) -> int:
        """Operations counted; 0 when they could not be."""
        mode, self._mode = self._mode, None
        if mode is None:
            return 0
        try:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            return int(mode.get_total_flops())
        except Exception:
            return 0


def estimate(parameters: int, tokens: int) -> int:
    """The usual estimate for a dense model: 6 operations per parameter and token."""
    return 6 * parameters * max(tokens, 1)
