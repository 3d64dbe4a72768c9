"""Evacuate: what runs at a site that is to be left goes elsewhere.

A job with one share goes where there is room for it, which is kept for it; where there is none it
is stopped, and waits with its age. Of a job over several sites only the share there moves, where
the job copes with that; an elastic one does without it, where it can. What is not preemptible goes
on until it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from skep.model.event import Cause
from skep.model.snapshot import HeldShare, Holder, Migration, Preemption, Victim
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.migrate import leave
from skep.scheduler.prey import RESTART

# So many jobs leave in one plan; the others in the next.
MOST = 32


@dataclass(slots=True)
class Left:
    """Who moves and who stops; and when to look for more (epoch s; inf for never)."""

    moves: list[Migration] = field(default_factory=list)
    stops: list[Preemption] = field(default_factory=list)
    again: float = float("inf")


def evacuate(board: Board, ledger: Ledger, gone: set[str], now: float) -> Left:
    """Who leaves the sites that the policy has evacuated. ``gone``: runs that stop already."""
    left = Left()
    for name in board.policy.evacuate:
        site = board.row.get(name)
        for holder in () if site is None else held_at(board, site):
            if not may_leave(holder) or any(share.run in gone for share in holder.shares):
                continue
            if len(left.moves) + len(left.stops) >= MOST:
                left.again = now
                return left
            gone.update(share.run for share in holder.shares)
            move = leave(board, ledger, holder, now, f"{name} is evacuated")
            if move is not None:
                left.moves.append(move)
            else:
                why = f"stopped, to go on elsewhere: {name} is evacuated"
                left.stops.append(stop(board, site or 0, holder, "drain", why, now))
    return left


def held_at(board: Board, site: int) -> Iterator[Holder]:
    """Jobs with a run at the site (a row), the cheapest to stop first."""
    pools = board.snapshot.pools.site
    held = [h for pool, h in enumerate(board.snapshot.running) if int(pools[pool]) == site]
    holders = {holder.job: holder for pool in held for holder in pool.holder}
    yield from sorted(holders.values(), key=lambda h: (h.priority, -h.began, h.job))


def may_leave(holder: Holder) -> bool:
    """Whether it may be stopped at all, now."""
    return holder.loose and holder.spec.preemptible


def stop(
    board: Board, site: int, holder: Holder, cause: Cause, reason: str, now: float
) -> Preemption:
    """The job leaves the site, with no more of its shares than must."""
    sites = board.snapshot.pools.site
    here = tuple(share for share in holder.shares if int(sites[share.row]) == site)
    ranks: tuple[int, ...] = ()
    if len(here) == len(holder.shares) or not _copes(holder):
        here = holder.shares
    elif _spare(holder, here):
        ranks = tuple(share.rank for share in here)
        reason = f"{reason.replace('stopped, to go on elsewhere', 'does without a share')}"
    chips = sum(share.chips for share in here)
    victim = Victim(
        job=holder.job,
        runs=tuple(share.run for share in here),
        ranks=ranks,
        cause="shrink" if ranks else cause,
        lost=0.0 if ranks else chips * (holder.unsaved(now) + RESTART),
        grace=holder.spec.grace,
        reason=reason,
    )
    return Preemption("", 0, (), now, (victim,), reason)


def _copes(holder: Holder) -> bool:
    """Whether it goes on while a share of it starts elsewhere, as when a site is lost."""
    return holder.spec.on_site_loss == "replace"


def _spare(holder: Holder, here: tuple[HeldShare, ...]) -> bool:
    elastic, left = holder.spec.elastic, len(holder.shares) - len(here)
    chips = holder.chips - sum(share.chips for share in here)
    return elastic is not None and chips >= elastic.min and left >= holder.spec.span.min
