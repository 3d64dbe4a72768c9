"""The workloads of Pollux (OSDI 2021): eight lists of 160 training jobs on T4 GPUs.

A folder with ``workloads_load1.0``, ``measured_placements``, ``measured_scalability`` and
``measured_validation`` (Parquet), as published with adaptdl. The list has no durations; they follow
from what was measured: iterations to the last epoch at the job's batch size, times the step time
on its GPUs at 4 to a node. A batch larger than a GPU holds is accumulated, each pass but the last
without exchange. Source: Qiao et al., OSDI 2021, and its artifact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skep.errors import InputError
from skep.sim.readers.columns import columns_of
from skep.sim.trace import Trace, build

NODE = 4  # GPUs of a g4dn.12xlarge
_WORKLOADS = "workloads_load1.0.parquet"

Points = list[tuple[int, float, float]]


@dataclass(frozen=True, slots=True)
class Measured:
    """(application, GPUs) -> (local batch, step s, of it exchange s); -> iterations in all."""

    steps: dict[tuple[str, int], Points]
    iterations: dict[tuple[str, int], int]

    def duration(self, application: str, gpus: int, batch: int) -> float:
        """Seconds that the job works on ``gpus`` GPUs with its own batch size."""
        points = sorted(self.steps[application, gpus])
        local, most = batch / gpus, points[-1][0]
        passes = int(np.ceil(local / most))
        sizes = [size for size, _, _ in points]
        step = float(np.interp(local / passes, sizes, [took for _, took, _ in points]))
        sync = float(np.interp(local / passes, sizes, [took for _, _, took in points]))
        return self.iterations[application, batch] * (step + (passes - 1) * (step - sync))


def read_pollux(path: Path, part: int = 1) -> Trace:
    """The jobs of list ``part`` (1..8). Raises ``InputError``."""
    folder = path if path.is_dir() else path.parent
    columns = columns_of(
        folder / _WORKLOADS,
        ("workload", "name", "time", "application", "num_replicas", "batch_size"),
    )
    name = f"workload-{part}"
    rows = [row for row, workload in enumerate(columns["workload"]) if workload == name]
    if not rows:
        raise InputError("part", part, "allowed: 1 to 8, the number of a list", source=str(path))
    measured = read_measured(folder)
    jobs = [
        (columns["application"][row], columns["num_replicas"][row], columns["batch_size"][row])
        for row in rows
    ]
    return build(
        f"pollux-{part}",
        [float(columns["time"][row]) for row in rows],
        [measured.duration(*job) for job in jobs],
        [gpus for _, gpus, _ in jobs],
        ids=[columns["name"][row] for row in rows],
        words={"app": [application for application, _, _ in jobs]},
        size=64,
    )


def read_measured(folder: Path) -> Measured:
    """The measurements in ``folder``. Raises ``InputError``."""
    steps: dict[tuple[str, int], Points] = {}
    packed = columns_of(
        folder / "measured_placements.parquet",
        ("application", "placement", "local_bsz", "step_time", "sync_time"),
    )
    for application, placement, *point in zip(*packed.values(), strict=True):
        gpus = sum(int(digit) for digit in placement)
        if len(placement) == -(-gpus // NODE):  # the fewest nodes
            steps.setdefault((application, gpus), []).append((point[0], point[1], point[2]))
    wide = columns_of(
        folder / "measured_scalability.parquet",
        ("application", "num_nodes", "num_replicas", "local_bsz", "step_time", "sync_time"),
    )
    known = set(steps)
    for application, nodes, gpus, *point in zip(*wide.values(), strict=True):
        if nodes == -(-gpus // NODE) and (application, gpus) not in known:
            steps.setdefault((application, gpus), []).append((point[0], point[1], point[2]))
    ends: dict[tuple[str, int], int] = {}
    trained = columns_of(
        folder / "measured_validation.parquet", ("application", "batch_size", "iteration")
    )
    for application, batch, iteration in zip(*trained.values(), strict=True):
        ends[application, batch] = max(iteration, ends.get((application, batch), 0))
    return Measured(steps, ends)
