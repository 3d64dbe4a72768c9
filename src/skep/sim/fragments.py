"""Fragmentation: the free chips that a job of the trace could not use where they lie.

The measure is that of FGD, with the pool of a kind at a site as the place: the fragment of a job is
all that is free where fewer are free than it needs at one site. The expected fragment is its mean
over the jobs of the trace, each by how often it comes; over all that is free it is a part, 0 to 1.
Source: Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation
Gradient Descent", USENIX ATC 2023.
"""

from __future__ import annotations

import numpy as np

from skep.control.topology import Topology
from skep.model.snapshot import Bools, Ints
from skep.sim.trace import Trace


class Fragments:
    """The needs of a trace's jobs, by the chip kinds of a pool."""

    def __init__(self, trace: Trace, topology: Topology) -> None:
        chips = np.where(trace.least > 0, trace.least, trace.chips)
        needs = -(-chips // np.maximum(trace.sites, 1))  # at one site at least
        kinds = tuple(dict.fromkeys(topology.kind))
        self._needs = [np.sort(needs[_may_use(trace, kind)]) for kind in kinds]
        self._pools = [np.flatnonzero(np.array(topology.kind) == kind) for kind in kinds]

    def expected(self, free: Ints) -> float:
        """Chips of ``free`` (per pool) that a job of the trace cannot use, in the mean.

        Of a kind that no job may use, none.
        """
        total = 0.0
        for needs, pools in zip(self._needs, self._pools, strict=True):
            here = free[pools]
            if len(needs):
                too_large = len(needs) - np.searchsorted(needs, here, side="right")
                total += float(here @ too_large) / len(needs)
        return total


def _may_use(trace: Trace, kind: str) -> Bools:
    """Which jobs may be given chips of ``kind``."""
    named = np.array([not kinds or kind in kinds.split("|") for kinds in trace.kinds])
    found: Bools = named[trace.kind]
    return found
