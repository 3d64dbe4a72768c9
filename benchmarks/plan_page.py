"""The tables of docs/models/performance.md that are measured: written by ``plan.py --write``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

import fit as fitting
from skep.data import efficiency
from skep.planner.constants import CONSTANTS
from tests.measured import Run

PAGE = Path(__file__).parents[1] / "docs/models/performance.md"
MEANS = {
    "gemm": "of what products reach alone (0.76 to 0.91 of P): inside a step (γ)",
    "gemm_low": "the same in 8 bits and fewer",
    "half": "of the sizes at which products alone reach half (μ, ν, κ); doubled in 8 bits",
    "attention": "of what the kernel reaches alone: 0.40; made for the chip 0.60; A100 0.65 (α)",
    "head_half": "head size at which attention reaches half (η)",
    "passes": "of 2 bytes over activations (π)",
    "cast": "more of them where products run in 8 bits or fewer (π₈)",
    "score_passes": "of 2 bytes over unfused scores (σ)",
    "permute": "of 2 bytes over the copies of tokens for experts (ρ)",
    "grouped": "of the rate of plain products: those of experts (ω)",
    "route": "s a layer with experts, more (λₑ)",
    "logit_passes": "over the bytes that a stack keeps of a logit (ψ)",
    "launch": "s a layer (λ)",
    "scale_up": "of the catalogue's one-way bandwidth into the block",
    "scale_out": "of the NIC, in rings",
    "exchange": "of the NIC, in exchanges of all with all",
    "hide_tp": "hidden of the reductions of tensor parallelism, where overlapped",
    "hide_dp": "hidden of gradients and gathered parameters",
    "hide_pp": "hidden of sending between stages",
    "hide_ep": "hidden of the experts' exchange (DualPipe, which is built for it: far more)",
    "step": "s of a step (τ)",
    "jitter": "a doubling of the chips beyond eight (ι)",
}


def write(sections: dict[str, Sequence[str]]) -> None:
    """Puts each section's lines between its marks on the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in sections.items():
        begin, end = f"<!-- {name}: benchmarks/plan.py --write -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{PAGE}: no marks of {name!r}")
        text = before + begin + "\n".join(lines) + "\n" + end + after
    PAGE.write_text(text, encoding="utf-8")


def constants() -> list[str]:
    """The shared constants."""
    table = efficiency.constants()
    lines = ["| constant | shared | meaning |", "| --- | --- | --- |"]
    for one in CONSTANTS:
        moved = table.get((one.field, "shared", ""), 0.0)
        value = one.natural(one.scale(one.prior) + moved)
        lines.append(f"| `{one.field}` | {value:.2g} | {MEANS[one.field]} |")
    return lines


Named = Iterable[tuple[str, np.ndarray]]


def errors(rows: Named) -> list[str]:
    """One line per group: relative errors."""
    lines = ["| | n | mean % | median | 90 % | worst | bias |", "| --- |" + " --- |" * 6]
    for name, error in rows:
        size = np.abs(error) * 100
        lines.append(
            f"| {name} | {len(size)} | **{size.mean():.1f}** | {np.median(size):.1f} | "
            f"{np.quantile(size, 0.9):.1f} | {size.max():.0f} | {error.mean() * 100:+.1f} |"
        )
    return lines


def sources(every: Sequence[Run], inside: np.ndarray, out: np.ndarray) -> list[str]:
    """By source: in the fit, and left out of it."""
    lines = [
        "| source | n | in: mean % (bias) | left out: mean % (bias) |",
        "| --- |" + " --- |" * 3,
    ]
    groups = sorted({(run.family, run.moe) for run in every}, key=lambda g: (g[1], g[0]))
    for family, moe in groups:
        mine = np.array([run.family == family and run.moe == moe for run in every])
        name = family + (", experts" if moe else "")
        lines.append(f"| {name} | {mine.sum()} | {_both(inside[mine])} | {_both(out[mine])} |")
    return lines


def _both(error: np.ndarray) -> str:
    return f"{np.abs(error).mean() * 100:.1f} ({error.mean() * 100:+.1f})"


def chips(every: Sequence[Run], inside: np.ndarray, out: np.ndarray) -> list[str]:
    """By chip: in the fit, and with the chip left out."""
    lines = ["| chip | n | in: mean % (bias) | chip left out |", "| --- |" + " --- |" * 3]
    for chip, moe in sorted({(run.chip, run.moe) for run in every}, key=lambda g: (g[1], g[0])):
        mine = np.array([run.chip == chip and run.moe == moe for run in every])
        name = chip + (", experts" if moe else "")
        lines.append(f"| {name} | {mine.sum()} | {_both(inside[mine])} | {_both(out[mine])} |")
    return lines


NESTED = ("calibrated", "experts")


def _nested(ratio: np.ndarray, sources: np.ndarray) -> float:
    """Share inside the band made of the other sources' left-out runs."""
    inside = np.zeros(len(ratio), dtype=bool)
    for source in set(sources):
        mine = sources == source
        low, high = 1.0 + fitting.WIDER * (np.quantile(ratio[~mine], (0.1, 0.9)) - 1.0)
        inside[mine] = (ratio[mine] >= low) & (ratio[mine] <= high)
    return float(inside.mean())


def bands(every: Sequence[Run], by_source: np.ndarray, by_chip: np.ndarray) -> list[str]:
    """How many of the left-out runs lie inside the band that they are told with."""
    moe = np.array([run.moe for run in every])
    lines = [
        "| band | below, above | left out | inside | by a band from the other sources |",
        "| --- |" + " --- |" * 4,
    ]
    sources = np.array([run.family for run in every])
    for status, mine, out, what in (
        ("calibrated", ~moe, by_source, "source"),
        ("experts", moe, by_source, "source"),
        ("few rows", ~moe, by_chip, "chip"),
        ("never measured", ~moe, by_chip, "chip"),
    ):
        low, high = efficiency.band(status)
        ratio = 1.0 / (1.0 + out[mine])
        inside = ((ratio >= 1.0 - low) & (ratio <= 1.0 + high)).mean()
        other = f"{_nested(ratio, sources[mine]):.0%}" if status in NESTED else ""
        lines.append(
            f"| {status} | −{low:.0%}, +{high:.0%} | its {what} | {inside:.0%} | {other} |"
        )
    return lines
