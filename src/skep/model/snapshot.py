"""Snapshot: the world as the scheduler sees it, frozen and columnar; and the plan it answers with.

Rows of pools are ordered by (site, pool index). Arrays are numpy and must not be written to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from skep.model.job import ChipRequest, Elastic, Span
from skep.model.placement import Share

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sites:
    """Columns over sites, length S."""

    names: tuple[str, ...]
    countries: tuple[str, ...]  # "" where unknown
    up: Bools  # the agent holds its lease
    drained: Bools
    power_cap: Floats  # W at the meter; inf where there is no cap
    power_drawn: Floats  # W at the meter now committed: idle draw of all chips + live runs
    pue: Floats
    clean: Floats  # 0..1: share of the present draw that wind and sun would cover
    bandwidth: Floats  # S x S bit/s between sites; inf inside, 0 where there is no link
    rtt: Floats  # S x S seconds


@dataclass(frozen=True, slots=True)
class Pools:
    """Columns over pools, length P."""

    site: Ints  # row of the site
    index: Ints  # index into the site's pools
    kind: tuple[str, ...]  # chip kind
    chips: Ints  # all chips
    free: Ints  # chips not held by a live run
    chips_per_node: Ints
    block_chips: Ints  # chips of a full block
    marginal_power: Floats  # W that one chip at work adds before PUE: busy minus idle draw
    speed: Floats  # FLOP/s of one chip; 0 where unknown


@dataclass(frozen=True, slots=True)
class Shape:
    """What matters for placing a job; jobs of one shape share one scoring."""

    chips: tuple[ChipRequest, ...]
    span: Span
    elastic: Elastic | None
    per: str
    queue: str


@dataclass(frozen=True, slots=True)
class Repair:
    """One lost share of a running job that should be placed again.

    ``others`` are sites where the job still runs: a share never joins one of them.
    """

    chip: str
    chips: int
    rank: int
    others: frozenset[str]
    avoid: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job, or a repair of a job, that wants chips."""

    job: str
    version: int
    shape: int  # index into Snapshot.shapes
    priority: int  # job's own + queue's
    submitted_at: float
    not_before: float = 0.0
    user: str = ""
    repair: Repair | None = None
    avoid: frozenset[str] = frozenset()  # sites that failed this job: only if nothing else fits


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The world at one moment. ``held`` is chips held by live runs, per queue."""

    sites: Sites
    pools: Pools
    shapes: tuple[Shape, ...]
    waiting: tuple[Waiting, ...]
    held: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placement:
    """A decision: give these shares to the job."""

    job: str
    version: int
    shares: tuple[Share, ...]
    repair: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A decision: not now. ``sites`` maps each reason to the sites refused for it.

    ``remedy`` is what would let it run, in one sentence ("" where nothing is known).
    ``never`` is true where no change of load can ever let it run on this pool.
    """

    job: str
    version: int
    reason: str
    sites: Mapping[str, tuple[str, ...]]
    remedy: str = ""
    never: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``schedule`` answers: decisions plus the versions that they were made from."""

    placements: tuple[Placement, ...] = ()
    refusals: tuple[Refusal, ...] = ()
