"""Chips and their links as numbers for the model's arrays. Every field may be an array."""

from __future__ import annotations

from dataclasses import dataclass

from skep.planner.chip import ChipFacts
from skep.planner.layout import Numbers

Real = Numbers | float


@dataclass(frozen=True, slots=True)
class Machine:
    """What a chip really does: FLOP/s, bytes/s and s, efficiencies already applied."""

    products: Real
    """FLOP/s of large products in the workload's dtype."""
    attention: Real
    """FLOP/s of the attention kernel (16 bits)."""
    half_m: Real
    half_n: Real
    half_k: Real
    memory_bandwidth: Real
    passes: Real
    score_passes: Real
    """Passes over the scores (heads x seq x seq); 0 where attention is one fused kernel."""
    permute: Real
    """Passes over the copies of tokens on their way to experts and back."""
    grouped: Real
    """Share of the rate of plain products that the products of experts reach."""
    route: Real
    """s of the host per MoE layer, forward, to route tokens."""
    logit_bytes: Real
    """Bytes that the loss moves per logit."""
    head_half: Real
    """Head size at which the attention kernel reaches half its rate."""
    cast: Real
    """More passes where products run in 8 bits or fewer: finding scales, casting, transposing."""
    launch: Real
    scale_up: Real
    scale_out: Real
    exchange: Real
    """bytes/s of a NIC in an exchange of all with all."""
    domain: Real
    latency_up: Real
    latency_out: Real
    hide_tp: Real
    hide_dp: Real
    hide_pp: Real
    hide_ep: Real
    step: Real
    jitter: Real
    memory: Real = 0.0
    pieces: Real = 1.0
    """Collectives in which ZeRO-3 gathers one layer."""
    gradient_bytes: Real = 4.0
    """Bytes of a gradient as a stack keeps it in bf16 training."""
    logits_kept: Real = 6.0
    reserve: Real = 4e9
    slack: Real = 1.0
    idle_power: Real = 0.0
    busy_power: Real = 0.0


def machine_of(chip: ChipFacts, dtype: str) -> Machine:
    """The numbers of ``chip`` for a workload in ``dtype``."""
    e = chip.efficiency
    low = dtype in ("fp8", "mxfp8", "nvfp4") and chip.peak(dtype) > chip.peak("bf16")
    scale = 2.0 if low else 1.0
    return Machine(
        products=chip.peak(dtype) * (e.gemm_low if low else e.gemm),
        attention=chip.peak("bf16") * e.attention,
        half_m=e.half_m * scale,
        half_n=e.half_n * scale,
        half_k=e.half_k * scale,
        memory_bandwidth=chip.memory_bandwidth * e.memory,
        passes=e.passes,
        score_passes=e.score_passes,
        permute=e.permute,
        grouped=e.grouped,
        route=e.route,
        logit_bytes=e.logit_bytes,
        head_half=e.head_half,
        cast=e.cast if low else 0.0,
        launch=e.launch,
        scale_up=chip.scale_up * e.scale_up,
        scale_out=chip.scale_out * e.scale_out,
        exchange=chip.scale_out * e.exchange,
        domain=float(chip.domain),
        latency_up=e.latency_up,
        latency_out=e.latency_out,
        hide_tp=e.hide_tp,
        hide_dp=e.hide_dp,
        hide_pp=e.hide_pp,
        hide_ep=e.hide_ep,
        step=e.step,
        jitter=e.jitter,
        memory=chip.memory,
        pieces=e.pieces,
        gradient_bytes=e.gradient_bytes,
        logits_kept=e.logits_kept,
        reserve=e.reserve,
        slack=e.slack,
        idle_power=chip.idle_power,
        busy_power=chip.busy_power,
    )
