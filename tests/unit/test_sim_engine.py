"""The simulated engine beyond what every engine promises: leases, kills, limits, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from skep.engines.base import Fenced, Material
from skep.model.message import Order
from skep.sim.engine import FENCED, SimulatedEngine, SimulatedRun
from skep.sim.stint import Effort


def order(run: str = "r1", job: str = "j", rank: int = 0, **spec: object) -> Order:
    share = {"site": "a", "pool": 0, "chip": "cpu-core", "chips": 2, "nodes": 1, "rank": rank}
    return Order.model_validate(
        {
            "run": run,
            "job": job,
            "step": "go",
            "attempt": 1,
            "spec": {"name": "x", "run": "x", **spec},
            "share": share,
            "grace": 5.0,
        }
    )


@dataclass
class Bench:
    now: float = 0.0
    effort: Effort = field(
        default_factory=lambda: Effort({"j": 100.0}, setup=10.0, checkpoint=30.0)
    )
    wakes: list[float] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = SimulatedEngine(
            lambda: self.now, self.effort.plan, self.effort.interrupted, stop_takes=2.0
        )
        self.engine.wake = self.wakes.append
        self.engine.started = self._started

    def _started(self, run: SimulatedRun) -> None:
        self.starts.append(run.order.run)

    def begin(self, *orders: Order) -> None:
        """Prepared at 0, running at 10."""
        for wanted in orders:
            self.engine.prepare(wanted, Material())
            self.engine.go(wanted)
        self.now = 10.0

    def phase(self, run: str, now: float) -> str:
        self.now = now
        return {r.run: r.phase for r in self.engine.poll()}[run]


def test_a_run_takes_its_time_and_says_when_it_will_change() -> None:
    bench = Bench()
    bench.begin(order())
    assert bench.wakes == [10.0]
    assert [bench.phase("r1", at) for at in (9.9, 10.0, 109.9, 110.0)] == [
        "preparing",
        "running",
        "running",
        "succeeded",
    ]
    assert bench.wakes == [10.0, 110.0]
    assert bench.starts == ["r1"]


def test_a_fenced_run_ends_with_the_lease_and_one_that_waits_goes_on() -> None:
    bench = Bench()
    assert isinstance(bench.engine, Fenced)
    bench.engine.hold_lease(50.0)
    bench.begin(order("r1"), order("r2", on_site_loss="wait"))
    bench.now = 60.0
    told = {r.run: r for r in bench.engine.poll()}
    assert (told["r1"].phase, told["r1"].ended_at, told["r1"].reason) == ("stopped", 52.0, FENCED)
    assert told["r2"].phase == "running"


def test_a_renewed_lease_does_not_raise_the_dead() -> None:
    bench = Bench()
    bench.engine.hold_lease(50.0)
    bench.begin(order())
    bench.now = 60.0
    bench.engine.hold_lease(1000.0)
    assert bench.phase("r1", 61.0) == "stopped"


def test_a_stop_takes_as_long_as_it_takes_but_not_longer_than_its_grace() -> None:
    bench = Bench()
    bench.begin(order("r1"), order("r2"))
    bench.engine.stop("r1", 5.0, "enough")
    bench.engine.stop("r2", 1.0, "enough")
    assert (bench.phase("r1", 10.9), bench.phase("r2", 10.9)) == ("running", "running")
    assert (bench.phase("r1", 11.0), bench.phase("r2", 11.0)) == ("running", "stopped")
    assert bench.phase("r1", 12.0) == "stopped"


def test_a_limit_ends_a_run_as_failed() -> None:
    bench = Bench()
    bench.begin(order(time_limit=40.0))
    assert bench.phase("r1", 49.9) == "running"
    assert bench.phase("r1", 50.0) == "failed"
    assert bench.engine.poll()[0].reason == "time limit of 40 s reached"


def test_a_crash_ends_all_and_a_kill_one() -> None:
    bench = Bench()
    bench.begin(order("r1"), order("r2"), order("r3"))
    bench.engine.kill("r2", "killed")
    assert (bench.phase("r2", 20.0), bench.phase("r1", 20.0)) == ("failed", "running")
    bench.engine.crash("no power")
    assert {r.phase for r in bench.engine.poll()} == {"failed"}


@pytest.mark.parametrize(("checkpoint", "left", "lost"), [(30.0, 40.0, 20.0), (None, 100.0, 140.0)])
def test_a_share_goes_on_from_its_last_checkpoint(
    checkpoint: float | None, left: float, lost: float
) -> None:
    bench = Bench(effort=Effort({"j": 100.0}, setup=10.0, checkpoint=checkpoint))
    bench.begin(order("r1"))
    bench.now = 80.0  # 70 s of work
    bench.engine.crash("no power")
    assert bench.effort.plan(order("r2")).work == left
    assert bench.effort.plan(order("r3", rank=1)).work == 100.0
    assert bench.effort.lost_chip_seconds == lost


def test_work_done_twice_counts_once() -> None:
    effort = Effort({"j": 100.0}, checkpoint=10.0)
    first, second = effort.plan(order("r1")), effort.plan(order("r2"))
    effort.interrupted(order("r1"), first, 60.0)
    effort.interrupted(order("r2"), second, 40.0)
    assert effort.plan(order("r3")).work == 40.0
