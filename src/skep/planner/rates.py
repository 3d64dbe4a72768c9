"""Rates: how fast chip kinds are against each other, to compare alternatives before any run."""

from __future__ import annotations

from collections.abc import Mapping

from skep.model.chip import Chip


def speed(chip: Chip) -> float | None:
    """FLOP/s of one chip: what it is held to, else its peak; ``None`` where neither is known."""
    return chip.held_to if chip.held_to is not None else chip.peak_flops


def relative_speed(chip: Chip, reference: Chip) -> float | None:
    """Speed of ``chip`` in units of ``reference``; ``None`` where one of them is not known.

    Peak against peak: kinds reach 50 to 97 % of their peaks in matrix products, so two kinds
    may trade places where their peaks are less than a factor of two apart.
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
