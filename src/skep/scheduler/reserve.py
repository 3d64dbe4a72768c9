"""Reserve: when a job that does not fit yet can start, and with which chips.

The earliest time is bracketed with sums alone (whether the roomiest sites have enough by then) and
confirmed with the search that places jobs, over the whole time that the job is expected to work.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skep.model.evolve import replace
from skep.model.snapshot import Floats, Ints, Reservation, Shape, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.ledger import Ledger
from skep.scheduler.place import fit, shares_of
from skep.scheduler.room import ROUNDING, one_pool_per_site, room
from skep.scheduler.timeline import Timeline

# Times that are tried once sums say that there is enough: the first, then ever larger steps.
TRIES = 12


@dataclass(frozen=True, slots=True)
class Slot:
    """From ``start`` to ``end`` (epoch s) the job can have ``choice`` of ``ask``.

    ``told`` is what was said of it when it was promised.
    """

    start: float
    end: float
    ask: Ask
    choice: Choice
    told: Reservation | None = None
    block: int | None = None  # in which all of it lies


def earliest(timeline: Timeline, job: Waiting, shape: Shape) -> Slot | None:
    """The first time at which the job can start, beside all that is promised; None for never."""
    board = timeline.board
    asks = asks_of(job, shape, board, timeline.ledger)
    rows = np.unique(np.concatenate([board.columns(ask.kind).rows for ask in asks]))
    times = timeline.moments(rows)
    first = _bracket(timeline, asks, times)
    for when in _steps(times, first):
        if found := _at(timeline, job, shape, when):
            return found
    return None


def as_before(timeline: Timeline, job: Waiting, shape: Shape, known: Slot) -> Slot | None:
    """A slot at the time of the one that is ``known``, if none is sooner; None where unsure.

    What ends only adds to what is free: where sums have too little just before, none is sooner.
    """
    board, before = timeline.board, float(np.nextafter(known.start, 0.0))
    if before < timeline.now:
        return None
    asks = asks_of(job, shape, board, timeline.ledger)
    view = timeline.bare(*timeline.released(before))
    if any(_enough(board, view, ask) for ask in asks):
        return None
    return _at(timeline, job, shape, known.start)


def _at(timeline: Timeline, job: Waiting, shape: Shape, when: float) -> Slot | None:
    end = when + shape.length
    view = timeline.during(when, end)
    if shape.within == "block":
        least = min(ask.least for ask in asks_of(job, shape, timeline.board, timeline.ledger))
        pools = np.arange(len(view.free))
        view = timeline.within_blocks(view, pools, least, when, end)
    found = fit(timeline.board, view, job, _at_least(shape))
    if found is None:
        return None
    return Slot(when, end, *found, block=_block(timeline, when, *found))


def _block(timeline: Timeline, when: float, ask: Ask, choice: Choice) -> int | None:
    """The fullest block that holds the whole choice then; None for one that need not lie so."""
    pool, chips = int(timeline.board.columns(ask.kind).rows[choice.rows[0]]), int(choice.chips[0])
    free = timeline.in_blocks(pool, when) if ask.in_block else None
    holds = [(here, block) for block, here in enumerate(free or ()) if here >= chips]
    return min(holds)[1] if holds else None


def still_there(timeline: Timeline, slot: Slot) -> bool:
    """Whether the chips of ``slot`` are free then, as they were."""
    view = timeline.during(slot.start, slot.end)
    if slot.block is not None:
        pool = int(timeline.board.columns(slot.ask.kind).rows[slot.choice.rows[0]])
        free = timeline.in_blocks(pool, slot.start)
        if free is None or free[slot.block] < int(slot.choice.chips[0]):
            return False
    return _holds(timeline.board, view, slot.ask, slot.choice)


def _holds(board: Board, view: Ledger, ask: Ask, choice: Choice) -> bool:
    """Whether the rows of a choice that was found with ``room`` still have its chips and power."""
    columns, rows = board.columns(ask.kind), choice.rows
    if view.limits.at_sites(ask.queue, ask.kind):
        rooms = room(board, view, replace(ask, worth="") if ask.worth else ask)
        return bool((rooms[rows] >= choice.chips).all())
    bears = (view.headroom[columns.site[rows]] + ROUNDING) / columns.divisor[rows]
    open_ = board.gate(ask.queue, ask.kind).open[rows]
    enough = (view.free[columns.rows[rows]] >= choice.chips) & (bears >= choice.chips) & open_
    return bool(enough.all())


def keep(timeline: Timeline, job: Waiting, slot: Slot) -> Reservation:
    """Promise the slot to the job, from now on against everybody."""
    board, choice = timeline.board, slot.choice
    columns = board.columns(slot.ask.kind)
    power = columns.watts[choice.rows] * choice.chips
    pools = columns.rows[choice.rows]
    timeline.promise(job.job, slot.start, slot.end, pools, choice.chips, power, slot.block)
    return slot.told or reservation(board, job, slot)


def reservation(board: Board, job: Waiting, slot: Slot) -> Reservation:
    """The slot in words and shares."""
    shares = shares_of(board, slot.ask, slot.choice)
    if slot.block is not None:
        parts = ((slot.block, shares[0].chips),)
        shares = tuple(replace(share, in_blocks=parts) for share in shares)
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
    low, high = int(np.searchsorted(times, _not_before(timeline, asks))), len(times)
    first = True
    while low < high:
        middle = low if first else (low + high) // 2  # mostly it is exact
        first = False
        free, headroom = timeline.released(float(times[middle]))
        view = timeline.bare(free, headroom)
        if any(_enough(timeline.board, view, ask) for ask in asks):
            high = middle
        else:
            low = middle + 1
    return low


def _not_before(timeline: Timeline, asks: tuple[Ask, ...]) -> float:
    """No ask has enough chips before: of so many sites one has its part or more."""
    times = []
    for ask in asks:
        if ask.worth:
            return timeline.now
        part = -(-ask.least // max(ask.sites_max, 1))
        times.append(timeline.enough_from(timeline.board.columns(ask.kind).rows, part))
    return min(times, default=timeline.now)


def _enough(board: Board, view: Ledger, ask: Ask) -> bool:
    columns = board.columns(ask.kind)
    free = np.sort(view.free[columns.rows])[::-1][: ask.sites_max]
    if not ask.worth and int(free.sum()) < ask.least:  # whatever the masks leave of it
        return False
    rooms: Ints = one_pool_per_site(columns, room(board, view, ask))
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
