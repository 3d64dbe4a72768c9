"""Microsoft's Philly trace, as the table of jobs that research simulators share.

Columns: ``submit_time`` (local date and time), ``duration_s``, ``num_gpus``, ``vc`` (the virtual
cluster, here the queue). Source: Jeon et al., ATC 2019; the table is that of adaptdl's artifact.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from skep.sim.readers.columns import columns_of
from skep.sim.trace import Trace, build


def read_philly(path: Path) -> Trace:
    """The jobs. Raises ``InputError``. Local time is taken as it is: the trace has no zone."""
    columns = columns_of(path, ("submit_time", "duration_s", "num_gpus", "vc"))
    at = np.array(columns["submit_time"], dtype="datetime64[s]").astype(np.int64)
    chips = np.array(columns["num_gpus"], dtype=np.int64)
    took = np.array(columns["duration_s"], dtype=np.float64)
    kept = (chips > 0) & (took >= 0)
    start = int(at[kept].min(initial=at[0] if len(at) else 0))
    return build(
        "philly",
        (at[kept] - start).astype(np.float64),
        took[kept],
        chips[kept],
        words={"queue": [vc for vc, keep in zip(columns["vc"], kept, strict=True) if keep]},
        start=float(start),
        size=None,
        left_out=int((~kept).sum()),
    )
