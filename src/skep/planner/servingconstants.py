"""Constants of the serving model: few, each with a meaning, none of a single run.

Fitted to 157 published rows (``benchmarks/plan_serving.py --fit``); ``docs/models/serving.md`` has
the errors in sample and with one source left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skep.model.chip import Chip

Status = Literal["calibrated", "few rows", "never measured"]
FEW = 10  # rows; fewer are few


@dataclass(frozen=True, slots=True)
class Shared:
    """The same for every chip."""

    memory: float = 0.72  # share of the memory bandwidth that reading reaches
    attention: float = 0.345  # share of the 16-bit peak that attention reaches
    links: float = 0.85  # share of a link's bandwidth that exchanges reach
    latency: float = 1.1e-6  # s of an exchange, and per doubling of its chips
    step: float = 8.4e-3  # s of each step outside the model: scheduling, sampling
    tail: float = 1.47  # 99 % of the tokens come within so many means
    half_rows: float = 0.0067  # rows at which a product is half as fast, per FLOP/byte of the chip
    expert_half_rows: float = 0.62  # the same for the products of one expert
    layer: float = 5.6e-6  # s of each layer that nothing hides
    # Not fitted: how servers are set up.
    usable: float = 0.90  # share of the memory that weights and cache may take
    batch: int = 512  # sequences of one chip at most
    chunk: int = 8192  # tokens that one chip reads at once
    groups: int = 4  # blocks that a token's experts are in at most (DeepSeek-V3)


@dataclass(frozen=True, slots=True)
class Kernels:
    """Of a family of chips with its software, in one number format.

    ``products`` is the share of the peak that large products reach, from ``rows`` measured rows.
    """

    products: float
    rows: int = 0

    @property
    def status(self) -> Status:
        """How far the figure is measured."""
        return "calibrated" if self.rows >= FEW else "few rows" if self.rows else "never measured"


SHARED = Shared()
UNKNOWN = Kernels(products=0.5)
FAMILIES: dict[tuple[str, str], Kernels] = {
    ("NVIDIA", "fp8"): Kernels(0.667, 39),
    ("l40s", "fp8"): Kernels(0.37, 2),
    ("NVIDIA", "fp4"): Kernels(0.509, 69),
    ("gb300-nvl72", "fp4"): Kernels(0.533, 7),
    ("rtx-pro-6000", "fp4"): Kernels(0.632, 4),
    ("AMD", "fp8"): Kernels(0.442, 24),
    ("Huawei", "int8"): Kernels(0.591, 4),
    ("ascend-910b2", "int8"): Kernels(0.322, 8),
}
SPREADS: dict[Status, tuple[float, float]] = {
    "calibrated": (0.25, 0.45),
    "few rows": (0.35, 0.60),
    "never measured": (0.50, 0.60),
}
"""What the answer may be below and above itself so that 80 % of held-out rows are inside."""


def kernels(chip: Chip, number_format: str) -> Kernels:
    """The constants for ``chip``: of its kind, else of its vendor, else of all chips.

    A kind that no row was measured with is "never measured", whoever made it.
    """
    for name in (chip.kind, chip.vendor):
        if (name, number_format) in FAMILIES:
            found = FAMILIES[name, number_format]
            return found if chip.kind in MEASURED else Kernels(found.products)
    return UNKNOWN


MEASURED = frozenset(
    {"h100-sxm", "h800-sxm", "h200-sxm", "b200-sxm", "gb200-nvl72", "gb300-nvl72", "l40s"}
    | {"rtx-pro-6000", "mi300x", "mi325x", "ascend-910c", "ascend-910b2"}
)
"""Chip kinds with at least one measured row."""
