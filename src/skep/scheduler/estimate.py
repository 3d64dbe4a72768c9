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
# So many answers are kept until the next job ends.
ANSWERS = 50_000

Key = tuple[str, ...]
Sign = tuple[float | None, ...]
Found = tuple[float, str, int, float | None]
"""The fields of an ``Estimate``."""


@quick
@dataclass(frozen=True, slots=True)
class Estimate:
    """``seconds`` of work: what ``source`` says, ``ratio`` times that or as ``count`` jobs took."""

    seconds: float
    source: str
    count: int = 0
    ratio: float | None = None

    @property
    def reason(self) -> str:
        """Where the number comes from, in words."""
        if not self.count:
            return self.source
        took = f"as {self.count} such jobs took"
        return took if self.ratio is None else f"{self.ratio:.2f} × {self.source}, {took}"


@dataclass(slots=True)
class _Alike:
    """What jobs that are alike took (s), and that over their word if they had one; oldest first."""

    times: deque[float] = field(default_factory=deque)
    ratios: deque[float] = field(default_factory=deque)
    _middles: dict[bool, float | None] = field(default_factory=dict, compare=False)

    def add(self, taken: float, ratio: float | None) -> None:
        self.times.append(taken)
        if ratio is not None:
            self.ratios.append(ratio)
        self._middles.clear()

    def forget(self, ratio: float | None) -> None:
        """Drop the oldest, whose ratio that was."""
        self.times.popleft()
        if ratio is not None:
            self.ratios.popleft()
        self._middles.clear()

    def middle(self, *, said: bool) -> float | None:
        """The quantile of the ratios (``said``) or of the times; None where that is not enough."""
        if said not in self._middles:
            found = self.ratios if said else self.times
            newest = sorted(islice(reversed(found), WINDOW)) if len(found) >= ENOUGH else []
            row = ceil(QUANTILE * len(newest)) - 1
            self._middles[said] = newest[row] if newest else None
        return self._middles[said]


@dataclass(slots=True)
class History:
    """What ended jobs took: the fold of their states, in the order in which they ended."""

    _jobs: deque[tuple[tuple[Key, ...], float | None]] = field(default_factory=deque)
    _alike: dict[Key, _Alike] = field(default_factory=dict)
    # What was answered since the last change; with the specification, so that its id stays its own.
    _seconds: dict[tuple[int, str, float], tuple[float, Job]] = field(
        default_factory=dict, compare=False
    )

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
        keys, ratio = keys_of(job.spec, job.user), taken / said if said else None
        self._jobs.append((keys, ratio))
        self._seconds.clear()
        for key in keys:
            alike = self._alike.get(key)
            if alike is None:
                alike = self._alike[key] = _Alike()
            alike.add(taken, ratio)
        if len(self._jobs) > REMEMBERED:
            self._forget()

    def _forget(self) -> None:
        keys, ratio = self._jobs.popleft()
        for key in keys:
            alike = self._alike[key]
            alike.forget(ratio)
            if not alike.times:
                del self._alike[key]

    def expected(self, spec: Job, user: str, assumed: float) -> Estimate:
        """How long such a job works in all; ``assumed`` s where nothing is known."""
        return Estimate(*self._found(spec, user, assumed))

    def seconds(self, spec: Job, user: str, assumed: float) -> float:
        """``expected`` without its reason; looked up once for jobs of one specification."""
        key = id(spec), user, assumed
        known = self._seconds.get(key)
        if known is None:
            if len(self._seconds) >= ANSWERS:
                self._seconds.clear()
            known = self._seconds[key] = self._found(spec, user, assumed)[0], spec
        return known[0]

    def _found(self, spec: Job, user: str, assumed: float) -> Found:
        said = word(spec)
        source = "its time limit" if spec.duration is None else "its duration"
        for key in keys_of(spec, user):
            alike = self._alike.get(key)
            middle = alike.middle(said=said is not None) if alike is not None else None
            if alike is None or middle is None:
                continue
            if said is None:
                return _limited(middle, spec, "", min(WINDOW, len(alike.times)))
            ratio = min(MOST, max(LEAST, middle))
            return _limited(ratio * said, spec, source, min(WINDOW, len(alike.ratios)), ratio)
        if said is None:
            return assumed, "assumed: it does not say, and no such job has ended", 0, None
        return _limited(said, spec, source)

    def sign(self, spec: Job, user: str) -> tuple[Key, Sign]:
        """What estimates of such jobs rest on, in steps as ``rounded``; another where they change.

        And what tells such jobs from others.
        """
        said, keys = word(spec) is not None, keys_of(spec, user)
        known = (self._alike.get(key) for key in keys)
        found = (alike.middle(said=said) if alike is not None else None for alike in known)
        return (*keys[0], str(said)), tuple(None if m is None else rounded(m) for m in found)


def word(spec: Job) -> float | None:
    """What the user says it takes, in s; None where nothing is said."""
    return spec.duration if spec.duration is not None else spec.time_limit


def keys_of(spec: Job, user: str) -> tuple[Key, Key, Key]:
    """What makes jobs alike: the narrowest key first."""
    wide = (user, spec.queue)
    asked = ",".join([f"{c.kind}:{c.count}" for c in spec.chips])
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


def _limited(
    seconds: float, spec: Job, source: str, count: int = 0, ratio: float | None = None
) -> Found:
    if spec.time_limit is not None and seconds > spec.time_limit:
        return spec.time_limit, "its time limit", 0, None
    return max(seconds, 1.0), source, count, ratio
