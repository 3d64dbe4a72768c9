"""Stages of a pipeline: their layers, parameters and states, and what a layer keeps.

Korthikanti et al. (arXiv:2205.05198) count what a layer keeps for its backward pass; ZeRO
(Rajbhandari et al., arXiv:1910.02054) says what of the states is spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skep.planner import compute
from skep.planner.layout import Layouts
from skep.planner.machine import Machine, Real
from skep.planner.shape import Shape

WORD = 2.0  # bytes of an activation or a parameter in 16 bits
STATES = 12.0  # bytes per parameter: fp32 master copy and both moments of Adam
SCORES = 5.0  # bytes kept per score where attention is not fused (softmax, dropout and its mask)
HALF = 0.5  # layers by which a stage of whole layers may be larger than memory alone would have it
LOW_KEPT = 0.75  # of what a layer keeps, where inputs of products are kept in 8 bits


@dataclass(frozen=True, slots=True)
class States:
    """bytes of a chip: parameters, gradients, optimizer states."""

    parameters: Real
    gradients: Real
    optimizer: Real

    @property
    def total(self) -> Real:
        """Their sum."""
        return self.parameters + self.gradients + self.optimizer


def layer_parameters(shape: Shape) -> Real:
    """Parameters of one layer that all data-parallel chips share, before tensor parallelism."""
    ffn = shape.matrices * shape.hidden
    inside = shape.attention_parameters + shape.small_parameters
    inside = inside + (shape.dense_layers / shape.layers) * ffn * shape.ffn
    moe = 1.0 - shape.dense_layers / shape.layers
    return inside + moe * (ffn * shape.shared * shape.expert_ffn + shape.hidden * shape.experts)


def dense_parameters(shape: Shape, at: Layouts, layers: Real) -> Real:
    """Such parameters of a stage of ``layers`` layers at an end of the model, on one chip."""
    ends = np.where(at.pp > 1, shape.vocab * shape.hidden, shape.embedding_parameters)
    return (layers * layer_parameters(shape) + ends) / at.tp


def expert_parameters(shape: Shape, at: Layouts, layers: Real) -> Real:
    """Parameters of routed experts of ``layers`` layers on one chip."""
    routed = layers * (1.0 - shape.dense_layers / shape.layers)
    held = at.ep * compute.expert_split(at)
    return routed * shape.matrices * shape.hidden * shape.expert_ffn * shape.experts / held


def expert_copies(at: Layouts) -> Real:
    """Chips that hold the same routed experts."""
    return np.maximum(at.dp * at.cp * at.tp / (at.ep * compute.expert_split(at)), 1.0)


def states(shape: Shape, on: Machine, at: Layouts, dense: Real, routed: Real) -> States:
    """bytes of ``dense`` parameters and of ``routed`` ones of experts, as ZeRO spreads them.

    Behind a pipeline ZeRO-3 keeps parameters and sums of gradients whole for the step.
    """
    group = at.dp * at.cp
    spread = (at.zero > 2) & (at.pp == 1)
    optimizer = dense / np.where(at.zero > 0, group, 1.0)
    grads = dense / np.where((at.zero == 2) | spread, group, 1.0)
    kept = dense / np.where(spread, group, 1.0)
    if np.any(np.asarray(shape.experts) > 0):
        copies = expert_copies(at)
        optimizer = optimizer + routed / np.where(at.zero > 0, copies, 1.0)
        grads = grads + routed / np.where((at.zero == 2) | spread, copies, 1.0)
        kept = kept + routed / np.where(spread, copies, 1.0)
    # Offloaded: two layers are here, the one at work and the next.
    here = np.minimum(2.0 * at.pp / shape.layers, 1.0)
    return States(
        parameters=WORD * kept * np.where(at.offload_parameters > 0, here, 1.0),
        gradients=np.where(shape.gradient_memory > 2.0, on.gradient_bytes, 2.0) * grads,
        optimizer=np.where(at.offload_optimizer > 0, 0.0, STATES) * optimizer,
    )


def most_layers(shape: Shape, on: Machine, at: Layouts) -> Real:
    """Layers of the stage with the most of them."""
    even = np.ceil(shape.layers / at.pp)
    if not np.any(at.uneven > 0):
        return even
    return np.where(at.uneven > 0, np.ceil(uneven(shape, on, at)[1]), even)


def uneven(shape: Shape, on: Machine, at: Layouts) -> tuple[Real, Real]:
    """Layers of the first and of the last stage where early stages have fewer, so that they fit.

    Stage j of p keeps f = min(m, p - j) micro-batches in flight. Equally full would be
    n_j = C / (S + A f) with S the states and A the activations of a layer; C follows from
    sum n_j = L, the sum over f as an integral. As the largest stage sets the pace, stages go only
    so far from L / p towards that as lets the first one fit. Not rounded.
    """
    micro = shape.batch / (at.dp * at.micro_batch)
    flight = np.minimum(micro, at.pp)
    rows = on.slack * at.micro_batch * shape.seq / at.cp
    mine, routed = layer_parameters(shape) / at.tp, expert_parameters(shape, at, 1.0)
    layer = states(shape, on, at, mine, routed).total
    kept, working = kept_bytes(shape, on, at)
    one = rows * kept
    ratio = layer / one
    whole = np.log((ratio + flight + 0.5) / (ratio + 0.5)) / one
    whole = whole + (at.pp - flight) / (layer + one * flight)
    full, even = shape.layers / whole, shape.layers / at.pp
    first = np.minimum(np.maximum(full / (layer + one * flight), 1.0), even)
    fixed = on.reserve + states(shape, on, at, dense_parameters(shape, at, HALF), 0.0).total
    passing = HALF * kept + passing_bytes(shape, at)
    room = on.memory - fixed - rows * (working + passing * flight)
    front = np.clip(room / (layer + one * flight), first, even)
    gone = (even - front) / np.maximum(even - first, 1e-9)
    return front, even + gone * (full / (layer + one) - even)


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


def passing_bytes(shape: Shape, at: Layouts) -> Real:
    """bytes per token of what a stage got from the one before and sent to the next."""
    split = np.where(at.sequence_parallel > 0, at.tp, 1.0)
    return np.where(at.pp > 1, 2.0 * WORD * shape.hidden / split, 0.0)


def kept_bytes(shape: Shape, on: Machine, at: Layouts) -> tuple[Real, Real]:
    """bytes per token that a layer keeps until its backward pass, and while it is worked on."""
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
    return kept, working
