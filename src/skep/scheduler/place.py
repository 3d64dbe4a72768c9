"""Place: from the chosen sites to shares, counted in nodes and blocks."""

from __future__ import annotations

import numpy as np

from skep.model.placement import Share
from skep.model.snapshot import Placement, Waiting
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board, Columns
from skep.scheduler.clique import Choice
from skep.scheduler.ledger import Ledger


def take(board: Board, ledger: Ledger, ask: Ask, choice: Choice) -> None:
    """Take what ``choice`` gives from the working copy of chips, power and quota."""
    columns, rows = board.columns(ask.kind), choice.rows
    power = columns.watts[rows] * choice.chips
    ledger.take(columns.rows[rows], columns.site[rows], choice.chips, power, ask.queue)


def placement(board: Board, job: Waiting, ask: Ask, choice: Choice) -> Placement:
    """The decision, with its shares in order of rank."""
    columns = board.columns(ask.kind)
    shares = _shares(board, columns, choice, _ranks(job, choice))
    reason = _reason(columns, ask, choice)
    return Placement(job.job, job.version, shares, job.repair is not None, reason)


def _ranks(job: Waiting, choice: Choice) -> list[int]:
    """Per chosen row: most chips first, then the site's name, in whose order the rows are."""
    if job.repair is not None:
        return [job.repair.rank]
    if len(choice.rows) == 1:
        return [0]
    ranks = np.empty(len(choice.rows), dtype=np.int64)
    ranks[np.argsort(-choice.chips, kind="stable")] = np.arange(len(ranks))
    return list(map(int, ranks))


def _shares(board: Board, columns: Columns, choice: Choice, ranks: list[int]) -> tuple[Share, ...]:
    rows, chips = choice.rows, choice.chips
    names, pools = board.snapshot.sites.names, board.snapshot.pools
    table = zip(
        columns.site[rows].tolist(),
        pools.index[columns.rows[rows]].tolist(),
        chips.tolist(),
        (-(-chips // columns.node[rows])).tolist(),
        (-(-chips // columns.block[rows])).tolist(),
        ranks,
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
    return tuple(sorted(shares, key=_rank)) if len(rows) > 1 else tuple(shares)


def _rank(share: Share) -> int:
    return share.rank


def _reason(columns: Columns, ask: Ask, choice: Choice) -> str:
    clean = f"{100 * _mean_clean(columns, choice):.0f} % clean power"
    elastic = ""
    if ask.least != ask.most:
        elastic = f"{int(choice.chips.sum())} of {ask.least} to {ask.most} chips, "
    if (count := len(choice.rows)) > 1:
        fewest = "" if ask.sites_min == ask.sites_max else ", the fewest that fit"
        return f"{elastic}{count} sites{fewest}, split by strength; {clean}"
    if choice.fitting == 1:
        return f"{elastic}the only site that fits; {clean}"
    return f"{elastic}best of {choice.fitting} sites that fit; {clean}"


def _mean_clean(columns: Columns, choice: Choice) -> float:
    return float(columns.clean[choice.rows] @ choice.chips) / int(choice.chips.sum())
