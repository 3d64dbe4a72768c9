"""Vacate: who has to leave a site before a window of maintenance, and when.

Preemptible jobs that are expected to run into the window are stopped their grace and a little
before it begins, and wait with their age for chips elsewhere. What is not preemptible is left
alone: nothing new is placed into a window, so it is only there if it has outlasted its estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.snapshot import Holder, Preemption
from skep.scheduler.board import Board
from skep.scheduler.evacuate import held_at, may_leave, stop
from skep.scheduler.promise import Window, windows_of
from skep.units import duration

# s between the end of the grace and the beginning of the window: reports take their time.
LEAD = 60.0


@dataclass(frozen=True, slots=True)
class Leaving:
    """The stops that are due now; and when the next may be (epoch s; inf for never)."""

    stops: tuple[Preemption, ...]
    again: float


def vacate(board: Board, now: float) -> Leaving:
    """Who has to leave now, and when to look again."""
    found: dict[str, Preemption] = {}
    again = float("inf")
    for window in windows_of(board.policy, board.snapshot.sites.names, now):
        for holder in held_at(board, window.site):
            due = window.start - holder.spec.grace - LEAD
            if due > now:
                again = min(again, due)
            elif not may_leave(holder) or holder.end <= window.start:
                continue
            elif _too_much(board, window, found):
                found.setdefault(holder.job, _stop(board, window, holder, now))
        again = min(again, window.end)
    return Leaving(tuple(found.values()), again)


def _too_much(board: Board, window: Window, found: dict[str, Preemption]) -> bool:
    """Whether the site would still draw more than the window's cap; None has room for nothing."""
    if window.cap is None:
        return True
    sites, pools = board.snapshot.sites, board.snapshot.pools.site
    stopped = sum(
        share.watts
        for pool, held in enumerate(board.snapshot.running)
        if int(pools[pool]) == window.site
        for holder in held.holder
        if holder.job in found or holder.end <= window.start
        for share in holder.shares
        if share.row == pool
    )
    cap = window.cap * (1.0 - board.policy.power_margin)
    return float(sites.power_drawn[window.site]) - stopped > cap


def _stop(board: Board, window: Window, holder: Holder, now: float) -> Preemption:
    site = board.snapshot.sites.names[window.site]
    why = f" ({window.reason})" if window.reason else ""
    what = "closes" if window.cap is None else "has less power"
    soon = duration(max(0.0, window.start - now))
    reason = f"stopped, to go on elsewhere: {site} {what} in {soon}{why}"
    return stop(board, window.site, holder, "window", reason, now)
