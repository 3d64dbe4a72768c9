"""The control plane under random faults, in simulated time: its promises hold, every job ends."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from skep.model.job import ChipRequest, Job
from skep.sim.faults import Break
from skep.sim.workload import Arrival
from tests.trouble import CHIP, Trouble, TroubledTwin, troubles

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(troubles())
def test_whatever_breaks_no_promise_does_and_every_job_ends(trouble: Trouble) -> None:
    twin = TroubledTwin(trouble)
    twin.play()
    assert twin.control is not None
    world = twin.control.world
    left = {name: world.jobs[name] for name in world.active}
    assert left == {}
    assert {a.id for a in trouble.arrivals} == twin.acknowledged | twin.refused.keys()
    twin.watch.check_all(twin.control, twin.acknowledged, twin.agenda.now)
    assert twin.watch.violations == []
    assert (world.free == world.topology.total).all()
    assert (world.drawn == world.topology.idle).all()


def late_word(seed: int) -> Trouble:
    """An agent is started again within a second while its messages take up to 40 s."""
    spec = Job(name="work", run="work", chips=(ChipRequest(kind=CHIP.kind, count=1),))
    return Trouble(
        chips=(1, 1, 1),
        spare=(1.0, 1.0, 1.0),
        arrivals=(Arrival(at=1.0, id="job-0", spec=spec, duration=30.0),),
        faults=(Break(at=1.0, kind="site_lost", site="ash", lasts=1.0),),
        slow=40.0,
        setup=0.0,
        stop_takes=0.0,
        seed=seed,
    )


def test_a_late_word_of_an_agent_that_is_gone_does_not_silence_the_one_that_is_there() -> None:
    for seed in range(60):
        twin = TroubledTwin(late_word(seed))
        twin.play()
        assert twin.control is not None
        assert not twin.control.world.active, seed
