"""One layout and the whole space: sums, refusals, and the search against trying each."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from skep.data import efficiency
from skep.errors import InputError
from skep.model.workload import Experts, Workload
from skep.planner.chip import ChipFacts, Efficiency
from skep.planner.estimate import estimate
from skep.planner.layout import RECOMPUTE, Layout
from skep.planner.machine import machine_of
from skep.planner.packing import layouts_of
from skep.planner.search import count, fastest_within, search
from skep.planner.shape import shape_of
from skep.planner.space import USUAL, Constraints, divisors
from skep.planner.step import step

CHIP = ChipFacts(
    kind="sample", peaks={"bf16": 300e12, "fp8": 600e12}, memory=80e9, memory_bandwidth=2e12,
    scale_up=300e9, domain=8, scale_out=25e9, idle_power=100.0, busy_power=800.0,
)  # fmt: skip
SMALL = Workload(
    name="small", layers=8, hidden=1024, heads=8, kv_heads=8, head_dim=128, ffn=4096,
    vocab=32000, seq_len=2048, global_batch=16,
)  # fmt: skip
MOE = SMALL.model_copy(update={"moe": Experts(count=8, topk=2, ffn=1024)})
LARGE = Workload(
    name="large", layers=96, hidden=12288, heads=96, kv_heads=96, head_dim=128, ffn=49152,
    gated_mlp=False, vocab=51200, tied_embeddings=True, seq_len=2048, global_batch=1536,
)  # fmt: skip


def test_parts_and_memory_add_up() -> None:
    found = estimate(LARGE, CHIP, Layout(tp=8, pp=8, dp=8, virtual=3, micro_batch=2), 512)
    assert sum(found.parts.values()) == pytest.approx(found.step)
    assert sum(found.memory.values()) == pytest.approx(found.memory_total)
    assert found.tokens_per_s == pytest.approx(LARGE.tokens_per_step / found.step)
    assert found.low < found.step < found.high
    assert 0.2 < found.mfu < 0.8


def test_arrays_give_what_single_layouts_give() -> None:
    every = [
        Layout(tp=tp, pp=pp, dp=16 // (tp * pp), micro_batch=1, recompute=again, zero=zero)
        for tp, pp, again, zero in product((1, 2), (1, 4), RECOMPUTE, (0, 3))
    ]
    shape, on = shape_of(SMALL), machine_of(CHIP, SMALL.dtype)
    together = np.asarray(step(shape, on, layouts_of(every)).total)
    alone = [estimate(SMALL, CHIP, layout).step for layout in every]
    assert together.tolist() == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("work", [SMALL, MOE])
def test_the_search_finds_what_trying_each_finds(work: Workload) -> None:
    only = replace(USUAL, recompute=("full",), zero=(0, 1, 3), overlap_dp=(False, True),
                   virtual=(1, 2), micro_batch=(1, 2), overlap_tp=(False,))  # fmt: skip
    best = min(_fitting(work, 8, only), key=lambda one: one.step)
    found = search(work, CHIP, 8, only)
    assert found.best.step == pytest.approx(best.step, rel=1e-12)
    assert found.best.fits
    assert all(one.slower >= 0 for one in found.runners_up if one.estimate.fits)
    assert all(one.why for one in found.runners_up)


def _fitting(work: Workload, chips: int, only: Constraints) -> list[Any]:
    out = []
    degrees = divisors(chips)
    for tp, pp, cp, ep, micro, virtual in product(
        degrees, degrees, degrees, degrees, (1, 2), (1, 2)
    ):
        dp = chips // (tp * pp * cp)
        if dp < 1 or tp * pp * cp * dp != chips or (virtual > 1 and 16 // (dp * micro) % pp):
            continue
        for again, zero, sp, hide in product(only.recompute, only.zero, *[(False, True)] * 2):
            layout = Layout(
                tp=tp, pp=pp, dp=dp, cp=cp, ep=ep, virtual=virtual, micro_batch=micro,
                recompute=again, zero=zero, sequence_parallel=sp, overlap_dp=hide,
            )  # fmt: skip
            try:
                found = estimate(work, CHIP, layout, chips)
            except InputError:
                continue
            if found.fits and work.layers % (pp * virtual) == 0:
                out.append(found)
    return out


def test_a_model_that_fits_nowhere_says_what_it_would_take() -> None:
    with pytest.raises(InputError, match=r"leanest needs .* GB of 80 GB .* allowed: \d+ chips"):
        search(LARGE, CHIP, 8)


def test_a_tensor_degree_that_splits_no_heads_is_named() -> None:
    with pytest.raises(InputError, match=r"96 heads cannot be split by a tensor degree of 5"):
        search(LARGE, CHIP, 40, Constraints(tp=(5,)))


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        (Layout(tp=7), r"layout.tp: got 7; allowed: a divisor of the 8 heads"),
        (Layout(dp=3), r"divisor of the global batch of 16"),
        (Layout(pp=16), r"layout.pp x layout.virtual: got 16; allowed: at most the 8 layers"),
        (Layout(virtual=2), r"layout.virtual: got 2; allowed: 1 without"),
        (Layout(zero=4), r"layout.zero"),
        (Layout(uneven=True), r"layout.uneven: got True; allowed: in a pipeline"),
        (Layout(ep=2, dp=2), r"layout.ep: got 2; allowed: 1 for a model without experts"),
        (Layout(micro_batch=-1), r"layout.micro_batch: got -1; allowed: 1 or more"),
        (Layout(cp=3), r"layout.cp"),
    ],
)
def test_what_cannot_be_is_refused_by_field(layout: Layout, says: str) -> None:
    with pytest.raises(InputError, match=says):
        estimate(SMALL, CHIP, layout)


def test_the_number_of_chips_must_be_the_layouts() -> None:
    with pytest.raises(InputError, match=r"chips: got 4; allowed: tp x pp x cp x dp = 2"):
        estimate(SMALL, CHIP, Layout(dp=2), 4)
    with pytest.raises(InputError, match="chips: got -8"):
        search(SMALL, CHIP, -8)


def test_the_space_counts_what_means_the_same_once() -> None:
    alone = Constraints(tp=(1,), pp=(1,), cp=(1,), micro_batch=(1,))
    # One chip: 4 ways to recompute, the optimizer and the parameters here or not, activations only
    # with "full".
    assert count(SMALL, 1, alone) == (3 + 2) * 2 * 2


DEEP = SMALL.model_copy(update={"layers": 32, "seq_len": 4096, "global_batch": 64})


def test_early_stages_may_have_fewer_layers_to_fit_at_the_price_of_time() -> None:
    even = estimate(DEEP, CHIP, Layout(pp=8))
    tight = replace(CHIP, memory=0.9 * even.memory_total)
    assert not estimate(DEEP, tight, Layout(pp=8)).fits
    found = estimate(DEEP, tight, Layout(pp=8, uneven=True))
    assert found.fits
    assert found.step > even.step
    roomy = estimate(DEEP, CHIP, Layout(pp=8, uneven=True))
    assert roomy.step == pytest.approx(even.step, rel=1e-6)  # nothing to gain: it stays even


def test_parameters_on_the_host_free_memory_and_cost_time_where_work_hides_little() -> None:
    here, there = (
        estimate(DEEP, CHIP, Layout(micro_batch=1, offload_parameters=o)) for o in (False, True)
    )
    assert there.memory["parameters"] < here.memory["parameters"]
    assert there.memory["optimizer"] == here.memory["optimizer"]
    assert there.step >= here.step


def test_long_rings_cost_time_where_parameters_are_gathered_layer_by_layer() -> None:
    slow = replace(CHIP, efficiency=replace(CHIP.efficiency, pieces=12.0))
    wide = DEEP.model_copy(update={"global_batch": 512})
    gathered = Layout(dp=512, zero=3, overlap_dp=False)
    assert estimate(wide, slow, gathered).step > 1.5 * estimate(wide, CHIP, gathered).step


def test_chips_that_do_not_help_are_left_alone() -> None:
    tiny = SMALL.model_copy(update={"layers": 1, "hidden": 128, "ffn": 256, "heads": 1,
                                    "kv_heads": 1, "vocab": 128, "seq_len": 128})  # fmt: skip
    slow = replace(CHIP, efficiency=Efficiency(jitter=0.5))
    assert fastest_within(tiny, slow, 16).chips < 16


def test_the_fitted_constants_are_those_of_real_machines() -> None:
    for stack, kind in product(efficiency.stacks(), ("a100-sxm-80gb", "h100-sxm", "ascend-910c")):
        e = efficiency.efficiency_of(kind, stack)
        assert 0.5 < e.gemm < 0.95
        assert 0.4 < e.gemm_low < 0.95
        assert 0.1 < e.attention < 0.9
        assert 0.5 < e.scale_up < 1.0
        assert 0.05 < e.scale_out < 1.0
        assert 0.0 < e.jitter < 0.02
        assert 0.0 < e.spread[0] < 1.0 < 1.0 + e.spread[1] < 2.0


def test_an_unmeasured_chip_has_the_widest_band() -> None:
    known, few, unknown = (
        efficiency.facts(kind).efficiency for kind in ("h100-sxm", "ascend-910c", "ascend-950dt")
    )
    assert (known.status, few.status) == ("calibrated", "few rows")
    assert unknown.status == "never measured"
    assert sum(known.spread) < sum(unknown.spread)
    assert unknown.spread[1] > unknown.spread[0]


def test_unknown_stacks_and_chips_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'megatron-core'"):
        efficiency.efficiency_of("h100-sxm", "megatron-cor")
    with pytest.raises(InputError, match="did you mean 'h100-sxm'"):
        efficiency.facts("h100-sxn")
