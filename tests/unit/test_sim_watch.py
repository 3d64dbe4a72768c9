"""The watch sees what must never happen, and the twin does not let it happen."""

from __future__ import annotations

from skep.model.event import Submitted
from skep.sim.engine import SimulatedEngine, SimulatedRun
from skep.sim.stint import Stint
from skep.sim.watch import Watch
from tests.pilot import Pilot
from tests.unit.test_sim_engine import order


def running(run: str, engine: SimulatedEngine, start: float, end: float) -> SimulatedRun:
    return SimulatedRun(
        order(run), Stint(0, end - start), start, start, started_at=start, over_at=end
    )


def engine_at(now: list[float]) -> SimulatedEngine:
    return SimulatedEngine(lambda: now[0], lambda _order: Stint(0, 1))


def test_one_id_twice() -> None:
    watch, now = Watch(), [5.0]
    engine = engine_at(now)
    watch.started(engine, running("r1", engine, 5, 6))
    now[0] = 9.0
    watch.started(engine, running("r1", engine, 9, 10))
    assert [text for text in watch.violations if "r1 is started twice" in text]


def test_two_attempts_at_one_share() -> None:
    watch, now = Watch(), [5.0]
    first, second = engine_at(now), engine_at(now)
    watch.started(first, running("r1", first, 5, 20))
    now[0] = 20.0
    watch.started(second, running("r2", second, 20, 40))
    assert watch.violations == []
    now[0] = 39.0
    watch.started(first, running("r3", first, 39, 50))
    assert watch.violations == ["39.000: runs r2 and r3 of one share live at once"]


def test_chips_and_power() -> None:
    pilot, watch = Pilot(2, 2), Watch()
    world = pilot.control.world
    watch.check(world, pilot.policy, 1.0)
    assert watch.violations == []
    world.free[0] = -1
    watch.check(world, pilot.policy, 2.0)
    world.free[0] = 2
    world.topology.cap[1] = 15.0
    world.drawn[1] = 14.8  # beyond the margin of 2 %
    watch.check(world, pilot.policy, 3.0)
    assert [text[:5] for text in watch.violations] == ["2.000", "3.000"]
    assert "b draws 15 W of 15 W" in watch.violations[1]


def test_log_and_state() -> None:
    pilot, watch = Pilot(2), Watch()
    pilot.submit()
    watch.check_all(pilot.control, {"job"}, 1.0)
    assert watch.violations == []
    spec = pilot.job().spec
    pilot.store.append([Submitted(at=1, job="other", spec=spec)])
    watch.check_all(pilot.control, {"job", "gone"}, 1.0)
    pilot.control.world.free[0] += 1
    pilot.control.world.drawn[0] += 1
    pilot.control.world.runs["a"].clear()
    watch.check_all(pilot.control, {"job"}, 2.0)
    said = " ".join(watch.violations)
    for what in ("gone was acknowledged", "job other: the log says", "free chips are not all"):
        assert what in said
    for what in ("the draw is not", "the runs by site are not"):
        assert what in said
