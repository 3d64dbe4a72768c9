"""What an agent and the control plane say to each other (over HTTP, or directly in the simulator).

Level-triggered: a report tells all that the site holds, an answer all that it should hold.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from skep.model.base import Spec
from skep.model.job import Job
from skep.model.placement import Share

ObservedPhase = Literal["preparing", "ready", "running", "succeeded", "failed", "stopped"]


class LogChunk(Spec):
    """Text that process ``process`` of a run wrote, from byte ``offset`` of its log on."""

    run: str
    process: str = Field(description="'setup', or the rank: '0', '1', …")
    offset: int = Field(ge=0)
    text: str


class ProgressChunk(Spec):
    """Lines of a run's progress file, from line ``offset`` on."""

    run: str
    offset: int = Field(ge=0)
    lines: tuple[dict[str, Any], ...]


class RunReport(Spec):
    """What an engine says of one run."""

    run: str
    phase: ObservedPhase
    address: str = ""
    exit_code: int | None = None
    reason: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    nodes: tuple[str, ...] = Field(
        default=(), description="on which it failed, where the engine can keep later runs off them"
    )


class Report(Spec):
    """All that a site holds now. ``agent`` changes with each start of the agent's process.

    ``logs`` and ``progress`` say how far the control plane has acknowledged, by the answer's
    ``acknowledged``; what is not acknowledged is sent again.
    """

    agent: str
    number: int = Field(default=0, description="counts up; an older one that comes late is ignored")
    runs: tuple[RunReport, ...] = ()
    logs: tuple[LogChunk, ...] = ()
    progress: tuple[ProgressChunk, ...] = ()
    known: int = Field(default=-1, description="revision of the last answer that it has")


class Order(Spec):
    """One run that a site should hold, and how far it may go.

    ``prepare``: unpack, set up, report ready. ``go``: start. ``stop``: end it, then forget it.
    """

    run: str
    job: str
    step: Literal["prepare", "go", "stop"]
    attempt: int
    spec: Job
    share: Share
    site_count: int = 1
    peers: dict[str, str] = Field(default_factory=dict)
    chip_speed: float | None = None
    grace: float = 10.0
    notice: float | None = Field(
        default=None, description="s from this stop to the kill, where it may take longer"
    )
    reason: str = ""


class Answer(Spec):
    """All that a site should hold. A run that is reported but not ordered is to be stopped.

    ``forget``: ended runs whose end is on record: the engine may drop them.
    ``acknowledged``: per ``run/process`` (logs) and ``run`` (progress) the offset received so far.
    """

    revision: int
    lease: float = Field(description="seconds, from when the report was sent")
    heartbeat: float = 5.0
    orders: tuple[Order, ...] = ()
    forget: tuple[str, ...] = ()
    acknowledged: dict[str, int] = Field(default_factory=dict)
    exchange_token: dict[str, str] = Field(
        default_factory=dict, description="job -> token for exchange between its runs"
    )
