"""Time of the products, the attention kernel and the element-wise passes on one chip.

A product of (M x K) by (K x N) takes ``2 (M + m)(N + n)(K + k) / P``: the rate falls to one half
where a side is as small as its constant (fits to 8k-32k measured shapes per chip give m, n, k).
"""

from __future__ import annotations

import numpy as np

from skep.planner.layout import Layouts
from skep.planner.machine import Machine, Real
from skep.planner.shape import Shape

BACKWARD = 2.0  # two products per forward product: towards the inputs, towards the weights
ATTENTION_BACKWARD = 2.5  # flash attention: five products for two (arXiv:2307.08691)
UNALIGNED = 4.0  # slower products of scores where the head size is no multiple of 8
GATED_PASSES = 1.5  # a gated block reads and writes half as much again as a plain one


def tokens(shape: Shape, at: Layouts) -> Real:
    """Tokens of one micro-batch on one chip: micro_batch x seq / cp."""
    return at.micro_batch * shape.seq / at.cp


def product(rows: Real, outputs: Real, inputs: Real, on: Machine) -> Real:
    """s of one product of ``rows`` x ``inputs`` by ``inputs`` x ``outputs``."""
    return (2.0 / on.products) * (rows + on.half_m) * ((outputs + on.half_n) * (inputs + on.half_k))


def projections(shape: Shape, on: Machine, at: Layouts, rows: Real) -> Real:
    """s of the attention projections of one layer, forward."""
    total: Real = 0.0
    for outputs, inputs, split in shape.project:
        wide = outputs / at.tp if split == 1 else outputs
        deep = inputs / at.tp if split == 2 else inputs
        total = total + product(rows, wide, deep, on)
    return total


def feed_forward(rows: Real, ffn: Real, shape: Shape, on: Machine, tp: Real) -> Real:
    """s of a feed-forward block of width ``ffn``, forward: up (and gate, merged), down."""
    up = product(rows, (shape.matrices - 1.0) * ffn / tp, shape.hidden, on)
    return up + product(rows, shape.hidden, ffn / tp, on)


def expert_split(at: Layouts) -> Real:
    """Chips that share one expert: the tensor group without expert parallelism, else one."""
    return np.where(at.ep > 1, 1.0, at.tp)


def experts(shape: Shape, on: Machine, at: Layouts, rows: Real) -> Real:
    """s of the routed and shared experts of one layer, forward, load balanced.

    A chip holds ``experts / ep`` of them, each sees ``rows topk ep / experts`` tokens. With
    expert parallelism experts stay whole and the members of a tensor group share the tokens;
    without, experts are split like other products.
    """
    count = np.maximum(shape.experts, 1.0)
    mine = count / at.ep
    split = expert_split(at)
    each = rows * shape.topk * split / (mine * at.tp)
    routed = mine * feed_forward(each, shape.expert_ffn, shape, on, split) / on.grouped
    shared = feed_forward(rows, shape.shared * shape.expert_ffn, shape, on, at.tp)
    router = product(rows / at.tp, count, shape.hidden, on)
    return routed + router + np.where(shape.shared > 0, shared, 0.0)


def attention(shape: Shape, on: Machine, at: Layouts, rows: Real) -> Real:
    """s of scores, softmax and values of one layer, forward.

    Fused: 2 rows s a (d_qk + d_v) / 2 FLOPs (causal). Unfused: the whole square, and
    ``score_passes`` passes of 2 bytes over it.
    """
    square = rows * shape.context * (shape.heads / at.tp)
    width = shape.head_qk + shape.head_v
    small = (1.0 + 2.0 * on.head_half / width) * np.where(shape.aligned > 0, 1.0, UNALIGNED)
    unfused = on.score_passes > 0
    flops = square * width * np.where(unfused, 2.0, 1.0)
    return flops * small / on.attention + square * (2.0 * on.score_passes / on.memory_bandwidth)


def permute(shape: Shape, on: Machine, at: Layouts, rows: Real) -> Real:
    """s of sorting the copies of tokens by expert and back, one MoE layer, forward."""
    copies = (rows / at.tp) * shape.topk * shape.hidden
    return copies * (2.0 * on.permute / on.memory_bandwidth)


def elementwise(shape: Shape, on: Machine, at: Layouts, rows: Real, width: Real) -> Real:
    """s of norms, residuals and activations of one layer, forward; ``width``: of the MLP.

    ``passes`` passes of 2 bytes: six tenths over the hidden size, divided by the tensor degree
    only with sequence parallelism (Korthikanti), the rest over the MLP, always divided.
    """
    split = np.where(at.sequence_parallel > 0, at.tp, 1.0)
    gate = np.where(shape.matrices > 2, GATED_PASSES, 1.0)
    values = 0.6 * shape.hidden / split + 0.1 * gate * width / at.tp
    return rows * values * (2.0 * (on.passes + on.cast) / on.memory_bandwidth)


def logits(shape: Shape, on: Machine, at: Layouts, rows: Real) -> Real:
    """s of the output projection and its loss, forward."""
    wide = shape.vocab / at.tp
    passes = rows * wide * (on.logit_bytes / on.memory_bandwidth)
    return product(rows, wide, shape.hidden, on) + passes
