"""The oracle of the scheduler's properties: whether a decision holds, counted another way.

Counted share by share from the snapshot alone, without the masks and the ledger that made the
decision, so that a mistake there cannot pass here.
"""

from __future__ import annotations

import datetime
from collections import Counter

from skep.model.placement import Share
from skep.model.policy import Policy
from skep.model.snapshot import Placement, Snapshot
from skep.rules.decide import Facts, decide

# W: caps and draws are sums of floats.
_ROUNDING = 1e-6


def still_fits(
    placement: Placement, snapshot: Snapshot, policy: Policy, queue: str, now: float
) -> str | None:
    """Why the placement of a job of ``queue`` must not be committed; None where it may be."""
    sites = [share.site for share in placement.shares]
    if not sites or len(set(sites)) != len(sites):
        return "a placement has one share at each of its sites"
    for share in placement.shares:
        if reason := (
            _site(share, snapshot)
            or _rules(share, snapshot, policy, queue, now)
            or _chips(share, snapshot)
            or _power(share, snapshot, policy)
        ):
            return reason
    return _quota(placement, snapshot, policy, queue)


def _site(share: Share, snapshot: Snapshot) -> str | None:
    sites = snapshot.sites
    if share.site not in sites.names:
        return f"the pool has no site {share.site}"
    row = sites.names.index(share.site)
    if not sites.up[row]:
        return f"{share.site} is lost"
    return f"{share.site} is drained" if sites.drained[row] else None


def _rules(share: Share, snapshot: Snapshot, policy: Policy, queue: str, now: float) -> str | None:
    country = snapshot.sites.countries[snapshot.sites.names.index(share.site)]
    date = datetime.datetime.fromtimestamp(now, tz=datetime.UTC).date()
    decision = decide(policy.rules, Facts(queue, share.chip, share.site, country), date)
    return None if decision.allowed else f"{share.site}: {decision}"


def _chips(share: Share, snapshot: Snapshot) -> str | None:
    sites, pools = snapshot.sites, snapshot.pools
    for row, kind in enumerate(pools.kind):
        here = (sites.names[pools.site[row]], int(pools.index[row]), kind)
        if here == (share.site, share.pool, share.chip):
            free = int(pools.free[row])
            if share.chips <= free:
                return None
            return f"{share.site} has {free} {share.chip} free, {share.chips} were given"
    return f"{share.site} has no pool {share.pool} of {share.chip}"


def _power(share: Share, snapshot: Snapshot, policy: Policy) -> str | None:
    sites = snapshot.sites
    row = sites.names.index(share.site)
    cap = float(sites.power_cap[row]) * (1.0 - policy.power_margin)
    draw = float(sites.power_drawn[row]) + share.power
    if draw <= cap + _ROUNDING:
        return None
    return f"{share.site} would draw {draw:.0f} W, {cap:.0f} W are allowed"


def _quota(placement: Placement, snapshot: Snapshot, policy: Policy, queue: str) -> str | None:
    found = policy.queue(queue)
    if found is None:
        return f"there is no queue {queue}"
    held = Counter(snapshot.held)[queue] + sum(share.chips for share in placement.shares)
    if found.max_chips is None or held <= found.max_chips:
        return None
    return f"queue {queue} would hold {held} of {found.max_chips} chips"
