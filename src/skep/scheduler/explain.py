"""Explain: why a job was refused, site by site, and in one line."""

from __future__ import annotations

from skep.model.snapshot import Refusal, Shape, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.gate import left_in
from skep.scheduler.ledger import Ledger
from skep.scheduler.outlook import Outlook, outlook
from skep.scheduler.reasons import site_reasons
from skep.scheduler.remedy import remedy


def explain(board: Board, ledger: Ledger, job: Waiting, shape: Shape) -> Refusal:
    """The refusal of ``job``, which does not fit now."""
    asks = asks_of(job, shape, board, ledger)
    least = min(ask.least for ask in asks)
    if refusal := _over_quota(board, ledger, job, shape, least):
        return refusal
    views = [outlook(board, ledger, ask) for ask in asks]
    never = not any(view.ever for view in views)
    return Refusal(
        job.job,
        job.version,
        _summary(board, views, never),
        site_reasons(board, ledger, asks),
        remedy(board, ledger, views),
        never,
    )


def wanted(ask: Ask) -> str:
    """What is asked for: ``6 cpu-core over 2 to 3 sites``."""
    chips = str(ask.least) if ask.least == ask.most else f"{ask.least} to {ask.most}"
    nodes = " in whole nodes" if ask.whole_nodes else ""
    return f"{chips} {ask.kind}{nodes} {_where(ask)}"


def _where(ask: Ask) -> str:
    if ask.sites_max == 1:
        return "at one site"
    if ask.sites_min == ask.sites_max:
        return f"over {ask.sites_min} sites"
    return f"over {ask.sites_min} to {ask.sites_max} sites"


def _summary(board: Board, views: list[Outlook], never: bool) -> str:
    parts = []
    for view in views:
        if view.ask.kind not in board.kinds:
            parts.append(f"{wanted(view.ask)}: no site has this kind")
        elif never:
            parts.append(f"{wanted(view.ask)}: the whole pool, all free, gives {view.most_ever}")
        elif not view.most_now and int(view.now.sum()) >= view.ask.least:
            parts.append(f"{wanted(view.ask)}: no such sites with links between them were found")
        else:
            parts.append(f"{wanted(view.ask)}: {view.most_now} could be had now")
    return "needs " + "; or ".join(parts)


def _over_quota(
    board: Board, ledger: Ledger, job: Waiting, shape: Shape, least: int
) -> Refusal | None:
    queue = board.queues.get(shape.queue)
    if queue is None or queue.max_chips is None or least <= left_in(queue, ledger):
        return None
    held = ledger.held.get(queue.name, 0)
    reason = f"queue {queue.name} holds {held} of {queue.max_chips} chips, {least} more are asked"
    if least > queue.max_chips:
        fix = f"ask for {queue.max_chips} chips or fewer: the quota of queue {queue.name}"
        return Refusal(job.job, job.version, reason, {}, fix, never=True)
    over = held + least - queue.max_chips
    chips = "1 chip" if over == 1 else f"{over} chips"
    fix = f"starts when queue {queue.name} holds {chips} fewer"
    return Refusal(job.job, job.version, reason, {}, fix)
