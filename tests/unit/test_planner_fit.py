"""The fit: what made the runs is found again, and little data moves little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skep.model.workload import Workload
from skep.planner.chip import ChipFacts
from skep.planner.constants import CONSTANTS, Kernel, addresses, efficiency, status
from skep.planner.estimate import estimate
from skep.planner.fit import Measured, fit, predict
from skep.planner.layout import Layout
from skep.planner.packing import Case

CHIP = ChipFacts(
    kind="sample", peaks={"bf16": 300e12}, memory=80e9, memory_bandwidth=2e12,
    scale_up=300e9, domain=8, scale_out=25e9,
)  # fmt: skip
WORK = Workload(
    name="w", layers=24, hidden=2048, heads=16, kv_heads=16, head_dim=128, ffn=8192, vocab=32000,
    seq_len=2048, global_batch=64,
)  # fmt: skip
STACK = "megatron-core"
LAYOUTS = [
    Layout(tp=tp, pp=pp, dp=32 // (tp * pp), micro_batch=micro)
    for tp in (1, 2, 4)
    for pp in (1, 2)
    for micro in (1, 2)
]


def line(layout: Layout, step: float, chip: ChipFacts = CHIP, stack: str = STACK) -> Measured:
    return Measured(Case(WORK, chip, (layout,)), stack, Kernel(), step)


def constants(table: dict[tuple[str, str, str], float], kind: str = "sample") -> ChipFacts:
    found = efficiency(table, Kernel(), STACK, kind, status="calibrated", rows=1, spread=(0.1, 0.2))
    return replace(CHIP, kind=kind, efficiency=found)


def test_the_fit_and_one_estimate_share_their_equations() -> None:
    runs = [line(layout, 1.0) for layout in LAYOUTS]
    alone = [estimate(WORK, constants({}), layout).step for layout in LAYOUTS]
    assert predict({}, runs) == pytest.approx(alone, rel=1e-12)


def test_what_made_the_runs_is_found_again() -> None:
    truth = {("gemm", "shared", ""): -0.2, ("hide_dp", "shared", ""): -0.5}
    runs = [line(layout, estimate(WORK, constants(truth), layout).step) for layout in LAYOUTS]
    before, after = predict({}, runs), predict(fit(runs), runs)
    steps = np.array([run.step for run in runs])
    assert np.abs(before / steps - 1).mean() > 0.1
    assert np.abs(after / steps - 1).max() < 0.02


def test_one_run_moves_less_than_many() -> None:
    slow = [line(layout, 1.3 * s) for layout, s in zip(LAYOUTS, predict({}, _plain()), strict=True)]
    one, many = fit(slow[:1]), fit(slow)
    moved = [
        abs(float(np.log(predict(table, slow[:1])[0] / predict({}, slow[:1])[0])))
        for table in (one, many)
    ]
    assert 0.02 < moved[0] < moved[1] < np.log(1.3) + 0.01


def _plain() -> list[Measured]:
    return [line(layout, 1.0) for layout in LAYOUTS]


def test_the_best_of_open_layouts_counts() -> None:
    both = Measured(Case(WORK, CHIP, (LAYOUTS[0], LAYOUTS[-1])), STACK, Kernel(), 1.0)
    apart = predict({}, [line(LAYOUTS[0], 1.0), line(LAYOUTS[-1], 1.0)])
    assert predict({}, [both])[0] == min(apart)


def test_levels_add_up_in_their_own_scale() -> None:
    table = dict.fromkeys(addresses("gemm", STACK, "sample"), 0.1)
    plain, moved = constants({}).efficiency, constants(table).efficiency
    assert moved.gemm == pytest.approx(plain.gemm * np.exp(0.4))
    assert all(c.natural(c.scale(c.prior)) == pytest.approx(c.prior) for c in CONSTANTS)
    assert [status(rows) for rows in (0, 1, 9, 10)] == [
        "never measured", "few rows", "few rows", "calibrated",
    ]  # fmt: skip
