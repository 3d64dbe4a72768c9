"""The agent's decisions: a table, and the property that doing them leaves nothing to do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.agent.cycle import ENDED, Action, Forget, Go, Prepare, Stop, decide
from skep.model.job import OnSiteLoss
from skep.model.message import Answer, Order, RunReport

NOW = 1000.0


def order(run: str, step: str) -> Order:
    share = {"site": "a", "pool": 0, "chip": "c", "chips": 1, "nodes": 1}
    spec = {"name": "x", "run": "true"}
    fields: dict[str, Any] = {"run": run, "job": "j", "step": step, "attempt": 1, "spec": spec}
    return Order.model_validate(fields | {"share": share, "grace": 3.0, "reason": "cancelled"})


def answer(*orders: Order, forget: tuple[str, ...] = ()) -> Answer:
    return Answer(revision=1, lease=60.0, orders=orders, forget=forget)


def kinds(actions: tuple[Action, ...]) -> list[str]:
    return [type(action).__name__ for action in actions]


STEPS = ("prepare", "go", "stop", None)
PHASES = ("preparing", "ready", "running", "succeeded", "failed", "stopped", None)
EXPECTED = {
    ("prepare", None): ["Prepare"],
    ("go", None): ["Prepare"],
    ("go", "ready"): ["Go"],
    ("stop", None): ["Stop"],
    ("stop", "preparing"): ["Stop"],
    ("stop", "ready"): ["Stop"],
    ("stop", "running"): ["Stop"],
    (None, "preparing"): ["Stop"],
    (None, "ready"): ["Stop"],
    (None, "running"): ["Stop"],
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("phase", PHASES)
def test_table(step: str | None, phase: Any) -> None:
    reports = (RunReport(run="r", phase=phase),) if phase else ()
    said = answer(order("r", step)) if step else answer()
    actions = decide(said, reports, NOW, NOW + 1, {})
    assert kinds(actions) == EXPECTED.get((step, phase), [])
    if step == "stop" and actions:
        assert actions == (Stop("r", 3.0, "cancelled"),)


def test_without_an_answer_nothing_is_done() -> None:
    assert decide(None, (RunReport(run="r", phase="running"),), NOW, None, {}) == ()


@pytest.mark.parametrize(
    ("policy", "stops"), [("replace", True), ("fail", True), ("wait", False), (None, True)]
)
@pytest.mark.parametrize("phase", ["preparing", "ready", "running"])
def test_lease_out(policy: OnSiteLoss | None, stops: bool, phase: Any) -> None:
    reports = (RunReport(run="r", phase=phase),)
    policies = {"r": policy} if policy else {}
    said = answer(order("r", "go"), order("new", "go"))
    before = decide(said, reports, NOW, NOW + 0.001, policies)
    assert "Stop" not in kinds(before)
    after = decide(said, reports, NOW, NOW, policies)
    assert kinds(after) == (["Stop"] if stops else [])
    assert decide(None, reports, NOW, NOW, policies) != () if stops else True


def test_forget_only_what_has_ended() -> None:
    reports = (RunReport(run="r", phase="failed"), RunReport(run="s", phase="running"))
    said = answer(order("s", "go"), forget=("r", "s", "t"))
    assert decide(said, reports, NOW, NOW + 1, {}) == (Forget("r"),)


def done(reports: tuple[RunReport, ...], actions: tuple[Action, ...]) -> tuple[RunReport, ...]:
    """What the engine holds when the actions have had their effect."""
    held = {report.run: report for report in reports}
    for action in actions:
        if isinstance(action, Prepare):
            run = action.order.run
            held[run] = RunReport(run=run, phase="preparing")
        elif isinstance(action, Go):
            held[action.order.run] = RunReport(run=action.order.run, phase="running")
        elif isinstance(action, Stop):
            held[action.run] = RunReport(run=action.run, phase="stopped")
        else:
            del held[action.run]
    return tuple(held.values())


RUNS = st.sampled_from("abcde")


@given(
    steps=st.dictionaries(RUNS, st.sampled_from(STEPS[:3])),
    phases=st.dictionaries(RUNS, st.sampled_from(PHASES[:6])),
    forget=st.sets(RUNS),
    lease=st.sampled_from([None, NOW - 1, NOW, NOW + 1]),
    policies=st.dictionaries(RUNS, st.sampled_from(["replace", "wait", "fail"])),
    silent=st.booleans(),
)
def test_doing_it_leaves_nothing_to_do(
    steps: Any, phases: Any, forget: Any, lease: float | None, policies: Any, silent: bool
) -> None:
    orders = tuple(order(run, step) for run, step in steps.items())
    # A control plane orders the forgetting of ended runs, which it orders no more.
    ended = {run for run, phase in phases.items() if phase in ENDED}
    said = None if silent else answer(*orders, forget=tuple(forget & ended - steps.keys()))
    reports = tuple(RunReport(run=run, phase=phase) for run, phase in phases.items())
    first = decide(said, reports, NOW, lease, policies)
    after = done(reports, first)
    assert decide(said, after, NOW, lease, policies) == ()
    subjects = [a.order.run if isinstance(a, Prepare | Go) else a.run for a in first]
    assert len(set(subjects)) == len(subjects)
    if lease is not None and lease <= NOW:
        assert not {"Prepare", "Go"} & set(kinds(first))
