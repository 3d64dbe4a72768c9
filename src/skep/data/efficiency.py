"""The fitted constants of the performance model, from ``efficiency.csv`` and ``kernels.csv``.

``benchmarks/fit.py`` writes the first from measured runs; the second is fits to products alone.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from importlib import resources

from skep.data import catalogue
from skep.errors import InputError, nearest
from skep.model.chip import Chip
from skep.planner.chip import ChipFacts, Efficiency, Status, facts_of
from skep.planner.constants import FRAMEWORKS, Kernel, Key, efficiency, status

NEWEST = "megatron-core-26.06"
STATUSES: tuple[Status, ...] = ("calibrated", "few rows", "never measured")


def stacks() -> tuple[str, ...]:
    """Software stacks with constants of their own."""
    return tuple(sorted(FRAMEWORKS))


def default_stack(vendor: str, zero: int = 1, pp: int = 1) -> str:
    """The stack meant where none is named: MindSpeed on Ascend, FSDP for ZeRO-3 without a pipeline,
    else the newest Megatron-Core that was measured."""
    if vendor.lower().startswith(("huawei", "ascend")):
        return "mindspeed"
    return "fsdp" if zero >= 3 and pp == 1 else NEWEST


def constants() -> dict[Key, float]:
    """What every level adds to every constant, in the constant's own scale."""
    return {
        (row["constant"], row["level"], row["of"]): float(row["value"])
        for row in _rows("efficiency.csv")
        if row["level"] not in ("rows", "band")
    }


@cache
def rows_of(kind: str) -> int:
    """Measured runs of a chip kind that the constants were fitted to."""
    return sum(
        int(row["value"])
        for row in _rows("efficiency.csv")
        if row["level"] == "rows" and row["of"] == kind
    )


@cache
def band(of: str) -> tuple[float, float]:
    """Relative error below and above an answer that holds 80 % of held-out runs of a status."""
    found = {
        row["constant"]: float(row["value"])
        for row in _rows("efficiency.csv")
        if row["level"] == "band" and row["of"] == of
    }
    return found["low"], found["high"]


@cache
def kernel(kind: str) -> Kernel:
    """Products alone on a chip; of an unmeasured one the middle of the measured."""
    for row in _rows("kernels.csv"):
        if row["kind"] == kind:
            return Kernel(
                share=float(row["share"]),
                half_m=float(row["half_m"]),
                half_n=float(row["half_n"]),
                half_k=float(row["half_k"]),
                attention=float(row["attention"]),
                attention_tuned=float(row["attention_tuned"]),
            )
    return Kernel()


def efficiency_of(kind: str, stack: str) -> Efficiency:
    """The constants of ``stack`` on ``kind``, their status and their band."""
    if stack not in FRAMEWORKS:
        known = ", ".join(stacks())
        raise InputError("stack", stack, f"allowed: {known}{nearest(stack, stacks())}")
    rows = rows_of(kind)
    return efficiency(
        _constants(),
        kernel(kind),
        stack,
        kind,
        status=status(rows),
        rows=rows,
        spread=band(status(rows)),
        experts=band("experts"),
    )


def facts(kind: str, stack: str | None = None, *, zero: int = 1, pp: int = 1) -> ChipFacts:
    """A catalogue chip with its constants under ``stack`` (else the default one)."""
    chips = catalogue.chips()
    if kind not in chips:
        raise InputError("chip", kind, f"allowed: a chip of the catalogue{nearest(kind, chips)}")
    return facts_with(chips[kind], stack, zero=zero, pp=pp)


def facts_with(chip: Chip, stack: str | None = None, *, zero: int = 1, pp: int = 1) -> ChipFacts:
    """The same for a chip that need not be in the catalogue."""
    chosen = stack or default_stack(chip.vendor, zero, pp)
    return replace(facts_of(chip), efficiency=efficiency_of(chip.kind, chosen))


@cache
def _constants() -> dict[Key, float]:
    return constants()


@cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    table = resources.files("skep.data").joinpath(name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(table.splitlines()))
