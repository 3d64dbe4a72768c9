"""Chips that skep holds to a speed (the virtual chips of an embedded pool)."""

from __future__ import annotations

from skep.model.chip import Chip
from skep.planner.chip import ChipFacts, Efficiency

PLENTY = 1e15  # bytes, bytes/s: nothing but the speed holds such a chip


def held_facts(chip: Chip) -> ChipFacts:
    """The facts of a chip that is held to a speed: it does that many operations, nothing else.

    ``skep.train`` counts a step's operations and sleeps until the stated speed allows the next, so
    that memory and links inside a site do not count.
    """
    return ChipFacts(
        kind=chip.kind,
        peaks={"bf16": chip.held_to or 0.0},
        memory=chip.memory or PLENTY,
        memory_bandwidth=PLENTY,
        scale_up=PLENTY,
        domain=chip.scale_up_size or 1,
        scale_out=PLENTY,
        idle_power=chip.idle_power,
        busy_power=chip.busy_power,
        efficiency=Efficiency(
            stack="held",
            gemm=1.0,
            gemm_low=1.0,
            half_m=0.0,
            half_n=0.0,
            half_k=0.0,
            attention=1.0,
            head_half=0.0,
            launch=0.0,
            latency_up=0.0,
            latency_out=0.0,
            step=0.0,
            jitter=0.0,
            spread=(0.10, 0.20),
        ),
    )
