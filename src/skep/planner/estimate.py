"""One layout of one workload on one kind of chips: time, memory, energy. Refuses what cannot be."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from skep.errors import InputError
from skep.model.workload import Workload
from skep.planner.answer import Estimate
from skep.planner.bill import AT_WORK
from skep.planner.chip import ChipFacts
from skep.planner.layout import Layout, Layouts
from skep.planner.machine import Machine, Real, machine_of
from skep.planner.memory import Bytes, memory
from skep.planner.shape import Shape, shape_of
from skep.planner.space import ENDS
from skep.planner.step import Parts, step


def estimate(
    work: Workload, chip: ChipFacts, layout: Layout, n_chips: int | None = None
) -> Estimate:
    """Time, memory and energy of a step of ``work`` in ``layout`` on chips of kind ``chip``.

    Raises ``InputError`` where the layout does not divide the work, or is not of ``n_chips`` chips.
    Whether it fits into memory is for the caller to see (``fits``).
    """
    check(work, layout, n_chips)
    shape, on, at = shape_of(work), machine_of(chip, work.dtype), Layouts.of(layout)
    parts, held = step(shape, on, at), memory(shape, on, at)
    seconds = _one(parts.total)
    low, high = chip.efficiency.band(work.moe is not None)
    peak = chip.peak(work.dtype) * layout.chips
    return Estimate(
        layout=layout,
        chip=chip.kind,
        chips=layout.chips,
        status=chip.efficiency.status,
        step=seconds,
        low=seconds * (1.0 - low),
        high=seconds * (1.0 + high),
        parts=_named(parts),
        memory=_named(held),
        memory_total=_one(held.total),
        memory_limit=chip.memory,
        tokens_per_s=work.tokens_per_step / seconds,
        mfu=_one(shape.flops) / (seconds * peak),
        energy=_one(energy(parts, on, at)),
    )


def energy(parts: Parts, on: Machine, at: Layouts) -> Real:
    """J of one step of all chips with their systems, as ``bill.draw`` counts: idle draw always,
    and while a chip is at work what a training node really draws of its rating."""
    full = np.maximum(AT_WORK * on.busy_power, on.idle_power)
    chips = at.tp * at.pp * at.cp * at.dp
    return chips * (on.idle_power * parts.total + (full - on.idle_power) * parts.working)


def check(work: Workload, layout: Layout, n_chips: int | None = None) -> None:
    """Refuses, naming the field, a layout that does not divide ``work``."""
    for name in ("tp", "pp", "dp", "cp", "ep", "virtual", "micro_batch"):
        value = getattr(layout, name)
        if value < 1:
            raise InputError(f"layout.{name}", value, "allowed: 1 or more")
    if n_chips is not None and n_chips != layout.chips:
        raise InputError("chips", n_chips, f"allowed: tp x pp x cp x dp = {layout.chips}")
    _divides("tp", layout.tp, work.heads, "heads")
    _divides("cp", layout.cp, work.seq_len, "tokens of a sequence")
    replicas = layout.dp * layout.micro_batch
    if work.global_batch % replicas:
        allowed = f"allowed: a divisor of the global batch of {work.global_batch} sequences"
        raise InputError("layout.dp x layout.micro_batch", replicas, allowed)
    most = work.layers + (ENDS if work.layers % layout.pp else 0)
    if layout.pp * layout.virtual > most:
        allowed = f"allowed: at most the {work.layers} layers"
        raise InputError("layout.pp x layout.virtual", layout.pp * layout.virtual, allowed)
    _check_stages(layout)
    if layout.zero not in (0, 1, 2, 3):
        raise InputError("layout.zero", layout.zero, "allowed: 0, 1, 2 or 3")
    _check_experts(work, layout)


def _check_stages(layout: Layout) -> None:
    if layout.virtual > 1 and layout.pp == 1:
        raise InputError("layout.virtual", layout.virtual, "allowed: 1 without a pipeline (pp 1)")
    if layout.uneven and (layout.pp == 1 or layout.virtual > 1):
        raise InputError("layout.uneven", True, "allowed: in a pipeline that is not interleaved")


def _check_experts(work: Workload, layout: Layout) -> None:
    if layout.ep == 1:
        return
    if work.moe is None:
        raise InputError("layout.ep", layout.ep, "allowed: 1 for a model without experts")
    _divides("ep", layout.ep, work.moe.count, "experts")
    _divides("ep", layout.ep, layout.dp * layout.cp * layout.tp, "chips of dp x cp x tp")


def _divides(name: str, value: int, whole: int, what: str) -> None:
    if whole % value:
        raise InputError(f"layout.{name}", value, f"allowed: a divisor of the {whole} {what}")


def _named(parts: Parts | Bytes) -> dict[str, float]:
    return {f.name: _one(getattr(parts, f.name)) for f in fields(parts)}


def _one(value: Real) -> float:
    return float(np.asarray(value).reshape(-1)[0])


def least_memory(work: Workload, chip: ChipFacts, at: Layouts) -> float:
    """bytes that the leanest of ``at`` takes of a chip."""
    shape: Shape = shape_of(work)
    return float(np.min(np.asarray(memory(shape, machine_of(chip, work.dtype), at).total)))
