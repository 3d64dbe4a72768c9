"""A workload as numbers for the model's arrays. Every field may be a number or an array."""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.workload import Workload
from skep.planner.layout import Numbers

Real = Numbers | float


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the products of one layer, and what is counted per step.

    ``project`` lists (outputs, inputs, split) of the attention projections: ``split`` 1 where the
    tensor degree divides the outputs, 2 where it divides the inputs, 0 where it divides nothing.
    """

    layers: Real
    hidden: Real
    heads: Real
    kv_dim: Real
    """Values of keys and values that one token keeps for context parallelism."""
    head_qk: Real
    head_v: Real
    project: tuple[tuple[Real, Real, int], ...]
    ffn: Real
    matrices: Real
    vocab: Real
    seq: Real
    context: Real
    """Tokens that the scores of one token span, before causality halves them."""
    aligned: Real
    """1 where the head size is a multiple of 8, as matrix units want it."""
    batch: Real
    attention_parameters: Real
    embedding_parameters: Real
    small_parameters: Real
    dense_layers: Real
    experts: Real = 0.0
    topk: Real = 0.0
    shared: Real = 0.0
    expert_ffn: Real = 0.0
    gradient: Real = 4.0
    """Bytes of a gradient as it is reduced: 2 in fp16 training, 4 with bf16 (fp32 sums)."""
    gradient_memory: Real = 4.0
    """Bytes of a gradient as it is kept."""
    kv_kept: Real = 0.0
    """Values of keys and values that the backward pass needs, per token."""
    low_precision: Real = 0.0
    """1 where products run in 8 bits or fewer."""
    flops: Real = 0.0
    """Model FLOPs of a step, causal."""


def shape_of(work: Workload) -> Shape:
    """The numbers of ``work``."""
    moe = work.moe
    return Shape(
        layers=float(work.layers),
        hidden=float(work.hidden),
        heads=float(work.heads),
        kv_dim=_kv_dim(work),
        head_qk=float(work.query_dim),
        head_v=float(work.value_dim),
        project=_projections(work),
        ffn=float(work.ffn),
        matrices=float(work.matrices),
        vocab=float(work.vocab),
        seq=float(work.seq_len),
        context=work.context,
        aligned=1.0 if work.head_dim % 8 == 0 else 0.0,
        batch=float(work.global_batch),
        attention_parameters=float(work.attention_parameters),
        embedding_parameters=float(work.embedding_parameters),
        small_parameters=4.0 * work.hidden,
        dense_layers=float(work.layers - work.moe_layers),
        experts=float(moe.count) if moe else 0.0,
        topk=float(moe.topk) if moe else 0.0,
        shared=float(moe.shared) if moe else 0.0,
        expert_ffn=float(moe.ffn) if moe else 0.0,
        gradient=2.0 if work.dtype == "fp16" else 4.0,
        gradient_memory=2.0 if work.dtype == "fp16" else 4.0,
        kv_kept=_kv_kept(work),
        low_precision=1.0 if work.dtype in ("fp8", "mxfp8", "nvfp4") else 0.0,
        flops=work.flops_per_token() * work.tokens_per_step,
    )


def _kv_dim(work: Workload) -> float:
    if work.latent:
        return float(work.latent.kv_rank + work.latent.rope_dim)
    return 2.0 * work.kv_heads * work.head_dim


def _kv_kept(work: Workload) -> float:
    if work.latent:  # keys and values are made anew per head
        return float(work.heads * (work.query_dim + work.value_dim))
    return 2.0 * work.kv_heads * work.head_dim


def _projections(work: Workload) -> tuple[tuple[Real, Real, int], ...]:
    h, a = float(work.hidden), float(work.heads)
    if not work.latent:
        merged = (a + 2.0 * work.kv_heads) * work.head_dim
        return ((merged, h, 1), (h, a * work.head_dim, 2))
    m = work.latent
    query = a * work.query_dim
    down = ((float(m.query_rank), h, 0), (query, float(m.query_rank), 1))
    return (
        *(down if m.query_rank else ((query, h, 1),)),
        (float(m.kv_rank + m.rope_dim), h, 0),
        (a * (m.nope_dim + m.value_dim), float(m.kv_rank), 1),
        (h, a * m.value_dim, 2),
    )
