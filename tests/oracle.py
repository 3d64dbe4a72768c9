"""The oracle of the scheduler's properties: whether a decision holds, counted another way.

Counted share by share from the snapshot alone, without the masks and the ledger that made the
decision, so that a mistake there cannot pass here.
"""

from __future__ import annotations

import datetime
from collections import Counter
from itertools import combinations

from skep.model.job import ChipRequest, Exchange
from skep.model.placement import Share
from skep.model.policy import Policy, Quota
from skep.model.snapshot import Placement, Shape, Snapshot
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
    """Every hard quota of the queue and of the queues above it, what is below them counted."""
    parents = {q.name: q.parent for q in policy.queues}
    if queue not in parents:
        return f"there is no queue {queue}"
    name: str | None = queue
    while name is not None:
        found = policy.queue(name)
        assert found is not None
        below = {q for q in parents if name in _path(q, parents)}
        total = sum(Counter(snapshot.held)[q] for q in below)
        given = sum(share.chips for share in placement.shares)
        if found.max_chips is not None and total + given > found.max_chips:
            return f"queue {name} would hold {total + given} of {found.max_chips} chips"
        for quota in found.quotas:
            if not quota.soft and (said := _of_part(placement, snapshot, quota, below)):
                return f"queue {name}: {said}"
        name = found.parent
    return None


def _path(queue: str, parents: dict[str, str | None]) -> list[str]:
    path = [queue]
    while (above := parents[path[-1]]) is not None:
        path.append(above)
    return path


def _of_part(placement: Placement, snapshot: Snapshot, quota: Quota, below: set[str]) -> str | None:
    sites, pools = snapshot.sites, snapshot.pools
    held = sum(
        int(column[row])
        for queue, column in snapshot.held_in.items()
        if queue in below
        for row, kind in enumerate(pools.kind)
        if quota.chip in (None, kind) and quota.site in (None, sites.names[pools.site[row]])
    )
    given = sum(
        share.chips
        for share in placement.shares
        if quota.chip in (None, share.chip) and quota.site in (None, share.site)
    )
    return f"{held + given} of {quota}" if given and held + given > quota.max else None


def keeps_shape(shares: tuple[Share, ...], shape: Shape, snapshot: Snapshot) -> str | None:
    """Why the shares are not what ``shape`` asks for; None where they are."""
    pools = snapshot.pools
    speed = dict(zip(pools.kind, pools.speed.tolist(), strict=True))
    if not shape.mixed and len({share.chip for share in shares}) > 1:
        return "of several kinds"
    if shape.spread is not None and any(share.chips > shape.spread for share in shares):
        return "too many chips at one site"
    return (
        _links(shares, shape, snapshot)
        or _places(shares, shape)
        or _amount(shares, shape, speed, _largest_node(snapshot) if shape.per == "node" else 1)
    )


def _links(shares: tuple[Share, ...], shape: Shape, snapshot: Snapshot) -> str | None:
    sites, wish = snapshot.sites, shape.exchange or Exchange()
    rows = [sites.names.index(share.site) for share in shares]
    for a, b in combinations(rows, 2):
        width, rtt = sites.bandwidth[a, b], sites.rtt[a, b]
        if width <= 0 or width < (wish.bandwidth or 0.0):
            return "a link is not wide enough"
        if wish.rtt is not None and rtt > wish.rtt:
            return "a link is not quick enough"
    return None


def _places(shares: tuple[Share, ...], shape: Shape) -> str | None:
    if shape.within is not None and len(shares) > 1:
        return f"not within one {shape.within}"
    if shape.within == "block" and len(shares[0].in_blocks) != 1:
        return "not within one block"
    for share in shares:
        blocks = [block for block, _ in share.in_blocks]
        total = sum(chips for _, chips in share.in_blocks)
        if total != share.chips or len(set(blocks)) < len(blocks):
            return f"its blocks do not add up: {share}"
    return None


def _largest_node(snapshot: Snapshot) -> int:
    return int(snapshot.pools.chips_per_node.max())


def _amount(
    shares: tuple[Share, ...], shape: Shape, speed: dict[str, float], node: int
) -> str | None:
    """``node``: chips by which what is as good as others may be rounded up."""
    total, elastic, asked = sum(share.chips for share in shares), shape.elastic, shape.chips
    speed = dict(shape.rates) or speed
    if elastic is not None:
        return None if elastic.min <= total <= elastic.max else f"{total} chips for {elastic}"
    if any(_answers(shares, total, request, speed, node) for request in asked):
        return None
    return f"{total} chips are none of {asked}"


def _answers(
    shares: tuple[Share, ...], total: int, asked: ChipRequest, speed: dict[str, float], node: int
) -> bool:
    kinds, worth = {share.chip for share in shares}, asked.as_good_as
    if asked.kinds and not kinds <= set(asked.kinds):
        return False
    if worth is None:
        return total == asked.count and (asked.kind is None or kinds == {asked.kind})
    if kinds == {worth.kind}:
        return 0 <= total - worth.count < node * len(shares)
    work = sum(share.chips * speed[share.chip] for share in shares)
    return work >= worth.count * speed.get(worth.kind, 0.0) * (1 - 1e-9)
