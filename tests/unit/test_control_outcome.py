"""What follows when a run ends: retries, losses, gangs, cancels, limits."""

from __future__ import annotations

import pytest

from skep.errors import ConflictError
from skep.model.event import GangExpired, GangReady, Retried
from skep.model.policy import Policy
from tests.pilot import Pilot


def test_a_job_goes_from_waiting_to_its_end() -> None:
    pilot = Pilot(1)
    pilot.submit()
    assert pilot.live() == {"job-a1-a": "assigned"}
    assert pilot.steps("a", 1) == {"job-a1-a": "go"}
    pilot.tell("job-a1-a", "preparing", 2)
    assert pilot.job().phase == "starting"
    pilot.tell("job-a1-a", "running", 3)
    assert (pilot.job().phase, pilot.job().started_at) == ("running", 3)
    answer = pilot.tell("job-a1-a", "succeeded", 9, exit_code=0)
    assert answer.forget == ("job-a1-a",)
    assert (pilot.job().phase, pilot.job().ended_at) == ("succeeded", 9)
    assert pilot.job().reason == "its run succeeded"
    pilot.check()


def test_a_run_too_short_to_be_seen_at_work_has_worked_all_the_same() -> None:
    pilot = Pilot(1)
    pilot.submit()
    pilot.tell("job-a1-a", "succeeded", 3, exit_code=0, started_at=2.5)
    assert (pilot.job().phase, pilot.job().started_at) == ("succeeded", 3)
    pilot.check()


@pytest.mark.parametrize(("code", "words"), [(127, "command not found"), (126, "not executable")])
def test_what_cannot_work_is_not_tried_again(code: int, words: str) -> None:
    pilot = Pilot(1)
    pilot.submit(retries=5)
    pilot.running("job-a1-a", now=1)
    pilot.tell("job-a1-a", "failed", 2, exit_code=code, reason="it ended")
    assert pilot.job().phase == "failed"
    assert words in pilot.job().reason
    pilot.check()


def test_retries_are_used_up_with_growing_delays() -> None:
    pilot, now = Pilot(1, policy=Policy(retry_delay=1.0)), 0.0
    pilot.submit(retries=2)
    for attempt in (1, 2, 3):
        run = f"job-a{attempt}-a"
        pilot.running(run, now=now)
        pilot.tell(run, "failed", now, exit_code=1, reason="boom")
        now += 10.0
        pilot.beat(now)
    assert pilot.job().phase == "failed"
    assert "2 retries are used up" in pilot.job().reason
    delays = [e.not_before - e.at for e in pilot.events(Retried)]
    assert delays == [1.0, 2.0]
    pilot.check()


def test_who_had_worked_is_tried_again_without_a_growing_delay() -> None:
    pilot, now = Pilot(1, policy=Policy(retry_delay=1.0)), 0.0
    pilot.submit(retries=9)
    for attempt, worked in enumerate((10.0, 10.0, 3600.0, 3600.0, 10.0), 1):
        run = f"job-a{attempt}-a"
        pilot.running(run, now=now)
        now += worked
        pilot.tell(run, "failed", now, exit_code=1, reason="a chip failed")
        now += 10.0
        pilot.beat(now)
    delays = [e.not_before - e.at for e in pilot.events(Retried)]
    assert delays == [1.0, 2.0, 1.0, 1.0, 1.0]
    pilot.check()


def test_a_retry_waits_for_its_time() -> None:
    pilot = Pilot(1, policy=Policy(retry_delay=8.0))
    pilot.submit()
    pilot.running("job-a1-a", now=1)
    pilot.tell("job-a1-a", "failed", 2, exit_code=1)
    pilot.control.cycle(9.9)
    assert pilot.live() == {}
    assert pilot.control.next_wake() == pytest.approx(10.0)
    pilot.control.cycle(10.0)
    assert pilot.live() == {"job-a2-a": "assigned"}


def test_a_gang_starts_when_all_its_sites_are_ready() -> None:
    pilot = Pilot(2, 2)
    pilot.submit(chips=4, span={"min": 2})
    assert pilot.steps("a", 1) == {"job-a1-a": "prepare"}
    pilot.tell("job-a1-a", "ready", 2, address="1.1.1.1:5")
    assert pilot.steps("a", 3) == {"job-a1-a": "prepare"}
    pilot.tell("job-a1-b", "ready", 4, address="2.2.2.2:5")
    assert pilot.steps("a", 5) == {"job-a1-a": "go"}
    order = pilot.report("b", 6).orders[0]
    assert (order.step, order.peers, order.site_count) == ("go", {"a": "1.1.1.1:5"}, 2)
    assert len(pilot.events(GangReady)) == 1


def test_a_gang_that_is_not_ready_in_time_gives_its_chips_back_and_says_why() -> None:
    pilot = Pilot(2, 2, policy=Policy(gang_hold=30.0, retry_delay=5.0))
    pilot.submit(chips=4, span={"min": 2})
    pilot.tell("job-a1-a", "ready", 1)
    pilot.tell("job-a1-b", "preparing", 1)
    pilot.control.cycle(29.9)
    assert pilot.events(GangExpired) == []
    assert pilot.control.next_wake() == pytest.approx(30.0)
    pilot.control.cycle(30.0)
    assert pilot.steps("a", 30) == {"job-a1-a": "stop"}
    assert pilot.steps("b", 30) == {"job-a1-b": "stop"}
    assert "not ready within 30 s: b" in pilot.job().decision
    for run in ("job-a1-a", "job-a1-b"):
        pilot.tell(run, "stopped", 31)
    assert pilot.control.world.free.tolist() == [2, 2]
    assert pilot.job().phase == "waiting"
    pilot.control.cycle(35.0)
    assert set(pilot.live()) == {"job-a2-a", "job-a2-b"}
    pilot.check()


def test_a_gang_of_which_one_cannot_start_stops_as_a_whole() -> None:
    pilot = Pilot(2, 2, policy=Policy(retry_delay=1.0))
    pilot.submit(chips=4, span={"min": 2})
    pilot.tell("job-a1-a", "ready", 1)
    pilot.tell("job-a1-b", "failed", 2, exit_code=1, reason="setup failed")
    assert pilot.live() == {"job-a1-a": "stopping"}
    pilot.tell("job-a1-a", "stopped", 3)
    pilot.control.cycle(5.0)
    assert set(pilot.live()) == {"job-a2-a", "job-a2-b"}
    pilot.check()


def test_a_repair_keeps_the_rank_of_its_share_and_the_others_go_on() -> None:
    pilot = Pilot(2, 2, 2, policy=Policy(retry_delay=1.0))
    pilot.submit(chips=4, span={"min": 2})
    runs = [run.run for run in pilot.job().live()]
    pilot.running(*runs, now=1)
    broken = pilot.job().runs[runs[1]].share
    pilot.tell(runs[1], "failed", 2, exit_code=1, reason="boom")
    assert pilot.live() == {runs[0]: "running"}
    pilot.control.cycle(4.0)
    new = next(run for run in pilot.job().live() if run.attempt == 2)
    assert (new.share.rank, new.share.chips) == (broken.rank, broken.chips)
    assert new.share.site != pilot.job().runs[runs[0]].share.site
    assert new.go
    assert (pilot.job().phase, pilot.job().gang) == ("running", 1)
    pilot.running(new.run, now=5)
    pilot.tell(runs[0], "succeeded", 6)
    assert pilot.job().phase == "running"
    pilot.tell(new.run, "succeeded", 7)
    assert pilot.job().phase == "succeeded"
    pilot.check()


def test_all_shares_lost_is_a_new_gang() -> None:
    pilot = Pilot(2, 2, policy=Policy(retry_delay=1.0))
    pilot.submit(chips=4, span={"min": 2})
    pilot.running("job-a1-a", "job-a1-b", now=1)
    pilot.tell("job-a1-a", "failed", 2, exit_code=1)
    pilot.held["b"]["job-a1-b"] = pilot.held["b"]["job-a1-b"].model_copy(
        update={"phase": "failed", "exit_code": 1}
    )
    pilot.beat(2.0, "b")
    pilot.control.cycle(60.0)
    assert (pilot.job().gang, set(pilot.live())) == (2, {"job-a2-a", "job-a2-b"})
    assert not any(run.go for run in pilot.job().live())


class TestCancel:
    def test_while_waiting(self) -> None:
        pilot = Pilot(1)
        pilot.submit("first")
        pilot.submit("job")
        pilot.control.cancel("job", "ada", 1)
        pilot.control.cycle(1)
        assert (pilot.job().phase, pilot.job().reason) == ("cancelled", "cancelled by ada")
        pilot.check()

    @pytest.mark.parametrize("phase", ["preparing", "ready", "running"])
    def test_with_a_run(self, phase: str) -> None:
        pilot = Pilot(1)
        pilot.submit()
        pilot.tell("job-a1-a", phase, 1)
        pilot.control.cancel("job", "ada", 2)
        pilot.control.cycle(2)
        assert pilot.steps("a", 3) == {"job-a1-a": "stop"}
        assert not pilot.job().ended
        pilot.tell("job-a1-a", "stopped", 4)
        assert pilot.job().phase == "cancelled"
        pilot.check()

    def test_a_run_that_the_site_was_never_told_of(self) -> None:
        """The order may be on its way: only an agent that has heard of it can say it is not."""
        pilot = Pilot(1)
        pilot.beat(1.0)
        pilot.submit(now=2)
        pilot.control.cancel("job", "ada", 3)
        pilot.control.cycle(3)
        pilot.report("a", 4, known=pilot.known["a"])
        assert pilot.live() == {"job-a1-a": "stopping"}
        pilot.beat(5.0)
        assert pilot.job().phase == "cancelled"
        pilot.check()

    def test_one_that_succeeds_meanwhile_is_cancelled_all_the_same(self) -> None:
        pilot = Pilot(1)
        pilot.submit()
        pilot.running("job-a1-a", now=1)
        pilot.control.cancel("job", "ada", 2)
        pilot.tell("job-a1-a", "succeeded", 3)
        assert pilot.job().phase == "cancelled"

    def test_between_two_attempts(self) -> None:
        pilot = Pilot(1, policy=Policy(retry_delay=100.0))
        pilot.submit()
        pilot.running("job-a1-a", now=1)
        pilot.tell("job-a1-a", "failed", 2, exit_code=1)
        pilot.control.cancel("job", "ada", 3)
        pilot.control.cycle(3)
        assert pilot.job().phase == "cancelled"

    def test_twice_and_too_late(self) -> None:
        pilot = Pilot(1)
        pilot.submit()
        pilot.control.cancel("job", "ada", 1)
        version = pilot.job().version
        pilot.control.cancel("job", "ada", 1)
        assert pilot.job().version == version
        pilot.beat(2.0)
        pilot.beat(3.0)
        assert pilot.job().ended
        with pytest.raises(ConflictError, match="cancelled already"):
            pilot.control.cancel("job", "ada", 4)


class TestTimeLimit:
    def test_it_ends_the_job(self) -> None:
        pilot = Pilot(1)
        pilot.submit(time_limit=50.0, retries=3)
        pilot.running("job-a1-a", now=10)
        pilot.beat(59.0)
        assert pilot.live() == {"job-a1-a": "running"}
        assert pilot.control.next_wake() == pytest.approx(60.0)
        pilot.beat(60.0)
        assert pilot.steps("a", 61) == {"job-a1-a": "stop"}
        pilot.tell("job-a1-a", "stopped", 62)
        assert (pilot.job().phase, pilot.job().reason) == ("failed", "time limit of 50 s reached")
        pilot.check()

    def test_it_ends_a_job_between_two_attempts(self) -> None:
        pilot = Pilot(1, policy=Policy(retry_delay=100.0))
        pilot.submit(time_limit=50.0)
        pilot.running("job-a1-a", now=10)
        pilot.tell("job-a1-a", "failed", 20, exit_code=1)
        pilot.beat(60.0)
        assert pilot.job().phase == "failed"
        assert "time limit" in pilot.job().reason
        pilot.check()

    def test_time_in_the_queue_does_not_count(self) -> None:
        pilot = Pilot(1)
        pilot.submit("first")
        pilot.submit("job", time_limit=50.0)
        pilot.beat(55.0)
        pilot.beat(110.0)
        assert pilot.job().phase == "waiting"
