"""Layouts: how one training step is spread over the chips. One, or arrays of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Recompute = Literal["none", "selective", "alternate", "full"]
RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "alternate", "full")
"""Nothing; attention's scores; every other layer whole; every layer whole."""
Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout. ``tp x pp x cp x dp`` chips; ``ep`` divides ``cp x dp`` (and ``tp``).

    ``zero``: 0 nothing, 1 optimizer states, 2 and gradients, 3 and parameters are spread over the
    data-parallel chips (3 = FSDP). ``virtual``: stages per chip (interleaved pipeline). Overlaps
    hide traffic behind work; what is offloaded lives in the host's memory. ``uneven``: the first
    stages have fewer layers, as they keep more micro-batches, so that all are equally full.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    cp: int = 1
    ep: int = 1
    virtual: int = 1
    micro_batch: int = 1
    recompute: Recompute = "none"
    zero: int = 1
    sequence_parallel: bool = True
    overlap_tp: bool = False
    overlap_dp: bool = True
    overlap_pp: bool = True
    uneven: bool = False
    offload_optimizer: bool = False
    offload_activations: bool = False
    offload_parameters: bool = False

    @property
    def chips(self) -> int:
        """Chips that the layout takes."""
        return self.tp * self.pp * self.dp * self.cp


@dataclass(frozen=True, slots=True)
class Layouts:
    """Many layouts: each field an array (or a number), broadcast against each other.

    ``recompute`` is an index into ``RECOMPUTE``. Axes that a field does not vary along have length
    one, so that what depends on few fields is computed few times.
    """

    tp: Numbers
    pp: Numbers
    dp: Numbers
    cp: Numbers
    ep: Numbers
    virtual: Numbers
    micro_batch: Numbers
    recompute: Numbers
    zero: Numbers
    sequence_parallel: Numbers
    overlap_tp: Numbers
    overlap_dp: Numbers
    overlap_pp: Numbers
    uneven: Numbers
    offload_optimizer: Numbers
    offload_activations: Numbers
    offload_parameters: Numbers

    @classmethod
    def of(cls, layout: Layout) -> Layouts:
        """Arrays of one."""
        return cls(**{f.name: np.array([_number(getattr(layout, f.name))]) for f in fields(cls)})

    def pick(self, shape: tuple[int, ...], flat: int) -> Layout:
        """The layout at position ``flat`` of the broadcast ``shape``."""
        at = np.unravel_index(flat, shape)

        def value(name: str) -> int:
            return int(np.broadcast_to(getattr(self, name), shape)[at].item())

        return Layout(
            tp=value("tp"),
            pp=value("pp"),
            dp=value("dp"),
            cp=value("cp"),
            ep=value("ep"),
            virtual=value("virtual"),
            micro_batch=value("micro_batch"),
            recompute=RECOMPUTE[value("recompute")],
            zero=value("zero"),
            sequence_parallel=bool(value("sequence_parallel")),
            overlap_tp=bool(value("overlap_tp")),
            overlap_dp=bool(value("overlap_dp")),
            overlap_pp=bool(value("overlap_pp")),
            uneven=bool(value("uneven")),
            offload_optimizer=bool(value("offload_optimizer")),
            offload_activations=bool(value("offload_activations")),
            offload_parameters=bool(value("offload_parameters")),
        )


def _number(value: int | Recompute) -> float:
    return float(RECOMPUTE.index(value)) if isinstance(value, str) else float(value)
