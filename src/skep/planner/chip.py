"""What the performance model knows of a chip and of the machines it sits in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, hypot, log
from typing import Literal

from skep.errors import InputError
from skep.model.chip import Chip

Status = Literal["calibrated", "few rows", "never measured"]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Constants of one chip kind under one software stack, fitted to measured runs.

    Every one is a share, a size or a time with a meaning (docs/models/performance.md); none belongs
    to a single run. ``rows`` is how many measured runs the chip and the stack were fitted to.
    """

    stack: str = "shared"
    status: Status = "never measured"
    rows: int = 0
    gemm: float = 0.70
    """Share of the peak that large matrix products reach inside a real step."""
    gemm_low: float = 0.60
    """The same where the dtype has fewer than 16 bits (of that dtype's peak)."""
    half_m: float = 90.0
    """Rows (tokens) at which a product reaches half of that share."""
    half_n: float = 90.0
    """Columns at which it does (of the part on one chip)."""
    half_k: float = 130.0
    """Inner size at which it does."""
    attention: float = 0.45
    """Share of the 16-bit peak that the attention kernel reaches."""
    memory: float = 0.75
    """Share of the memory bandwidth that element-wise kernels reach."""
    passes: float = 24.0
    """Passes over the (tokens x hidden) activations per layer outside products, forward."""
    score_passes: float = 0.0
    """Passes over the (heads x seq x seq) scores; 0 where attention is one fused kernel."""
    permute: float = 8.0
    """Passes over the copies of tokens on their way to experts and back."""
    grouped: float = 0.8
    """Share of the rate of plain products that the products of experts reach."""
    route: float = 300e-6
    """s of the host per MoE layer, forward, to route tokens."""
    logit_bytes: float = 24.0
    """Bytes that the loss moves per logit, forward."""
    head_half: float = 48.0
    """Head size at which the attention kernel reaches half its rate."""
    cast: float = 6.0
    """More passes where products run in 8 bits or fewer."""
    launch: float = 300e-6
    """s per layer, forward, that the host needs and the chip cannot hide (many small kernels)."""
    scale_up: float = 0.75
    """Share of the scale-up bandwidth that large collectives reach."""
    scale_out: float = 0.75
    """Share of the NIC bandwidth that they reach."""
    exchange: float = 0.85
    """Share of the NIC bandwidth that an exchange of all with all reaches."""
    latency_up: float = 8e-6
    """s per collective within a scale-up domain, and per doubling of its members."""
    latency_out: float = 15e-6
    """s per collective across domains, and per doubling of the domains."""
    hide_tp: float = 0.0
    """Share of tensor-parallel traffic hidden behind products where the layout overlaps it."""
    hide_dp: float = 0.7
    """Share of the backward time that gradient traffic may hide behind."""
    hide_pp: float = 0.5
    """Share of the traffic between stages hidden behind work."""
    hide_ep: float = 0.0
    """Share of the traffic between experts hidden behind work."""
    pieces: float = 1.0
    """Collectives in which ZeRO-3 gathers one layer: 1 where it is one flat buffer."""
    gradient_bytes: float = 4.0
    """Bytes of a gradient as the stack keeps it in bf16 training (fp32 sums; with a copy: 6)."""
    logits_kept: float = 6.0
    """Bytes kept per logit: 16 bits and fp32 for the loss; 4 with a fused loss."""
    reserve: float = 4e9
    """Bytes of driver, kernels, communicators, their buffers and pools."""
    slack: float = 1.0
    """What the allocator holds beyond live activations."""
    step: float = 0.02
    """s of each step that nothing of the above explains (host, data, optimizer launches)."""
    jitter: float = 0.005
    """Growth of the step per doubling of the chips beyond eight."""
    spread: tuple[float, float] = (0.30, 0.60)
    """Relative error below and above the answer that holds 80 % of held-out runs."""
    experts: tuple[float, float] = (0.0, 0.0)
    """The same of models with experts on calibrated chips: fewer were measured."""

    def band(self, experts: bool) -> tuple[float, float]:
        """Relative error below and above. On a chip that is not calibrated both add up in squares
        (logarithms); on others the wider counts."""
        if not experts or self.experts == (0.0, 0.0):
            return self.spread
        if self.status == "calibrated":
            return max(self.spread[0], self.experts[0]), max(self.spread[1], self.experts[1])
        below = hypot(log(1.0 - self.spread[0]), log(1.0 - self.experts[0]))
        above = hypot(log(1.0 + self.spread[1]), log(1.0 + self.experts[1]))
        return 1.0 - exp(-below), exp(above) - 1.0


@dataclass(frozen=True, slots=True)
class ChipFacts:
    """A chip as the model sees it: dense peaks by dtype (FLOP/s), bytes, bytes/s, W.

    ``None`` is not published. ``scale_up`` and ``scale_out`` are bytes/s of one chip in one
    direction; ``domain`` chips share the scale-up fabric; ``node_chips`` share one host.
    """

    kind: str
    peaks: Mapping[str, float]
    memory: float
    memory_bandwidth: float
    scale_up: float
    domain: int
    scale_out: float
    node_chips: int = 8
    idle_power: float = 0.0
    busy_power: float = 0.0
    price: float | None = None
    efficiency: Efficiency = field(default_factory=Efficiency)

    def peak(self, dtype: str) -> float:
        """FLOP/s of products in ``dtype``: the next wider format that the chip has.

        A chip without fp8 computes an fp8 workload in 16 bits; fp16 and bf16 stand for each other.
        """
        for name in _WIDER[dtype]:
            if name in self.peaks:
                return self.peaks[name]
        return max(self.peaks.values())


_WIDER = {
    "nvfp4": ("fp4", "fp8", "bf16", "fp16"),
    "mxfp8": ("fp8", "bf16", "fp16"),
    "fp8": ("fp8", "bf16", "fp16"),
    "bf16": ("bf16", "fp16"),
    "fp16": ("fp16", "bf16"),
}


def facts_of(chip: Chip, efficiency: Efficiency | None = None) -> ChipFacts:
    """The facts of a catalogue chip. Unknown memory or bandwidth is refused: nothing follows.

    Where links are not published a chip is alone: no scale-up domain, 25 GB/s to the outside (one
    200 Gbit/s NIC), which the status ``never measured`` covers.
    """
    peaks = {"bf16": chip.peak_flops, "fp8": chip.fp8_flops, "fp4": chip.fp4_flops}
    known = {name: value for name, value in peaks.items() if value}
    for name, value in (
        ("peak_flops", max(known.values(), default=None)),
        ("memory", chip.memory),
        ("memory_bandwidth", chip.memory_bandwidth),
    ):
        if not value:
            raise InputError(f"chip {chip.kind}: {name}", None, "allowed: a published value")
    out = chip.nic / 8.0 if chip.nic else NIC_UNKNOWN
    return ChipFacts(
        kind=chip.kind,
        peaks=known,
        memory=(chip.memory or 0.0) * BINARY,
        memory_bandwidth=chip.memory_bandwidth or 0.0,
        scale_up=chip.scale_up_bandwidth or out,
        domain=chip.scale_up_size or 1,
        scale_out=out,
        idle_power=chip.idle_power,
        busy_power=chip.busy_power,
        price=chip.price_low,
        efficiency=efficiency or Efficiency(),
    )


BINARY = 2.0**30 / 1e9  # capacities are sold in binary gigabytes (80 GB of an H100 are 80 GiB)
NIC_UNKNOWN = 25e9  # bytes/s: one 200 Gbit/s NIC
