"""Bytes of one chip's memory by part, for every layout at once.

The fullest stage counts: the first keeps the most micro-batches in flight, the last has the logits.
What a layer keeps, and what of the states is spread, is in ``stages``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skep.planner.layout import Layouts
from skep.planner.machine import Machine, Real
from skep.planner.shape import Shape
from skep.planner.stages import (
    HALF,
    WORD,
    dense_parameters,
    expert_parameters,
    kept_bytes,
    layer_parameters,
    passing_bytes,
    states,
    uneven,
)


@dataclass(frozen=True, slots=True)
class Bytes:
    """Memory of one chip by part, bytes. They add up to what must fit."""

    parameters: Real
    gradients: Real
    optimizer: Real
    activations: Real
    logits: Real
    reserve: Real

    @property
    def total(self) -> Real:
        """bytes of the fullest chip."""
        return sum((getattr(self, name) for name in self.__slots__), start=0.0)


def memory(shape: Shape, on: Machine, at: Layouts) -> Bytes:
    """bytes of the fullest chip by part."""
    layers = np.ceil(shape.layers / at.pp)
    first, last, logits = _activations(shape, on, at, layers, layers)
    lighter: Real = 0.0
    front, back = layers, layers
    if np.any(at.uneven > 0):
        front, back = (np.where(at.uneven > 0, n + HALF, layers) for n in uneven(shape, on, at))
        first, last, logits = _activations(shape, on, at, front, back)
        each = layer_parameters(shape) / at.tp
        lighter = (back - front) * states(
            shape, on, at, each, expert_parameters(shape, at, 1.0)
        ).total
    fuller = first >= last + logits + lighter
    mine = np.where(fuller, front, back)
    dense = dense_parameters(shape, at, mine)
    held = states(shape, on, at, dense, expert_parameters(shape, at, mine))
    # ZeRO-3 holds the parameters of a layer whole while it works on it.
    gathered = np.where((at.zero > 2) & (at.pp == 1), WORD * dense / shape.layers, 0.0)
    return Bytes(
        parameters=held.parameters + gathered,
        gradients=held.gradients,
        optimizer=held.optimizer,
        activations=on.slack * np.where(fuller, first, last),
        logits=on.slack * np.where(fuller & (at.pp > 1), 0.0, logits),
        reserve=np.broadcast_to(on.reserve, np.shape(fuller)),
    )


def _activations(
    shape: Shape, on: Machine, at: Layouts, front: Real, back: Real
) -> tuple[Real, Real, Real]:
    """bytes kept on the first stage, on the last (of so many layers), and of the logits there."""
    rows = at.micro_batch * shape.seq / at.cp
    micro = shape.batch / (at.dp * at.micro_batch)
    kept, working = kept_bytes(shape, on, at)
    flight = np.minimum(micro, at.pp)
    deeper = np.where(at.virtual > 1, 1.0 + (at.pp - 1.0) / (at.pp * at.virtual), 1.0)
    ends = passing_bytes(shape, at)
    # Offloaded: the entry of every layer waits on the host, two of them here.
    here = (at.offload_activations > 0) & (at.recompute > 2)
    front, back = (np.where(here, np.minimum(n, 2.0), n) for n in (front, back))
    first = rows * ((front * kept * deeper + ends) * flight + working)
    last = rows * (back * kept + ends + working)
    logits = rows * on.logits_kept * shape.vocab / at.tp
    return first, np.where(at.pp > 1, last, first), logits
