"""Reach: what a refusal of a shape depends on."""

from __future__ import annotations

from collections.abc import Iterable

from skep.model.snapshot import Shape
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger


def kinds_of(pool: Iterable[str], shape: Shape) -> set[str]:
    """The kinds that ``shape`` could be given of a pool with these kinds."""
    kinds: set[str] = set()
    for request in shape.chips:
        if request.kind is not None:
            kinds.add(request.kind)
        else:
            kinds.update(request.kinds or pool)
    return kinds


def at_least(shape: Shape) -> int:
    """Chips that a job of ``shape`` takes however it is placed."""
    if shape.elastic is not None:
        return shape.elastic.min
    return min(1 if one.as_good_as is not None else one.count for one in shape.chips)


def beyond(board: Board, ledger: Ledger, shape: Shape) -> bool:
    """Whether ``shape`` asks for more than the roomiest pools have free: then it does not fit.

    False where that does not tell.
    """
    if shape.mixed or any(request.as_good_as is not None for request in shape.chips):
        return False
    sites = 1 if shape.within else shape.span.most
    for request in shape.chips:
        least = shape.elastic.min if shape.elastic else request.count
        kinds = (request.kind,) if request.kind is not None else request.kinds or board.kinds
        if any(board.free_over(kind, sites, ledger) >= least for kind in kinds):
            return False
    return True


def bound_softly(board: Board, ledger: Ledger, shape: Shape) -> bool:
    """Whether a soft quota may be why ``shape`` is refused."""
    kinds = kinds_of(board.kinds, shape)
    return any(ledger.limits.bound_softly(shape.queue, kind) for kind in kinds)


def may_change_by_itself(board: Board, shape: Shape) -> bool:
    """Whether a search that was cut short might find more where less is free.

    Only where some sites have no link between them, or nodes are of sizes that do not divide
    each other; all else is exact.
    """
    if shape.span.most == 1:
        return False
    whole = shape.per == "node" or shape.exchange is not None or shape.mixed
    return whole or not all(board.columns(kind).all_linked for kind in kinds_of(board.kinds, shape))
