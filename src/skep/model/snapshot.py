"""Snapshot: the world as the scheduler sees it, frozen and columnar; and the plan it answers with.

Rows of pools are ordered by (site, pool index). Arrays are numpy and must not be written to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from skep.model.event import Cause
from skep.model.evolve import quick
from skep.model.job import ChipRequest, Elastic, Exchange, Job, Span, Within
from skep.model.placement import Claim, Share

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rates = tuple[tuple[str, float], ...]
"""Chip kind and FLOP/s of one chip for one job; empty: as for a job that names no model."""


@quick
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


@quick
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
    speed: Floats  # FLOP/s of one chip for a job that names no model; 0 where unknown
    # Blocks of pool p are rows first_block[p] to first_block[p + 1] of block_free (chips).
    # None: the free chips lie in as few blocks as can be.
    first_block: Ints | None = None
    block_free: Ints | None = None


@quick
@dataclass(frozen=True, slots=True)
class Shape:
    """What matters for placing a job; jobs of one shape share one scoring."""

    chips: tuple[ChipRequest, ...]
    span: Span
    elastic: Elastic | None
    per: str
    queue: str
    # Seconds that it is expected to work yet, rounded up (see ``scheduler.estimate``).
    length: float = np.inf
    mixed: bool = False
    within: Within | None = None
    exchange: Exchange | None = None
    spread: int | None = None
    data: tuple[str, ...] = ()
    rates: Rates = ()

    @classmethod
    def of(cls, spec: Job, length: float = np.inf, rates: Rates = ()) -> Shape:
        """The shape of a job that is expected to work for ``length`` s yet, at these ``rates``."""
        return cls(
            chips=spec.chips,
            span=spec.span,
            elastic=spec.elastic,
            per=spec.per,
            queue=spec.queue,
            length=length,
            mixed=spec.mixed,
            within=spec.within,
            exchange=spec.exchange,
            spread=spec.spread,
            data=spec.data,
            rates=rates,
        )


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


@quick
@dataclass(frozen=True, slots=True)
class Waiting:
    """A job, or a repair of a job, that wants chips."""

    job: str
    version: int
    shape: int  # index into Snapshot.shapes
    priority: int  # job's own (or its class's) + queue's
    submitted_at: float
    not_before: float = 0.0
    user: str = ""
    repair: Repair | None = None
    avoid: frozenset[str] = frozenset()  # sites that failed this job: only if nothing else fits
    # (row of a pool, chips of its nodes that failed this job): as if they were not free, likewise.
    off: tuple[tuple[int, int], ...] = ()
    start_by: float = 0.0  # deferrable: it may be held back until then
    evicted: bool = False  # its chips were taken from it: it takes none from others in turn
    claim: Claim | None = None  # chips that are kept for it
    latest_start: float = math.inf  # to meet the deadline, if it has one
    level: int = 0  # how many of the policy's levels it has had, where they order jobs


@quick
@dataclass(frozen=True, slots=True)
class HeldShare:
    """One live run of a holder: ``row`` of its pool, W at the meter that it adds."""

    run: str
    row: int
    chips: int
    watts: float
    rank: int
    stopping: bool
    parts: tuple[tuple[int, int], ...] = ()  # (block of the pool, chips)


@quick
@dataclass(frozen=True, slots=True)
class Holder:
    """A job that holds chips, as far as it matters for what is taken from it or given to it.

    ``began`` is when its present gang started (when it was placed, before that), ``end`` when it is
    expected to end; times are seconds since the epoch. ``loose``: all its shares run and none is
    being stopped, so that it may be changed at all. ``next_rank`` is that of one more share.
    """

    job: str
    spec: Job
    priority: int  # job's own + queue's
    began: float
    end: float
    shares: tuple[HeldShare, ...]
    loose: bool = True
    preemptions: int = 0
    migrations: int = 0
    moved_at: float | None = None
    resized_at: float | None = None
    next_rank: int = 0
    rates: Rates = ()
    worth: float = 0.0  # of all its chips, in chips of the reference; 0: one each
    had: float = 0.0  # chip-seconds of the reference that it had before ``began``

    @property
    def weight(self) -> float:
        """Chips of the reference that it holds."""
        return self.worth or float(self.chips)

    @property
    def chips(self) -> int:
        return sum(share.chips for share in self.shares)

    def unsaved(self, now: float) -> float:
        """Seconds of work since the last checkpoint; all of it where none is promised."""
        worked, every = max(0.0, now - self.began), self.spec.checkpoint_every
        return worked % every if every else worked


@dataclass(frozen=True, slots=True)
class Held:
    """The live runs in one pool, columns in order of their expected ends.

    ``safe_until``: until then its job is not stopped for others (inf: never). ``worth`` is what the
    chips of its whole job are worth, in chips of the reference, over its own chips: so much is lost
    for each of them when the job is stopped. ``had``: see ``Holder``.
    ``spare``: 1 where an elastic job can do without this run, 2 where it could do with fewer of its
    chips, but has to start anew for that.
    """

    end: Floats
    chips: Ints
    watts: Floats
    priority: Ints
    began: Floats
    every: Floats  # s between checkpoints; 0 where none are promised
    safe_until: Floats
    worth: Floats
    spare: Ints
    had: Floats
    holder: tuple[Holder, ...] = ()
    lowest: float = -np.inf  # priority of all
    lowest_spare: float = np.inf  # of those that can do without their run, or with less


_NONE, _NO_INTS = np.empty(0), np.empty(0, dtype=np.int64)
EMPTY = Held(
    _NONE, _NO_INTS, _NONE, _NO_INTS, _NONE, _NONE, _NONE, _NONE, _NO_INTS, _NONE, lowest=np.inf
)


@dataclass(frozen=True, slots=True)
class Kept:
    """Chips that are kept for a job (see ``Claim``)."""

    job: str
    claim: Claim


@dataclass(frozen=True, slots=True)
class Forecast:
    """Each site's power over the hours to come: S x H, hour 0 being that of ``start`` (epoch s).

    ``own`` is W of its own sun and wind, ``carbon`` gCO2eq/kWh and ``price`` USD/MWh of its grid
    (nan where unknown), ``green`` 0..1 the renewable share of its grid (length S).
    """

    start: float
    own: Floats
    carbon: Floats
    price: Floats
    green: Floats


@quick
@dataclass(frozen=True, slots=True)
class Snapshot:
    """The world at one moment. ``held`` is chips held by live runs, per queue.

    ``held_in`` the same per queue and pool (length P each); ``held_worth`` the same in chips of the
    reference, each for what it is worth to its job (see ``scheduler.worth``), ``used`` so many held
    on average in the past, decayed. ``speeds`` FLOP/s of one chip by kind for a job that names no
    model, also of kinds that no site has.
    ``running`` has one entry per pool (or none at all: nothing is known of ends); ``growing`` are
    running jobs that could do with more chips; ``kept`` is what is kept for whom. ``slow`` says
    that it is time to look for what may move.
    """

    sites: Sites
    pools: Pools
    shapes: Sequence[Shape] | Mapping[int, Shape]
    waiting: Sequence[Waiting]
    held: Mapping[str, int] = field(default_factory=dict)
    running: Sequence[Held] = ()
    growing: tuple[Holder, ...] = ()
    kept: tuple[Kept, ...] = ()
    forecast: Forecast | None = None
    slow: bool = False
    held_in: Mapping[str, Ints] = field(default_factory=dict)
    held_worth: Mapping[str, float] | None = None  # None: as ``held_in``, for jobs without models
    used: Mapping[str, float] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True)
class Placement:
    """A decision: give these shares to the job. ``grow``: one more share, beside those it has."""

    job: str
    version: int
    shares: tuple[Share, ...]
    repair: bool
    reason: str
    grow: bool = False


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
class Reservation:
    """The job is to start at ``start`` (epoch s) with ``shares``: nobody may delay that."""

    job: str
    start: float
    end: float
    shares: tuple[Share, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Victim:
    """A job that gives chips back: all of its runs, or the shares ``ranks`` of an elastic one.

    ``lost`` is what that costs, in chip-seconds of work.
    """

    job: str
    runs: tuple[str, ...]
    ranks: tuple[int, ...]
    cause: Cause
    lost: float
    grace: float
    reason: str


@dataclass(frozen=True, slots=True)
class Preemption:
    """A decision: ``victims`` give chips back, and ``shares`` are kept for the job until ``until``.

    ``job`` is "" where the chips are for nobody: a maintenance window.
    """

    job: str
    version: int
    shares: tuple[Share, ...]
    until: float
    victims: tuple[Victim, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Migration:
    """A decision: the running job stops, to go on with ``shares``; gain, cost: chip-seconds."""

    job: str
    runs: tuple[str, ...]
    shares: tuple[Share, ...]
    until: float
    gain: float
    cost: float
    grace: float
    reason: str


@quick
@dataclass(frozen=True, slots=True)
class Plan:
    """What ``schedule`` answers: decisions plus the versions that they were made from.

    ``again``: when it should be asked again although nothing has happened (epoch s).
    """

    placements: Sequence[Placement] = ()
    refusals: Sequence[Refusal] = ()
    preemptions: tuple[Preemption, ...] = ()
    migrations: tuple[Migration, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    again: float = np.inf
