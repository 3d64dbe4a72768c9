"""Where a job is placed: blocks, links, data, kinds by what they are worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skep.model.job import ChipRequest, Exchange, Job, Worth
from skep.model.policy import Policy
from skep.model.snapshot import Held, HeldShare, Holder, Plan, Refusal, Snapshot
from skep.scheduler import schedule
from skep.scheduler.blocks import pick
from tests.builders import job, pool, site, world

POLICY = Policy(power_margin=0.0)


def plan_of(snapshot: Snapshot) -> Plan:
    return schedule(snapshot, POLICY, 1000.0)


def shares_of(snapshot: Snapshot) -> list[tuple[str, str, int]]:
    return [(s.site, s.chip, s.chips) for p in plan_of(snapshot).placements for s in p.shares]


def refused(snapshot: Snapshot) -> Refusal:
    (refusal,) = plan_of(snapshot).refusals
    return refusal


def in_blocks(snapshot: Snapshot, *free: int) -> Snapshot:
    """The first pool with so many chips free in each of its blocks."""
    pools = replace(
        snapshot.pools,
        first_block=np.array([0, len(free)]),
        block_free=np.array(free),
        free=np.array([sum(free)]),
    )
    return replace(snapshot, pools=pools)


@pytest.mark.parametrize(
    ("free", "chips", "parts"),
    [
        ([4, 2, 3], 2, ((1, 2),)),
        ([4, 2, 3], 3, ((2, 3),)),
        ([4, 2, 3], 6, ((0, 4), (1, 2))),
        ([4, 4, 1], 5, ((0, 4), (2, 1))),
        ([1, 1, 1], 3, ((0, 1), (1, 1), (2, 1))),
    ],
)
def test_the_fewest_blocks_and_of_those_the_fullest(
    free: list[int], chips: int, parts: tuple[tuple[int, int], ...]
) -> None:
    assert pick(free, chips) == parts


def test_within_one_block_or_not_at_all() -> None:
    rows = site("ash", pool(12, block=4))
    wish = {"within": "block"}
    fits = in_blocks(world(rows, jobs=[job(3, shape=wish)]), 2, 3, 2)
    (share,) = plan_of(fits).placements[0].shares
    assert share.in_blocks == ((1, 3),)
    apart = in_blocks(world(rows, jobs=[job(3, shape=wish)]), 2, 2, 2)
    assert refused(apart).sites == {"no block has 3 cpu-core free": ("ash",)}
    assert shares_of(in_blocks(world(rows, jobs=[job(3)]), 2, 2, 2)) == [("ash", "cpu-core", 3)]


def test_a_job_of_one_block_goes_where_a_block_is_whole() -> None:
    rows = (site("ash", pool(8, block=4)), site("elm", pool(8, block=4)))
    snapshot = world(*rows, jobs=[job(4)])
    blocks = replace(
        snapshot.pools,
        first_block=np.array([0, 2, 4]),
        block_free=np.array([2, 2, 4, 4]),
        free=np.array([4, 8]),
    )
    assert shares_of(replace(snapshot, pools=blocks)) == [("elm", "cpu-core", 4)]


def test_links_between_the_sites_are_good_enough() -> None:
    rows = (site("ash", 4), site("elm", 4), site("oak", 4))
    links = {("ash", "elm"): 1e6, ("ash", "oak"): 1e6, ("elm", "oak"): 1e9}
    wish = {"exchange": Exchange(bandwidth=1e8)}
    assert shares_of(world(*rows, jobs=[job(8, span=2, shape=wish)], links=links)) == [
        ("elm", "cpu-core", 4),
        ("oak", "cpu-core", 4),
    ]
    more = {"exchange": Exchange(bandwidth=1e10)}
    refusal = refused(world(*rows, jobs=[job(8, span=2, shape=more)], links=links))
    assert all(reason.startswith("no link good enough to ") for reason in refusal.sites)
    slow = world(*rows, jobs=[job(8, span=2, shape={"exchange": Exchange(rtt=0.01)})], links=links)
    rtt = np.full((3, 3), 0.1)
    assert refused(replace(slow, sites=replace(slow.sites, rtt=rtt)))


def test_near_its_data_even_where_power_is_cleaner_elsewhere() -> None:
    rows = (site("ash", 4, clean=1.0), site("elm", 4))
    assert shares_of(world(*rows, jobs=[job(2, shape={"data": ("elm",)})]))[0][0] == "elm"
    full = (site("ash", 4, clean=1.0), site("elm", 4, free=1))
    assert shares_of(world(*full, jobs=[job(2, shape={"data": ("elm",)})]))[0][0] == "ash"


def test_no_more_than_so_many_at_one_site() -> None:
    rows = (site("ash", 9), site("elm", 3), site("oak", 3))
    found = shares_of(world(*rows, jobs=[job(8, span=(1, 3), shape={"spread": 3})]))
    assert sorted(chips for _, _, chips in found) == [2, 3, 3]
    assert refused(world(*rows, jobs=[job(10, span=(1, 3), shape={"spread": 3})]))


STRONG = pool(8, "h100-sxm", free=2, speed=10.0)


def worth(count: int, *kinds: str) -> list[ChipRequest]:
    wish = Worth(kind="h100-sxm", count=count)
    return [ChipRequest(count=count, as_good_as=wish, kinds=kinds)]


def test_as_many_weak_chips_as_do_the_work_of_strong_ones() -> None:
    rows = site("ash", STRONG, pool(50, speed=1.0))
    assert shares_of(world(rows, jobs=[job(worth(4))])) == [("ash", "cpu-core", 40)]
    assert shares_of(world(rows, jobs=[job(worth(1), shape={"mixed": False})]))
    only = world(rows, jobs=[job(worth(4, "h100-sxm"))])
    assert refused(only).sites == {"2 of 8 h100-sxm free": ("ash",)}


def test_kinds_are_mixed_where_the_job_allows_it() -> None:
    rows = (site("ash", pool(8, "h100-sxm", free=2, speed=10.0)), site("elm", pool(30, speed=1.0)))
    wish = worth(4)
    assert refused(world(*rows, jobs=[job(wish, span=2)]))
    found = shares_of(world(*rows, jobs=[job(wish, span=2, shape={"mixed": True})]))
    assert sum(chips * (10 if kind == "h100-sxm" else 1) for _, kind, chips in found) >= 40
    assert {kind for _, kind, _ in found} == {"h100-sxm", "cpu-core"}


def test_of_alternatives_the_one_that_makes_the_job_fastest() -> None:
    rows = site("ash", pool(8, "h100-sxm", speed=10.0), pool(50, speed=1.0))
    many, few = ChipRequest(kind="cpu-core", count=30), ChipRequest(kind="h100-sxm", count=4)
    assert shares_of(world(rows, jobs=[job([many, few])])) == [("ash", "h100-sxm", 4)]


def fragmentation(free: list[int], wanted: int) -> float:
    """Part of the free chips that no job of ``wanted`` chips at one site can have."""
    return 1.0 - sum(chips // wanted * wanted for chips in free) / sum(free)


def test_best_fit_leaves_less_in_pieces_than_first_fit() -> None:
    rng = np.random.default_rng(3)
    ours, first = [], []
    for _ in range(20):
        sizes = rng.integers(40, 100, 12).tolist()
        wishes = rng.integers(1, 20, 40).tolist()
        rows = [site(f"s{n:02d}", pool(100, free=size)) for n, size in enumerate(sizes)]
        snapshot = world(*rows, jobs=[job(int(n)) for n in wishes])
        left = list(sizes)
        for name, _, chips in shares_of(snapshot):
            left[int(name[1:])] -= chips
        ours.append(fragmentation(left, 32))
        simple = list(sizes)
        for chips in wishes:
            at = next((n for n, free in enumerate(simple) if free >= chips), None)
            if at is not None:
                simple[at] -= chips
        first.append(fragmentation(simple, 32))
    assert np.mean(ours) < np.mean(first)


def test_of_alternatives_the_one_that_is_faster_for_this_job() -> None:
    rows = site("ash", pool(8, "old", speed=1.0), pool(8, "new", speed=1.5))
    asked = [ChipRequest(kind="new", count=4), ChipRequest(kind="old", count=4)]
    plain, own = job(asked), job(asked, shape={"rates": (("old", 2.0), ("new", 1.0))})
    assert shares_of(world(rows, jobs=[plain])) == [("ash", "new", 4)]
    assert shares_of(world(rows, jobs=[own])) == [("ash", "old", 4)]


def test_as_good_as_others_in_whole_nodes_is_rounded_up_to_them() -> None:
    worth = Worth(kind="new", count=5)
    asked = [ChipRequest(count=5, as_good_as=worth, kinds=("old",))]
    rows = site("ash", pool(16, "old", node=4, speed=1.0), pool(8, "new", speed=1.5))
    assert shares_of(world(rows, jobs=[job(asked, per="node")])) == [("ash", "old", 8)]


def test_a_job_within_one_block_is_promised_the_block_that_comes_free_first() -> None:
    """Chips enough come free sooner, but in two blocks; a long job leaves the promised one."""
    runs = [("a", 2, ((0, 2),), 100.0), ("b", 2, ((1, 2),), 100.0), ("c", 2, ((1, 2),), 300.0)]
    holders = [
        Holder(
            job=name,
            spec=Job(name=name, run="x"),
            priority=0,
            began=0.0,
            end=1000.0 + left,
            shares=(HeldShare(f"{name}-a1", 0, chips, 0.0, 0, stopping=False, parts=parts),),
        )
        for name, chips, parts, left in runs
    ]
    column = np.array([h.end for h in holders])
    none, ones = np.zeros(3), np.ones(3, dtype=np.int64)
    held = Held(column, 2 * ones, none, 0 * ones, none, none, none, none + 1, 0 * ones, none,
                tuple(holders), lowest=0.0)  # fmt: skip
    large = job(4, shape={"within": "block", "length": 50.0})
    long = job(1, shape={"length": 5000.0}, job="long", submitted_at=9.0)
    snapshot = world(site("ash", pool(8, block=4, free=2)), jobs=[large, long])
    plan = plan_of(replace(in_blocks(snapshot, 2, 0), running=(held,)))
    (promise,) = plan.reservations
    assert (promise.start, promise.shares[0].in_blocks) == (1100.0, ((0, 4),))
    assert [p.job for p in plan.placements] == []  # all that is free now lies in that block
