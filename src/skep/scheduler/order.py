"""Order: who is looked at first."""

from __future__ import annotations

from collections.abc import Iterable

from skep.model.snapshot import Waiting


def ordered(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Waiting jobs in the order in which they are decided: priority, then age, then id."""
    return sorted(waiting, key=_rank)


def _rank(job: Waiting) -> tuple[int, float, str]:
    return (-job.priority, job.submitted_at, job.job)
