"""Which waiting jobs are to be estimated anew, since such jobs have taken otherwise than before.

A job that waits keeps the estimate with which it came until those that are like it have shown
another one: then all that wait of its user and queue are gone through, some in each cycle.
"""

from __future__ import annotations

from collections.abc import Iterable

from skep.model.state import JobState
from skep.scheduler.estimate import History, Sign

# What such jobs took is looked at so often (s) for each user and queue.
PERIOD = 60.0
# So many waiting jobs are estimated anew in one cycle.
MOST = 32

Wide = tuple[str, str]


class Alike:
    """Jobs that were told why they wait, by user and queue; those that came and went are not."""

    def __init__(self) -> None:
        self._jobs: dict[Wide, dict[str, None]] = {}
        self._left: dict[Wide, int] = {}  # how many are still to be gone through
        self._signs: dict[Wide, dict[tuple[object, ...], Sign]] = {}
        self._looked: dict[Wide, float] = {}

    def waits(self, job: JobState) -> None:
        """The job waits, and has been told so."""
        self._jobs.setdefault((job.user, job.spec.queue), {})[job.id] = None

    def leaves(self, job: JobState) -> None:
        """It waits no more."""
        wide = job.user, job.spec.queue
        here = self._jobs.get(wide)
        if here is None:
            return
        here.pop(job.id, None)
        if not here:
            for table in (self._jobs, self._left, self._signs, self._looked):
                table.pop(wide, None)

    def ended(self, job: JobState, history: History, now: float) -> None:
        """Such a job has ended: others may now be thought to take another time."""
        wide = job.user, job.spec.queue
        if wide not in self._jobs or now - self._looked.get(wide, -PERIOD) < PERIOD:
            return
        self._looked[wide] = now
        key, sign = history.sign(job.spec, job.user)
        known = self._signs.setdefault(wide, {})
        if known.get(key) != sign:
            known[key] = sign
            self._left[wide] = len(self._jobs[wide])

    def next(self) -> Iterable[str]:
        """The next that are to be estimated anew; each is told once for each change."""
        if not self._left:
            return ()
        wide, left = next(iter(self._left.items()))
        here = self._jobs[wide]
        some = [job for job, _ in zip(here, range(min(MOST, left)), strict=False)]
        for job in some:  # to the end: the next time it is the others' turn
            here[job] = here.pop(job)
        if left > len(some):
            self._left[wide] = left - len(some)
        else:
            del self._left[wide]
        return some
