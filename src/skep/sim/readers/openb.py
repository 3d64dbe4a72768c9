"""Alibaba's GPU trace of 2023 (``openb``): pods with whole GPUs or parts of one.

Columns: ``name``, ``num_gpu``, ``gpu_milli``, ``gpu_spec`` (``A|B``: allowed models),
``creation_time``, ``deletion_time``, ``scheduled_time`` (s from the start). Source: Weng et al.,
"Beware of Fragmentation", ATC 2023. skep gives whole chips: a part of a GPU counts as one chip.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skep.sim.readers.columns import columns_of
from skep.sim.trace import Trace, build

_NEEDED = ("name", "num_gpu", "gpu_spec", "creation_time", "deletion_time", "scheduled_time")


def read_openb(path: Path) -> Trace:
    """The pods that want GPUs. Raises ``InputError``. A pod works from its start to its end."""
    columns = columns_of(path, _NEEDED)
    chips = _floats(columns["num_gpu"])
    created, ended = _floats(columns["creation_time"]), _floats(columns["deletion_time"])
    began = np.fmax(_floats(columns["scheduled_time"]), created)
    kept = (chips > 0) & (ended >= began)
    rows = np.flatnonzero(kept)
    kinds = [_spec(columns["gpu_spec"][row]) for row in rows]
    return build(
        f"openb-{path.stem}",
        created[kept],
        (ended - began)[kept],
        chips[kept].astype(np.int64),
        ids=[str(columns["name"][row]) for row in rows],
        words={"kind": kinds},
        left_out=int((~kept).sum()),
    )


def _floats(column: list[object]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([np.nan if v in (None, "") else float(v) for v in column])  # type: ignore[arg-type]


def _spec(value: object) -> str:
    if value is None or value != value:
        return ""
    return "|".join(dict.fromkeys(str(value).lower().split("|")))
