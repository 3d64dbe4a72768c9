"""Bytes of one chip's memory by part, for every layout at once.

Korthikanti et al. (arXiv:2205.05198) count what a layer keeps for its backward pass; ZeRO
(Rajbhandari et al., arXiv:1910.02054) says what of the states is spread. The fullest stage counts:
the first keeps the most micro-batches in flight, the last has the logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skep.planner.layout import Layouts
from skep.planner.machine import Machine, Real
from skep.planner.shape import Shape
from skep.planner.step import WORD, dense_parameters, expert_copies, expert_parameters

STATES = 12.0  # bytes per parameter: fp32 master copy and both moments of Adam
SCORES = 5.0  # bytes kept per score where attention is not fused (softmax, dropout and its mask)
LOW_KEPT = 0.75  # of what a layer keeps, where inputs of products are kept in 8 bits


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
    group = at.dp * at.cp
    dense = dense_parameters(shape, at)
    states = dense / np.where(at.zero > 0, group, 1.0)
    # Behind a pipeline ZeRO-3 keeps parameters and sums of gradients whole for the step.
    spread = (at.zero > 2) & (at.pp == 1)
    grads = dense / np.where((at.zero == 2) | spread, group, 1.0)
    kept = dense / np.where(spread, group, 1.0)
    if np.any(np.asarray(shape.experts) > 0):
        routed = expert_parameters(shape, at)
        copies = expert_copies(at)
        states = states + routed / np.where(at.zero > 0, copies, 1.0)
        grads = grads + routed / np.where((at.zero == 2) | spread, copies, 1.0)
        kept = kept + routed / np.where(spread, copies, 1.0)
    # ZeRO-3 holds the parameters of a layer whole while it works on it.
    held = np.where(spread, WORD * dense * at.pp / shape.layers, 0.0)
    first, last, logits = _activations(shape, on, at)
    fuller = first >= last + logits
    return Bytes(
        parameters=WORD * kept + held,
        gradients=np.where(shape.gradient_memory > 2.0, on.gradient_bytes, 2.0) * grads,
        optimizer=np.where(at.offload_optimizer > 0, 0.0, STATES) * states,
        activations=on.slack * np.where(fuller, first, last),
        logits=on.slack * np.where(fuller & (at.pp > 1), 0.0, logits),
        reserve=np.broadcast_to(on.reserve, np.shape(fuller)),
    )


def _activations(shape: Shape, on: Machine, at: Layouts) -> tuple[Real, Real, Real]:
    """bytes kept on the first stage, on the last, and of the logits there."""
    rows = at.micro_batch * shape.seq / at.cp
    layers = np.ceil(shape.layers / at.pp)
    micro = shape.batch / (at.dp * at.micro_batch)
    inside = layer_bytes(shape, at)
    split = np.where(at.sequence_parallel > 0, at.tp, 1.0)
    entry = WORD * shape.hidden / split
    scores = np.where(on.score_passes > 0, SCORES * shape.heads * shape.context / at.tp, 0.0)
    kept = np.where(
        at.recompute > 2,
        entry,
        np.where(
            at.recompute > 1,
            0.5 * (entry + inside + scores),
            np.where(at.recompute > 0, inside, inside + scores),
        ),
    )
    working = np.where(at.recompute > 1, inside + scores, np.where(at.recompute > 0, scores, 0.0))
    flight = np.minimum(micro, at.pp)
    deeper = np.where(at.virtual > 1, 1.0 + (at.pp - 1.0) / (at.pp * at.virtual), 1.0)
    ends = np.where(at.pp > 1, 2.0 * WORD * shape.hidden / split, 0.0)  # what a stage got and sent
    # Offloaded: the entry of every layer waits on the host, two of them here.
    layers = np.where(
        (at.offload_activations > 0) & (at.recompute > 2), np.minimum(layers, 2.0), layers
    )
    first = rows * ((layers * kept * deeper + ends) * flight + working)
    last = rows * (layers * kept + ends + working)
    logits = rows * on.logits_kept * shape.vocab / at.tp
    return first, np.where(at.pp > 1, last, first), logits


def layer_bytes(shape: Shape, at: Layouts) -> Real:
    """bytes that one layer keeps per token without recomputation, scores aside.

    Inputs of both norms, of attention and of the MLP (2 bytes each, h wide; divided by the tensor
    degree only with sequence parallelism); queries, keys, values and their result; the MLP's inner
    values before and after activation (gated: both halves). For a GPT layer that is 32 s b h:
    Korthikanti counts 34 with the masks of dropout, which models no longer have.
    """
    split = np.where(at.sequence_parallel > 0, at.tp, 1.0)
    routed = 1.0 - shape.dense_layers / shape.layers
    width = (1.0 - routed) * shape.ffn + routed * (shape.topk + shape.shared) * shape.expert_ffn
    heads = shape.heads * (shape.head_qk + shape.head_v)
    copies = routed * shape.topk * shape.hidden  # tokens as the experts see them
    inner = WORD * (heads + shape.kv_kept + shape.matrices * width + copies)
    low = np.where(shape.low_precision > 0, LOW_KEPT, 1.0)
    return low * (8.0 * shape.hidden / split + inner / at.tp)
