"""Rates: how fast chip kinds are against each other, to compare alternatives before any run."""

from __future__ import annotations

import numpy as np

from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner.chip import ChipFacts
from skep.planner.layout import Layout, Layouts
from skep.planner.machine import machine_of
from skep.planner.shape import shape_of
from skep.planner.step import step

REFERENCE = Workload(
    name="reference",
    layers=32,
    hidden=4096,
    heads=32,
    kv_heads=8,
    head_dim=128,
    ffn=14336,
    vocab=128256,
    seq_len=4096,
    global_batch=1024,
)
"""What is trained by a job that does not say: a dense decoder of 8 billion parameters, 16 bits."""
SUSTAINED = 0.54
"""Share of its 16-bit peak that the middle chip of the catalogue sustains in ``REFERENCE``."""


def rate(chip: Chip, facts: ChipFacts | None, work: Workload = REFERENCE) -> float | None:
    """FLOP/s of one chip in ``work``, to be compared with those of other chips for that work.

    What it is held to; else what it ``sustained``; without ``facts`` so much of its peak as most
    chips reach. ``None`` where not even that is known.
    """
    if chip.held_to is not None:
        return chip.held_to
    if facts is not None:
        return sustained(work, facts)
    return None if chip.peak_flops is None else SUSTAINED * chip.peak_flops


def sustained(work: Workload, chip: ChipFacts) -> float:
    """Model FLOP/s of one chip in the layers of ``work``: no traffic, no bubble, no recomputation.

    What chips of one kind are worth for one job before any layout is known: products in the job's
    format, attention and element-wise passes by the chip's fitted constants, a sequence at a time.
    """
    alone = Layout(ep=work.moe.count if work.moe else 1, zero=0)
    parts = step(shape_of(work), machine_of(chip, work.dtype), Layouts.of(alone))
    seconds = np.asarray(parts.products + parts.attention + parts.elementwise)
    return work.flops_per_token() * work.tokens_per_step / float(seconds.reshape(-1)[0])
