"""Ask: one way in which a job would take its chips."""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.snapshot import Shape, Waiting
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Ask:
    """``least`` to ``most`` chips of one kind over ``sites_min`` to ``sites_max`` sites."""

    kind: str
    least: int
    most: int
    sites_min: int
    sites_max: int
    whole_nodes: bool
    queue: str
    others: frozenset[str] = frozenset()  # a repair: sites where the job runs; never one of them


def asks_of(job: Waiting, shape: Shape, board: Board, ledger: Ledger) -> tuple[Ask, ...]:
    """The ways in which ``job`` may be placed, the preferred one first."""
    if job.repair is not None:
        repair, whole = job.repair, shape.per == "node"
        return (
            Ask(repair.chip, repair.chips, repair.chips, 1, 1, whole, shape.queue, repair.others),
        )
    return tuple(
        _ask(shape, kind, request.count)
        for request in shape.chips
        for kind in ((request.kind,) if request.kind else _plentiful(board, ledger))
    )


def _ask(shape: Shape, kind: str, count: int) -> Ask:
    least, most = (shape.elastic.min, shape.elastic.max) if shape.elastic else (count, count)
    span = shape.span
    return Ask(kind, least, most, span.min, span.most, shape.per == "node", shape.queue)


def _plentiful(board: Board, ledger: Ledger) -> list[str]:
    """Kinds, most free chips first: who takes any kind leaves the scarce ones to who needs them."""

    def scarcity(kind: str) -> tuple[int, str]:
        return (-int(ledger.free[board.columns(kind).rows].sum()), kind)

    return sorted(board.kinds, key=scarcity)
