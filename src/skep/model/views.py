"""What the API answers, and what the command and the page show."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from skep.model.base import Spec
from skep.model.event import Logged
from skep.model.job import Elastic, Job
from skep.model.state import JobPhase, RunPhase


class RunView(Spec):
    """One attempt at one site's share."""

    run: str
    attempt: int
    site: str
    chip: str
    chips: int
    nodes: int
    phase: RunPhase
    placed_at: float
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    reason: str = ""
    failed_on: tuple[str, ...] = Field(default=(), description="nodes of the site")
    kept_off: tuple[str, ...] = Field(default=(), description="nodes that had failed its job")
    power: float = Field(default=0.0, description="W at the meter while at work")
    energy: float = Field(default=0.0, description="J at the meter so far")
    renewable: float = Field(default=0.0, ge=0, le=1, description="share of that energy")


class JobView(Spec):
    """A job in a list. Times are seconds since the Unix epoch."""

    id: str
    name: str
    user: str
    queue: str
    priority: int | str = Field(description="as written: a number or a class")
    phase: JobPhase
    chips: int = Field(description="held now; while waiting: asked for (first alternative)")
    chip: str = Field(description="kind held, or asked for; '' for any")
    sites: tuple[str, ...]
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    failures: int = 0
    reason: str = Field(description="the last decision, or why it ended")


class JobDetail(JobView):
    """One job with all its runs and what was asked for."""

    spec: Job
    runs: tuple[RunView, ...]
    cancelling: bool = False
    version: int
    stops: int = Field(default=0, description="how often its chips were taken for others")
    moves: int = Field(default=0, description="how often it went elsewhere because that was better")
    kept_work: float = Field(default=0.0, description="s of work that its checkpoints keep")
    paused: float = Field(default=0.0, description="s that it waited after having given way")
    claim: str = Field(default="", description="chips that are kept for it, until when")

    @property
    def elastic(self) -> Elastic | None:
        """The range of chips with which it works, while it holds some."""
        return self.spec.elastic if self.phase == "running" else None


class SiteRefusal(Spec):
    """Why sites do not take the job now."""

    reason: str
    sites: tuple[str, ...]


class ChangeView(Spec):
    """With ``field`` of the job file at ``value`` the job would start now, with ``gives``."""

    field: str
    value: str
    gives: str = Field(description="chips at sites")


class StandingView(Spec):
    """What a queue, with those below it, has of its part: in chips of the pool's fastest kind."""

    queue: str
    held: float = Field(description="now")
    used: float = Field(description="held on average in the past, old use counting less")
    part: float = Field(description="by weight among its siblings")
    deserved: float = Field(description="its part, and what others of theirs leave idle")


class Why(Spec):
    """What was decided on a job and why.

    ``decisions`` are its events as sentences, oldest first. For a waiting job ``refusals`` counts
    what each site refuses it for *now*, ``place`` is its place in the order (1 = next) and
    ``remedy`` says what would let it run. ``changes`` of its request would let it start now, each
    alone, the smallest first. ``standings`` are those of its queue and the queues above it.
    """

    id: str
    name: str
    phase: JobPhase
    summary: str
    place: int | None = None
    waiting: int = 0
    order: str = Field(default="", description="by what it is in order, where that is not age")
    refusals: tuple[SiteRefusal, ...] = ()
    remedy: str = ""
    start: float | None = Field(default=None, description="when it is thought to start")
    start_reason: str = ""
    length: str = Field(default="", description="how long it is expected to work, and why")
    changes: tuple[ChangeView, ...] = ()
    avoids: tuple[str, ...] = Field(
        default=(), description="nodes and sites that failed it, until when it avoids them"
    )
    standings: tuple[StandingView, ...] = ()
    decisions: tuple[dict[str, Any], ...] = Field(description="each {'at': s, 'text': sentence}")


class PoolView(Spec):
    """Chips of one kind at a site."""

    chip: str
    chips: int
    free: int
    nodes: int


class PowerView(Spec):
    """The electricity of a site now, in W. ``drawn`` is modelled, not measured."""

    cap: float | None
    drawn: float
    sun: float
    wind: float
    grid: float
    renewable: float = Field(description="share of the draw that is renewable now")
    carbon: float | None = Field(default=None, description="gCO2eq/kWh of the grid")


class SiteView(Spec):
    """A site now."""

    name: str
    phase: Literal["unknown", "up", "lost"]
    reason: str
    country: str
    engine: str
    pools: tuple[PoolView, ...]
    runs: tuple[str, ...]
    power: PowerView | None
    silent: float | None = Field(description="seconds since its agent last reported")


class LogPart(Spec):
    """Log text of one process of a run."""

    run: str
    site: str
    process: str
    offset: int
    text: str


class Logs(Spec):
    """A page of logs. Pass ``cursor`` to get what follows; ``ended``: nothing will follow."""

    parts: tuple[LogPart, ...]
    cursor: str
    ended: bool


class ProgressLine(Spec):
    """One progress line of a run, with its number."""

    n: int
    run: str
    site: str
    line: dict[str, Any]


class Progress(Spec):
    """A page of progress. Pass ``next`` as ``after``."""

    lines: tuple[ProgressLine, ...]
    next: int


class Events(Spec):
    """A page of the event log. Pass ``next`` as ``after``."""

    events: tuple[Logged, ...]
    next: int


class Health(Spec):
    """Whether the control plane works."""

    pool: str
    version: str
    seq: int
    sites_up: int
    sites: int
    waiting: int
    running: int
