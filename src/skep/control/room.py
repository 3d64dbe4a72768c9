"""The check at commit: whatever the plan says, nothing is written that breaks a hard limit.

It counts from the world as it is now and takes each committed share off, so that the decisions of
one plan cannot break a limit together either. It shares no code with the scheduler on purpose.
"""

from __future__ import annotations

import datetime
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

from skep.control.asked import not_as_asked
from skep.control.giving import may_grow, may_lose, may_move, may_take
from skep.control.quotas import Quotas
from skep.control.world import World
from skep.model.placement import Claim, Share
from skep.model.policy import Maintenance, Policy
from skep.model.snapshot import Migration, Placement, Preemption
from skep.model.state import JobState, RunState
from skep.rules.decide import Facts, decide

# Watts: caps and draws are sums of floats.
_ROUNDING = 1e-6
Key = tuple[str, int]  # site, pool


class Room:
    """What is left of chips, power and quota while a plan is committed."""

    def __init__(self, world: World, policy: Policy, now: float) -> None:
        self._world, self._policy, self._now = world, policy, now
        self._date = datetime.datetime.fromtimestamp(now, tz=datetime.UTC).date()
        self._chips: dict[Key, int] = defaultdict(int)
        self._power: dict[str, float] = defaultdict(float)
        self._quotas = Quotas(world, policy)
        self._in_blocks: dict[tuple[str, int, int], int] = defaultdict(int)
        self._verdicts: dict[tuple[str, str, str], str] = {}
        self._stopping: set[str] = set()  # runs that this plan stops
        self._kept = {job: claim for job in world.claims if (claim := self._claim(job))}

    # What is asked

    def take(self, job: JobState, placement: Placement) -> str:
        """Take the placement's shares; "" if all fit, else why not (and nothing is taken)."""
        shares = placement.shares
        reason = may_grow(job, placement) or self._why_not(job, shares, ())
        if not reason:
            self._kept.pop(job.id, None)
            for share in shares:
                self._chips[share.site, share.pool] += share.chips
                self._power[share.site] += share.power
                self._blocks(share)
            self._quotas.take(job.spec.queue, shares)
        return reason

    def evict(self, preemption: Preemption) -> str:
        """Let the victims' chips go to whom they are kept for; "" where right, else why not."""
        owner = self._world.jobs.get(preemption.job) if preemption.job else None
        if preemption.job and (reason := may_take(owner, preemption.version)):
            return reason
        if preemption.job in self._kept:
            return f"chips are kept for {preemption.job} already"
        freed, reason = self._freed(preemption, owner)
        if not reason and owner is not None:
            reason = self._why_not(owner, preemption.shares, freed)
        if reason:
            return reason
        self._stopping |= {run.run for run in freed}
        if owner is not None:
            names = tuple(victim.job for victim in preemption.victims)
            self._kept[owner.id] = Claim(
                shares=preemption.shares, until=preemption.until, victims=names
            )
        return ""

    def _freed(self, preemption: Preemption, owner: JobState | None) -> tuple[list[RunState], str]:
        """The runs that the victims give up; and why not, if one may not be made to."""
        freed: list[RunState] = []
        for victim in preemption.victims:
            job = self._world.jobs.get(victim.job)
            if job is None or self._stopping.intersection(victim.runs):
                return [], f"{victim.job} has nothing to give"
            if reason := may_lose(self._world, self._policy, job, victim, owner):
                return [], reason
            freed += [job.runs[run] for run in victim.runs]
        return freed, "" if freed else "there is no victim"

    def move(self, migration: Migration) -> str:
        """Keep the chips to which a job goes; "" where that is right, else why not."""
        job = self._world.jobs.get(migration.job)
        if job is None:
            return "there is no such job"
        live = job.live()
        if reason := may_move(job, migration):
            return reason
        if reason := self._why_not(job, migration.shares, live):
            return reason
        self._stopping |= set(migration.runs)
        self._kept[job.id] = Claim(
            shares=migration.shares, until=migration.until, victims=(job.id,)
        )
        return ""

    # Chips and power

    def _why_not(self, job: JobState, shares: Iterable[Share], freed: Iterable[RunState]) -> str:
        """``freed`` are runs that will have ended by then."""
        shares = tuple(shares)
        gone = list(freed)
        if not shares:
            return "the placement has no shares"
        for share in shares:
            if reason := (
                self._forbidden(job, share)
                or self._too_few(job, share, gone)
                or self._too_hot(job, share, gone)
                or self._not_in_blocks(share, gone)
                or self._closing(job, share)
            ):
                return reason
        return not_as_asked(self._world, job, shares, gone) or self._over_quota(job, shares, gone)

    def _too_few(self, job: JobState, share: Share, gone: list[RunState]) -> str:
        key = share.site, share.pool
        free = self._world.free_of(*key) - self._chips[key]
        if self._kept:
            free -= self._kept_chips(key, job.id)
        if gone:
            free += sum(r.share.chips for r in gone if (r.share.site, r.share.pool) == key)
        if share.chips <= free:
            return ""
        return f"{share.site} has {free} {share.chip} free, {share.chips} were given"

    def _blocks(self, share: Share) -> None:
        for block, chips in share.in_blocks:
            self._in_blocks[share.site, share.pool, block] += chips

    def _not_in_blocks(self, share: Share, gone: list[RunState]) -> str:
        """Whether the blocks that the share names have its chips free."""
        key = share.site, share.pool
        back: dict[int, int] = {}
        for run in gone:
            if (run.share.site, run.share.pool) == key:
                for block, chips in run.share.in_blocks:
                    back[block] = back.get(block, 0) + chips
        for block, chips in share.in_blocks:
            free = self._world.free_in(*key, block) + back.get(block, 0)
            free -= self._in_blocks[share.site, share.pool, block]
            if chips > free:
                return f"block {block} at {share.site} has {free} free, {chips} were given"
        return ""

    def _too_hot(self, job: JobState, share: Share, gone: list[RunState]) -> str:
        site = share.site
        cap = float(self._world.topology.cap[self._world.topology.row[site]])
        if math.isinf(cap):
            return ""
        drawn = self._world.drawn_at(site) + self._power[site] + share.power
        if self._kept:
            drawn += self._kept_power(site, job.id)
        if gone:
            drawn -= sum(r.share.power for r in gone if r.share.site == site)
        most = cap * (1.0 - self._policy.power_margin)
        return (
            ""
            if drawn <= most + _ROUNDING
            else f"{site} would draw {drawn:.0f} W above {most:.0f} W"
        )

    def _closing(self, job: JobState, share: Share) -> str:
        """Whether a window of maintenance comes over the site while the job is thought to run."""
        if not self._policy.maintenance:
            return ""
        end = self._now + self._world.length(job)
        for window in self._policy.maintenance:
            start = window.start.timestamp()
            if window.site != share.site or start >= end or window.end.timestamp() <= self._now:
                continue
            if window.cap is None:
                return f"{share.site} is closed from {window.start:%Y-%m-%d %H:%M}"
            if reason := self._dimmed(job, share, window, window.cap):
                return reason
        return ""

    def _dimmed(self, job: JobState, share: Share, window: Maintenance, cap: float) -> str:
        start, site = window.start.timestamp(), share.site
        drawn = self._world.drawn_at(site) + self._power[site] + share.power
        drawn += self._kept_power(site, job.id)
        for run, name in self._world.runs[site].items():
            holder = self._world.holding.holders.get(name)
            if holder is not None and holder.end <= start:
                drawn -= self._world.jobs[name].runs[run].share.power
        most = cap * (1.0 - self._policy.power_margin)
        if drawn <= most + _ROUNDING:
            return ""
        return f"{site} would draw {drawn:.0f} W above {most:.0f} W from {window.start:%H:%M}"

    # What is kept

    def _claim(self, job: str) -> Claim | None:
        """What is kept for the job; nothing where a site of it is lost or drained meanwhile."""
        claim = self._world.jobs[job].claim
        if claim is None or claim.until <= self._now:
            return None
        sites, closed = self._world.sites, self._policy.closed
        up = all(sites[s.site].phase == "up" and not closed(s.site) for s in claim.shares)
        return claim if up else None

    def _kept_chips(self, key: Key, but: str) -> int:
        """Free chips of a pool that are kept for others: what is claimed, less what is to come."""
        return sum(
            max(0, share.chips - sum(r.share.chips for r in self._to_come(claim, key)))
            for job, claim in self._kept.items()
            for share in claim.shares
            if job != but and (share.site, share.pool) == key
        )

    def _kept_power(self, site: str, but: str) -> float:
        return sum(
            max(0.0, share.power - sum(r.share.power for r in self._to_come(claim, key)))
            for job, claim in self._kept.items()
            for share in claim.shares
            if job != but and share.site == site
            for key in ((share.site, share.pool),)
        )

    def _to_come(self, claim: Claim, key: Key) -> Iterator[RunState]:
        """Runs of the claim's victims in that pool that have not ended yet."""
        for name in claim.victims:
            job = self._world.jobs.get(name)
            for run in job.live() if job is not None else ():
                named = run.run in self._stopping or run.phase == "stopping"
                if named and (run.share.site, run.share.pool) == key:
                    yield run

    # Rules and quotas

    def _forbidden(self, job: JobState, share: Share) -> str:
        """Neither sites nor rules change while a plan is committed: each case is asked once."""
        key = job.spec.queue, share.chip, share.site
        known = self._verdicts.get(key)
        if known is None:
            known = self._verdicts[key] = self._verdict(job, share)
        return known

    def _verdict(self, job: JobState, share: Share) -> str:
        site = share.site
        if self._world.sites[site].phase != "up":
            return f"{site} is not up"
        if self._policy.closed(site):
            return f"{site} is drained"
        country = self._world.topology.countries[self._world.topology.row[site]]
        facts = Facts(job.spec.queue, share.chip, site, country)
        decision = decide(self._policy.rules, facts, self._date)
        return "" if decision.allowed else f"{site}: {decision}"

    def _over_quota(self, job: JobState, shares: tuple[Share, ...], gone: list[RunState]) -> str:
        if not self._quotas.bind(job.spec.queue):
            return ""
        back: dict[str, int] = defaultdict(int)
        for run in gone:
            back[self._world.jobs[self._world.job_of[run.run]].spec.queue] += run.share.chips
        return self._quotas.over(job.spec.queue, shares, back)
