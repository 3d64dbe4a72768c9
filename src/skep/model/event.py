"""Events: the truth. Replaying them gives the state (``skep.lifecycle``).

Each event is a frozen record with a ``kind``; ``job`` is empty for events of a site. ``at`` is
seconds since the Unix epoch as the control plane's clock told it; ``seq`` orders them and is given
by the store.

Events are checked when they are read from a store or a message, not when the product makes them:
a control plane makes as many as all its jobs and runs change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from skep.model.evolve import record
from skep.model.job import Job
from skep.model.placement import Share

Outcome = Literal["succeeded", "failed", "cancelled"]
RunOutcome = Literal["succeeded", "failed", "stopped", "lost"]
Cause = Literal[
    "priority", "share", "window", "shrink", "migration", "drain", "attained", "elastic"
]


@dataclass(frozen=True, kw_only=True)
class _Event:
    __slots__ = ()
    at: float
    job: str = ""
    site: str = ""


@record
class Submitted(_Event):
    """A user's job is acknowledged: durable from here."""

    kind: Literal["submitted"] = "submitted"
    spec: Job
    user: str = ""


@record
class RunGrant:
    """A run that a site should hold: its id (the fencing token) and its share."""

    run: str
    share: Share


@record
class Placed(_Event):
    """Chips were given. ``attempt`` numbers the job's placements; ids of runs carry it.

    ``runs`` holds only the new runs: a repair of one lost share places one run.
    ``go`` is true where nothing has to be waited for (a gang of one, or a repair).
    """

    kind: Literal["placed"] = "placed"
    attempt: int
    runs: tuple[RunGrant, ...]
    go: bool = False
    repair: Annotated[bool, Field(description="a lost share again, beside runs that go on")] = False
    grow: Annotated[bool, Field(description="one more share, beside runs that go on")] = False
    expected: Annotated[float | None, Field(description="s that it was expected to work yet")] = (
        None
    )
    reason: str


@record
class Deferred(_Event):
    """The job stays waiting; written when the reasons have changed, not each cycle."""

    kind: Literal["deferred"] = "deferred"
    reason: str
    refusals: Annotated[dict[str, int], Field(description="reason -> number of sites")] = field(
        default_factory=dict
    )


@record
class GangReady(_Event):
    """All runs of the attempt have reported ready: go."""

    kind: Literal["gang_ready"] = "gang_ready"
    attempt: int


@record
class GangExpired(_Event):
    """Not all runs were ready in time: the chips are given back."""

    kind: Literal["gang_expired"] = "gang_expired"
    attempt: int
    reason: str


@record
class RunReady(_Event):
    """A site has prepared the run; ``address`` is where it accepts exchange ("" if nowhere)."""

    kind: Literal["run_ready"] = "run_ready"
    run: str
    address: str = ""


@record
class RunStarted(_Event):
    """The processes of the run have been started."""

    kind: Literal["run_started"] = "run_started"
    run: str


@record
class RunStopping(_Event):
    """The run should stop (cancel, time limit, lost gang, fenced)."""

    kind: Literal["run_stopping"] = "run_stopping"
    run: str
    reason: str
    grace: Annotated[float | None, Field(description="s until it is killed; None: the usual")] = (
        None
    )


@record
class RunEnded(_Event):
    """The run is over: known stopped, or fenced by its site's lease (``lost``)."""

    kind: Literal["run_ended"] = "run_ended"
    run: str
    outcome: RunOutcome
    exit_code: int | None = None
    reason: str = ""
    nodes: Annotated[tuple[str, ...], Field(description="of its site, on which it failed")] = ()


@record
class Retried(_Event):
    """The job, or one share of it, will be placed again, not before ``not_before``."""

    kind: Literal["retried"] = "retried"
    not_before: float
    failures: int
    reason: str


@record
class Preempted(_Event):
    """Runs of the job have to give their chips back; it waits again, with its age.

    ``for_job`` gets them ("" for a maintenance window). ``lost`` is what it costs: chip-seconds of
    work since the last checkpoint, and of starting again. ``RunStopping`` follows for each run.
    """

    kind: Literal["preempted"] = "preempted"
    runs: tuple[str, ...]
    cause: Cause
    for_job: str = ""
    lost: float = 0.0
    reason: str


@record
class Claimed(_Event):
    """Chips that others are giving back are kept for the job until ``until``, then no more."""

    kind: Literal["claimed"] = "claimed"
    shares: tuple[Share, ...]
    until: float
    victims: Annotated[tuple[str, ...], Field(description="jobs that give chips back")] = ()
    reason: str


@record
class Resized(_Event):
    """An elastic job goes on without the shares ``ranks``: their chips are for ``for_job``."""

    kind: Literal["resized"] = "resized"
    ranks: tuple[int, ...]
    for_job: str = ""
    reason: str


@record
class Migrated(_Event):
    """A running job goes elsewhere: its runs stop, ``shares`` are kept for it until ``until``.

    ``gain`` and ``cost`` are in chip-seconds of its work.
    """

    kind: Literal["migrated"] = "migrated"
    runs: tuple[str, ...]
    shares: tuple[Share, ...]
    until: float
    gain: float
    cost: float
    reason: str


@record
class CancelRequested(_Event):
    """A user wants the job to end."""

    kind: Literal["cancel_requested"] = "cancel_requested"
    user: str = ""


@record
class Ending(_Event):
    """The job is to end so, once its runs have stopped (a failure that is not retried, a limit)."""

    kind: Literal["ending"] = "ending"
    outcome: Outcome
    reason: str


@record
class JobEnded(_Event):
    """The job is over."""

    kind: Literal["job_ended"] = "job_ended"
    outcome: Outcome
    reason: str


@record
class SiteJoined(_Event):
    """A site's agent reported for the first time, or with a new identity (agent restart)."""

    kind: Literal["site_joined"] = "site_joined"
    agent: str
    reason: str = ""


@record
class SiteLost(_Event):
    """A site has been silent beyond its lease and grace."""

    kind: Literal["site_lost"] = "site_lost"
    reason: str


@record
class SiteReturned(_Event):
    """A lost site answers again."""

    kind: Literal["site_returned"] = "site_returned"
    reason: str = ""


Event = Annotated[
    Submitted
    | Placed
    | Deferred
    | GangReady
    | GangExpired
    | RunReady
    | RunStarted
    | RunStopping
    | RunEnded
    | Retried
    | Preempted
    | Claimed
    | Resized
    | Migrated
    | CancelRequested
    | Ending
    | JobEnded
    | SiteJoined
    | SiteLost
    | SiteReturned,
    Field(discriminator="kind"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Decodes one event from JSON or a dict by its ``kind``."""


@record
class Logged:
    """An event as the log has it: with its number."""

    seq: int
    event: Event
