"""Parameter counts of workloads against published totals."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from skep.model.workload import Experts, Latent, Workload
from skep.planner.layout import Layout, Layouts

GPT3 = Workload(
    name="gpt3-175b", layers=96, hidden=12288, heads=96, kv_heads=96, head_dim=128, ffn=49152,
    gated_mlp=False, vocab=50257, tied_embeddings=True, biases=True, positions=2048, seq_len=2048,
    global_batch=1536,
)  # fmt: skip
LLAMA3 = Workload(
    layers=32, hidden=4096, heads=32, kv_heads=8, head_dim=128, ffn=14336, vocab=128256,
    seq_len=8192, global_batch=128,
)  # fmt: skip
DEEPSEEK_V3 = Workload(
    layers=61, hidden=7168, heads=128, kv_heads=128, head_dim=128, ffn=18432, vocab=129280,
    seq_len=4096, global_batch=15360,
    moe=Experts(count=256, topk=8, ffn=2048, shared=1, first_dense_layers=3),
    latent=Latent(query_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128),
)  # fmt: skip


def test_parameters_are_those_that_were_published() -> None:
    assert GPT3.parameters == pytest.approx(174.6e9, rel=1e-3)
    assert LLAMA3.parameters == 8_030_261_248
    assert DEEPSEEK_V3.parameters == pytest.approx(671.026e9, rel=1e-4)
    assert DEEPSEEK_V3.active_parameters == pytest.approx(37.55e9, rel=0.01)


def test_the_causal_count_halves_the_scores_only() -> None:
    whole, half = GPT3.flops_per_token(causal=False), GPT3.flops_per_token()
    scores = 12 * 96 * 2048 * 12288
    assert whole - half == scores / 2
    korthikanti = 72 * 96 * 12288**2 * (1 + 2048 / (6 * 12288) + 50257 / (12 * 96 * 12288))
    assert whole == pytest.approx(korthikanti, rel=1e-6)


def test_groups_and_experts_must_fit() -> None:
    with pytest.raises(ValidationError, match="kv_heads"):
        Workload(**{**LLAMA3.model_dump(), "kv_heads": 7})
    with pytest.raises(ValidationError, match="topk"):
        Experts(count=4, topk=5, ffn=8)


def test_a_layout_survives_its_array() -> None:
    layout = Layout(tp=8, pp=4, dp=2, virtual=3, micro_batch=2, recompute="full", zero=3)
    assert Layouts.of(layout).pick((1,), 0) == layout
    assert layout.chips == 64
