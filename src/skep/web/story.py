"""What was seen of one job: the material of the summary and the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from skep.model.event import Logged
from skep.model.site import Pool
from skep.model.views import JobDetail, ProgressLine, RunView, SiteView

MOST_SAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Sample:
    """The sites at one moment (seconds since the epoch)."""

    at: float
    sites: tuple[SiteView, ...]


@dataclass(slots=True)
class Story:
    """One job with all that it reported so far."""

    job: JobDetail
    pool: Pool | None = None
    events: list[Logged] = field(default_factory=list)
    lines: list[ProgressLine] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def sites(self) -> list[str]:
        """Sites that the job had runs at, in the order of first appearance."""
        return list(dict.fromkeys(run.site for run in self.job.runs))

    def runs_at(self, site: str) -> list[RunView]:
        """The runs at a site, oldest first."""
        return [run for run in self.job.runs if run.site == site]

    def of_kind(self, *kinds: str) -> Iterator[ProgressLine]:
        """The progress lines of those kinds, in order of arrival."""
        return (entry for entry in self.lines if entry.line.get("kind") in kinds)

    def began(self) -> float:
        """When the first processes started, else when the job was submitted."""
        return self.job.started_at or self.job.submitted_at

    def sample(self, at: float, sites: list[SiteView]) -> None:
        """Keep how the sites are; of a long job every second sample is dropped when many."""
        self.samples.append(Sample(at, tuple(sites)))
        if len(self.samples) > MOST_SAMPLES:
            del self.samples[1:-1:2]


def number(line: dict[str, Any], name: str) -> float | None:
    """The number of that name in a progress line; None where there is none.

    Lines are written by users' programs: anything may stand there.
    """
    value = line.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < float("inf") else None
