"""A job refused for reason R runs when R alone is lifted.

Each example starts from a world in which the job is placed, puts one obstacle in its way at every
site, and looks for that obstacle, and no other, among the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skep.model.policy import Policy, Queue, Rule
from skep.model.snapshot import Refusal, Snapshot
from skep.scheduler import schedule
from tests.builders import job, pool, site, world
from tests.worlds import NOW

Changed = tuple[Snapshot, Policy]


@st.composite
def placeable(draw: st.DrawFn) -> Snapshot:
    """One job, free sites that differ in size, each chip of some power, no caps."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    rows = [site(f"s{n}", pool(size, watts=10.0), idle=5.0) for n, size in enumerate(sizes)]
    span = draw(st.integers(1, 3))
    chips = draw(st.integers(1, 12))
    elastic = draw(st.none() | st.just((chips, chips + 3)))
    snapshot = world(*rows, jobs=[job(chips, span=span, elastic=elastic, user="ada")])
    assume(schedule(snapshot, Policy(), NOW).placements)
    return snapshot


def lost(s: Snapshot) -> Changed:
    return replace(s, sites=replace(s.sites, up=np.zeros_like(s.sites.up))), Policy()


def drained(s: Snapshot) -> Changed:
    return replace(s, sites=replace(s.sites, drained=np.ones_like(s.sites.up))), Policy()


def forbidden(s: Snapshot) -> Changed:
    return s, Policy(rules=(Rule(id="no", effect="refuse", reason="not here"),))


def unlicensed(s: Snapshot) -> Changed:
    return s, Policy(rules=(Rule(id="ask", effect="license", countries=("SE",), reason="list 7"),))


def taken(s: Snapshot) -> Changed:
    return replace(s, pools=replace(s.pools, free=np.zeros_like(s.pools.free))), Policy()


def powerless(s: Snapshot) -> Changed:
    cap = s.sites.power_drawn + 4.0
    return replace(s, sites=replace(s.sites, power_cap=cap)), Policy(power_margin=0.0)


def other_kind(s: Snapshot) -> Changed:
    return replace(s, pools=replace(s.pools, kind=("tpu",) * len(s.pools.kind))), Policy()


def apart(s: Snapshot) -> Changed:
    width = np.where(np.eye(len(s.sites.names), dtype=bool), np.inf, 0.0)
    return replace(s, sites=replace(s.sites, bandwidth=width)), Policy()


def quota(s: Snapshot) -> Changed:
    return replace(s, held={"default": 5}), Policy(queues=(Queue(name="default", max_chips=5),))


def others_only(s: Snapshot) -> Changed:
    return s, Policy(queues=(Queue(name="default", users=("bob",)),))


def no_queue(s: Snapshot) -> Changed:
    return s, Policy(queues=(Queue(name="batch"),))


def later(s: Snapshot) -> Changed:
    (waiting,) = s.waiting
    return replace(s, waiting=(replace(waiting, not_before=NOW + 60),)), Policy()


def refusal_of(changed: Changed) -> Refusal:
    (refusal,) = schedule(*changed, NOW).refusals
    return refusal


@pytest.mark.parametrize(
    ("obstacle", "start"),
    [
        (lost, "site is lost"),
        (drained, "site is drained"),
        (forbidden, "rule no: not here"),
        (unlicensed, "rule ask: needs a licence: list 7"),
        (other_kind, "has no cpu-core"),
    ],
)
@settings(deadline=None, max_examples=25)
@given(placeable())
def test_one_obstacle_at_all_sites_is_the_reason_of_all(
    obstacle: Callable[[Snapshot], Changed], start: str, snapshot: Snapshot
) -> None:
    refusal = refusal_of(obstacle(snapshot))
    assert all(reason.startswith(start) for reason in refusal.sites), refusal
    assert sorted(sum(refusal.sites.values(), ())) == sorted(snapshot.sites.names)


@settings(deadline=None, max_examples=50)
@given(placeable())
def test_a_cap_is_the_reason_where_the_chips_would_do(snapshot: Snapshot) -> None:
    (refusal,) = schedule(*powerless(snapshot), NOW).refusals
    power = [r for r in refusal.sites if r.startswith("power: 4 W free under the cap of 9 W, ")]
    short = [r for r in refusal.sites if r.endswith(" cpu-core free")]
    assert power
    assert sorted(power + short) == sorted(refusal.sites)
    assert refusal.never


@settings(deadline=None, max_examples=50)
@given(placeable())
def test_all_chips_taken_is_a_reason_that_passes(snapshot: Snapshot) -> None:
    refusal = refusal_of(taken(snapshot))
    assert all(r.startswith("0 of ") and r.endswith(" cpu-core free") for r in refusal.sites)
    assert not refusal.never
    assert refusal.remedy.startswith("starts when ")


@settings(deadline=None, max_examples=50)
@given(placeable())
def test_without_links_a_job_over_sites_says_so(snapshot: Snapshot) -> None:
    assume(snapshot.shapes[0].span.min > 1)
    refusal = refusal_of(apart(snapshot))
    assert any(reason.startswith("no link to ") for reason in refusal.sites)


@pytest.mark.parametrize(
    ("obstacle", "text", "never"),
    [
        (quota, "queue default holds 5 of 5 chips", None),
        (others_only, "ada may not use queue default", True),
        (no_queue, "there is no queue default", True),
        (later, "waits to retry until 1970-01-12 13:47:40 UTC", False),
    ],
)
@settings(deadline=None, max_examples=25)
@given(placeable())
def test_what_turns_a_job_away_before_any_site(
    obstacle: Callable[[Snapshot], Changed], text: str, never: bool | None, snapshot: Snapshot
) -> None:
    refusal = refusal_of(obstacle(snapshot))
    assert refusal.reason.startswith(text)
    assert refusal.sites == {}
    assert never in (None, refusal.never)


@settings(deadline=None, max_examples=100)
@given(placeable(), st.data())
def test_never_means_that_an_idle_pool_refuses_it_too(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    chips = data.draw(st.integers(1, 60))
    span = data.draw(st.integers(1, 6))
    sizes = snapshot.pools.chips
    full = [
        site(
            name,
            pool(int(size), free=data.draw(st.integers(0, int(size))), watts=1.0),
            idle=1.0,
            cap=1.0 + data.draw(st.integers(0, 9)),
            up=data.draw(st.booleans()),
            drained=data.draw(st.booleans()),
        )
        for name, size in zip(snapshot.sites.names, sizes, strict=True)
    ]
    idle = [
        replace(row, up=True, drained=False, pools=tuple(replace(p, free=None) for p in row.pools))
        for row in full
    ]
    policy = Policy(power_margin=0.0)
    now = schedule(world(*full, jobs=[job(chips, span=span)]), policy, NOW)
    later = schedule(world(*idle, jobs=[job(chips, span=span)]), policy, NOW)
    for refusal in now.refusals:
        assert refusal.never == bool(later.refusals)
