"""The rig of the engines' contract: every engine, one after another, at a site of its own.

An engine joins by its name in ``ENGINES``. Where its runs are real processes of this machine
(``Rig.real``) the tests of ``test_engine_processes.py`` apply too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skep.engines.base import Engine, Material
from skep.engines.journal import alive_twice, read
from skep.engines.loading import Setting, load
from skep.engines.procfs import start_ticks
from skep.model.message import Order, RunReport
from skep.model.site import Site
from skep.sim.engine import SimulatedEngine
from skep.sim.stint import Stint

ENGINES = ("local", "simulated")
SITE = Site.model_validate(
    {
        "name": "a",
        "address": "127.0.1.1",
        "pools": [{"chip": "cpu-core", "nodes": 2, "chips_per_node": 4}],
    }
)
ENDED = {"succeeded", "failed", "stopped"}


@dataclass
class Rig:
    """One site with its engine; ``engine`` is the one opened last."""

    folder: Path
    opened: Callable[[], Engine]
    real: bool
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = self.opened()

    def reopen(self) -> None:
        """As a new agent would."""
        self.engine.close()
        self.engine = self.opened()

    def report(self, run: str) -> RunReport | None:
        return next((r for r in self.engine.poll() if r.run == run), None)

    def until(self, run: str, *phases: str, within: float = 20.0) -> RunReport:
        deadline = time.monotonic() + within
        while True:
            report = self.report(run)
            if report is not None and report.phase in phases:
                return report
            if report is not None and report.phase in ENDED:
                raise AssertionError(f"{report} is not {phases}; {self.text(run)}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{report} is not {phases} in time")
            time.sleep(0.005)

    def text(self, run: str, process: str = "0") -> str:
        chunks = self.engine.logs(run, {}, 1_000_000)
        return "".join(c.text for c in chunks if c.process == process)

    def pid(self, run: str, process: str) -> int:
        """Of the process that started last under that name, by the journal."""
        found = [r["pid"] for r in self.journal() if _is_start(r, run, process)]
        return int(found[-1])

    def starts(self, run: str) -> int:
        return sum(_is_start(r, run, "0") for r in self.journal())

    def journal(self) -> list[dict[str, Any]]:
        return read(self.folder / "journal.jsonl")

    @staticmethod
    def order(run: str = "r1", command: str = "true", **changes: Any) -> Order:
        share = {"site": "a", "pool": 0, "chip": "cpu-core", "chips": 1, "nodes": 1}
        spec = {"name": "test", "run": command} | changes.pop("spec", {})
        fields = {"run": run, "job": "j1", "step": "go", "attempt": 1, "spec": spec, "grace": 2.0}
        fields["share"] = share | changes.pop("share", {})
        return Order.model_validate(fields | changes)

    def start(self, wanted: Order, token: str = "") -> None:
        self.engine.prepare(wanted, Material(token=token))
        self.until(wanted.run, "ready")
        self.engine.go(wanted)

    @staticmethod
    def gone(pid: int, within: float = 5.0) -> bool:
        deadline = time.monotonic() + within
        while start_ticks(pid) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


def _is_start(record: dict[str, Any], run: str, process: str) -> bool:
    return (record["event"], record["run"], record["process"]) == ("start", run, process)


def _make(name: str, folder: Path) -> Rig:
    if name == "simulated":
        engine = SimulatedEngine(time.monotonic, _stint, host=SITE.address, stop_takes=0.01)
        return Rig(folder, lambda: engine, real=False)
    site = SITE.model_copy(update={"engine": name})
    return Rig(folder, lambda: load(Setting(site, folder)), real=name == "local")


def _stint(order: Order) -> Stint:
    """What the shell would do with the commands of the contract."""
    word, _, number = order.spec.run.partition(" ")
    setup = 0.05 if order.spec.setup else 0.0
    if word == "exit":
        return Stint(setup, 0.01, int(number), f"exit code {number}")
    return Stint(setup, float(number) if word == "sleep" else 0.01)


@pytest.fixture(params=ENGINES)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = _make(request.param, tmp_path / "site")
    yield made
    for report in made.engine.poll():
        if report.phase not in ENDED:
            made.engine.stop(report.run, 0.0, "the test is over")
            made.until(report.run, "stopped", "failed", "succeeded")
    made.engine.close()
    assert alive_twice(made.journal()) == ()


@pytest.fixture
def real_rig(rig: Rig) -> Rig:
    """For tests with shells, signals and kills."""
    if not rig.real:
        pytest.skip("its runs are not processes of this machine")
    return rig
