"""The physical traces of Gavel (OSDI 2020): job types with a number of steps.

A folder with ``physical_traces.csv.gz`` and ``throughputs.parquet``. A job works for its steps
over the measured steps a second of its type, alone on V100 GPUs. Source: Narayanan et al.
"""

from __future__ import annotations

from pathlib import Path

from skep.errors import InputError
from skep.sim.readers.columns import columns_of
from skep.sim.trace import Trace, build

_TYPE, _STEPS, _SCALE = 0, 5, 6
TRACES = (
    "max_min_fairness", "minimize_makespan", "artifact_evaluation", "medium_test", "small_test",
)  # fmt: skip


def read_gavel(path: Path, part: int = 1) -> Trace:
    """The jobs of trace ``part``, the row of ``TRACES`` from 1. Raises ``InputError``."""
    folder = path if path.is_dir() else path.parent
    if not 1 <= part <= len(TRACES):
        allowed = f"allowed: 1 to {len(TRACES)} ({', '.join(TRACES)})"
        raise InputError("part", part, allowed, source=str(path))
    columns = columns_of(folder / "physical_traces.csv.gz", ("trace", "line"))
    lines = [
        line.split("\t")
        for trace, line in zip(columns["trace"], columns["line"], strict=True)
        if trace == TRACES[part - 1]
    ]
    rates = _rates(folder)
    kept = [line for line in lines if _key(line) in rates]
    return build(
        f"gavel-{TRACES[part - 1]}",
        [float(line[-1]) for line in kept],
        [float(line[_STEPS]) / rates[_key(line)] for line in kept],
        [int(line[_SCALE]) for line in kept],
        words={"app": [line[_TYPE] for line in kept]},
        left_out=len(lines) - len(kept),
    )


def _key(line: list[str]) -> tuple[str, int]:
    return line[_TYPE], int(line[_SCALE])


def _rates(folder: Path) -> dict[tuple[str, int], float]:
    """(type, GPUs) -> steps a second on V100s, alone; where two were measured, the physical."""
    columns = columns_of(
        folder / "throughputs.parquet",
        ("source", "gpu", "job_type", "scale_factor", "colocated_job_type", "steps_per_s"),
    )
    found: dict[tuple[str, int], float] = {}
    for source, gpu, job, scale, beside, rate in zip(*columns.values(), strict=True):
        alone = beside is None or beside != beside
        if gpu == "v100" and alone and rate > 0 and ((job, scale) not in found or "phys" in source):
            found[job, scale] = rate
    return found
