"""Place: from the chosen sites to shares, counted in nodes and blocks."""

from __future__ import annotations

import numpy as np

from skep.model.placement import Share
from skep.model.snapshot import Floats, Ints, Placement, Waiting
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board, Columns
from skep.scheduler.ledger import Ledger
from skep.scheduler.search import Choice


def take(board: Board, ledger: Ledger, ask: Ask, choice: Choice) -> None:
    """Take what ``choice`` gives from the working copy of chips, power and quota."""
    columns, rows = board.columns(ask.kind), choice.rows
    power = columns.watts[rows] * choice.chips
    ledger.take(columns.rows[rows], columns.site[rows], choice.chips, power, ask.queue)


def placement(board: Board, job: Waiting, ask: Ask, choice: Choice) -> Placement:
    """The decision, with its shares in order of rank."""
    columns = board.columns(ask.kind)
    if job.repair is not None:
        ranks = np.array([job.repair.rank])
    else:
        ranks = np.empty(len(choice.rows), dtype=np.int64)
        ranks[np.argsort(-choice.chips, kind="stable")] = np.arange(len(ranks))
    shares = _shares(board, columns, choice, ranks)
    reason = _reason(columns, ask, choice)
    return Placement(job.job, job.version, shares, job.repair is not None, reason)


def _shares(board: Board, columns: Columns, choice: Choice, ranks: Ints) -> tuple[Share, ...]:
    rows, chips = choice.rows, choice.chips
    names, pools = board.snapshot.sites.names, board.snapshot.pools
    table = zip(
        columns.site[rows].tolist(),
        pools.index[columns.rows[rows]].tolist(),
        chips.tolist(),
        (-(-chips // columns.node[rows])).tolist(),
        (-(-chips // columns.block[rows])).tolist(),
        ranks.tolist(),
        (columns.watts[rows] * chips).tolist(),
        strict=True,
    )
    shares = (
        Share(
            site=names[site],
            pool=pool,
            chip=columns.kind,
            chips=count,
            nodes=nodes,
            blocks=blocks,
            rank=rank,
            power=power,
        )
        for site, pool, count, nodes, blocks, rank, power in table
    )
    return tuple(sorted(shares, key=lambda share: share.rank))


def _reason(columns: Columns, ask: Ask, choice: Choice) -> str:
    clean = f"{100 * _mean_clean(columns, choice):.0f} % clean power"
    elastic = ""
    if ask.least != ask.most:
        elastic = f"{int(choice.chips.sum())} of {ask.least} to {ask.most} chips, "
    if len(choice.rows) > 1:
        return f"{elastic}{len(choice.rows)} sites, the fewest that fit, split by strength; {clean}"
    if choice.fitting == 1:
        return f"{elastic}the only site that fits; {clean}"
    return f"{elastic}best of {choice.fitting} sites that fit; {clean}"


def _mean_clean(columns: Columns, choice: Choice) -> float:
    clean: Floats = columns.clean[choice.rows]
    return float(np.average(clean, weights=choice.chips))
