"""Preempt: whom it costs least to stop so that a job that does not fit can start.

Who may be stopped: a preemptible job of lower priority, or where jobs are in order of what they
have had, one of the same priority that has had more (``attained``); a job of a queue that holds
chips of another's part, which wants them back (``owed``); and the spare shares of elastic jobs,
which cost nothing and go first. A job that was itself stopped takes nothing until it has run
again, so that nothing cascades; and it is left alone for a while after (``Held.safe_until``).

Of all sites where it would do, the cheapest set is taken, then the smallest; never one that would
delay what is promised to others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from skep.model.event import Cause
from skep.model.placement import Share
from skep.model.snapshot import Holder, Ints, Preemption, Shape, Victim, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.attained import HOUR, had_by, level
from skep.scheduler.blocks import Parts
from skep.scheduler.candidates import Candidates, candidates, without
from skep.scheduler.clique import Choice
from skep.scheduler.fair import worth_in
from skep.scheduler.place import allowed, count, in_chips, shares_of
from skep.scheduler.prey import Herd, Loss, Runs, given, loss
from skep.scheduler.room import one_pool_per_site, room
from skep.scheduler.search import choose
from skep.scheduler.timeline import OnTimeline
from skep.scheduler.worth import Worth
from skep.units import duration

# s after the last grace for which chips are kept: reports take time, leases may have to run out.
SLACK = 120.0
# So many jobs that do not fit are looked at in one cycle; the others when these are served.
MOST_OWNERS = 8
# So many single sites are compared once one is known that would do, those first that may be cheap.
LOOKED_AT = 12
_WATT = 1e-6  # W; sums of floats


@dataclass(frozen=True, slots=True)
class Way:
    """One way to serve a job: what it takes, what is lost for it, and in which block it lies."""

    ask: Ask
    choice: Choice
    losses: list[Loss]
    parts: Parts | None = None

    @property
    def cost(self) -> float:
        """Chip-seconds of work that are lost, in chips of the reference."""
        return sum(found.cost for found in self.losses)


@dataclass(slots=True)
class Hunt(OnTimeline):
    """One plan's preemptions; ``gone`` are runs that it stops already."""

    runs: Runs
    gone: set[str] = field(default_factory=set)
    found: list[Preemption] = field(default_factory=list)
    _gone: list[Holder] = field(default_factory=list)
    _herds: dict[str, Herd] = field(default_factory=dict)
    _worth: Worth | None = None
    _least: float | None = None  # priority from which on something could be stopped
    # Who has waited too long has chips kept for it: from then on nobody of its priority takes what
    # comes free there by having others stopped, or it would wait for ever.
    by_level: bool = True

    def _herd(self, kind: str) -> Herd:
        if kind not in self._herds:
            self._herds[kind] = self.runs.herd(self.board.columns(kind))
        return self._herds[kind]

    @property
    def tired(self) -> bool:
        """Whether others have to wait for the next plan."""
        return len(self.found) >= MOST_OWNERS

    def serve(self, job: Waiting, shape: Shape) -> Preemption | None:
        """The cheapest way to make room for ``job``, taken from the ledger; None without one."""
        if self.tired or not self._may_take(job):
            return None
        best: Way | None = None
        for ask in asks_of(job, shape, self.board, self.ledger):
            for way in self._ways(ask, job, np.inf if best is None else best.cost):
                if best is None or (way.cost, len(way.losses)) < (best.cost, len(best.losses)):
                    best = way
        if best is None:
            return None
        decided = self._decide(job, best)
        self.found.append(decided)
        return decided

    def _may_take(self, job: Waiting) -> bool:
        """Whether others may be stopped for ``job`` at all."""
        claimed = job.claim is not None and job.claim.until > self.ledger.at
        barred = job.evicted or job.repair is not None or claimed
        return not barred and self._some(job)

    def _some(self, job: Waiting) -> bool:
        """Whether anything runs that could be stopped for the job, as far as one number tells."""
        if self._least is None:
            self._least = self.runs.lowest_spare
            if self.board.policy.preemption:
                equal = self.board.policy.order == "attained"
                self._least = min(self._least, self.runs.lowest + (0 if equal else 1))
        return self._least <= job.priority or any(q.preempt for q in self.board.policy.queues)

    def _ways(self, ask: Ask, job: Waiting, most: float) -> Iterator[Way]:
        """Ways to serve the job; the cheapest is among them unless it costs more than ``most``."""
        columns = self.board.columns(ask.kind)
        over = not ask.worth and ask.least > self.ledger.limits.left(ask.queue, ask.kind)
        if over or not len(columns.rows):
            return
        herd = self._herd(ask.kind)
        gone = self._gone_rows(herd)
        found = candidates(
            self.board,
            self.ledger,
            herd,
            ask,
            job,
            gone,
            by_level=self.by_level,
            worthwhile=self._worthwhile(ask) if self.by_level else 0.0,
        )
        if found is None:
            return
        fixed, looked_at = replace(ask, most=ask.least), 0
        for least, choice in self._choices(fixed, found):
            if least > most or looked_at == LOOKED_AT:
                break
            looked_at += most < np.inf
            for way in self._at(fixed, choice, found, job, most):
                yield way
                most = min(most, way.cost)

    def _worthwhile(self, ask: Ask) -> float:
        """Chip-seconds that may be lost for ``ask`` by who only starts anew: half of its work."""
        worth = self._worth = self._worth or worth_in(self.board.snapshot)
        length = ask.length if np.isfinite(ask.length) else self.board.policy.assumed
        each = min(worth.of(kind, ask.rates) for kind in ask.kind.split("+"))
        return 0.5 * ask.least * each * length

    def _choices(self, ask: Ask, found: Candidates) -> list[tuple[float, Choice]]:
        """What could be had without the candidates, and what it costs at least; cheap ones first.

        Quotas of one kind among several are kept.
        """
        columns = self.board.columns(ask.kind)
        rooms = room(self.board, without(self.board, self.ledger, found, ask), ask)
        if ask.sites_max > 1:
            rooms = one_pool_per_site(columns, rooms)
            choice = choose(columns, rooms, ask, -found.dear[columns.rows])
            choices = [] if choice is None else [(0.0, choice)]
        else:
            choices = self._by_least(ask, found, np.flatnonzero(rooms >= ask.least))
        chips = [(least, in_chips(self.board, columns, ask, choice)) for least, choice in choices]
        return [(n, chosen) for n, chosen in chips if allowed(self.board, self.ledger, ask, chosen)]

    def _by_least(self, ask: Ask, found: Candidates, rows: Ints) -> list[tuple[float, Choice]]:
        """Single pools in order of what they cost at least: their cheapest chip, so many times."""
        if ask.sites_min > 1:
            return []
        pools = self.board.columns(ask.kind).rows[rows]
        short = np.maximum(ask.least - self.ledger.free[pools], 0) * (not ask.worth)
        least = short * found.dear[pools]
        return [
            (float(least[at]), Choice(rows[at : at + 1], np.array([ask.least]), 1))
            for at in np.argsort(least, kind="stable").tolist()
        ]

    def _at(
        self, ask: Ask, choice: Choice, found: Candidates, job: Waiting, most: float
    ) -> Iterator[Way]:
        if not ask.in_block:
            losses = self._losses(ask, choice, found, job, most)
            if losses and self._leaves(ask, losses) and not self._delays(ask, choice, losses):
                yield Way(ask, choice, losses)
            return
        columns, chips = self.board.columns(ask.kind), int(choice.chips[0])
        pool, row = int(columns.rows[choice.rows[0]]), int(choice.rows[0])
        free = self.ledger.blocks.of(pool)
        for block, prey in found.prey_in_blocks(pool).items():
            watts = chips * float(columns.watts[row]) - float(
                self.ledger.headroom[columns.site[row]]
            )
            short = chips - min(free[block], int(self.ledger.free[pool]))
            if short <= 0 and watts <= _WATT:
                continue  # nobody's end would help
            some = prey.cheapest(short, watts)
            losses = [] if some is None else self._lost(found, prey.rows[some].tolist(), job)
            if losses and not self._delays(ask, choice, losses):
                yield Way(ask, choice, losses, ((block, chips),))

    def _leaves(self, ask: Ask, losses: list[Loss]) -> bool:
        """Whether elastic jobs that start anew with fewer chips find as many as they need."""
        anew = [one for one in losses if one.cause == "elastic"]
        if not anew:
            return True
        free = int(self.ledger.free[anew[0].shares[0].row]) - ask.least
        needs = sum(e.min for one in anew if (e := one.holder.spec.elastic) is not None)
        return free + sum(chips for one in losses for chips, _ in one.rows.values()) >= needs

    def _losses(
        self, ask: Ask, choice: Choice, found: Candidates, job: Waiting, most: float
    ) -> list[Loss] | None:
        """What is lost for ``choice``; None where it cannot be had, or at one site costs more.

        Each job is there once.
        """
        columns, losses = self.board.columns(ask.kind), dict[str, Loss]()
        for row, chips in zip(choice.rows.tolist(), choice.chips.tolist(), strict=True):
            pool, site = int(columns.rows[row]), int(columns.site[row])
            back, cooler = given(list(losses.values()), pool)
            chips_short = chips - int(self.ledger.free[pool]) - back
            watts_short = chips * columns.watts[row] - float(self.ledger.headroom[site]) - cooler
            if chips_short <= 0 and watts_short <= _WATT:
                continue
            prey = found.prey(pool)
            some = prey.cheapest(chips_short, watts_short)
            if some is None or (len(choice.rows) == 1 and prey.cost(some) > most):
                return None
            losses |= {
                new.holder.job: new for new in self._lost(found, prey.rows[some].tolist(), job)
            }
        return list(losses.values())

    def _lost(self, found: Candidates, rows: list[int], job: Waiting) -> list[Loss]:
        now, herd = self.ledger.at, found.herd
        each = (loss(herd, row, job, now, self._cause(found, row, job)) for row in rows)
        return list({one.holder.job: one for one in each}.values())

    def _cause(self, found: Candidates, row: int, job: Waiting) -> Cause:
        if row in found.fewer:
            return "elastic"
        holder, policy, now = found.herd.holder(row), self.board.policy, self.ledger.at
        if policy.preemption and holder.priority < job.priority:
            return "priority"
        more = level(policy, had_by(holder, now)) > job.level
        alike = policy.preemption and self.by_level and holder.priority == job.priority
        return "attained" if alike and more else "share"

    def _delays(self, ask: Ask, choice: Choice, losses: list[Loss]) -> bool:
        """Whether what is promised to others would find too little, the victims gone."""
        columns = self.board.columns(ask.kind)
        for promise in self.ledger.pressing(self._until(losses) - self.ledger.at + ask.length):
            for row, chips in zip(choice.rows.tolist(), choice.chips.tolist(), strict=True):
                pool, site = int(columns.rows[row]), int(columns.site[row])
                back, cooler = given(losses, pool, promise.start)
                power = chips * float(columns.watts[row])
                if int(promise.free[pool]) + back < chips:
                    return True
                if float(promise.headroom[site]) + cooler < power - _WATT:
                    return True
        return False

    def _until(self, losses: list[Loss]) -> float:
        return self.ledger.at + max(one.holder.spec.grace for one in losses) + SLACK

    def _decide(self, job: Waiting, way: Way) -> Preemption:
        shares = shares_of(self.board, way.ask, way.choice)
        if way.parts is not None:
            shares = tuple(replace(share, in_blocks=way.parts) for share in shares)
        where = ", ".join(f"{s.chips} {s.chip} at {s.site}" for s in shares)
        victims = tuple(_victim(one, job, self.ledger.at) for one in way.losses)
        names = ", ".join(f"{v.job} ({'shrinks' if v.ranks else 'stops'})" for v in victims)
        self.gone.update(run for v in victims for run in v.runs)
        self._gone += [one.holder for one in way.losses]
        self._keep(way, shares)
        grace = max(v.grace for v in victims)
        return Preemption(
            job.job,
            job.version,
            shares,
            self._until(way.losses),
            victims,
            f"waits for {where}, which {names} gives back within {duration(grace)}",
        )

    def _gone_rows(self, herd: Herd) -> set[int]:
        """Rows of the herd of jobs of which this plan stops some run."""
        return {
            row
            for holder in self._gone
            for pool in {share.row for share in holder.shares}
            for row in herd.rows(pool)
            if herd.holder(row) is holder
        }

    def _keep(self, way: Way, shares: tuple[Share, ...]) -> None:
        """What is free of the claim is nobody else's from now on, and it counts as given."""
        ask, ledger, columns = way.ask, self.ledger, self.board.columns(way.ask.kind)
        start = self._until(way.losses) - SLACK
        end = start + SLACK + ask.length
        for share in shares:
            pool, site = self.board.pool_row(share), self.board.row[share.site]
            chips, watts = given(way.losses, pool)
            for promise in ledger.pressing(end - ledger.at):
                back, cooler = given(way.losses, pool, promise.start)
                promise.free[pool] -= share.chips - back
                promise.headroom[site] -= share.power - cooler
            ledger.withhold(pool, site, share.chips - chips, share.power - watts, share.in_blocks)
        for one in way.losses:
            for pool, (chips, watts) in one.rows.items():
                self.timeline.ends_sooner(pool, chips, watts, start, one.holder.end)
        self._promise(way, shares, start, end)
        choice = way.choice
        count(ledger, ask, columns, choice.rows, columns.site[choice.rows], choice.chips)

    def _promise(self, way: Way, shares: tuple[Share, ...], start: float, end: float) -> None:
        """What comes back is the job's, also where others are promised chips from now on."""
        pools = [self.board.pool_row(share) for share in shares]
        back = [given(way.losses, pool) for pool in pools]
        chips = [min(s.chips, n) for s, (n, _) in zip(shares, back, strict=True)]
        power = [min(s.power, w) for s, (_, w) in zip(shares, back, strict=True)]
        self.timeline.promise_apart(start, end, np.array(pools), np.array(chips), np.array(power))


def _victim(lost: Loss, job: Waiting, now: float) -> Victim:
    holder = lost.holder
    if lost.cause == "shrink":
        what = f"gives {lost.shares[0].chips} spare chips back to {job.job}"
    elif lost.cause == "priority":
        what = f"stopped for {job.job} (priority {job.priority} above {holder.priority})"
    elif lost.cause == "elastic":
        what = f"starts anew with fewer chips, so that {job.job} can start"
    elif lost.cause == "attained":
        had = had_by(holder, now) / HOUR
        what = f"stopped for {job.job}, which has had less: this one {had:.1f} chip-hours"
    else:
        what = f"stopped for {job.job}: queue {holder.spec.queue} holds more than its part"
    more = "" if lost.cause == "shrink" else f"; loses {duration(holder.unsaved(now))} of work"
    return Victim(
        job=holder.job,
        runs=tuple(share.run for share in lost.shares),
        ranks=tuple(share.rank for share in lost.shares) if lost.cause == "shrink" else (),
        cause=lost.cause,
        lost=lost.cost,
        grace=holder.spec.grace,
        reason=what + more,
    )
