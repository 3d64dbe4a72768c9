"""The serving model: what must hold whatever the constants are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skep.data import catalogue
from skep.files.workload import load_model
from skep.model.chip import Chip
from skep.planner.serve import Load, best, least_chips, separate, serve
from skep.planner.serving import Instance

CHIPS = catalogue.chips()
DENSE = load_model("llama-3-70b").workload
SPARSE = load_model("deepseek-v3").workload
LOAD = Load(prompt=2000, answer=500)


def of(kind: str = "h100-sxm", chips: int = 8, **more: object) -> Instance:
    return replace(Instance(DENSE, CHIPS[kind], chips), **more)  # type: ignore[arg-type]


def better(chip: Chip, **changes: float) -> Chip:
    return chip.model_copy(update=changes)


def test_the_cache_is_that_of_the_attention() -> None:
    # 80 layers x 2 x 8 heads x 128 values of one byte
    assert of().cache(1000) == 80 * 2 * 8 * 128 * 1000
    latent = Instance(SPARSE, CHIPS["h100-sxm"], 8)
    assert latent.cache(1) == 61 * (512 + 64)


def test_weights_and_cache_fill_the_memory_and_no_more() -> None:
    one = of()
    most = one.most(2250)
    assert one.weights + most * one.cache(2250) <= 8 * 80e9
    assert of(chips=1, precision="bf16").most(100) == 0
    assert serve(of(chips=1, precision="bf16"), LOAD) is None
    assert least_chips(DENSE, CHIPS["h100-sxm"], LOAD, "bf16") == 2


@pytest.mark.parametrize("model", [DENSE, SPARSE])
@pytest.mark.parametrize(
    "name", ["memory_bandwidth", "fp8_flops", "peak_flops", "scale_up_bandwidth", "memory"]
)
def test_a_better_chip_never_serves_less(model, name) -> None:  # type: ignore[no-untyped-def]
    chip = CHIPS["h200-sxm"]
    more = better(chip, **{name: 1.5 * getattr(chip, name)})
    for load in (LOAD, Load(8000, 200, ttft=3.0, tpot=0.08)):
        before, after = best(model, chip, load, "fp8", 32), best(model, more, load, "fp8", 32)
        assert before is not None
        assert after is not None
        assert after.rate_per_chip >= 0.98 * before.rate_per_chip  # whole batches


def test_a_larger_batch_is_slower_and_yields_more() -> None:
    one = of()
    times = [one.decode(batch, 2000) for batch in (1, 8, 64, 512)]
    assert times == sorted(times)
    rates = [batch / time for batch, time in zip((1, 8, 64, 512), times, strict=True)]
    assert rates == sorted(rates)


def test_limits_hold_the_rate() -> None:
    free = serve(of(), LOAD)
    tight = serve(of(), replace(LOAD, tpot=0.03))
    assert free is not None
    assert tight is not None
    assert tight.tpot < 0.03 < free.tpot
    assert tight.rate < free.rate
    assert tight.limit == "tpot"
    assert serve(of(), replace(LOAD, ttft=0.001)) is None


def test_phases_apart_have_a_better_time_between_tokens() -> None:
    together, apart = serve(of(), LOAD), separate(of(), LOAD)
    assert together is not None
    assert apart is not None
    assert apart.tpot < together.tpot
    assert 0 < apart.prompt_share < 1


def test_products_run_in_the_format_that_the_chip_has() -> None:
    assert of("ascend-910c").rate_format == "int8"
    assert of("a100-sxm-80gb", precision="fp8").rate_format == "int8"
    assert of("b200-sxm", precision="fp4").rate_format == "fp4"
    assert of("tpu-v4", precision="fp8").rate_format in ("int8", "bf16")


def test_the_status_is_honest() -> None:
    assert of("h100-sxm").status == "calibrated"
    assert of("ascend-910c", precision="int8").status == "few rows"
    assert of("ascend-950dt").status == "never measured"
    low, high = serve(of("h100-sxm"), LOAD).band  # type: ignore[union-attr]
    wide = serve(of("ascend-950dt"), LOAD).band  # type: ignore[union-attr]
    assert wide[1] / wide[0] > high / low
