"""Silent sites: when a run counts as lost, and what happens when a site comes back."""

from __future__ import annotations

import random

import pytest

from skep.errors import StoreError
from skep.model.event import SiteJoined, SiteLost, SiteReturned
from skep.model.message import RunReport
from skep.model.policy import Policy
from tests.pilot import LEASE, Pilot
from tests.trouble import FullDisk

SILENT = LEASE.duration + LEASE.grace


def one_running(on_site_loss: str = "replace", chips: tuple[int, ...] = (1, 1)) -> Pilot:
    pilot = Pilot(*chips)
    pilot.submit(on_site_loss=on_site_loss)
    pilot.running("job-a1-a", now=0.0)
    return pilot


def test_a_run_is_lost_only_after_lease_and_grace() -> None:
    pilot = one_running()
    assert pilot.control.next_wake() == pytest.approx(SILENT)
    pilot.beat(SILENT - 0.1, "b")
    assert pilot.live() == {"job-a1-a": "running"}
    pilot.beat(SILENT, "b")
    assert pilot.run("job-a1-a").phase == "lost"
    assert pilot.live() == {"job-a2-b": "assigned"}
    assert pilot.control.world.sites["a"].phase == "lost"
    assert f"silent for {SILENT:.0f} s" in pilot.run("job-a1-a").reason
    pilot.check()


def test_a_returning_site_is_told_to_stop_what_is_not_its_any_more() -> None:
    pilot = one_running()
    pilot.beat(SILENT, "b")
    answer = pilot.report("a", SILENT + 1)
    assert answer.orders == ()  # reported and not ordered: to be stopped
    assert answer.forget == ()
    pilot.tell("job-a1-a", "stopped", SILENT + 2)
    assert pilot.held["a"] == {}
    assert [type(e) for e in pilot.events() if e.site == "a"][-2:] == [SiteLost, SiteReturned]
    assert pilot.live() == {"job-a2-b": "assigned"}
    pilot.check()


def test_a_lost_site_takes_no_new_runs() -> None:
    pilot = Pilot(1, 1)
    pilot.beat(SILENT, "b")
    pilot.submit("x", now=SILENT)
    pilot.submit("y", now=SILENT)
    assert pilot.live("x") == {"x-a1-b": "assigned"}
    assert pilot.live("y") == {}
    pilot.beat(SILENT + 1)
    assert pilot.live("y") == {"y-a1-a": "assigned"}


def test_a_job_that_waits_for_its_site_keeps_its_run() -> None:
    pilot = one_running("wait")
    pilot.beat(SILENT + 100, "b")
    assert pilot.control.world.sites["a"].phase == "lost"
    assert pilot.live() == {"job-a1-a": "running"}
    assert pilot.steps("a", SILENT + 200) == {"job-a1-a": "go"}
    pilot.tell("job-a1-a", "succeeded", SILENT + 201)
    assert pilot.job().phase == "succeeded"


def test_one_that_waits_but_never_started_goes_elsewhere() -> None:
    pilot = Pilot(2, 2, 2)
    pilot.submit(chips=4, span={"min": 2}, on_site_loss="wait")
    runs = {run.share.site: run.run for run in pilot.job().live()}
    gone, stays = sorted(runs)
    pilot.tell(runs[stays], "ready", 1)
    pilot.beat(SILENT, stays, "c")
    assert pilot.run(runs[gone]).phase == "lost"
    assert pilot.live() == {runs[stays]: "stopping"}
    pilot.tell(runs[stays], "stopped", SILENT + 1)
    pilot.beat(SILENT + 2, stays, "c")
    assert {run.share.site for run in pilot.job().live()} == {stays, "c"}


def test_a_job_that_is_to_fail_with_its_site_fails() -> None:
    pilot = Pilot(2, 2)
    pilot.submit(chips=4, span={"min": 2}, on_site_loss="fail")
    pilot.running("job-a1-a", "job-a1-b", now=0.0)
    pilot.beat(SILENT, "b")
    assert pilot.live() == {"job-a1-b": "stopping"}
    pilot.tell("job-a1-b", "stopped", SILENT + 1)
    assert pilot.job().phase == "failed"
    assert "on_site_loss is fail" in pilot.job().reason
    pilot.check()


def test_two_sites_lost_at_once() -> None:
    pilot = Pilot(2, 2)
    pilot.submit(chips=4, span={"min": 2}, on_site_loss="fail")
    pilot.running("job-a1-a", "job-a1-b", now=0.0)
    pilot.control.cycle(SILENT)
    assert pilot.job().phase == "failed"
    pilot.check()


def test_a_cancelled_job_does_not_wait_for_a_lost_site() -> None:
    pilot = one_running("wait")
    pilot.beat(SILENT, "b")
    pilot.control.cancel("job", "ada", SILENT + 1)
    pilot.control.cycle(SILENT + 1)
    assert pilot.job().phase == "cancelled"
    assert pilot.report("a", SILENT + 2).orders == ()
    pilot.check()


def test_a_limit_does_not_wait_for_a_lost_site() -> None:
    pilot = Pilot(1, 1)
    pilot.submit(on_site_loss="wait", time_limit=200.0)
    pilot.running("job-a1-a", now=0.0)
    for now in (50.0, 100.0, 150.0, 200.0):
        pilot.beat(now, "b")
    assert pilot.job().phase == "failed"
    pilot.check()


def test_a_restarted_agent_keeps_its_runs() -> None:
    pilot = one_running()
    pilot.agents["a"] = "a-2"
    pilot.known["a"] = -1
    answer = pilot.report("a", 5.0)
    assert [order.run for order in answer.orders] == ["job-a1-a"]
    assert pilot.live() == {"job-a1-a": "running"}
    joined = [e for e in pilot.events(SiteJoined) if e.site == "a"]
    assert joined[-1].agent == "a-2"  # type: ignore[attr-defined]


def test_a_run_that_its_site_has_forgotten_is_placed_again() -> None:
    pilot = one_running()
    pilot.beat(1.0)
    pilot.held["a"].clear()
    pilot.agents["a"], pilot.known["a"] = "a-2", -1
    pilot.beat(2.0)
    assert pilot.live() == {"job-a1-a": "running"}  # it may be that it was not asked yet
    pilot.beat(3.0)
    assert pilot.run("job-a1-a").phase == "lost"
    assert "no longer knows" in pilot.run("job-a1-a").reason


def test_an_older_report_that_comes_late_changes_nothing() -> None:
    pilot = Pilot(1)
    pilot.submit()
    pilot.running("job-a1-a", now=1)
    log = len(pilot.events())
    pilot.held["a"].clear()
    pilot.report("a", 2, number=1, known=10**15)
    assert len(pilot.events()) == log


def test_whoever_is_answered_has_a_lease() -> None:
    """Also one whose report came after a later one: its agent counts on the answer all the same."""
    pilot = one_running()
    pilot.report("a", 1.0, number=100)
    pilot.report("a", 41.0, number=50)
    pilot.beat(40.0 + SILENT, "b")
    assert pilot.live() == {"job-a1-a": "running"}
    pilot.beat(41.0 + SILENT, "b")
    assert pilot.run("job-a1-a").phase == "lost"


def test_a_report_that_could_not_be_written_down_outdates_no_other() -> None:
    store = FullDisk(random.Random(0), 0.0)
    pilot = Pilot(1, store=store)
    pilot.submit()
    pilot.held["a"]["job-a1-a"] = RunReport(run="job-a1-a", phase="running")
    store.share = 1.0
    with pytest.raises(StoreError):
        pilot.report("a", 1.0, number=100)
    store.share = 0.0
    pilot.report("a", 2.0, number=50)
    assert pilot.live() == {"job-a1-a": "running"}
    pilot.check()


def test_a_new_control_plane_gives_every_site_a_fresh_lease() -> None:
    pilot = one_running()
    before = pilot.control.world
    pilot.agents.pop("a")
    pilot.held.pop("a")  # it stays silent
    pilot.start(SILENT - 1)
    assert pilot.control.world.jobs == before.jobs
    assert pilot.control.world.free.tolist() == before.free.tolist()
    pilot.beat(2 * SILENT - 1.5, "b")
    assert pilot.live() == {"job-a1-a": "running"}
    pilot.beat(2 * SILENT - 1, "b")
    assert pilot.live() == {"job-a2-b": "assigned"}
    pilot.check()


def test_a_limit_outlives_the_control_plane() -> None:
    pilot = Pilot(1, policy=Policy())
    pilot.submit(time_limit=100.0)
    pilot.running("job-a1-a", now=0.0)
    pilot.start(50.0)
    pilot.beat(51.0)
    assert pilot.control.next_wake() == pytest.approx(100.0)
    pilot.beat(100.0)
    assert pilot.live() == {"job-a1-a": "stopping"}


def test_a_late_report_of_a_replaced_agent_ends_no_run_of_the_new_one() -> None:
    pilot = Pilot(1)
    pilot.submit(now=1)
    before = pilot.known["a"]
    pilot.running("job-a1-a", now=2)
    pilot.agents["a"] = "a-2"
    pilot.beat(3)
    held, pilot.held["a"] = pilot.held["a"], {}
    pilot.report("a", 4, agent="a-1", number=1, known=before + 1000)
    assert pilot.live() == {"job-a1-a": "running"}
    pilot.held["a"] = held
    pilot.beat(5)
    assert pilot.live() == {"job-a1-a": "running"}
    pilot.check()
