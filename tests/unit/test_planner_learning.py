"""Learning from runs: transparent, bounded, and never across kinds of chips."""

from __future__ import annotations

from math import exp, log

import pytest

from skep.files.workload import load_model
from skep.model.measured import Measured
from skep.planner.learning import learnt

MODEL = load_model("llama-3-8b").workload
WORK = MODEL.flops_per_token()


def run(step: float, name: str = MODEL.name, chip: str = "h100-sxm", chips: int = 8) -> Measured:
    return Measured(
        job="j", name=name, run=f"{name}-{step}-{chip}-{chips}", site="s", chip=chip, chips=chips,
        step=step, tokens=8192.0, flops=WORK * 8192 / chips, steps=100,
    )  # fmt: skip


def factor(*runs: Measured, chips: int = 8) -> float:
    return learnt(runs, "h100-sxm", MODEL, chips, lambda _: 1.0).factor


def test_nothing_measured_changes_nothing() -> None:
    assert factor() == 1.0
    assert factor(run(3.0, chip="ascend-910c")) == 1.0
    told = learnt([], "h100-sxm", MODEL, 8, lambda _: 1.0)
    assert str(told) == "nothing measured on this kind of chip"


def test_one_run_of_the_same_layout_counts_seven_eighths() -> None:
    assert log(factor(run(2.0))) == pytest.approx(7 / 8 * log(2.0))


def test_other_models_and_layouts_count_less() -> None:
    same, layout, other = run(2.0), run(2.0, chips=16), run(2.0, name="other")
    assert log(factor(layout)) == pytest.approx(3 / 4 * log(2.0))
    assert log(factor(other)) == pytest.approx(1 / 2 * log(2.0))
    assert factor(same) > factor(layout) > factor(other) > 1


def test_it_converges_and_is_bounded() -> None:
    many = [run(1.5 + 0.0001 * n) for n in range(4)]
    assert factor(*many) == pytest.approx(1.5, rel=0.01)
    assert factor(*[run(1e6 + n) for n in range(50)]) <= 4.0
    assert factor(*[run(1e-6 * (1 + n)) for n in range(50)]) >= 0.25


def test_a_name_alone_is_not_the_same_model() -> None:
    other = run(2.0).model_copy(update={"flops": 10 * WORK * 1024})
    assert log(factor(other)) == pytest.approx(1 / 2 * log(2.0))
    assert exp(0) == 1.0
