"""The chip table of skep, read from ``chips.csv`` beside this file."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from skep.model.chip import Chip

_TERA, _GIGA = 1e12, 1e9


def chips() -> dict[str, Chip]:
    """Every chip kind of the table by its name. What is not published is ``None``, power 0."""
    return dict(_chips())


@cache
def _chips() -> tuple[tuple[str, Chip], ...]:
    table = resources.files("skep.data").joinpath("chips.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines())
    return tuple((row["kind"], _chip(row)) for row in rows)


def _chip(row: dict[str, str]) -> Chip:
    return Chip(
        kind=row["kind"],
        vendor=row["vendor"],
        peak_flops=_scaled(row["peak_tflops"], _TERA),
        memory=_scaled(row["memory_gb"], _GIGA),
        memory_bandwidth=_scaled(row["memory_bandwidth_tb_s"], _TERA),
        idle_power=_scaled(row["idle_power_w"], 1.0) or 0.0,
        busy_power=_scaled(row["busy_power_w"], 1.0) or 0.0,
        source=f"{row['source']}; {row['power_basis']}",
        confidence=row["confidence"],
    )


def _scaled(text: str, scale: float) -> float | None:
    return float(text) * scale if text else None
