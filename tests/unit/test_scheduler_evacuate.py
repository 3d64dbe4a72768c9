"""Sites that are left: jobs move where there is room, else stop; of some only a share goes."""

from __future__ import annotations

from skep.lifecycle import replay
from skep.model.event import Migrated, Preempted, Resized
from skep.model.job import Elastic, Span
from skep.model.policy import Policy
from skep.sim.watch import whole_log
from tests.pilot import Pilot

LEAVES = Policy(evacuate=("a",))


def evacuated(pilot: Pilot, now: float) -> None:
    """The operator evacuates site a: a new control plane with another policy over the same log."""
    pilot.policy = LEAVES
    pilot.start(now)
    pilot.control.cycle(now)


def test_a_job_goes_where_there_is_room_and_its_chips_are_kept() -> None:
    pilot = Pilot(2, 2)
    pilot.submit("job", 2)
    (run,) = pilot.live()
    assert run.endswith("-a")
    pilot.running(run, now=1.0)
    evacuated(pilot, 10.0)
    (moved,) = pilot.events(Migrated)
    assert isinstance(moved, Migrated)
    assert (moved.runs, [s.site for s in moved.shares]) == ((run,), ["b"])
    assert "a is evacuated" in moved.reason
    pilot.submit("other", 1, now=11.0)
    assert not pilot.live("other")  # b is kept for the job
    pilot.tell(run, "stopped", 20.0)
    (again,) = pilot.live()
    assert again.endswith("-b")
    pilot.check()


def test_without_room_it_stops_and_waits_with_its_age() -> None:
    pilot = Pilot(2, 1)
    pilot.submit("job", 2)
    (run,) = pilot.live()
    pilot.running(run, now=1.0)
    evacuated(pilot, 10.0)
    (stopped,) = pilot.events(Preempted)
    assert isinstance(stopped, Preempted)
    assert (stopped.job, stopped.cause) == ("job", "drain")
    pilot.tell(run, "stopped", 20.0)
    assert (pilot.job().phase, pilot.job().evicted, pilot.live()) == ("waiting", True, {})
    pilot.check()


def test_what_is_not_preemptible_goes_on() -> None:
    pilot = Pilot(2, 2)
    pilot.submit("job", 2, preemptible=False)
    (run,) = pilot.live()
    pilot.running(run, now=1.0)
    evacuated(pilot, 10.0)
    assert pilot.live() == {run: "running"}


def test_of_a_job_over_several_sites_only_the_share_there_goes() -> None:
    pilot = Pilot(2, 2, 2)
    pilot.submit("job", 4, span=Span(min=2))
    runs = list(pilot.live())
    pilot.running(*runs, now=1.0)
    here, there = sorted(runs, key=lambda run: run[-1])
    evacuated(pilot, 10.0)
    assert pilot.live() == {here: "stopping", there: "running"}
    pilot.tell(here, "stopped", 20.0)
    assert pilot.live()[there] == "running"
    assert sorted(run[-1] for run in pilot.live()) == ["b", "c"]
    pilot.check()


def test_an_elastic_job_does_without_its_share_there() -> None:
    pilot = Pilot(2, 2)
    pilot.submit("job", 4, span=Span(min=1, max=2), elastic=Elastic(min=2, max=4))
    runs = list(pilot.live())
    pilot.running(*runs, now=1.0)
    evacuated(pilot, 10.0)
    (resized,) = pilot.events(Resized)
    assert isinstance(resized, Resized)
    assert "does without a share: a is evacuated" in resized.reason
    jobs, _ = replay(whole_log(pilot.store))
    assert len(jobs["job"].shares()) == 1
