"""The control plane under random faults, in simulated time: its promises hold, every job ends."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.trouble import Trouble, TroubledTwin, troubles

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
