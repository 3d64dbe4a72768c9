"""The efficiency constants: what there is to fit, and how a chip and a stack get theirs.

A constant is the sum, in its own scale (logarithm, or log-odds of a share), of what all runs share,
what its framework, its software stack and its chip add. What a level adds is fitted with a penalty,
so a stack or a chip with few runs stays near the shared value (shrinkage), and one that was never
measured has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from skep.planner.chip import Efficiency, Status

FRAMEWORKS = {
    "megatron-2021": "megatron-unfused",
    "megatron-deepspeed": "megatron-unfused",
    "megatron-deepspeed-2022": "megatron-unfused",
    "megatron-core": "megatron-fused",
    "megatron-core-26.06": "megatron-fused",
    "fsdp": "fsdp",
    "fsdp-compiled": "fsdp",
    "deepspeed-zero3": "deepspeed",
    "mindspeed": "mindspeed",
    "mindspeed-legacy": "mindspeed",
    "dualpipe": "dualpipe",
}
"""Stack -> the framework that it is a version of."""
TUNED = frozenset({"megatron-fused", "dualpipe"})
"""Frameworks that use the attention kernel made for the chip."""
MOST_ATTENTION = 0.8
UNFUSED = frozenset({"megatron-unfused", "deepspeed"})


@dataclass(frozen=True, slots=True)
class Kept:
    """What a stack keeps in memory: bytes per gradient and logit, reserve, slack of activations."""

    gradient: float = 4.0
    logits: float = 6.0
    reserve: float = 4e9
    slack: float = 1.0


PIECES = {"deepspeed-zero3": 12.0}
"""Tensors of a layer that a stack gathers one by one under ZeRO-3; others gather it at once."""


def kept_of(stack: str) -> Kept:
    """What ``stack`` keeps in memory."""
    return MEMORY.get(stack, Kept())


MEMORY = {
    "megatron-deepspeed-2022": Kept(gradient=6.0, reserve=9.6e9),
    "megatron-deepspeed": Kept(gradient=6.0),
    "megatron-core": Kept(gradient=2.0),
    "megatron-core-26.06": Kept(gradient=2.0),
    "fsdp": Kept(gradient=2.0, logits=4.0, reserve=3e9),
    "fsdp-compiled": Kept(logits=10.0, reserve=11e9, slack=1.05),
}
"""DeepSpeed's BF16 optimizer keeps a bf16 gradient beside its fp32 sum, NeMo and pure FSDP only a
bf16 one; pure FSDP fuses the loss. Fitted to 66 BLOOM and 20 TorchTitan runs."""
LEVELS = ("shared", "framework", "stack", "chip")


@dataclass(frozen=True, slots=True)
class Constant:
    """One constant: its field of ``Efficiency``, a first value, and how far levels may stray.

    ``sigmas``: of the shared value, a framework, a stack and a chip, in the constant's own scale.
    """

    field: str
    prior: float
    share: bool
    sigmas: tuple[float, float, float, float]

    def scale(self, value: float) -> float:
        """``value`` in the scale that adds up."""
        return math.log(value / (1.0 - value)) if self.share else math.log(value)

    def natural(self, scaled: float) -> float:
        """The other way."""
        return 1.0 / (1.0 + math.exp(-scaled)) if self.share else math.exp(scaled)


CONSTANTS = (
    Constant("gemm", 0.85, False, (0.15, 0.03, 0.06, 0.06)),
    Constant("gemm_low", 0.80, False, (0.20, 0.03, 0.06, 0.10)),
    Constant("half", 0.7, False, (0.20, 0.0, 0.0, 0.0)),
    Constant("attention", 1.0, False, (0.30, 0.10, 0.20, 0.15)),
    Constant("head_half", 18.0, False, (0.15, 0.0, 0.0, 0.0)),
    Constant("passes", 24.0, False, (0.30, 0.15, 0.15, 0.0)),
    Constant("cast", 6.0, False, (0.50, 0.0, 0.40, 0.0)),
    Constant("score_passes", 8.0, False, (0.40, 0.0, 0.20, 0.0)),
    Constant("permute", 8.0, False, (0.50, 0.0, 0.30, 0.0)),
    Constant("grouped", 0.8, True, (0.50, 0.0, 0.50, 0.0)),
    Constant("route", 300e-6, False, (0.80, 0.0, 0.80, 0.0)),
    Constant("logit_passes", 3.0, False, (0.30, 0.0, 0.20, 0.0)),
    Constant("launch", 200e-6, False, (0.50, 0.10, 0.90, 0.0)),
    Constant("scale_up", 0.75, False, (0.10, 0.05, 0.10, 0.0)),
    Constant("scale_out", 0.65, False, (0.15, 0.10, 0.20, 0.0)),
    Constant("exchange", 0.85, False, (0.15, 0.0, 0.0, 0.0)),
    Constant("hide_tp", 0.5, True, (1.0, 0.5, 0.5, 0.0)),
    Constant("hide_dp", 0.7, True, (1.0, 0.5, 0.5, 0.0)),
    Constant("hide_pp", 0.5, True, (1.0, 0.5, 0.5, 0.0)),
    Constant("hide_ep", 0.15, True, (0.5, 1.0, 0.5, 0.0)),
    Constant("step", 0.02, False, (0.80, 0.40, 0.40, 0.0)),
    Constant("jitter", 0.005, False, (0.30, 0.15, 0.20, 0.0)),
)
"""``logit_passes``: over what a stack keeps of a logit. ``half`` scales the three
 sizes at which products reach half their rate; ``gemm`` and
``gemm_low`` the share that kernels reach alone."""


OWN = {("hide_ep", "dualpipe"): 0.8}
"""First values of frameworks that are built to differ: DualPipe hides the experts' exchange."""


def prior_of(constant: Constant, stack: str) -> float:
    """The first value of a constant under a stack, in the scale that adds up."""
    return constant.scale(OWN.get((constant.field, FRAMEWORKS.get(stack, "")), constant.prior))


@dataclass(frozen=True, slots=True)
class Kernel:
    """Products alone on a chip: share of the peak when large, sizes at which they reach half.

    ``attention``: share of the 16-bit peak of the general fused attention kernel alone
    (FlashAttention-2), ``attention_tuned`` of the one made for the chip (FlashAttention-3, cuDNN).
    """

    share: float = 0.83
    half_m: float = 110.0
    half_n: float = 110.0
    half_k: float = 110.0
    attention: float = 0.40
    attention_tuned: float = 0.55


def attention_of(kernel: Kernel, stack: str) -> float:
    """Share of the 16-bit peak of the attention kernel that ``stack`` uses, alone."""
    tuned = FRAMEWORKS.get(stack, "") in TUNED
    return kernel.attention_tuned if tuned else kernel.attention


Key = tuple[str, str, str]
"""Field, level, of what ("" at the shared level)."""


def addresses(field: str, stack: str, chip: str) -> tuple[Key, ...]:
    """The keys whose values add up to ``field`` for a stack on a chip, shared first."""
    framework = FRAMEWORKS.get(stack, "")
    names = ("", framework, stack, chip)
    return tuple((field, level, name) for level, name in zip(LEVELS, names, strict=True))


def efficiency(
    table: Mapping[Key, float],
    kernel: Kernel,
    stack: str,
    chip: str,
    *,
    status: Status,
    rows: int,
    spread: tuple[float, float],
    experts: tuple[float, float] = (0.0, 0.0),
) -> Efficiency:
    """The constants of ``stack`` on ``chip``. Levels that the table lacks add nothing."""
    found = {
        constant.field: constant.natural(
            prior_of(constant, stack)
            + sum(table.get(key, 0.0) for key in addresses(constant.field, stack, chip))
        )
        for constant in CONSTANTS
    }
    half = found.pop("half")
    kept = kept_of(stack)
    found["logit_bytes"] = found.pop("logit_passes") * kept.logits
    if FRAMEWORKS.get(stack, "") not in UNFUSED:
        found["score_passes"] = 0.0
    found["gemm"] *= kernel.share
    found["gemm_low"] *= kernel.share
    found["attention"] = min(MOST_ATTENTION, found["attention"] * attention_of(kernel, stack))
    plain = Efficiency(
        stack=stack, status=status, rows=rows, spread=spread, experts=experts, **found
    )
    return replace(
        plain,
        gradient_bytes=kept.gradient,
        logits_kept=kept.logits,
        reserve=kept.reserve,
        slack=kept.slack,
        pieces=PIECES.get(stack, 1.0),
        half_m=kernel.half_m * half,
        half_n=kernel.half_n * half,
        half_k=kernel.half_k * half,
    )


def status(rows: int) -> Status:
    """``calibrated`` from ten measured runs of a chip on, ``few rows`` from one on."""
    return "calibrated" if rows >= 10 else "few rows" if rows else "never measured"


def keys(stacks: Iterable[str], chips: Iterable[str]) -> list[Key]:
    """Every key that runs of these stacks and chips can say something about."""
    names: dict[str, Iterable[str]] = {
        "shared": [""],
        "framework": sorted({FRAMEWORKS.get(stack, "") for stack in stacks}),
        "stack": sorted(set(stacks)),
        "chip": sorted(set(chips)),
    }
    return [
        (constant.field, level, name)
        for constant in CONSTANTS
        for level, sigma in zip(LEVELS, constant.sigmas, strict=True)
        if sigma > 0
        for name in names[level]
    ]
