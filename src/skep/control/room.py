"""The check at commit: whatever the plan says, nothing is written that breaks a hard limit.

It counts from the world as it is now and takes each committed share off, so that the decisions of
one plan cannot break a limit together either. It shares no code with the scheduler on purpose.
"""

from __future__ import annotations

import datetime
from collections import defaultdict

from skep.control.world import World
from skep.model.placement import Share
from skep.model.policy import Policy
from skep.model.snapshot import Placement
from skep.model.state import JobState
from skep.rules.decide import Facts, decide

# Watts: caps and draws are sums of floats.
_ROUNDING = 1e-6


class Room:
    """What is left of chips, power and quota while a plan is committed."""

    def __init__(self, world: World, policy: Policy, now: float) -> None:
        self._world, self._policy = world, policy
        self._date = datetime.datetime.fromtimestamp(now, tz=datetime.UTC).date()
        self._chips: dict[tuple[str, int], int] = defaultdict(int)
        self._power: dict[str, float] = defaultdict(float)
        self._held: dict[str, int] = defaultdict(int)

    def take(self, job: JobState, placement: Placement) -> str:
        """Take the placement's shares; "" if all fit, else why not (and nothing is taken)."""
        reason = self._why_not(job, placement)
        if not reason:
            for share in placement.shares:
                self._chips[share.site, share.pool] += share.chips
                self._power[share.site] += share.power
                self._held[job.spec.queue] += share.chips
        return reason

    def _why_not(self, job: JobState, placement: Placement) -> str:
        if not placement.shares:
            return "the placement has no shares"
        for share in placement.shares:
            site, row = share.site, self._world.topology.row[share.site]
            if reason := self._forbidden(job, share):
                return reason
            free = self._world.free_of(site, share.pool) - self._chips[site, share.pool]
            if share.chips > free:
                return f"{site} has {free} {share.chip} free, {share.chips} were given"
            cap = float(self._world.topology.cap[row]) * (1.0 - self._policy.power_margin)
            drawn = self._world.drawn_at(site) + self._power[site] + share.power
            if drawn > cap + _ROUNDING:
                return f"{site} would draw {drawn:.0f} W above {cap:.0f} W"
        return self._over_quota(job, sum(share.chips for share in placement.shares))

    def _forbidden(self, job: JobState, share: Share) -> str:
        site = share.site
        if self._world.sites[site].phase != "up":
            return f"{site} is not up"
        if site in self._policy.drained:
            return f"{site} is drained"
        country = self._world.topology.countries[self._world.topology.row[site]]
        facts = Facts(job.spec.queue, share.chip, site, country)
        decision = decide(self._policy.rules, facts, self._date)
        return "" if decision.allowed else f"{site}: {decision}"

    def _over_quota(self, job: JobState, chips: int) -> str:
        queue = self._policy.queue(job.spec.queue)
        if queue is None or queue.max_chips is None:
            return ""
        held = self._world.held[queue.name] + self._held[queue.name]
        if held + chips <= queue.max_chips:
            return ""
        return f"queue {queue.name} would hold {held + chips} of {queue.max_chips} chips"
