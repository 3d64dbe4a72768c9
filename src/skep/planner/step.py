"""The step: one function for one layout, a million of them, or many runs of many chips at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skep.planner import collectives, compute
from skep.planner.layout import Layouts
from skep.planner.machine import Machine, Real
from skep.planner.shape import Shape
from skep.planner.stages import (
    WORD,
    dense_parameters,
    expert_copies,
    expert_parameters,
    most_layers,
)

HIDE_CONTEXT = 0.8  # share of attention that the ring of keys and values hides behind
HOST_LINK = 25e9  # bytes/s between a chip and its host (PCIe 4 x16 as measured at best); not fitted
HOST_MEMORY = 25e9  # bytes/s of the host's memory for each chip; not fitted
HIDE_OFFLOAD = 0.8  # share of a micro-batch's work behind which its activations move to the host
OPTIMIZER = 30.0  # bytes that Adam moves per parameter (states, master copy, gradient)


WORK = frozenset(("products", "attention", "elementwise", "recompute", "optimizer"))
"""Parts of a step in which a chip is at work, as its power goes; in the others it waits."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Where one step goes, s. They add up to the step."""

    products: Real
    attention: Real
    elementwise: Real
    recompute: Real
    tensor: Real
    context: Real
    experts: Real
    bubble: Real
    pipeline: Real
    gradients: Real
    optimizer: Real
    offload: Real
    overhead: Real

    @property
    def total(self) -> Real:
        """s of the step."""
        return sum((getattr(self, name) for name in self.__slots__), start=0.0)

    @property
    def working(self) -> Real:
        """s of the step in which a chip is at work."""
        return sum((getattr(self, name) for name in self.__slots__ if name in WORK), start=0.0)


def step(shape: Shape, on: Machine, at: Layouts) -> Parts:
    """Time of one optimizer step by part, s, for every layout of ``at`` at once.

    What is not whole (micro-batches, layers per stage) is the caller's to exclude: here
    ``micro-batches = batch / (dp micro_batch)`` and a stage has ``ceil(layers / pp)`` layers.
    """
    rows = compute.tokens(shape, at)
    micro = shape.batch / (at.dp * at.micro_batch)
    layer = _layer(shape, on, at, rows)
    last = 3.0 * compute.logits(shape, on, at, rows)
    per_chip = micro * shape.layers / at.pp
    whole = shape.layers * layer.total + last
    most = most_layers(shape, on, at)
    slow = _slowest(shape.layers, at.pp, most, layer.total, last)
    busy = micro * whole / at.pp
    bubble = np.maximum(micro * slow + (whole - slow) / at.virtual - busy, 0.0)
    pipeline = _pipeline(shape, on, at, rows, micro)
    gradients = _gradients(shape, on, at, most, micro, slow)
    optimizer = _optimizer(shape, on, at, most)
    offload: Real = 0.0
    if np.any(at.offload_activations + at.offload_parameters > 0):
        offload = _offload(shape, at, most, rows, micro, slow)
    known = busy + bubble + pipeline + gradients + optimizer + offload
    grown = on.jitter * np.log2(np.maximum(at.tp * at.pp * at.cp * at.dp / 8.0, 1.0))
    return Parts(
        products=per_chip * layer.products + micro * last / at.pp,
        attention=per_chip * layer.attention,
        elementwise=per_chip * layer.elementwise,
        recompute=per_chip * layer.recompute,
        tensor=per_chip * layer.tensor,
        context=per_chip * layer.context,
        experts=per_chip * layer.experts,
        bubble=bubble,
        pipeline=pipeline,
        gradients=gradients,
        optimizer=optimizer,
        offload=offload,
        overhead=on.step + grown * known,
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer and one micro-batch on one chip, forward and backward, s."""

    products: Real
    attention: Real
    elementwise: Real
    recompute: Real
    tensor: Real
    context: Real
    experts: Real
    total: Real


def _layer(shape: Shape, on: Machine, at: Layouts, rows: Real) -> _Layer:
    dense = shape.dense_layers / shape.layers
    routed = 1.0 - dense
    products = compute.projections(shape, on, at, rows)
    products = products + dense * compute.feed_forward(rows, shape.ffn, shape, on, at.tp)
    width = dense * shape.ffn + routed * (shape.topk + shape.shared) * shape.expert_ffn
    experts: Real = 0.0
    sort: Real = 0.0
    if np.any(np.asarray(shape.experts) > 0):
        products = products + routed * compute.experts(shape, on, at, rows)
        sort = routed * (compute.permute(shape, on, at, rows) + on.route)
        experts = 4.0 * routed * _expert_traffic(shape, on, at, rows) * (1.0 - on.hide_ep)
    attention = compute.attention(shape, on, at, rows)
    small = compute.elementwise(shape, on, at, rows, width) + on.launch + sort
    forward = products + attention + small
    layers_again = np.where(at.recompute > 2, 1.0, np.where(at.recompute > 1, 0.5, 0.0))
    again = layers_again * forward + np.where(at.recompute == 1, attention, 0.0)
    times = 2.0 + layers_again
    # Products can only run into a reduction within a domain, where chips see each other's memory.
    hidden = on.hide_tp * at.overlap_tp * (at.tp <= on.domain)
    tensor = times * _tensor_traffic(shape, on, at, rows) * (1.0 - hidden)
    context = 3.0 * _context_traffic(shape, on, at, rows, attention)
    out = (
        (1.0 + compute.BACKWARD) * products,
        (1.0 + compute.ATTENTION_BACKWARD) * attention,
        (1.0 + compute.BACKWARD) * small,
        again,
        tensor,
        context,
        experts,
    )
    return _Layer(*out, sum(out, start=0.0))


def _slowest(layers: Real, pp: Real, most: Real, layer: Real, last: Real) -> Real:
    """s of one micro-batch on the slowest stage, of ``most`` layers.

    Where the layers do not divide evenly the last stage has one less and carries the logits.
    """
    even = most * pp == layers
    return most * layer + np.where(even, last, np.maximum(last - layer, 0.0))


def _tensor_traffic(shape: Shape, on: Machine, at: Layouts, rows: Real) -> Real:
    """s of the two reductions of one layer, forward: each 2 (t-1)/t of rows x hidden values."""
    return 2.0 * collectives.reduce_all(WORD * rows * shape.hidden, at.tp, 1.0, on)


def _context_traffic(shape: Shape, on: Machine, at: Layouts, rows: Real, attention: Real) -> Real:
    """s that the ring of keys and values adds to attention.

    What of its traffic attention cannot hide, and the merging of a partial result in each of its
    cp - 1 steps: 12 bytes per value (two reads and a write, fp32).
    """
    sent = WORD * rows * shape.kv_dim / np.minimum(at.tp, np.maximum(shape.kv_dim, 1.0))
    ring = (at.cp - 1.0) * sent / collectives.bandwidth(at.cp, at.tp, on)
    ring = ring + collectives.latency(at.cp, at.tp, on)
    merged = (at.cp - 1.0) * 12.0 * rows * shape.heads * shape.head_v / at.tp
    return np.maximum(ring - HIDE_CONTEXT * attention, 0.0) + merged / on.memory_bandwidth


def _expert_traffic(shape: Shape, on: Machine, at: Layouts, rows: Real) -> Real:
    """s of dispatch or combine of one layer: every token's copies to its experts."""
    sent = WORD * (rows / at.tp) * shape.topk * shape.hidden
    return collectives.exchange(sent, at.ep, 1.0, shape.topk, on)


def _pipeline(shape: Shape, on: Machine, at: Layouts, rows: Real, micro: Real) -> Real:
    """s of handing activations and their gradients on, beyond what is hidden."""
    sent = WORD * rows * shape.hidden / at.tp
    one = collectives.pass_on(sent, at.tp * at.cp * at.dp, on)
    times = 2.0 * (micro * at.virtual + at.pp - 1.0)
    return np.where(at.pp > 1, times * one * (1.0 - on.hide_pp * at.overlap_pp), 0.0)


def _gradients(
    shape: Shape, on: Machine, at: Layouts, layers: Real, micro: Real, slow: Real
) -> Real:
    """s of data-parallel traffic beyond what is hidden behind work.

    ZeRO 0: an all-reduce of the gradients; 1 and 2: reduce-scatter of the gradients and all-gather
    of the parameters, once a step, hidden behind one micro-batch. ZeRO 3: two all-gathers of the
    parameters and a reduce-scatter for every micro-batch, hidden behind each; behind a pipeline
    parameters stay gathered, so once a step. Each layer is gathered for itself, in one piece or
    tensor by tensor (``pieces``), and every piece goes around the whole ring.
    """
    group = at.dp * at.cp
    mine = dense_parameters(shape, at, layers)
    once = collectives.gather((shape.gradient + WORD) * mine, group, at.tp, on)
    each = 3.0 * collectives.gather(WORD * mine, group, at.tp, on)
    rounds = layers * on.pieces
    each = each + 3.0 * rounds * collectives.ring_latency(group, at.tp, on)
    if np.any(np.asarray(shape.experts) > 0):
        routed = expert_parameters(shape, at, layers)
        copies = expert_copies(at)
        once = once + collectives.gather((shape.gradient + WORD) * routed, copies, at.ep, on)
        each = each + 3.0 * collectives.gather(WORD * routed, copies, at.ep, on)
    full = at.zero > 2
    traffic = np.where(full, each, once)
    hidden = on.hide_dp * at.overlap_dp * np.minimum(traffic, slow)
    return np.where(full & (at.pp == 1), micro, 1.0) * (traffic - hidden)


def _optimizer(shape: Shape, on: Machine, at: Layouts, layers: Real) -> Real:
    """s of the update: every byte of states, master copy and gradient once.

    Offloaded: gradients go to the host and parameters come back, and its memory does the work.
    """
    mine = _updated(shape, at, layers)
    host = mine * ((2.0 * WORD) / HOST_LINK + OPTIMIZER / HOST_MEMORY)
    return np.where(at.offload_optimizer > 0, host, OPTIMIZER * mine / on.memory_bandwidth)


def _offload(shape: Shape, at: Layouts, layers: Real, rows: Real, micro: Real, slow: Real) -> Real:
    """s of moving the entries of layers to the host and back, and of fetching the parameters for
    the forward and the backward pass of every micro-batch, beyond what work hides."""
    split = np.where(at.sequence_parallel > 0, at.tp, 1.0)
    entries = 2.0 * WORD * rows * shape.hidden / split * layers
    held = np.where((at.zero > 2) & (at.pp == 1), at.dp * at.cp, 1.0)
    weights = dense_parameters(shape, at, layers)
    if np.any(np.asarray(shape.experts) > 0):
        weights = weights + expert_parameters(shape, at, layers)
    moved = np.where(at.offload_activations > 0, entries, 0.0)
    moved = moved + np.where(at.offload_parameters > 0, 2.0 * WORD * weights / held, 0.0)
    return micro * np.maximum(moved / HOST_LINK - HIDE_OFFLOAD * slow, 0.0)


def _updated(shape: Shape, at: Layouts, layers: Real) -> Real:
    """Parameters that one chip updates."""
    group = np.where(at.zero > 0, at.dp * at.cp, 1.0)
    mine = dense_parameters(shape, at, layers) / group
    if np.any(np.asarray(shape.experts) > 0):
        copies = np.where(at.zero > 0, expert_copies(at), 1.0)
        mine = mine + expert_parameters(shape, at, layers) / copies
    return mine
