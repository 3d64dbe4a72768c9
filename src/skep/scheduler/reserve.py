"""Reserve: when a job that does not fit yet can start, and with which chips.

The earliest time is bracketed with sums alone (whether the roomiest sites have enough by then) and
confirmed with the search that places jobs, over the whole time that the job is expected to work.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from skep.model.snapshot import Floats, Ints, Reservation, Shape, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.ledger import Ledger
from skep.scheduler.place import fit, shares_of
from skep.scheduler.room import one_pool_per_site, room
from skep.scheduler.timeline import Timeline

# Times that are tried once sums say that there is enough: the first, then ever larger steps.
TRIES = 12


@dataclass(frozen=True, slots=True)
class Slot:
    """From ``start`` to ``end`` (epoch s) the job can have ``choice`` of ``ask``."""

    start: float
    end: float
    ask: Ask
    choice: Choice


def earliest(timeline: Timeline, job: Waiting, shape: Shape) -> Slot | None:
    """The first time at which the job can start, beside all that is promised; None for never."""
    board = timeline.board
    asks = asks_of(job, shape, board, timeline.ledger)
    rows = np.unique(np.concatenate([board.columns(ask.kind).rows for ask in asks]))
    times = timeline.moments(rows)
    first = _bracket(timeline, asks, times)
    for when in _steps(times, first):
        end = when + shape.length
        view = timeline.during(when, end)
        found = fit(board, view, job, _at_least(shape))
        if found is not None:
            return Slot(when, end, *found)
    return None


def still_there(timeline: Timeline, slot: Slot) -> bool:
    """Whether the chips of ``slot`` are free then, as they were."""
    view = timeline.during(slot.start, slot.end)
    columns = timeline.board.columns(slot.ask.kind)
    rooms = room(timeline.board, view, replace(slot.ask, worth=""))
    return bool((rooms[slot.choice.rows] >= slot.choice.chips).all()) and len(columns.rows) > 0


def keep(timeline: Timeline, job: Waiting, slot: Slot) -> Reservation:
    """Promise the slot to the job, from now on against everybody."""
    board, choice = timeline.board, slot.choice
    columns = board.columns(slot.ask.kind)
    power = columns.watts[choice.rows] * choice.chips
    pools = columns.rows[choice.rows]
    timeline.promise(job.job, slot.start, slot.end, pools, choice.chips, power)
    return reservation(board, job, slot)


def reservation(board: Board, job: Waiting, slot: Slot) -> Reservation:
    """The slot in words and shares."""
    shares = shares_of(board, slot.ask, slot.choice)
    where = ", ".join(f"{s.chips} {s.chip} at {s.site}" for s in shares[:3])
    more = f" and {len(shares) - 3} other sites" if len(shares) > 3 else ""
    reason = f"{clock(slot.start)}, when {where}{more} are expected to be free"
    return Reservation(job.job, slot.start, slot.end, shares, reason)


def clock(when: float) -> str:
    """``2026-05-04 13:20 UTC``."""
    moment = datetime.datetime.fromtimestamp(min(when, 2e11), tz=datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _at_least(shape: Shape) -> Shape:
    """An elastic job is promised the least that it can work with."""
    if shape.elastic is None:
        return shape
    least = shape.elastic.min
    return replace(shape, elastic=shape.elastic.model_copy(update={"max": least}))


def _bracket(timeline: Timeline, asks: tuple[Ask, ...], times: Floats) -> int:
    """The first of ``times`` at which some ask has enough chips and power, counted alone."""
    low, high = 0, len(times)
    while low < high:
        middle = (low + high) // 2
        free, headroom = timeline.released(float(times[middle]))
        view = timeline.bare(free, headroom)
        if any(_enough(timeline.board, view, ask) for ask in asks):
            high = middle
        else:
            low = middle + 1
    return low


def _enough(board: Board, view: Ledger, ask: Ask) -> bool:
    rooms: Ints = one_pool_per_site(board.columns(ask.kind), room(board, view, ask))
    top = np.sort(rooms)[::-1][: ask.sites_max]
    return int(top.sum()) >= ask.least and int(np.count_nonzero(top)) >= ask.sites_min


def _steps(times: Floats, first: int) -> Iterator[float]:
    at, step = first, 1
    for _ in range(TRIES):
        if at >= len(times):
            break
        yield float(times[at])
        at += step
        step *= 2
    if first < len(times) <= at:
        yield float(times[-1])
