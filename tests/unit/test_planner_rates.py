"""Relative speed of chip kinds, and bytes of training over sites."""

from __future__ import annotations

import pytest

from skep.data.efficiency import facts
from skep.errors import InputError
from skep.model.chip import Chip
from skep.model.workload import Experts, Workload
from skep.planner.lowcomm import (
    data_parallel_bytes_per_token,
    lowcomm_bytes_per_token,
    mesh_bytes,
    ring_bytes,
)
from skep.planner.rates import (
    REFERENCE,
    SUSTAINED,
    rate,
    sustained,
)

FAST, SLOW = Chip(kind="fast", peak_flops=4e12), Chip(kind="slow", peak_flops=1e12)
HELD = Chip(kind="held", peak_flops=4e12, held_to=2e12)
DARK = Chip(kind="dark")


def test_a_held_chip_counts_with_what_it_is_held_to() -> None:
    assert rate(HELD, None) == 2e12


def test_an_unknown_speed_stays_unknown() -> None:
    assert rate(DARK, None) is None


def test_a_ring_sends_less_than_a_mesh_from_three_sites_on() -> None:
    assert ring_bytes(10, 1) == mesh_bytes(10, 1) == 0.0
    assert ring_bytes(10, 2) == mesh_bytes(10, 2) == 80.0
    assert ring_bytes(10, 3) == 160.0
    assert mesh_bytes(10, 3) == 240.0


def test_averaging_rarely_and_in_few_bits_saves_their_product() -> None:
    plain = data_parallel_bytes_per_token(1000, 3, 512.0)
    assert plain == 2 * 2 * 1000 * 4 / 512
    assert lowcomm_bytes_per_token(1000, 3, 512.0, interval=20, bytes_per_value=0.5) == (
        pytest.approx(plain / 160)
    )


@pytest.mark.parametrize(("tokens", "interval"), [(0.0, 1), (512.0, 0)])
def test_no_tokens_and_no_interval_are_refused(tokens: float, interval: int) -> None:
    with pytest.raises(InputError, match="allowed"):
        lowcomm_bytes_per_token(1000, 3, tokens, interval)


def test_what_a_chip_is_worth_depends_on_the_job() -> None:
    small = Workload(name="s", layers=12, hidden=768, heads=12, kv_heads=12, head_dim=64, ffn=3072,
                     vocab=50257, seq_len=1024, global_batch=8)  # fmt: skip
    large = small.model_copy(update={"hidden": 8192, "heads": 64, "kv_heads": 64, "head_dim": 128,
                                     "ffn": 28672, "layers": 80})  # fmt: skip
    eight = large.model_copy(update={"dtype": "fp8"})
    experts = large.model_copy(update={"moe": Experts(count=64, topk=4, ffn=2048)})
    h100, a100 = facts("h100-sxm"), facts("a100-sxm-80gb")
    assert sustained(small, h100) < sustained(large, h100) < 989e12
    assert sustained(experts, h100) < sustained(large, h100)
    assert 2.0 < sustained(large, h100) / sustained(large, a100) < 3.2
    ratios = [sustained(work, h100) / sustained(work, a100) for work in (small, large, eight)]
    assert ratios == sorted(ratios)


def test_a_rate_is_what_a_chip_sustains_or_is_held_to_or_a_part_of_its_peak() -> None:
    assert rate(HELD, None) == 2e12
    assert rate(FAST, None) == SUSTAINED * 4e12
    h100 = facts("h100-sxm")
    assert rate(Chip(kind="h100-sxm"), h100) == sustained(REFERENCE, h100)
