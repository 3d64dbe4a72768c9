"""What reading a file gives: the job, and what the user should know of it."""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.job import Job


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job that was read; ``notes`` are sentences to show as warnings."""

    job: Job
    notes: tuple[str, ...] = ()
