"""Nearer: the smallest changes of a refused request that would let it start now.

Each is tried on what the plan has left, as the job itself was: what is told would be placed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from skep.model.job import ChipRequest, Elastic, Span
from skep.model.snapshot import Shape, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.ledger import Ledger
from skep.scheduler.outlook import most
from skep.scheduler.place import fit
from skep.scheduler.room import room
from skep.units import duration

# How much a change weighs, to tell the smaller from the greater; judgement, not measurement.
_PLACES, _LINKS, _KIND, _QUEUE, _PRIORITY, _TIME, _CHIPS = 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0


@dataclass(frozen=True, slots=True)
class Change:
    """With ``field`` of the job at ``value`` it would start now, with what ``gives`` says."""

    field: str
    value: str
    gives: str
    weight: float


def changes(
    board: Board,
    ledger: Ledger,
    job: Waiting,
    shape: Shape,
    priority_of: Callable[[str], int | None],
) -> tuple[Change, ...]:
    """What would each alone let ``job`` start now, the smallest change first.

    ``priority_of`` is that of a waiting job; None for one that none goes before.
    """
    if job.repair is not None:
        return ()
    found: dict[str, Change] = {}
    for field, value, weight, other in _tries(board, ledger, job, shape):
        given = fit(board, ledger, job, other)
        if given is not None and field not in found:
            found[field] = Change(field, value, _gives(board, *given), weight)
    if ahead := _earlier(board, ledger, job, shape, priority_of):
        found[ahead.field] = ahead
    return tuple(sorted(found.values(), key=lambda change: (change.weight, change.field)))


Try = tuple[str, str, float, Shape]


def _tries(board: Board, ledger: Ledger, job: Waiting, shape: Shape) -> Iterator[Try]:
    if shape.within == "block":
        yield "within", "site", _PLACES, replace(shape, within="site")
    yield from _more_sites(board, ledger, job, shape)
    if shape.spread is not None:
        yield "spread", "none", _PLACES, replace(shape, spread=None)
    if shape.exchange is not None:
        yield "exchange", "none", _LINKS, replace(shape, exchange=None)
    yield from _shorter(ledger, shape)
    yield from _other_kinds(board, shape)
    for queue in board.policy.queues:
        if queue.name != shape.queue and (not queue.users or job.user in queue.users):
            yield "queue", queue.name, _QUEUE, replace(shape, queue=queue.name)
    yield from _fewer(board, ledger, job, shape)


def _more_sites(board: Board, ledger: Ledger, job: Waiting, shape: Shape) -> Iterator[Try]:
    wide = replace(
        shape, within=None, span=Span(min=shape.span.min, max=max(shape.span.min, len(board.row)))
    )
    given = fit(board, ledger, job, wide)
    if given is None:
        return
    sites = len(given[1].rows)
    span = Span(min=shape.span.min, max=max(sites, shape.span.min))
    if shape.within is not None and sites > 1:
        value = f"none, with span.max: {sites}"
        yield "within", value, _LINKS, replace(shape, within=None, span=span)
    elif shape.within is None and sites > shape.span.most:
        yield "span.max", str(sites), _PLACES, replace(shape, span=span)


def _shorter(ledger: Ledger, shape: Shape) -> Iterator[Try]:
    """Ended before what is promised begins, or a site is closed."""
    starts = [found.start for found in ledger.promises] + [w.start for w in ledger.windows]
    left = [start - ledger.at for start in starts if 0 < start - ledger.at < shape.length]
    for seconds in sorted(left, reverse=True)[:3]:
        part = 1.0 - seconds / shape.length if math.isfinite(shape.length) else 1.0
        yield "duration", duration(seconds), _TIME * part, replace(shape, length=seconds)


def _other_kinds(board: Board, shape: Shape) -> Iterator[Try]:
    asked = [c for c in shape.chips if c.kind is not None]
    if not asked or shape.elastic is not None:
        return
    named = {c.kind for c in asked}
    first = asked[0]
    for kind in sorted(set(board.kinds) - named):
        ours, theirs = (board.speed(k, shape.rates) for k in (first.kind or "", kind))
        count = math.ceil(first.count * ours / theirs - 1e-9) if ours and theirs else first.count
        request = ChipRequest(kind=kind, count=max(count, shape.span.min))
        value = f"{kind}:{request.count}"
        yield "chips.kind", value, _KIND, replace(shape, chips=(request,))


def _fewer(board: Board, ledger: Ledger, job: Waiting, shape: Shape) -> Iterator[Try]:
    """As many as can be had, of the alternative that loses the least."""
    best: tuple[float, Ask, int] | None = None
    for ask in asks_of(job, shape, board, ledger):
        left = ledger.limits.left(ask.queue, ask.kind)
        count = int(min(most(board, ask, room(board, ledger, ask)), left, ask.least - 1))
        if count >= max(1, ask.sites_min) and (best is None or count / ask.least > best[0]):
            best = count / ask.least, ask, count
    if best is None:
        return
    part, ask, count = best
    weight = _CHIPS * (1.0 - part)
    if shape.elastic is not None:
        elastic = Elastic(min=count, max=shape.elastic.max)
        yield "elastic.min", str(count), weight, replace(shape, elastic=elastic)
    elif not ask.worth and "+" not in ask.kind:
        fewer = (ChipRequest(kind=ask.kind, count=count),)
        yield "chips", f"{ask.kind}:{count}", weight, replace(shape, chips=fewer)


def _earlier(
    board: Board,
    ledger: Ledger,
    job: Waiting,
    shape: Shape,
    priority_of: Callable[[str], int | None],
) -> Change | None:
    """A priority with which it would be looked at before those to whom its chips are promised."""
    found = [priority_of(p.job) for p in ledger.pressing(shape.length) if p.job]
    before = [priority for priority in found if priority is not None]
    if not before or len(before) < len(found):
        return None
    given = fit(board, replace(ledger, promises=[]), job, shape)
    if given is None:
        return None
    more = max(before) + 1 - job.priority
    return Change("priority", f"{more} higher", _gives(board, *given), _PRIORITY)


def _gives(board: Board, ask: Ask, choice: Choice) -> str:
    columns, names = board.columns(ask.kind), board.snapshot.sites.names
    table = zip(choice.rows.tolist(), choice.chips.tolist(), strict=True)
    shares = [f"{chips} at {names[int(columns.site[row])]}" for row, chips in table]
    more = f" and {len(shares) - 4} others" if len(shares) > 4 else ""
    return ", ".join(shares[:4]) + more
