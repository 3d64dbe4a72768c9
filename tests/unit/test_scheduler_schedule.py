"""The decisions that the guide promises, one small world each."""

from __future__ import annotations

import gc
import weakref

import pytest

from skep.model.job import ChipRequest
from skep.model.policy import Policy, Queue
from skep.model.snapshot import Placement, Plan, Refusal, Snapshot
from skep.scheduler import schedule
from tests.builders import job, pool, repair, site, world

POLICY = Policy(power_margin=0.0)
NOW = 1000.0


def plan_of(snapshot: Snapshot, policy: Policy = POLICY) -> Plan:
    return schedule(snapshot, policy, NOW)


def chips_of(placement: Placement) -> dict[str, int]:
    return {share.site: share.chips for share in placement.shares}


def placed(snapshot: Snapshot, policy: Policy = POLICY) -> dict[str, dict[str, int]]:
    return {p.job: chips_of(p) for p in plan_of(snapshot, policy).placements}


def refused(snapshot: Snapshot, policy: Policy = POLICY) -> Refusal:
    (refusal,) = plan_of(snapshot, policy).refusals
    return refusal


THREE = (
    site("ulanqab", 2, watts=8.0, idle=4.8, pue=1.2, cap=30.0),
    site("lulea", 1, watts=8.0, idle=2.2, pue=1.1, cap=15.0),
    site("sweetwater", 1, watts=8.0, idle=2.4, pue=1.2, cap=15.0),
)


def test_nothing_waits_nothing_is_decided() -> None:
    assert plan_of(world(*THREE)) == Plan()


def test_the_example_job_takes_all_three_sites_the_strong_one_twice() -> None:
    (placement,) = plan_of(world(*THREE, jobs=[job(4, span=(2, 3), elastic=(2, 4))])).placements
    assert [(s.site, s.chips, s.rank) for s in placement.shares] == [
        ("ulanqab", 2, 0),
        ("lulea", 1, 1),
        ("sweetwater", 1, 2),
    ]
    assert [s.power for s in placement.shares] == pytest.approx([19.2, 8.8, 9.6])
    assert placement.reason == (
        "4 of 2 to 4 chips, 3 sites, the fewest that fit, split by strength; 0 % clean power"
    )


def test_priority_then_age_then_id() -> None:
    jobs = [
        job(1, job="old", submitted_at=1.0),
        job(1, job="b", submitted_at=2.0),
        job(1, job="a", submitted_at=2.0),
        job(1, job="urgent", submitted_at=9.0, priority=1),
    ]
    plan = plan_of(world(site("ash", 3), jobs=jobs))
    assert [p.job for p in plan.placements] == ["urgent", "old", "a"]
    assert [r.job for r in plan.refusals] == ["b"]


def test_a_large_job_ahead_does_not_hold_back_a_small_one() -> None:
    assert placed(world(site("ash", 4), jobs=[job(9), job(4)])) == {"j2": {"ash": 4}}


def test_one_site_if_one_will_do_else_the_fewest() -> None:
    rows = (site("ash", 4), site("elm", 4), site("oak", 6))
    assert placed(world(*rows, jobs=[job(6, span=(1, 3))])) == {"j1": {"oak": 6}}
    assert len(placed(world(*rows, jobs=[job(9, span=(1, 3))]))["j1"]) == 2
    assert len(placed(world(*rows, jobs=[job(9, span=3)]))["j1"]) == 3


def test_the_first_alternative_that_fits() -> None:
    rows = (site("ash", pool(4), pool(8, "h100-sxm", free=1, speed=9.0)),)
    wish = [ChipRequest(kind="h100-sxm", count=2), ChipRequest(kind="cpu-core", count=4)]
    assert placed(world(*rows, jobs=[job(wish)])) == {"j1": {"ash": 4}}
    (refusal,) = plan_of(world(*rows, jobs=[job(wish), job(wish)])).refusals
    assert refusal.sites == {"1 of 8 h100-sxm free": ("ash",)}


def test_any_kind_takes_the_most_plentiful() -> None:
    rows = (site("ash", pool(2, "h100-sxm")), site("elm", pool(9)))
    assert placed(world(*rows, jobs=[job(2, kind=None)])) == {"j1": {"elm": 2}}
    assert placed(world(site("ash", pool(2, "h100-sxm")), jobs=[job(2, kind=None)]))


def test_elastic_takes_what_is_free_within_its_range() -> None:
    wish = {"elastic": (2, 5)}
    assert placed(world(site("ash", 4), jobs=[job(3, **wish)])) == {"j1": {"ash": 4}}
    assert placed(world(site("ash", 9), jobs=[job(3, **wish)])) == {"j1": {"ash": 5}}
    assert placed(world(site("ash", 1), jobs=[job(3, **wish)])) == {}


def test_clean_power_first_then_the_fuller_pool_then_the_name() -> None:
    clean = (site("ash", 8), site("elm", 8, clean=0.9))
    assert placed(world(*clean, jobs=[job(2)])) == {"j1": {"elm": 2}}
    fuller = (site("ash", 8), site("elm", 8, free=3))
    assert placed(world(*fuller, jobs=[job(2)])) == {"j1": {"elm": 2}}
    assert placed(world(site("elm", 8), site("ash", 8), jobs=[job(2)])) == {"j1": {"ash": 2}}


def test_two_jobs_of_one_cycle_do_not_exceed_a_cap_together() -> None:
    rows = site("ash", 8, watts=10.0, idle=5.0, cap=50.0)
    plan = plan_of(world(rows, jobs=[job(3), job(3), job(1)]))
    assert [p.job for p in plan.placements] == ["j1", "j3"]
    (refusal,) = plan.refusals
    assert refusal.sites == {"power: 5 W free under the cap of 50 W, 30 W needed": ("ash",)}
    assert refusal.remedy == "starts when 25 W more are free under the cap of ash"


def test_the_power_margin_is_kept_free() -> None:
    rows = site("ash", 2, watts=10.0, cap=20.0)
    assert placed(world(rows, jobs=[job(2)]), Policy(power_margin=0.0))
    assert not placed(world(rows, jobs=[job(2)]), Policy(power_margin=0.02))


def test_quota_counts_what_runs_and_what_this_plan_gives() -> None:
    policy = Policy(queues=(Queue(name="default", max_chips=5),))
    plan = plan_of(
        world(site("ash", 9), jobs=[job(2), job(2), job(9)], held={"default": 2}), policy
    )
    assert [p.job for p in plan.placements] == ["j1"]
    assert [(r.reason, r.remedy, r.never) for r in plan.refusals] == [
        (
            "queue default holds 4 of 5 chips, 2 more are asked",
            "starts when queue default holds 1 chip fewer",
            False,
        ),
        (
            "queue default holds 4 of 5 chips, 9 more are asked",
            "ask for 5 chips or fewer: the quota of queue default",
            True,
        ),
    ]


def test_quota_cuts_an_elastic_job_to_what_is_left() -> None:
    policy = Policy(queues=(Queue(name="default", max_chips=3),))
    assert placed(world(site("ash", 9), jobs=[job(2, elastic=(2, 8))]), policy) == {
        "j1": {"ash": 3}
    }


def test_each_site_says_its_own_first_reason() -> None:
    rows = (
        site("down", 8, up=False),
        site("quiet", 8, drained=True),
        site("other", pool(8, "tpu")),
        site("busy", 8, free=2),
        site("capped", 8, watts=100.0, cap=400.0),
    )
    refusal = refused(world(*rows, jobs=[job(6)]))
    assert refusal.sites == {
        "site is lost": ("down",),
        "site is drained": ("quiet",),
        "has no cpu-core": ("other",),
        "2 of 8 cpu-core free": ("busy",),
        "power: 400 W free under the cap of 400 W, 600 W needed": ("capped",),
    }
    assert refusal.reason == "needs 6 cpu-core at one site: 4 could be had now"
    assert refusal.remedy == "starts when 4 more cpu-core are free at busy; or raise span.max to 2"
    assert not refusal.never


def test_many_sites_that_differ_in_numbers_are_one_reason() -> None:
    rows = [site(f"s{n}", 8, free=n) for n in range(6)]
    refusal = refused(world(*rows, jobs=[job(7)]))
    assert refusal.sites == {"0 to 5 of 8 cpu-core free": tuple(f"s{n}" for n in range(6))}


def test_what_no_idle_pool_could_hold_is_never() -> None:
    refusal = refused(world(site("ash", 3, free=0), site("elm", 3), jobs=[job(7, span=(1, 2))]))
    assert refusal.never
    assert refusal.remedy == "ask for 6 chips or fewer: the pool has 6 cpu-core"
    wider = refused(world(*THREE, jobs=[job(4)]))
    assert wider.never
    assert wider.remedy.startswith("raise span.max to 3; or ask for 2 chips or fewer")


def test_a_lost_site_that_would_do_is_waited_for() -> None:
    refusal = refused(world(site("ash", 8, up=False), site("elm", 2), jobs=[job(8)]))
    assert (refusal.never, refusal.remedy) == (False, "starts when ash is back")


def test_sites_of_one_job_are_linked() -> None:
    rows = (site("ash", 4), site("elm", 4), site("oak", 4))
    linked = world(*rows, jobs=[job(8, span=2)], links=[("elm", "oak")])
    assert placed(linked) == {"j1": {"elm": 4, "oak": 4}}
    refusal = refused(world(*rows, jobs=[job(8, span=2)], links=[]))
    assert refusal.sites == {
        "no link to elm, oak": ("ash",),
        "no link to ash, oak": ("elm",),
        "no link to ash, elm": ("oak",),
    }


def test_of_equal_sites_the_better_linked_ones() -> None:
    rows = (site("ash", 4), site("elm", 4), site("oak", 4))
    links = {("ash", "elm"): 1e6, ("ash", "oak"): 1e9, ("elm", "oak"): 1e6}
    assert placed(world(*rows, jobs=[job(8, span=2)], links=links)) == {"j1": {"ash": 4, "oak": 4}}


def test_whole_nodes_and_blocks_are_counted() -> None:
    rows = (site("ash", pool(64, "h100-sxm", node=8, block=32, free=60)),)
    snapshot = world(*rows, jobs=[job(40, kind="h100-sxm", per="node"), job(3, kind="h100-sxm")])
    first, second = (p.shares[0] for p in plan_of(snapshot).placements)
    assert (first.chips, first.nodes, first.blocks) == (40, 5, 2)
    assert (second.chips, second.nodes, second.blocks) == (3, 1, 1)
    assert not placed(world(*rows, jobs=[job(12, kind="h100-sxm", per="node")]))
    assert not placed(world(*rows, jobs=[job(60, kind="h100-sxm", per="node")]))


def test_a_repair_joins_no_site_of_the_job_and_keeps_its_rank() -> None:
    rows = (site("ash", 9), site("elm", 4), site("oak", 4))
    (placement,) = plan_of(world(*rows, jobs=[repair(3, ["ash"], rank=2)])).placements
    assert placement.repair
    assert [(s.site, s.chips, s.rank) for s in placement.shares] == [("elm", 3, 2)]


def test_a_repair_needs_links_to_the_sites_where_the_job_runs() -> None:
    rows = (site("ash", 9), site("elm", 4), site("oak", 4))
    linked = world(*rows, jobs=[repair(3, ["ash"])], links=[("ash", "oak")])
    assert placed(linked) == {"j1": {"oak": 3}}
    refusal = refused(world(*rows, jobs=[repair(3, ["ash"])], links=[("elm", "oak")]))
    assert refusal.sites == {
        "the job already runs there": ("ash",),
        "no link to ash": ("elm", "oak"),
    }


def test_sites_that_failed_a_job_are_avoided_while_others_fit() -> None:
    rows = (site("ash", 4), site("elm", 4))
    avoid = frozenset({"ash"})
    snapshot = world(*rows, jobs=[job(4, avoid=avoid), job(4, avoid=avoid)])
    assert placed(snapshot) == {"j1": {"elm": 4}, "j2": {"ash": 4}}
    soft = world(*rows, jobs=[repair(4, ["oak"], avoid=["ash"])])
    assert placed(soft) == {"j1": {"elm": 4}}


def test_a_job_that_waits_to_retry_says_until_when() -> None:
    refusal = refused(world(site("ash", 4), jobs=[job(1, not_before=NOW + 60)]))
    assert refusal.reason == "waits to retry until 1970-01-01 00:17:40 UTC"
    assert placed(world(site("ash", 4), jobs=[job(1, not_before=NOW)]))


def test_equal_jobs_share_one_explanation() -> None:
    plan = plan_of(world(site("ash", 1), jobs=[job(2), job(2, priority=3)]))
    first, second = plan.refusals
    assert (first.job, second.job) == ("j2", "j1")
    assert first.sites is second.sites


def test_parts_of_nodes_at_several_sites_make_no_whole_node() -> None:
    rows = (site("ash", pool(4, node=2, free=3)), site("elm", pool(4, node=2, free=3)))
    assert placed(world(*rows, jobs=[job(4, span=2, per="node")])) == {"j1": {"ash": 2, "elm": 2}}
    assert not placed(world(*rows, jobs=[job(6, span=2, per="node")]))
    elastic = job(6, span=2, per="node", elastic=(2, 6))
    assert placed(world(*rows, jobs=[elastic])) == {"j1": {"ash": 2, "elm": 2}}


def test_a_plan_goes_with_its_last_reader_and_waits_for_no_collector() -> None:
    snapshot = world(*THREE, jobs=[job(1, job="a"), job(99, job="b"), job(2, span=(2, 3))])
    gc.collect()
    gc.disable()
    try:
        plan = plan_of(snapshot)
        assert len(tuple(plan.placements)) + len(tuple(plan.refusals)) == 3
        board = weakref.ref(plan.refusals._board)  # type: ignore[attr-defined]
        del plan
        assert board() is None
    finally:
        gc.enable()
