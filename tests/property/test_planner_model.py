"""What must hold of any performance model, over drawn models, chips and layouts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skep.errors import InputError
from skep.model.workload import Experts, Workload
from skep.planner import collectives
from skep.planner.bill import AT_WORK
from skep.planner.chip import ChipFacts, Efficiency
from skep.planner.estimate import estimate
from skep.planner.layout import Layout
from skep.planner.machine import Machine, machine_of
from skep.planner.search import fastest_within, search
from skep.planner.space import USUAL, Constraints
from tests import events

powers = st.sampled_from((1, 2, 4, 8))
# Few options: the properties are of the best answer, whichever way it is found.
FEW = replace(
    USUAL, recompute=("none", "full"), zero=(0, 1, 3), overlap_dp=(True,), overlap_pp=(True,)
)


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    heads = draw(powers) * 4
    experts = st.builds(
        Experts,
        count=st.just(8),
        topk=powers.filter(lambda k: k < 8),
        ffn=st.sampled_from((256, 1024)),
        shared=st.integers(0, 1),
    )
    return Workload(
        name="drawn",
        layers=draw(st.sampled_from((4, 6, 8, 24))),
        hidden=heads * 64,
        heads=heads,
        kv_heads=draw(st.sampled_from((heads, 4))),
        head_dim=64,
        ffn=heads * 256,
        gated_mlp=draw(st.booleans()),
        vocab=32000,
        seq_len=draw(st.sampled_from((512, 2048, 8192))),
        global_batch=draw(st.sampled_from((16, 64, 256))),
        dtype=draw(st.sampled_from(("bf16", "fp8"))),
        moe=draw(st.none() | experts),
    )


@st.composite
def chips(draw: st.DrawFn) -> ChipFacts:
    return ChipFacts(
        kind="drawn",
        peaks={"bf16": draw(st.floats(50e12, 3e15)), "fp8": 4e15},
        memory=draw(st.floats(16e9, 300e9)),
        memory_bandwidth=draw(st.floats(0.5e12, 8e12)),
        scale_up=draw(st.floats(50e9, 900e9)),
        domain=draw(st.sampled_from((1, 8, 64))),
        scale_out=draw(st.floats(1e9, 100e9)),
        idle_power=draw(st.floats(0.0, 200.0)),
        busy_power=draw(st.floats(200.0, 2000.0)),
    )


def best(work: Workload, chip: ChipFacts, number: int) -> float:
    try:
        return search(work, chip, number, FEW, top=1).best.step
    except InputError:
        return float("inf")


@settings(max_examples=60, deadline=None)
@given(
    workloads(), chips(), st.sampled_from((8, 16, 32)),
    st.sampled_from(("memory_bandwidth", "scale_up", "scale_out", "memory", "peaks")),
    st.floats(1.0, 4.0),
)  # fmt: skip
def test_more_bandwidth_memory_or_a_better_link_is_never_slower(
    work: Workload, chip: ChipFacts, number: int, what: str, times: float
) -> None:
    value = getattr(chip, what)
    more = (
        {name: peak * times for name, peak in value.items()} if what == "peaks" else value * times
    )
    better = replace(chip, **{what: more})
    assert best(work, better, number) <= best(work, chip, number) * (1 + 1e-12)


@settings(max_examples=20, deadline=None)
@given(workloads(), chips(), st.sampled_from((4, 8, 16)))
def test_more_chips_at_fixed_work_are_never_slower(
    work: Workload, chip: ChipFacts, number: int
) -> None:
    assume(np.isfinite(best(work, chip, number)))
    few, many = (fastest_within(work, chip, n, FEW).step for n in (number, 2 * number))
    assert many <= few


@settings(max_examples=40, deadline=None)
@given(workloads(), chips(), st.sampled_from((8, 16)))
def test_no_answer_is_above_capacity_and_energy_pays_for_the_work(
    work: Workload, chip: ChipFacts, number: int
) -> None:
    try:
        found = search(work, chip, number, FEW)
    except InputError:
        return
    assert found.best.memory_total <= chip.memory
    assert found.fitting <= found.considered
    flops = work.flops_per_token() * work.tokens_per_step
    full = max(AT_WORK * chip.busy_power, chip.idle_power)
    most_efficient = max(chip.peak(work.dtype), chip.peak("bf16")) / full  # FLOP/J at the peak
    assert found.best.energy >= flops / most_efficient
    assert 0 < found.best.mfu < 1
    held = found.best.memory["parameters"] / 2.0 * found.best.chips
    assert held >= 0.99 * work.parameters  # the chips hold the whole model, at least once


IDEAL = Efficiency(
    gemm=1.0, gemm_low=1.0, half_m=0.0, half_n=0.0, half_k=0.0, attention=1.0, head_half=0.0,
    grouped=1.0, launch=0.0, route=0.0, permute=0.0, passes=0.0, logit_bytes=0.0, jitter=0.0,
    step=0.0, reserve=0.0,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(workloads().filter(lambda w: w.moe is None and w.dtype == "bf16"), chips(),
       powers.filter(lambda t: t < 8), st.sampled_from((1, 2)), powers)  # fmt: skip
def test_layouts_conserve_flops_and_bytes(
    work: Workload, chip: ChipFacts, tp: int, pp: int, dp: int
) -> None:
    """On a machine without losses the chips' products are the model's FLOPs, however spread, and
    the parameters of all chips are the model's, once per replica."""
    ideal = replace(chip, efficiency=IDEAL)
    layout = Layout(tp=tp, pp=pp, dp=dp, zero=0)
    found = estimate(work, ideal, layout)
    spent = layout.chips * (found.parts["products"] + found.parts["attention"] * 3.0 / 3.5)
    done = spent * chip.peak("bf16")
    assert done == pytest.approx(work.flops_per_token() * work.tokens_per_step, rel=1e-9)
    held = found.memory["parameters"] / 2.0 * tp * pp
    inner = work.parameters - work.embedding_parameters
    ends = work.vocab * work.hidden * (2 if pp == 1 else pp)
    assert held == pytest.approx(inner + ends, rel=0.01)


def machine(up: float, out: float, domain: int) -> Machine:
    chip = ChipFacts(
        kind="ideal", peaks={"bf16": 1e15}, memory=1e11, memory_bandwidth=1e12, scale_up=up,
        domain=domain, scale_out=out,
        efficiency=Efficiency(scale_up=1.0, scale_out=1.0, latency_up=0.0, latency_out=0.0),
    )  # fmt: skip
    return machine_of(chip, "bf16")


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.floats(1e6, 1e9), st.floats(1e9, 1e11))
def test_rings_and_exchanges_take_what_the_events_take(
    members: int, size: float, speed: float
) -> None:
    on = machine(speed, speed / 10, 8)
    close = pytest.approx
    assert float(collectives.gather(size, members, 1, on)) == close(
        events.ring(size, members, speed, 1), rel=1e-9
    )
    assert float(collectives.reduce_all(size, members, 1, on)) == close(
        events.ring(size, members, speed, 2), rel=1e-9
    )
    assert float(collectives.exchange(size, members, 1, 1, on)) == close(
        events.exchange(size, members, speed), rel=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.sampled_from((1, 2, 4)), st.floats(1.0, 40.0))
def test_a_gather_over_domains_takes_what_the_events_take(
    domains: int, near: int, faster: float
) -> None:
    """The events also pay for filling the pipeline of pieces."""
    out = 10e9
    up = out * faster
    formula = float(collectives.gather(1e9, domains * near, 1, machine(up, out, near)))
    simulated = events.gather_over_domains(1e9, domains, near, up, out)
    assert formula <= simulated * (1 + 1e-9)
    assert simulated <= formula * 1.1


@given(st.integers(1, 12), st.sampled_from((1, 2, 4, 8)))
def test_a_ring_passes_every_member(domains: int, near: int) -> None:
    """Its latency is that of the hops from the first to the last, one after the other."""
    hops = [
        collectives.HOP_OUT if (at + 1) % near == 0 else collectives.HOP_UP
        for at in range(domains * near - 1)
    ]
    on = machine(1e11, 1e10, near)
    found = float(collectives.ring_latency(domains * near, 1, on))
    assert found == pytest.approx(sum(hops), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.floats(0.1, 2.0), st.floats(0.1, 4.0))
def test_a_pipeline_takes_what_its_schedule_takes(
    stages: int, micro: int, forward: float, backward: float
) -> None:
    simulated = events.pipeline(stages, micro, forward, backward)
    assert simulated == pytest.approx((micro + stages - 1) * (forward + backward), rel=1e-9)


def test_constraints_are_kept() -> None:
    work = Workload(name="w", layers=8, hidden=512, heads=8, kv_heads=8, head_dim=64, ffn=2048,
                    vocab=32000, seq_len=512, global_batch=16)  # fmt: skip
    chip = ChipFacts(kind="c", peaks={"bf16": 1e14}, memory=80e9, memory_bandwidth=2e12,
                     scale_up=3e11, domain=8, scale_out=25e9)  # fmt: skip
    only = Constraints(tp=(2,), pp=(2,), recompute=("full",), zero=(1,), micro_batch=(2,))
    found = search(work, chip, 16, only)
    layouts = [found.best.layout, *(one.estimate.layout for one in found.runners_up)]
    for one in layouts:
        assert (one.tp, one.pp, one.recompute, one.micro_batch) == (2, 2, "full", 2)
