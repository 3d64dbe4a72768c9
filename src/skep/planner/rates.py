"""Rates: how fast chip kinds are against each other, to compare alternatives before any run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner.chip import ChipFacts
from skep.planner.layout import Layout, Layouts
from skep.planner.machine import machine_of
from skep.planner.shape import shape_of
from skep.planner.step import step


def speed(chip: Chip) -> float | None:
    """FLOP/s of one chip: what it is held to, else its peak; ``None`` where neither is known."""
    return chip.held_to if chip.held_to is not None else chip.peak_flops


def sustained(work: Workload, chip: ChipFacts) -> float:
    """Model FLOP/s of one chip in the layers of ``work``: no traffic, no bubble, no recomputation.

    What chips of one kind are worth for one job before any layout is known: products in the job's
    format, attention and element-wise passes by the chip's fitted constants, a sequence at a time.
    """
    alone = Layout(ep=work.moe.count if work.moe else 1, zero=0)
    parts = step(shape_of(work), machine_of(chip, work.dtype), Layouts.of(alone))
    seconds = np.asarray(parts.products + parts.attention + parts.elementwise)
    return work.flops_per_token() * work.tokens_per_step / float(seconds.reshape(-1)[0])


def relative_sustained(work: Workload, chip: ChipFacts, reference: ChipFacts) -> float:
    """Speed of ``chip`` in units of ``reference`` for one job: what each sustains in its layers."""
    return sustained(work, chip) / sustained(work, reference)


def relative_speed(chip: Chip, reference: Chip) -> float | None:
    """Speed of ``chip`` in units of ``reference``; ``None`` where one of them is not known.

    Peak against peak: kinds reach 50 to 97 % of their peaks in matrix products, so two kinds
    may trade places where their peaks are less than a factor of two apart. Where the job's model
    is known, ``relative_sustained`` is the better answer.
    """
    ours, theirs = speed(chip), speed(reference)
    return ours / theirs if ours is not None and theirs else None


def chip_equivalents(
    counts: Mapping[str, int], chips: Mapping[str, Chip], reference: Chip
) -> float | None:
    """Chips of ``reference`` that ``counts`` (kind -> chips) amount to; ``None`` if not known."""
    answer = 0.0
    for kind, count in counts.items():
        ratio = relative_speed(chips[kind], reference)
        if ratio is None:
            return None
        answer += count * ratio
    return answer
