"""A record as a row of its table: what is asked for in columns, all of it in ``body``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from skep.model.event import Event
from skep.model.state import ENDED_JOB, JobPhase, JobState, SiteState
from skep.store import codec

OPEN = tuple(phase for phase in get_args(JobPhase) if phase not in ENDED_JOB)
"""The phases of a job that has not ended."""


def event_row(seq: int, event: Event) -> dict[str, Any]:
    """Columns of ``events``."""
    return {
        "seq": seq,
        "at": event.at,
        "kind": event.kind,
        "job": event.job,
        "site": event.site,
        "body": codec.encode_event(event),
    }


def job_row(job: JobState) -> dict[str, Any]:
    """Columns of ``jobs``."""
    return {
        "id": job.id,
        "name": job.spec.name,
        "queue": job.spec.queue,
        "phase": job.phase,
        "version": job.version,
        "submitted_at": job.submitted_at,
        "ended_at": end_of(job),
        "body": codec.encode_job(job),
    }


def end_of(job: JobState) -> float | None:
    """When the job ended; for an ended one never None, since databases order that differently."""
    return job.submitted_at if job.ended and job.ended_at is None else job.ended_at


def site_row(site: SiteState) -> dict[str, Any]:
    """Columns of ``sites``."""
    return {"name": site.name, "phase": site.phase, "body": codec.encode_site(site)}


def progress_row(
    n: int, job: str, run: str, line: int, content: Mapping[str, Any]
) -> dict[str, Any]:
    """Columns of ``progress``."""
    return {"n": n, "job": job, "run": run, "line": line, "body": codec.encode_line(content)}
