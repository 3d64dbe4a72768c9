"""What runs measured, from the progress lines that are kept (a fake store: lines alone)."""

from __future__ import annotations

from typing import Any

from skep.control.measured import measured
from skep.model.job import Job
from skep.model.placement import Share
from skep.model.state import JobState, RunState

FINAL = {"kind": "final", "steps": 100, "tokens": 51200, "step_s": 0.25, "step_flops": 1e9}


class Lines:
    """Progress lines of one job, numbered from 1."""

    def __init__(self, *lines: tuple[str, dict[str, Any]]) -> None:
        self.lines = [(n, run, line) for n, (run, line) in enumerate(lines, start=1)]

    def progress(self, job: str, *, after: int = 0, limit: int = 1000) -> Any:
        return tuple(line for line in self.lines if line[0] > after)[:limit]


def job(*runs: str) -> JobState:
    share = Share(site="lulea", pool=0, chip="cpu-core", chips=2, nodes=1)
    states = {run: RunState(run, 1, share) for run in runs}
    spec = Job.model_validate({"name": "tinygpt", "run": "x", "chips": [{"count": 2}]})
    return JobState("j1", spec, "", 0.0, runs=states)


def test_the_last_line_of_each_run_counts() -> None:
    store = Lines(
        ("a", {"kind": "step"}), ("a", FINAL | {"step_s": 9.0}), ("a", FINAL), ("b", FINAL)
    )
    first, second = measured(store, [job("a", "b")])  # type: ignore[arg-type]
    assert (first.name, first.site, first.chip, first.chips) == ("tinygpt", "lulea", "cpu-core", 2)
    assert first.step == 0.25
    assert first.tokens == 512
    assert first.flops_per_token == 1e9 * 2 / 512
    assert second.run == "b"


def test_what_tells_nothing_is_left_out() -> None:
    few, none = FINAL | {"steps": 3}, FINAL | {"step_s": None}
    odd = FINAL | {"step_flops": "many"}
    store = Lines(("a", few), ("b", none), ("c", odd), ("gone", FINAL))
    assert measured(store, [job("a", "b", "c")]) == ()  # type: ignore[arg-type]
    assert measured(Lines(), [job("a")]) == ()  # type: ignore[arg-type]
