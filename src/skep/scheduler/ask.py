"""Ask: one way in which a job would take its chips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skep.model.evolve import quick
from skep.model.job import ChipRequest, Worth
from skep.model.snapshot import Ints, Rates, Shape, Waiting
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger

# What is asked for where no kind can be compared with the one that a job names.
UNKNOWN = "kind-of-known-speed"


@quick
@dataclass(frozen=True, slots=True)
class Ask:
    """``least`` to ``most`` chips of one kind over ``sites_min`` to ``sites_max`` sites.

    ``kind`` of several kinds is their names with ``+`` between. With ``worth`` the counts are of
    chips as good as one of that kind. ``speed`` is FLOP/s of all together, 0 where not known.
    """

    kind: str
    least: int
    most: int
    sites_min: int
    sites_max: int
    whole_nodes: bool
    queue: str
    others: frozenset[str] = frozenset()  # a repair: sites where the job runs; never one of them
    in_block: bool = False
    spread: int | None = None
    bandwidth: float = 0.0  # of each link between its sites, at least
    rtt: float = math.inf  # at most
    data: tuple[str, ...] = ()
    worth: str = ""
    speed: float = 0.0
    length: float = math.inf  # s that it is expected to work
    rates: Rates = ()  # of the job


def asks_of(job: Waiting, shape: Shape, board: Board, ledger: Ledger) -> tuple[Ask, ...]:
    """The ways in which ``job`` may be placed, the preferred one first.

    Of alternatives the one that makes the job fastest, and of equals the first; where a speed is
    not known, in the order of the job.
    """
    if job.repair is not None:
        again = job.repair
        whole = shape.per == "node"
        wide, quick = _exchange(shape)
        return (
            Ask(
                again.chip,
                again.chips,
                again.chips,
                1,
                1,
                whole,
                shape.queue,
                again.others,
                spread=shape.spread,
                bandwidth=wide,
                rtt=quick,
                data=shape.data,
                length=shape.length,
                rates=shape.rates,
            ),
        )
    listed = [_of_request(request, shape, board, ledger) for request in shape.chips]
    if len(listed) > 1 and all(ask.speed > 0 for asks in listed for ask in asks[:1]):
        listed.sort(key=lambda asks: -max(ask.speed for ask in asks))
    return tuple(ask for asks in listed for ask in asks)


def _of_request(request: ChipRequest, shape: Shape, board: Board, ledger: Ledger) -> list[Ask]:
    if request.as_good_as is not None:
        return _as_good(request, request.as_good_as, shape, board, ledger)
    if request.kind is not None:
        return [_ask(shape, request.kind, request.count, board)]
    kinds = request.kinds or board.kinds
    if shape.mixed:
        return [_ask(shape, "+".join(sorted(kinds)), request.count, board)]
    return [_ask(shape, kind, request.count, board) for kind in _plentiful(kinds, board, ledger)]


def _as_good(
    request: ChipRequest, worth: Worth, shape: Shape, board: Board, ledger: Ledger
) -> list[Ask]:
    """As many chips of each kind as do the work; a kind without a known speed is left out.

    First the kind of which this is the smallest part of what is free.
    """

    def speed(kind: str) -> float:
        return board.speed(kind, shape.rates)

    one = speed(worth.kind)
    named = [kind for kind in request.kinds or board.kinds if kind == worth.kind or one > 0]
    kinds = [kind for kind in named if kind == worth.kind or speed(kind) > 0]
    if shape.mixed and len(kinds) > 1:
        return [_ask(shape, "+".join(sorted(kinds)), worth.count, board, worth=worth.kind)]
    counts = {
        kind: _in_nodes(
            worth.count if kind == worth.kind else _count(worth.count * one, speed(kind)),
            board.columns(kind).node if shape.per == "node" else (),
        )
        for kind in kinds
    }
    free = {kind: board.free(kind, ledger) for kind in kinds}
    order = sorted(kinds, key=lambda kind: (counts[kind] / (free[kind] or 1e-9), kind))
    asks = [_ask(shape, kind, counts[kind], board) for kind in order]
    return asks or [_ask(shape, UNKNOWN, worth.count, board)]


def _in_nodes(count: int, nodes: Sequence[int] | Ints) -> int:
    """``count``, up to whole nodes of the largest size."""
    size = max(map(int, nodes), default=1)
    return -(-count // size) * size


def _count(speed: float, each: float) -> int:
    return max(1, math.ceil(speed / each - 1e-9))


def _ask(shape: Shape, kind: str, count: int, board: Board, worth: str = "") -> Ask:
    least, most = (shape.elastic.min, shape.elastic.max) if shape.elastic else (count, count)
    span = shape.span
    wide, quick = _exchange(shape)
    return Ask(
        kind,
        least,
        most,
        span.min,
        1 if shape.within else span.most,
        shape.per == "node",
        shape.queue,
        in_block=shape.within == "block",
        spread=shape.spread,
        bandwidth=wide,
        rtt=quick,
        data=shape.data,
        worth=worth,
        speed=most * board.speed(worth or kind, shape.rates),
        length=shape.length,
        rates=shape.rates,
    )


def _exchange(shape: Shape) -> tuple[float, float]:
    wish = shape.exchange
    if wish is None:
        return 0.0, math.inf
    return wish.bandwidth or 0.0, math.inf if wish.rtt is None else wish.rtt


def _plentiful(kinds: tuple[str, ...], board: Board, ledger: Ledger) -> list[str]:
    """Kinds, most free chips first: who takes any kind leaves the scarce ones to who needs them."""
    if len(kinds) == 1:
        return list(kinds)
    return sorted(kinds, key=lambda kind: (-board.free(kind, ledger), kind))
