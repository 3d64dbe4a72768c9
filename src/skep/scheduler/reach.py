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
