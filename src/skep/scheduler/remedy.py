"""Remedy: what would let a refused job run, in one sentence."""

from __future__ import annotations

import numpy as np

from skep.scheduler.board import Board, Stage
from skep.scheduler.ledger import Ledger
from skep.scheduler.outlook import Outlook, most, sites_needed
from skep.scheduler.room import free_in_nodes
from skep.units import si

MOST_NAMES = 3


def remedy(board: Board, ledger: Ledger, views: list[Outlook]) -> str:
    """What of the world, or of the request, would have to be different; "" if nothing is known."""
    hopeful = next((view for view in views if view.ever), None)
    options = _never(board, views[0]) if hopeful is None else _later(board, ledger, hopeful)
    return "; or ".join(option for option in options if option)


def names(board: Board, sites: list[int]) -> str:
    """Site names for a sentence: three, then how many others."""
    shown = [board.snapshot.sites.names[site] for site in sites[:MOST_NAMES]]
    more = len(sites) - len(shown)
    return ", ".join(shown) + (f" and {more} others" if more > 0 else "")


def _never(board: Board, view: Outlook) -> list[str]:
    ask = view.ask
    if not set(ask.kind.split("+")) & set(board.kinds):
        return [f"ask for a kind that the pool has: {', '.join(sorted(board.kinds))}"]
    if not board.gate(ask.queue, ask.kind).ever.any():
        return [f"allow {ask.kind} for queue {ask.queue} by the rules of some site"]
    return [_wider(board, view, later=True), _smaller(board, view)]


def _smaller(board: Board, view: Outlook) -> str:
    """What the idle pool could give at most, and what keeps it from more."""
    ask, columns = view.ask, board.columns(view.ask.kind)
    free = np.where(view.allowed, free_in_nodes(columns, board.idle, ask), 0)
    unpowered = most(board, ask, free)
    if unpowered > view.most_ever:
        bound = "the power caps bear no more"
        return (
            f"ask for {view.most_ever} chips or fewer: {bound}"
            if view.most_ever
            else ("raise the power cap of a site: none bears this many chips at work")
        )
    if not view.most_ever:
        return f"lower span.min, or link the sites that have {ask.kind}"
    total = int(columns.chips.sum())
    bound = f"the pool has {total} {ask.kind}"
    if view.most_ever < total and ask.sites_max == 1:
        bound = f"no site gives more of the {total} {ask.kind} in the pool"
    elif view.most_ever < total:
        bound = f"{ask.sites_max} sites give no more of the {total} {ask.kind} in the pool"
    return f"ask for {view.most_ever} chips or fewer: {bound}"


def _later(board: Board, ledger: Ledger, view: Outlook) -> list[str]:
    wait = _at_one(board, ledger, view) if view.ask.sites_max == 1 else _over_some(board, view)
    return [wait, _wider(board, view, later=False)]


def _wider(board: Board, view: Outlook, *, later: bool) -> str:
    """More sites, where that alone helps. A repair is one share: it stays at one site."""
    ask = view.ask
    if ask.others:
        return ""
    needed = sites_needed(board, ask, view.later if later else view.now)
    if needed is None or needed <= ask.sites_max:
        return ""
    return f"raise span.max to {needed}"


def _at_one(board: Board, ledger: Ledger, view: Outlook) -> str:
    """The site that lacks the least: chips first, then its power, then its return."""
    ask, columns = view.ask, board.columns(view.ask.kind)
    stage = board.gate(ask.queue, ask.kind).stage[columns.site]
    able = view.later >= ask.least
    shut = np.where(stage == Stage.OTHERS, 0, 1 + int(Stage.OTHERS) - stage)
    lacking = ask.least - np.minimum(ledger.free[columns.rows], ask.least)
    row = int(np.lexsort((lacking, shut, ~able))[0])
    name = board.snapshot.sites.names[columns.site[row]]
    if stage[row] != Stage.OTHERS:
        return f"starts when {name} {_opens(int(stage[row]))}"
    if lacking[row] > 0:
        return f"starts when {_more(int(lacking[row]), ask.kind)} free at {name}"
    missing = ask.least * columns.watts[row] - max(0.0, float(ledger.headroom[columns.site[row]]))
    return f"starts when {si(max(missing, 0.0), 'W')} more are free under the cap of {name}"


def _more(chips: int, kind: str) -> str:
    return f"1 more {kind} is" if chips == 1 else f"{chips} more {kind} are"


def _opens(stage: int) -> str:
    return {
        int(Stage.LOST): "is back",
        int(Stage.DRAINED): "takes new runs again",
    }.get(stage, "is allowed by the rules again")


def _over_some(board: Board, view: Outlook) -> str:
    ask, columns = view.ask, board.columns(view.ask.kind)
    fuller = np.flatnonzero(view.later > view.now)
    sites = sorted(set(columns.site[fuller].tolist()))
    if not sites:
        return ""
    missing = max(1, ask.least - view.most_now)
    return f"starts when {missing} more {ask.kind} can be had at {names(board, sites)}"
