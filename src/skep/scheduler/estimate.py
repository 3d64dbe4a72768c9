"""Estimate: how long a job is expected to work, from its user and from what such jobs took.

The rule, in full. A job's own word is ``duration``, else ``time_limit``. Of the last ``WINDOW``
jobs that succeeded with the same user, queue, name and chips (else: user, queue and name; else:
user and queue) the ratios taken / said are kept. From ``ENOUGH`` ratios on, the word is multiplied
by their ``QUANTILE``, held between ``LEAST`` and ``MOST``; never beyond the time limit. A job
without a word takes the same quantile of the times themselves; without those, the policy's
``assumed``.

An estimate that is passed grows by half, again and again, until it lies ahead: see ``ahead``.
The 0.75 quantile errs towards long: backfill starts what is surely short. Source of the idea:
Tsafrir, Etsion, Feitelson, "Backfilling using system-generated predictions", IEEE TPDS 18(6), 2007.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from math import ceil, log2

from skep.model.evolve import quick
from skep.model.job import Job
from skep.model.state import JobState
from skep.units import duration

WINDOW = 32
ENOUGH = 4
QUANTILE = 0.75
LEAST, MOST = 0.02, 3.0
GROWTH = 1.5
# So many of the newest ended jobs count at all: as many as a control plane reads when it starts.
REMEMBERED = 1000

Key = tuple[str, ...]
Sign = tuple[float | None, ...]


@quick
@dataclass(frozen=True, slots=True)
class Estimate:
    """``seconds`` of work, and where the number comes from."""

    seconds: float
    reason: str


@dataclass(slots=True)
class History:
    """What ended jobs took: the fold of their states, in the order in which they ended."""

    _jobs: deque[tuple[tuple[Key, ...], float | None, float]] = field(default_factory=deque)
    _ratios: dict[Key, deque[float]] = field(default_factory=dict)
    _times: dict[Key, deque[float]] = field(default_factory=dict)
    _middle: dict[tuple[Key, bool], float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, jobs: Iterable[JobState]) -> History:
        """The history of these jobs; those that have not ended do not count."""
        ended = [(job.ended_at, job.id, job) for job in jobs if job.ended_at is not None]
        history = cls()
        for _, _, job in sorted(ended, key=lambda row: row[:2]):
            history.note(job)
        return history

    def note(self, job: JobState) -> None:
        """Take in a job that has just ended; only what succeeded says how long such work takes."""
        if job.phase != "succeeded" or job.started_at is None or job.ended_at is None:
            return
        taken = max(0.0, job.ended_at - job.started_at - job.paused)
        said = word(job.spec)
        keys = keys_of(job.spec, job.user)
        self._jobs.append((keys, taken / said if said else None, taken))
        for key in keys:
            if said:
                self._ratios.setdefault(key, deque()).append(taken / said)
            self._times.setdefault(key, deque()).append(taken)
            self._changed(key)
        if len(self._jobs) > REMEMBERED:
            self._forget()

    def _forget(self) -> None:
        keys, ratio, _ = self._jobs.popleft()
        for key in keys:
            if ratio is not None:
                self._drop(self._ratios, key)
            self._drop(self._times, key)
            self._changed(key)

    def _changed(self, key: Key) -> None:
        for said in (True, False):
            self._middle.pop((key, said), None)

    @staticmethod
    def _drop(table: dict[Key, deque[float]], key: Key) -> None:
        table[key].popleft()
        if not table[key]:
            del table[key]

    def expected(self, spec: Job, user: str, assumed: float) -> Estimate:
        """How long such a job works in all; ``assumed`` s where nothing is known."""
        said = word(spec)
        for key in keys_of(spec, user):
            middle = self._middle_of(key, said is not None)
            if middle is None:
                continue
            count = min(WINDOW, len((self._ratios if said else self._times)[key]))
            if said is None:
                return _limited(middle, f"as {count} such jobs took", spec)
            ratio = min(MOST, max(LEAST, middle))
            source = "its time limit" if spec.duration is None else "its duration"
            return _limited(
                ratio * said, f"{ratio:.2f} × {source}, as {count} such jobs took", spec
            )
        if said is None:
            return Estimate(assumed, "assumed: it does not say, and no such job has ended")
        return _limited(said, "its duration" if spec.duration else "its time limit", spec)

    def sign(self, spec: Job, user: str) -> tuple[Key, Sign]:
        """What estimates of such jobs rest on, in steps as ``rounded``; another where they change.

        And what tells such jobs from others.
        """
        said, keys = word(spec) is not None, keys_of(spec, user)
        found = (self._middle_of(key, said) for key in keys)
        return (*keys[0], str(said)), tuple(None if m is None else rounded(m) for m in found)

    def _middle_of(self, key: Key, said: bool) -> float | None:
        """The quantile of what is kept under ``key``; None where that is not enough."""
        if (key, said) not in self._middle:
            found = (self._ratios if said else self._times).get(key, ())
            newest = sorted(islice(reversed(found), WINDOW)) if len(found) >= ENOUGH else []
            row = ceil(QUANTILE * len(newest)) - 1
            self._middle[key, said] = newest[row] if newest else None
        return self._middle[key, said]


def word(spec: Job) -> float | None:
    """What the user says it takes, in s; None where nothing is said."""
    return spec.duration if spec.duration is not None else spec.time_limit


def keys_of(spec: Job, user: str) -> tuple[Key, Key, Key]:
    """What makes jobs alike: the narrowest key first."""
    wide = (user, spec.queue)
    asked = ",".join(f"{c.kind}:{c.count}" for c in spec.chips)
    return (*wide, spec.name, asked), (*wide, spec.name), wide


def ahead(began: float, seconds: float, now: float) -> float:
    """When work that began at ``began`` is expected to end: not before ``now``.

    Past its estimate it is given half as much again, as often as needed.
    """
    left = max(seconds, 1.0)
    while began + left <= now:
        left *= GROWTH
    return began + left


def rounded(seconds: float) -> float:
    """``seconds``, up to the next of a few lengths (19 % apart), so that like jobs are alike."""
    if not 0 < seconds < float("inf"):
        return seconds
    return float(round(2.0 ** (ceil(4 * log2(seconds) - 1e-9) / 4), 3))


def told(estimate: Estimate) -> str:
    """``expected to take 2h (0.31 × its time limit, as 8 such jobs took)``."""
    return f"expected to take {duration(estimate.seconds)} ({estimate.reason})"


def _limited(seconds: float, reason: str, spec: Job) -> Estimate:
    if spec.time_limit is not None and seconds > spec.time_limit:
        return Estimate(spec.time_limit, "its time limit")
    return Estimate(max(seconds, 1.0), reason)
