"""Preempt: whom it costs least to stop so that a job that does not fit can start.

Who may be stopped: a preemptible job of lower priority; a job of a queue that holds more than its
part, for one whose queue holds less and wants it back; and the spare shares of elastic jobs, which
cost nothing and go first. A job that was itself stopped takes nothing until it has run again, so
that nothing cascades; and it is left alone for a while after (``Held.safe_until``).

The cost of stopping a job is the work since its last checkpoint and that of starting again, times
all of its chips. Of all sites where it would do, the cheapest set is taken, then the smallest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from skep.model.event import Cause
from skep.model.placement import Share
from skep.model.snapshot import (
    Floats,
    Held,
    HeldShare,
    Holder,
    Ints,
    Preemption,
    Shape,
    Victim,
    Waiting,
)
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.columns import Columns
from skep.scheduler.ledger import Ledger
from skep.scheduler.place import shares_of
from skep.scheduler.room import one_pool_per_site
from skep.scheduler.search import choose
from skep.units import duration

# s that a job works before it is where it was, besides what was lost: unpack, set up, load.
RESTART = 60.0
# s after the last grace for which chips are kept: reports take time, leases may have to run out.
SLACK = 120.0
# So many jobs that do not fit are looked at in one cycle; the others when these are served.
MOST_OWNERS = 8
# Chip-seconds that taking a spare chip back is charged, so that none is taken without need.
_SPARE = 1.0


@dataclass(frozen=True, slots=True)
class Prey:
    """Runs that one pool may get back: rows of its ``Held``, cheapest chip first."""

    held: Held
    rows: Ints
    each: Floats  # cost of each row's chip, in chip-seconds
    chips: int  # of all rows
    watts: float


@dataclass(slots=True)
class Hunt:
    """One plan's preemptions; ``gone`` are runs that it stops already."""

    board: Board
    ledger: Ledger
    now: float
    gone: set[str] = field(default_factory=set)
    found: list[Preemption] = field(default_factory=list)
    _least: float | None = None  # priority from which on something could be stopped

    def serve(self, job: Waiting, shape: Shape) -> Preemption | None:
        """The cheapest way to make room for ``job``, taken from the ledger; None without one."""
        if len(self.found) >= MOST_OWNERS or not self._may_take(job):
            return None
        best: tuple[float, int, Ask, Choice, list[Loss]] | None = None
        for ask in asks_of(job, shape, self.board, self.ledger):
            for choice, losses in self._ways(ask, job):
                cost = sum(loss.cost for loss in losses)
                if losses and (best is None or (cost, len(losses)) < best[:2]):
                    best = (cost, len(losses), ask, choice, losses)
        if best is None:
            return None
        _, _, ask, choice, losses = best
        decided = self._decide(job, ask, choice, losses)
        self.found.append(decided)
        return decided

    def _may_take(self, job: Waiting) -> bool:
        """Whether others may be stopped for ``job`` at all."""
        claimed = job.claim is not None and job.claim.until > self.now
        barred = job.evicted or job.repair is not None or claimed
        return not barred and self._some(job)

    def _some(self, job: Waiting) -> bool:
        """Whether anything runs that could be stopped for the job, as far as one number tells."""
        if self._least is None:
            running = self.board.snapshot.running
            self._least = min((held.lowest_spare for held in running), default=np.inf)
            if self.board.policy.preemption:
                lowest = min((held.lowest for held in running), default=np.inf)
                self._least = min(self._least, lowest + 1)
        return self._least <= job.priority or any(q.preempt for q in self.board.policy.queues)

    def _ways(self, ask: Ask, job: Waiting) -> Iterator[tuple[Choice, list[Loss]]]:
        columns, ledger = self.board.columns(ask.kind), self.ledger
        if ask.least > ledger.limits.left(ask.queue, ask.kind):
            return
        open_ = self.board.gate(ask.queue, ask.kind).open
        prey = [
            self._prey(job, ask, pool) if ok else None
            for pool, ok in zip(columns.rows.tolist(), open_.tolist(), strict=True)
        ]
        rooms = self._potential(columns, ask, prey)
        fixed = Ask(
            ask.kind, ask.least, ask.least, ask.sites_min, ask.sites_max, ask.whole_nodes, ask.queue
        )
        if ask.sites_max == 1:
            choices = [
                Choice(np.array([row]), np.array([ask.least]), 1)
                for row in np.flatnonzero(rooms >= ask.least).tolist()
            ]
        else:
            found = choose(columns, one_pool_per_site(columns, rooms), fixed, _dear(prey))
            choices = [found] if found is not None else []
        for choice in choices:
            losses = self._losses(columns, choice, prey, job)
            if losses is not None:
                yield choice, losses

    def _prey(self, job: Waiting, ask: Ask, pool: int) -> Prey | None:
        held = self.board.snapshot.running[pool]
        spare = (held.spare == 1) & (held.priority <= job.priority)
        lower = (held.priority < job.priority) & (held.safe_until <= self.now)
        can = spare | lower if self.board.policy.preemption else spare
        if over := over_their_part(self.board, ask.queue, ask.least):
            theirs = np.fromiter((h.spec.queue in over for h in held.holder), bool, len(can))
            can |= theirs & (held.safe_until <= self.now)
        rows = np.flatnonzero(can)
        if self.gone:
            rows = np.array([r for r in rows.tolist() if not self._is_gone(held, r)], int)
        if not len(rows):
            return None
        each = np.where(spare[rows], _SPARE, _unsaved(held, rows, self.now) * held.worth[rows])
        order = np.lexsort((-held.began[rows], each))
        rows = rows[order]
        return Prey(
            held, rows, each[order], int(held.chips[rows].sum()), float(held.watts[rows].sum())
        )

    def _is_gone(self, held: Held, row: int) -> bool:
        return any(share.run in self.gone for share in held.holder[row].shares)

    def _potential(self, columns: Columns, ask: Ask, prey: list[Prey | None]) -> Ints:
        """Chips per row that could be had at most."""
        more = np.array([0 if p is None else p.chips for p in prey], dtype=np.int64)
        watts = np.array([0.0 if p is None else p.watts for p in prey])
        free = self.ledger.free[columns.rows] + more
        bears = (self.ledger.headroom[columns.site] + watts) / columns.divisor
        rooms = np.minimum(free, np.clip(bears, 0, columns.chips).astype(np.int64))
        if ask.whole_nodes:
            rooms -= rooms % columns.node
        return np.where(self.board.gate(ask.queue, ask.kind).open, rooms, 0)

    def _losses(
        self, columns: Columns, choice: Choice, prey: list[Prey | None], job: Waiting
    ) -> list[Loss] | None:
        """What is lost for ``choice``; None where it cannot be had; each job once."""
        losses: dict[str, Loss] = {}
        for row, chips in zip(choice.rows.tolist(), choice.chips.tolist(), strict=True):
            pool, site = int(columns.rows[row]), int(columns.site[row])
            chips_short = chips - int(self.ledger.free[pool])
            watts_short = chips * columns.watts[row] - float(self.ledger.headroom[site])
            already = [loss.rows[pool] for loss in losses.values() if pool in loss.rows]
            chips_short -= sum(chips for chips, _ in already)
            watts_short -= sum(watts for _, watts in already)
            if chips_short <= 0 and watts_short <= 1e-6:
                continue
            found = prey[row]
            some = None if found is None else cheapest(found, chips_short, watts_short)
            if found is None or some is None:
                return None
            ranks = self.board.policy.preemption
            for at in some:
                loss = _loss(found.held, at, pool, job, self.now, ranks=ranks)
                losses[loss.holder.job] = loss
        return list(losses.values())

    def _decide(self, job: Waiting, ask: Ask, choice: Choice, losses: list[Loss]) -> Preemption:
        shares = shares_of(self.board, ask, choice)
        where = ", ".join(f"{s.chips} {s.chip} at {s.site}" for s in shares)
        victims = tuple(_victim(loss, job, self.now) for loss in losses)
        names = ", ".join(f"{v.job} ({'shrinks' if v.ranks else 'stops'})" for v in victims)
        grace = max(v.grace for v in victims)
        self.gone.update(run for v in victims for run in v.runs)
        self._keep(shares, losses)
        return Preemption(
            job.job,
            job.version,
            shares,
            self.now + grace + SLACK,
            victims,
            f"waits for {where}, which {names} gives back within {duration(grace)}",
        )

    def _keep(self, shares: tuple[Share, ...], losses: list[Loss]) -> None:
        """What is free of the claim is nobody else's from now on."""
        freed: dict[int, tuple[int, float]] = {}
        for loss in losses:
            for pool, (chips, watts) in loss.rows.items():
                before = freed.get(pool, (0, 0.0))
                freed[pool] = (before[0] + chips, before[1] + watts)
        for share in shares:
            pool = self.board.pool_row(share)
            chips, watts = freed.get(pool, (0, 0.0))
            self.ledger.withhold(
                pool,
                self.board.row[share.site],
                max(0, share.chips - chips),
                max(0.0, share.power - watts),
            )


@dataclass(frozen=True, slots=True)
class Loss:
    """A job that gives back: in ``rows`` (pool -> chips, W), at ``cost`` chip-seconds."""

    holder: Holder
    shares: tuple[HeldShare, ...]
    cause: Cause
    cost: float
    rows: dict[int, tuple[int, float]]


def cheapest(prey: Prey, chips: int, watts: float) -> list[int] | None:
    """Rows of ``prey.held`` that give ``chips`` and ``watts`` at the least cost; None if none do.

    The cheapest chips in turn, less what is not needed then; or one run alone, if that is cheaper.
    """
    held, rows = prey.held, prey.rows
    enough = (np.cumsum(held.chips[rows]) >= chips) & (np.cumsum(held.watts[rows]) >= watts - 1e-6)
    if not enough.any():
        return None
    some = rows[: int(np.argmax(enough)) + 1]
    costs = prey.each[: len(some)] * held.chips[some]
    kept = _needed(held, some, costs, chips, watts)
    alone = (held.chips[rows] >= chips) & (held.watts[rows] >= watts - 1e-6)
    if alone.any():
        single = np.where(alone, prey.each * held.chips[rows], np.inf)
        at = int(np.argmin(single))
        chosen = {int(r) for r in kept}
        spent = float(
            sum(c for r, c in zip(some.tolist(), costs.tolist(), strict=True) if r in chosen)
        )
        if (float(single[at]), 1) <= (spent, len(kept)):
            return [int(rows[at])]
    return kept


def _needed(held: Held, some: Ints, costs: Floats, chips: int, watts: float) -> list[int]:
    """``some`` without those that are not needed, the dearest left out first."""
    kept = dict.fromkeys(some.tolist())
    have, power = int(held.chips[some].sum()), float(held.watts[some].sum())
    for at in np.argsort(-costs, kind="stable").tolist():
        row = int(some[at])
        less, cooler = have - int(held.chips[row]), power - float(held.watts[row])
        if less >= chips and cooler >= watts - 1e-6 and len(kept) > 1:
            have, power = less, cooler
            del kept[row]
    return list(kept)


def _unsaved(held: Held, rows: Ints, now: float) -> Floats:
    """s of work lost per chip if the job is stopped now, and of starting again."""
    worked = np.maximum(0.0, now - held.began[rows])
    every = held.every[rows]
    lost = np.where(every > 0, worked % np.where(every > 0, every, 1.0), worked)
    return np.asarray(lost + RESTART)


def _loss(held: Held, row: int, pool: int, job: Waiting, now: float, *, ranks: bool) -> Loss:
    """``ranks``: the policy lets a higher priority stop a lower one."""
    holder = held.holder[row]
    if held.spare[row] == 1 and holder.priority <= job.priority:
        mine = next(share for share in holder.shares if share.row == pool)
        cost = _SPARE * mine.chips
        return Loss(holder, (mine,), "shrink", cost, {pool: (mine.chips, mine.watts)})
    cause: Cause = "priority" if ranks and holder.priority < job.priority else "share"
    cost = holder.chips * (holder.unsaved(now) + RESTART)
    rows: dict[int, tuple[int, float]] = {}
    for share in holder.shares:
        before = rows.get(share.row, (0, 0.0))
        rows[share.row] = (before[0] + share.chips, before[1] + share.watts)
    return Loss(holder, holder.shares, cause, cost, rows)


def _victim(loss: Loss, job: Waiting, now: float) -> Victim:
    holder = loss.holder
    if loss.cause == "shrink":
        what = f"gives {loss.shares[0].chips} spare chips back to {job.job}"
    elif loss.cause == "priority":
        what = f"stopped for {job.job} (priority {job.priority} above {holder.priority})"
    else:
        what = f"stopped for {job.job}: queue {holder.spec.queue} holds more than its part"
    lost = "" if loss.cause == "shrink" else f"; loses {duration(holder.unsaved(now))} of work"
    return Victim(
        job=holder.job,
        runs=tuple(share.run for share in loss.shares),
        ranks=tuple(share.rank for share in loss.shares) if loss.cause == "shrink" else (),
        cause=loss.cause,
        lost=loss.cost,
        grace=holder.spec.grace,
        reason=what + lost,
    )


def over_their_part(board: Board, queue: str, chips: int) -> frozenset[str]:
    """Queues from which ``queue`` may take back ``chips``: they hold more than their part.

    Only as long as it holds no more than its own part with them.
    """
    own = board.queues.get(queue)
    if own is None or not own.preempt:
        return frozenset()
    held = board.snapshot.held
    part = own.soft_chips
    if part is not None and held.get(queue, 0) + chips > part:
        return frozenset()
    return frozenset(
        name
        for name, other in board.queues.items()
        if name != queue and other.soft_chips is not None and held.get(name, 0) > other.soft_chips
    )


def _dear(prey: Iterable[Prey | None]) -> Floats:
    """A score per row: rows where chips are cheap to have go first."""
    return np.array([0.0 if p is None else -float(p.each.min()) for p in prey])
