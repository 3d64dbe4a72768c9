"""Place: the ways in which a job would take its chips tried in turn; what is chosen is taken.

What is decided is kept as a few numbers per job, and becomes shares when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

import numpy as np

from skep.model.evolve import quick, replace
from skep.model.placement import Share
from skep.model.snapshot import Ints, Placement, Shape, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.blocks import Parts
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.columns import Columns
from skep.scheduler.ledger import Ledger
from skep.scheduler.room import room, worth
from skep.scheduler.score import scores
from skep.scheduler.search import choose

Item = TypeVar("Item")
Off = Iterable[tuple[int, int]]
"""(Row of a pool, chips)."""
Fitting = tuple[Ask, Choice]
"""A way that fits, and the best sites for it."""


@quick
@dataclass(frozen=True, slots=True)
class Taken:
    """What one job was given: chips per row of the columns of ``ask.kind``, and their blocks."""

    ask: Ask
    choice: Choice
    parts: tuple[Parts, ...]


def fit(board: Board, ledger: Ledger, job: Waiting, shape: Shape) -> Fitting | None:
    """The first way that fits and the best sites for it; None where none does."""
    for ask in asks_of(job, shape, board, ledger):
        left = ledger.limits.left(ask.queue, ask.kind)
        if ask.least <= left or ask.worth:
            within = ask if ask.most <= left else replace(ask, most=max(ask.least, int(left)))
            choice = _choice(board, ledger, within, job)
            if choice and allowed(board, ledger, ask, choice):
                return ask, choice
    return None


def _choice(board: Board, ledger: Ledger, ask: Ask, job: Waiting) -> Choice | None:
    """The best sites for ``ask``; what failed the job before only where nothing else fits."""
    columns = board.columns(ask.kind)
    score = scores(board, columns, ledger, ask)
    avoid = job.avoid | job.repair.avoid if job.repair else job.avoid
    if avoid or job.off:
        for rooms in _elsewhere(board, ledger, ask, avoid, job.off):
            if choice := choose(columns, rooms, ask, score):
                return in_chips(board, columns, ask, choice)
    found = choose(columns, room(board, ledger, ask), ask, score)
    return None if found is None else in_chips(board, columns, ask, found)


def _elsewhere(
    board: Board, ledger: Ledger, ask: Ask, avoid: frozenset[str], off: Off
) -> Iterator[Ints]:
    """Room for ``ask`` without the sites and the nodes that failed the job, then without the nodes.

    Which chips of a pool are free is known to its site alone: those of the nodes count as free.
    """
    columns, rooms = board.columns(ask.kind), room(board, _without(ledger, off), ask)
    if avoid:
        yield rooms * ~columns.at(board.sites_of(avoid))
    if off:
        yield rooms


def _without(ledger: Ledger, off: Off) -> Ledger:
    """``ledger`` with so many chips of these pools not free; itself for none."""
    if not off:
        return ledger
    free, largest = ledger.free.copy(), ledger.largest.copy()
    for pool, chips in off:
        free[pool] = max(0, free[pool] - chips)
        largest[pool] = max(0, largest[pool] - chips)
    return replace(ledger, free=free, largest=largest)


def in_chips(board: Board, columns: Columns, ask: Ask, choice: Choice) -> Choice:
    """The choice in real chips, where it was made in chips as good as others."""
    if not ask.worth:
        return choice
    each = worth(board, columns, ask)[choice.rows]
    chips = np.ceil(choice.chips / each - 1e-9).astype(np.int64)
    if ask.whole_nodes:
        node = columns.node[choice.rows]
        chips = -(-chips // node) * node
    return Choice(choice.rows, chips, choice.fitting)


def allowed(board: Board, ledger: Ledger, ask: Ask, choice: Choice) -> bool:
    """Whether quotas of one kind among several, and of worth in real chips, bear the choice."""
    if "+" not in ask.kind:
        return True
    columns = board.columns(ask.kind)
    for limit in ledger.limits.of(ask.queue, ask.kind):
        if ledger.limits.soft or not limit.soft:
            rows = zip(choice.rows.tolist(), choice.chips.tolist(), strict=True)
            given = sum(
                chips
                for row, chips in rows
                if limit.kind in (None, columns.kinds[row])
                and limit.site in (None, int(columns.site[row]))
            )
            if given > limit.left:
                return False
    return True


def take(board: Board, ledger: Ledger, ask: Ask, choice: Choice) -> Taken:
    """Take what ``choice`` gives from the working copy: chips, power, blocks, quota."""
    columns, rows = board.columns(ask.kind), choice.rows
    sites = columns.site[rows]
    parts = tuple(
        ledger.take(pool, site, chips, power, ask.length)
        for pool, site, chips, power in zip(
            columns.rows[rows].tolist(),
            sites.tolist(),
            choice.chips.tolist(),
            (columns.watts[rows] * choice.chips).tolist(),
            strict=True,
        )
    )
    count(ledger, ask, columns, rows, sites, choice.chips)
    return Taken(ask, choice, parts)


def count(ledger: Ledger, ask: Ask, columns: Columns, rows: Ints, sites: Ints, chips: Ints) -> None:
    """Count ``chips`` of ``rows`` against quotas and the queue's part."""
    if "+" not in ask.kind:
        ledger.limits.take(ask.queue, ask.kind, sites, chips)
        if ledger.tree.on:
            ledger.tree.charge(ask.queue, ask.kind, int(chips.sum()), ask.rates)
        return
    for row, site, some in zip(rows.tolist(), sites.tolist(), chips.tolist(), strict=True):
        ledger.charge(ask.queue, columns.kinds[row], site, some, ask.rates)


def shares_of(board: Board, ask: Ask, choice: Choice) -> tuple[Share, ...]:
    """The shares of ``choice`` in order of rank; in which blocks they lie is not settled yet."""
    columns = board.columns(ask.kind)
    taken = Taken(ask, choice, ((),) * len(choice.rows))
    return _shares(board, columns, taken, _ranks(None, choice))


def placement(board: Board, job: str, version: int, rank: int | None, taken: Taken) -> Placement:
    """The decision on ``job``, with its shares in order of rank; ``rank`` of a lost share."""
    columns = board.columns(taken.ask.kind)
    shares = _shares(board, columns, taken, _ranks(rank, taken.choice))
    reason = _reason(board, columns, taken.ask, taken.choice)
    return Placement(job, version, shares, rank is not None, reason)


def _ranks(rank: int | None, choice: Choice) -> list[int]:
    """Per chosen row: most chips first, then the site's name, in whose order the rows are."""
    if rank is not None:
        return [rank]
    if len(choice.rows) == 1:
        return [0]
    ranks = np.empty(len(choice.rows), dtype=np.int64)
    ranks[np.argsort(-choice.chips, kind="stable")] = np.arange(len(ranks))
    return list(map(int, ranks))


def _shares(board: Board, columns: Columns, taken: Taken, ranks: list[int]) -> tuple[Share, ...]:
    rows, chips = taken.choice.rows, taken.choice.chips
    names = board.snapshot.sites.names
    table = zip(
        rows.tolist(),
        columns.site[rows].tolist(),
        columns.index[rows].tolist(),
        chips.tolist(),
        (-(-chips // columns.node[rows])).tolist(),
        ranks,
        (columns.watts[rows] * chips).tolist(),
        taken.parts,
        strict=True,
    )
    shares = (
        Share(
            site=names[site],
            pool=pool,
            chip=columns.kinds[row],
            chips=count,
            nodes=nodes,
            blocks=max(1, len(parts)),
            rank=rank,
            power=power,
            in_blocks=parts,
        )
        for row, site, pool, count, nodes, rank, power, parts in table
    )
    return tuple(sorted(shares, key=_rank)) if len(rows) > 1 else tuple(shares)


def _rank(share: Share) -> int:
    return share.rank


def _reason(board: Board, columns: Columns, ask: Ask, choice: Choice) -> str:
    clean = float(board.clean(columns.kind)[choice.rows] @ choice.chips) / int(choice.chips.sum())
    ending = f"{100 * clean:.0f} % clean power"
    elastic = ""
    if ask.least != ask.most:
        elastic = f"{int(choice.chips.sum())} of {ask.least} to {ask.most} chips, "
    if ask.worth:
        elastic = f"{int(choice.chips.sum())} chips as good as {ask.least} {ask.worth}, "
    if (count := len(choice.rows)) > 1:
        fewest = "" if ask.sites_min == ask.sites_max else ", the fewest that fit"
        return f"{elastic}{count} sites{fewest}, split by strength; {ending}"
    if choice.fitting == 1:
        return f"{elastic}the only site that fits; {ending}"
    return f"{elastic}best of {choice.fitting} sites that fit; {ending}"


class Lazy(Sequence[Item], Generic[Item]):
    """A sequence that is made when it is first read; equal to any sequence of the same items.

    ``make`` is not a method of an heir: a plan that holds itself would stay until the collector
    comes, with all that it was made from. An heir says how in ``_made``.
    """

    def __init__(self, count: int, make: Callable[[], Iterable[Item]] = tuple) -> None:
        self._count, self._make = count, make
        self._items: tuple[Item, ...] | None = None

    def _made(self) -> Iterable[Item]:
        return self._make()

    def _all(self) -> tuple[Item, ...]:
        if self._items is None:
            self._items = tuple(self._made())
        return self._items

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        return iter(self._all())

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | Sequence[Item]:
        return self._all()[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return repr(self._all())
