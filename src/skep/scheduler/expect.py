"""Expect: when a job that waits is thought to start, and why then.

Those before it in the order are promised chips first, each at the earliest time at which it can
have them, up to ``MOST``; then the job itself. Nothing of this is kept: it is told, no promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skep.scheduler.ahead import Ahead
from skep.scheduler.line import Line
from skep.scheduler.reserve import clock, earliest, keep, reservation
from skep.scheduler.timeline import Timeline
from skep.units import duration

# More jobs ahead than these are not counted with: it is told how many.
MOST = 64


@dataclass(frozen=True, slots=True)
class Expected:
    """``start`` is in seconds since the epoch."""

    start: float
    reason: str


def expected_start(ahead: Ahead, line: Line, before: Sequence[int], row: int) -> Expected | None:
    """When the job of ``row`` should start; ``before`` are rows of those that come first.

    None where it cannot start as things are, whatever ends.
    """
    promised = {found.job: found for found in ahead.reservations}
    if known := promised.get(line.ids[row]):
        return Expected(known.start, f"{known.reason}; nobody behind it may delay that")
    timeline = _copy(ahead.timeline)
    first = [other for other in before if line.ids[other] not in promised]
    for other in first[:MOST]:
        group = line.groups[line.keys[other]]
        job, shape = line.job(other), line.shapes[group.shape]
        slot = earliest(timeline, job, shape) if job.not_before <= timeline.now else None
        if slot is not None:
            keep(timeline, job, slot)
    job, shape = line.job(row), line.shapes[line.groups[line.keys[row]].shape]
    slot = earliest(timeline, job, shape)
    if slot is None:
        return None
    return Expected(slot.start, _reason(reservation(ahead.board, job, slot).reason, before))


def _reason(what: str, before: Sequence[int]) -> str:
    uncounted = len(before) - MOST
    count = len(before) if uncounted <= 0 else MOST
    first = f", after {count} jobs that come first" if count > 1 else ""
    first = ", after the job that comes first" if count == 1 else first
    more = f"; {uncounted} more come first and are not counted" if uncounted > 0 else ""
    return f"{what}{first}{more}"


def _copy(timeline: Timeline) -> Timeline:
    """The same future with a ledger of its own."""
    ledger = timeline.ledger
    own = [
        replace(
            found,
            free=found.free.copy(),
            headroom=found.headroom.copy(),
            block=None if found.block is None else replace(found.block),
        )
        for found in ledger.promises
    ]
    return Timeline(timeline.board, replace(ledger, promises=own), lambda: timeline.releases)


def told(expected: Expected, now: float) -> str:
    """``2026-05-04 13:20 UTC (in 2h), when 8 h100-sxm at oslo are expected to be free``."""
    at = clock(expected.start)
    rest = expected.reason.removeprefix(at)
    return f"{at} (in {duration(max(0.0, expected.start - now))}){rest}"
