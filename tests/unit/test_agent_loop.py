"""The loop against a control plane and an engine that are only remembered, with real threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skep.agent.loop import Loop
from skep.engines.base import Material
from skep.errors import NotFoundError, UnreachableError
from skep.model.message import Answer, LogChunk, Order, ProgressChunk, Report, RunReport


class Plane:
    """Holds long polls as a control plane does; ``fault`` may raise or answer instead."""

    def __init__(self) -> None:
        self.answer = Answer(revision=1, lease=60.0, heartbeat=2.0)
        self.heard: list[tuple[float, Report, float]] = []
        self.fault: Callable[[], Any] | None = None
        self.bundles: dict[str, bytes] = {}
        self.changed = threading.Condition()

    def say(self, *orders: Order, **changes: Any) -> None:
        with self.changed:
            fields = {"revision": self.answer.revision + 1, "orders": orders} | changes
            self.answer = self.answer.model_copy(update=fields)
            self.changed.notify_all()

    def report(self, site: str, report: Report, wait: float) -> Answer:
        with self.changed:
            self.heard.append((time.monotonic(), report, wait))
            if self.fault is not None:
                return self.fault()  # type: ignore[no-any-return]
            until = time.monotonic() + wait
            while self.answer.revision == report.known and time.monotonic() < until:
                self.changed.wait(max(0.0, until - time.monotonic()))
            return self.answer

    def bundle(self, digest: str, to: Path) -> Path:
        if digest not in self.bundles:
            raise NotFoundError(digest)
        to.parent.mkdir(exist_ok=True)
        to.write_bytes(self.bundles[digest])
        return to


class Memory:
    """An engine whose runs are rows of a table."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.material: dict[str, Material] = {}
        self.text: dict[str, str] = {}
        self.lease = 0.0
        self.broken = False

    def prepare(self, order: Order, material: Material) -> None:
        self.calls.append(("prepare", order.run))
        self.material[order.run] = material
        self.runs.setdefault(order.run, "ready")

    def go(self, order: Order) -> None:
        self.calls.append(("go", order.run))
        self.runs[order.run] = "running"

    def stop(self, run: str, grace: float, reason: str) -> None:
        self.calls.append(("stop", run))
        self.runs[run] = "stopped"

    def forget(self, run: str) -> None:
        self.calls.append(("forget", run))
        self.runs.pop(run, None)

    def poll(self) -> tuple[RunReport, ...]:
        if self.broken:
            raise OSError("no space left on device")
        return tuple(RunReport(run=r, phase=p) for r, p in self.runs.items())  # type: ignore[arg-type]

    def logs(self, run: str, after: Any, limit: int) -> tuple[LogChunk, ...]:
        text = self.text.get(run, "")[after.get("0", 0) :][:limit]
        return (
            (LogChunk(run=run, process="0", offset=after.get("0", 0), text=text),) if text else ()
        )

    def progress(self, run: str, after: int, limit: int) -> ProgressChunk | None:
        return None

    def hold_lease(self, until: float) -> None:
        self.lease = until

    def close(self) -> None: ...


class Agent:
    def __init__(self, folder: Path) -> None:
        self.plane, self.engine, self.said = Plane(), Memory(), list[str]()
        self.loop = Loop(
            "a", "id1", self.engine, self.plane, folder, time.monotonic, self.said.append
        )
        self.thread = threading.Thread(target=self.loop.run)

    def until(self, condition: Callable[[], object], within: float = 5.0) -> float:
        """Seconds until the condition holds."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < within, (self.engine.calls, self.said)
            time.sleep(0.002)
        return time.monotonic() - began

    def told(self, run: str, phase: str) -> bool:
        """Whether the control plane has heard of it."""
        return any(
            (r.run, r.phase) == (run, phase)
            for _, report, _ in self.plane.heard
            for r in report.runs
        )


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "bundles")
    made.thread.start()
    yield made
    made.loop.stop()
    made.thread.join(5)
    assert not made.thread.is_alive()


def order(run: str, step: str = "go", **spec: Any) -> Order:
    share = {"site": "a", "pool": 0, "chip": "c", "chips": 1, "nodes": 1}
    fields: dict[str, Any] = {"run": run, "job": "j", "step": step, "attempt": 1, "share": share}
    return Order.model_validate(fields | {"spec": {"name": "x", "run": "true"} | spec})


def test_an_order_is_followed_and_told(agent: Agent) -> None:
    agent.until(lambda: agent.plane.heard)
    agent.plane.say(order("r"), exchange_token={"j": "secret"})
    assert agent.until(lambda: agent.told("r", "running")) < 1.0
    assert agent.engine.calls == [("prepare", "r"), ("go", "r")]
    assert agent.engine.material["r"] == Material(None, "secret")
    assert not any("secret" in line for line in agent.said)


def test_a_change_here_is_told_at_once(agent: Agent) -> None:
    agent.plane.say(order("r"))
    agent.until(lambda: agent.told("r", "running"))
    agent.engine.runs["r"] = "succeeded"
    assert agent.until(lambda: agent.told("r", "succeeded")) < 0.3


def test_output_is_told_until_acknowledged_and_before_it_is_forgotten(agent: Agent) -> None:
    agent.plane.say(order("r"))
    agent.until(lambda: agent.told("r", "running"))
    agent.engine.text["r"] = "loss 3.2\n"
    agent.engine.runs["r"] = "succeeded"
    agent.plane.say(forget=("r",))
    agent.until(lambda: any(report.logs for _, report, _ in agent.plane.heard))
    time.sleep(0.2)
    assert ("forget", "r") not in agent.engine.calls
    agent.plane.say(forget=("r",), acknowledged={"r/0": 9})
    agent.until(lambda: ("forget", "r") in agent.engine.calls)


def test_faults_are_outlived(agent: Agent) -> None:
    def unreachable() -> Answer:
        raise UnreachableError("no control plane answers")

    def nonsense() -> Any:
        return {"revision": "later"}

    agent.until(lambda: agent.plane.heard)
    for fault in (unreachable, nonsense):
        agent.plane.fault = fault
        agent.engine.runs["stray"] = "running"
        before = len(agent.plane.heard)
        agent.until(lambda before=before: len(agent.plane.heard) > before + 1)
    agent.plane.fault = None
    agent.engine.broken = True
    time.sleep(0.1)
    agent.engine.broken = False
    agent.plane.say(order("r"))
    agent.until(lambda: agent.told("r", "running"), within=10)
    agent.until(lambda: ("stop", "stray") in agent.engine.calls)
    assert any("works again" in line for line in agent.said)


def test_it_does_not_flood_what_fails(agent: Agent) -> None:
    def unreachable() -> Answer:
        raise UnreachableError("no control plane answers")

    agent.until(lambda: agent.plane.heard)
    agent.plane.fault = unreachable
    agent.plane.say()
    time.sleep(1.2)
    assert 1 <= len(agent.plane.heard) < 16
    assert len([line for line in agent.said if "fails" in line]) <= 2


def test_no_word_for_the_length_of_the_lease(agent: Agent) -> None:
    def unreachable() -> Answer:
        raise UnreachableError("no control plane answers")

    agent.plane.say(order("r"), order("w", on_site_loss="wait"), lease=0.6, heartbeat=0.2)
    agent.until(lambda: agent.told("r", "running") and agent.told("w", "running"))
    agent.plane.fault = unreachable
    cut = time.monotonic()
    agent.until(lambda: ("stop", "r") in agent.engine.calls)
    assert time.monotonic() - cut < 5
    assert agent.engine.lease <= cut + 0.6
    time.sleep(0.2)
    assert agent.engine.runs["w"] == "running"


def test_workdir(agent: Agent) -> None:
    here, missing = "1" * 64, "2" * 64
    agent.plane.bundles[here] = b"packed"
    agent.plane.say(order("r", bundle=here), order("m", bundle=missing))
    agent.until(lambda: len(agent.engine.material) == 2)
    path = agent.engine.material["r"].bundle
    assert path is not None
    assert path.read_bytes() == b"packed"
    assert agent.engine.material["m"].bundle is None
