"""Against brute force: a placement is found whenever one exists, with the most chips."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from skep.model.job import ChipRequest, Exchange
from skep.model.policy import Policy
from skep.model.snapshot import Snapshot
from skep.scheduler import schedule
from tests.builders import JobRow, SiteRow, site, world
from tests.worlds import NOW, fresh_jobs, links, sites


def rooms(snapshot: Snapshot, policy: Policy, kind: str, per: str) -> dict[int, list[list[int]]]:
    """Site -> for each of its pools of the kind, the numbers of chips that it could give."""
    found: dict[int, list[list[int]]] = {}
    s, p = snapshot.sites, snapshot.pools
    for row, name in enumerate(p.kind):
        at = int(p.site[row])
        if name != kind or not s.up[at] or s.drained[at]:
            continue
        free = s.power_cap[at] * (1 - policy.power_margin) - s.power_drawn[at]
        watts = p.marginal_power[row] * s.pue[at]
        step = int(p.chips_per_node[row]) if per == "node" else 1
        most = min(int(p.free[row]), s_spread(snapshot))
        if snapshot.shapes[0].within == "block":
            most = min(most, int(p.block_chips[row]))
        gives = [c for c in range(step, most + 1, step) if c * watts <= free + 5e-7]
        found.setdefault(at, []).append(gives)
    return found


def s_spread(snapshot: Snapshot) -> int:
    spread = snapshot.shapes[0].spread
    return 10**9 if spread is None else spread


def joined(snapshot: Snapshot, a: int, b: int) -> bool:
    wish = snapshot.shapes[0].exchange or Exchange()
    width, rtt = snapshot.sites.bandwidth[a, b], snapshot.sites.rtt[a, b]
    return bool(width > 0 and width >= (wish.bandwidth or 0) and rtt <= (wish.rtt or np.inf))


def reachable(snapshot: Snapshot, policy: Policy, kind: str) -> dict[int, int]:
    """Total chips -> fewest sites with which it can be had, over all placements that exist."""
    shape = snapshot.shapes[0]
    at = rooms(snapshot, policy, kind, shape.per)
    best: dict[int, int] = {}
    widest = 1 if shape.within else shape.span.most
    for count in range(shape.span.min, min(widest, len(at)) + 1):
        for group in combinations(at, count):
            if any(not joined(snapshot, a, b) for a, b in combinations(group, 2)):
                continue
            gives = [sorted({c for pool in at[g] for c in pool}) for g in group]
            for total in {sum(parts) for parts in product(*gives)}:
                best[total] = min(best.get(total, count), count)
    return best


def expected(snapshot: Snapshot, policy: Policy) -> tuple[int, int] | None:
    """(chips, sites) of the fastest alternative that fits; any kind: not looked at here."""
    shape = snapshot.shapes[0]
    known = dict(zip(snapshot.pools.kind, snapshot.pools.speed.tolist(), strict=True))
    speed = dict(shape.rates) or known
    wishes = list(shape.chips)
    most_of = {id(c): shape.elastic.max if shape.elastic else c.count for c in wishes}
    if all(speed.get(c.kind or "", 0.0) > 0 for c in wishes):
        wishes.sort(key=lambda c: -most_of[id(c)] * speed[c.kind or ""])
    for request in wishes:
        least, most = request.count, request.count
        if shape.elastic:
            least, most = shape.elastic.min, shape.elastic.max
        totals = reachable(snapshot, policy, request.kind or "")
        if fitting := [t for t in totals if least <= t <= most]:
            return max(fitting), totals[max(fitting)]
    return None


@st.composite
def single(draw: st.DrawFn) -> Snapshot:
    names = ("ash", "birch", "cedar", "elm")[: draw(st.integers(1, 4))]
    rows: list[SiteRow] = [draw(sites(name)) for name in names]
    wish: JobRow = draw(fresh_jobs())
    chips = tuple(c if c.kind else replace_kind(c) for c in wish.shape.chips)
    row = replace(wish, shape=replace(wish.shape, chips=chips))
    return world(*rows, jobs=[row], links=draw(links(names)))


def replace_kind(request: object) -> object:
    return ChipRequest(kind="cpu-core", count=request.count)  # type: ignore[attr-defined]


@settings(max_examples=250, deadline=None)
@given(single(), st.sampled_from([0.0, 0.1]))
def test_a_placement_is_found_whenever_one_exists(snapshot: Snapshot, margin: float) -> None:
    policy = Policy(power_margin=margin)
    plan = schedule(snapshot, policy, NOW)
    placed = [(sum(s.chips for s in p.shares), len(p.shares)) for p in plan.placements]
    best = expected(snapshot, policy)
    assert placed == ([] if best is None else [best])


@settings(deadline=None)
@given(single(), st.integers(1, 8))
def test_another_free_site_never_turns_a_placement_into_a_refusal(
    snapshot: Snapshot, chips: int
) -> None:
    policy = Policy()
    if not schedule(snapshot, policy, NOW).placements:
        return
    extra = world(site("zelkova", chips), jobs=[])
    wider = widened(snapshot, extra)
    assert schedule(wider, policy, NOW).placements


def widened(snapshot: Snapshot, extra: Snapshot) -> Snapshot:
    """``snapshot`` with the one site of ``extra``, linked to all."""
    a, b, size = snapshot.sites, extra.sites, len(snapshot.sites.names)
    width = np.full((size + 1, size + 1), np.inf)
    width[:size, :size] = a.bandwidth

    def join(x: object, y: object) -> object:
        if x is None:
            return None
        return np.concatenate([x, y]) if isinstance(x, np.ndarray) else x + y  # type: ignore[operator]

    one = ("names", "countries", "up", "drained", "power_cap", "power_drawn", "pue", "clean")
    joined = {name: join(getattr(a, name), getattr(b, name)) for name in one}
    p, q = snapshot.pools, replace(extra.pools, site=extra.pools.site + size)
    table = {name: join(getattr(p, name), getattr(q, name)) for name in p.__slots__}
    return replace(
        snapshot,
        sites=replace(a, **joined, bandwidth=width, rtt=np.zeros_like(width)),
        pools=replace(p, **table),
    )
