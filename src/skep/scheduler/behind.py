"""Behind: the refusal of a job that would fit now, but must not delay what is promised."""

from __future__ import annotations

from skep.model.evolve import replace
from skep.model.snapshot import Refusal, Shape, Waiting
from skep.scheduler.ahead import Ahead
from skep.scheduler.ledger import Ledger
from skep.scheduler.place import fit
from skep.scheduler.promise import Promise, Window
from skep.scheduler.reserve import clock
from skep.units import duration


def behind(ahead: Ahead, ledger: Ledger, job: Waiting, shape: Shape) -> Refusal | None:
    """Why ``job`` waits although there is room; None where there is none."""
    board, now = ahead.board, ahead.timeline.now
    if ahead.closed and ahead.reservations:
        first = ahead.reservations[0].job
        reason = f"waits for its turn: {first} comes first and does not fit yet"
        return Refusal(job.job, job.version, reason, {}, "backfill: easy would let it go past")
    pressing = ledger.pressing(shape.length)
    windows = [w for w in ledger.windows if w.cap is None and w.start < now + shape.length]
    if not pressing and not windows:
        return None
    bare = replace(ledger, promises=[], windows=[])
    if fit(board, bare, job, shape) is None:
        return None
    if windows and fit(board, replace(ledger, windows=[]), job, shape) is not None:
        return _shut(board.snapshot.sites.names, windows, job, now)
    if not pressing:
        return None
    return _promised(min(pressing, key=lambda found: found.start), job, shape, now)


def _promised(promise: Promise, job: Waiting, shape: Shape, now: float) -> Refusal:
    left = duration(max(0.0, promise.start - now))
    whom = promise.job or "a window of less power"
    reason = f"fits, but would delay {whom}, which is to start {clock(promise.start)}"
    fix = (
        f"what takes {left} or less may start now (it is expected to take {duration(shape.length)})"
    )
    return Refusal(job.job, job.version, reason, {}, fix)


def _shut(names: tuple[str, ...], windows: list[Window], job: Waiting, now: float) -> Refusal:
    sites = {
        f"closed from {clock(w.start)}: {w.reason or 'maintenance'}": (names[w.site],)
        for w in windows
    }
    first = min(windows, key=lambda window: window.start)
    reason = f"fits, but would run into the maintenance of {names[first.site]}"
    left = duration(max(0.0, first.start - now))
    fix = f"what takes {left} or less may start now; or starts {clock(first.end)}"
    return Refusal(job.job, job.version, reason, sites, fix)
