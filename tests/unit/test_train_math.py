"""Codecs, outer step, weights, digests, accounting, schedule, pacing: against plain references."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.accounting import (
    bytes_per_token,
    data_parallel_bytes_per_token,
    ring_bytes_per_step,
)
from skep.train.codec import BLOCK, CODECS, codec
from skep.train.outer import PLAIN, Key, Outer, ahead, fitting, fresh, outer_step, sealed
from skep.train.pacing import Pacer
from skep.train.schedule import FIRST_S, may_close, patience


@given(st.integers(1, 3 * BLOCK), st.floats(1e-12, 1e6), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_fp16_keeps_three_digits_at_any_scale(length, scale, seed):
    vector = torch.randn(length, generator=torch.Generator().manual_seed(seed)) * scale
    back = codec("fp16").decode(codec("fp16").encode(vector), length)
    assert float((back - vector).abs().max()) <= float(vector.abs().max()) * 2**-11


def test_fp32_is_exact_and_fp16_halves_the_bytes():
    vector = torch.randn(10_000)
    assert torch.equal(codec("fp32").decode(codec("fp32").encode(vector), 10_000), vector)
    assert len(codec("fp16").encode(vector)) == 2 * 10_000 + 4 * math.ceil(10_000 / BLOCK)


@pytest.mark.parametrize("name", sorted(CODECS))
@given(data=st.binary(max_size=64), length=st.integers(1, 20))
def test_bytes_that_do_not_fit_are_refused(name, data, length):
    try:
        vector = codec(name).decode(data, length)
    except ValueError:
        return
    assert vector.numel() == length
    assert bool(torch.isfinite(vector).all())


@pytest.mark.parametrize("name", sorted(CODECS))
def test_nan_does_not_get_through(name):
    vector = torch.tensor([1.0, float("nan")])
    with pytest.raises(ValueError, match="NaN"):
        codec(name).decode(codec(name).encode(vector), 2)


def test_unknown_codec_names_the_known():
    with pytest.raises(ValueError, match="fp16, fp32, int2"):
        codec("int3")


@pytest.mark.parametrize(("lr", "momentum"), [(1.0, 0.5), (0.7, 0.9), (1.0, 0.0), (0.3, 0.2)])
def test_the_outer_step_is_torchs_nesterov(lr, momentum):
    start = torch.randn(50)
    reference = start.clone().requires_grad_()
    nesterov = momentum > 0
    sgd = torch.optim.SGD([reference], lr=lr, momentum=momentum, nesterov=nesterov)
    state = fresh(start, "0")
    for number in range(5):
        progress = torch.randn(50)
        reference.grad = -progress
        sgd.step()
        state = outer_step(state, progress, Outer(lr, momentum), 10, {"a": ("r", number)})
    torch.testing.assert_close(state.anchor, reference.detach(), rtol=1e-6, atol=1e-6)
    assert (state.round, state.tokens, state.merged) == (5, 50, {"a": ("r", 4)})


def test_the_digest_sees_every_bit():
    anchor, momentum = torch.zeros(5), torch.zeros(5)
    base = sealed(anchor, momentum).digest
    other = anchor.clone()
    other[3] = -0.0
    assert sealed(other, momentum).digest != base
    assert sealed(anchor, other).digest != base
    assert sealed(anchor, momentum, round=1).digest != base
    assert sealed(anchor.clone(), momentum.clone()).digest == base
    merged = sealed(anchor, momentum, merged={"a": ("j-a1-a", 3)}).digest
    assert merged != base
    assert sealed(anchor, momentum, merged={"a": ("j-a1-a", 4)}).digest != merged


keys = st.builds(
    lambda *four: Key(*four),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from("ab"),
    st.sampled_from("xyz"),
)


@given(keys, keys, keys)
def test_ahead_is_a_total_order(a, b, c):
    assert ahead(a, b) + ahead(b, a) == (a != b)
    if ahead(a, b) and ahead(b, c):
        assert ahead(a, c)


def test_a_fresh_fragment_never_wins_against_a_model_that_has_begun():
    assert ahead(Key(0, 0, "000002/c", "x", 1), Key(0, 0, "000000/a", "y", 0))
    assert not ahead(Key(0, 0, "a", "x", 1), Key(0, 0, "a", "x", 0))  # the same parameters


def test_fresh_parameters_never_win_against_trained_ones():
    fresh_first, trained = Key(0, 0, "000000/a", "z"), Key(1, 1, "000009/z", "a")
    assert ahead(trained, fresh_first)
    assert ahead(Key(0, 0, "000000/a", "a"), Key(0, 0, "000001/b", "z"))


def test_ring_bytes():
    assert ring_bytes_per_step(1000, 1) == 0
    assert ring_bytes_per_step(1000, 2) == 2 * 4000  # each of two sends the whole vector once
    assert ring_bytes_per_step(1000, 3) == 16_000
    assert data_parallel_bytes_per_token(1000, [512, 256, 256]) == 16_000 / 1024
    assert data_parallel_bytes_per_token(1000, []) == 0.0
    assert bytes_per_token([100, 50], 30) == 5.0
    assert bytes_per_token([100], 0) == 0.0


def test_rounds_close_with_all_or_with_most_of_the_tokens_after_the_limit():
    rates, everyone = {"a": 2.0, "b": 1.0, "c": 1.5}, {"a", "b", "c"}
    assert may_close(0.0, 1.0, rates, everyone, everyone)
    assert not may_close(0.9, 1.0, rates, {"a", "b"}, everyone)
    assert may_close(1.0, 1.0, rates, {"a", "b"}, everyone)
    assert not may_close(1.0, 1.0, rates, {"b"}, everyone)
    assert may_close(3.0, 1.0, rates, {"b"}, everyone)
    assert not may_close(2.9, 1.0, rates, set(), everyone)
    assert may_close(3.0, 1.0, rates, set(), everyone)
    assert patience(None, None) == FIRST_S
    assert patience(5.0, None) > patience(0.1, None)
    assert patience(5.0, 0.2) == 0.2


def paced(costs, step=0.1, backlog=0.5):
    """Total time of steps that cost so much, on a clock of our own."""
    pacer, now = Pacer(step, backlog), 0.0
    pacer.start(now)
    for cost in costs:
        now += cost
        now += pacer.sleep_s(now)
    return now, pacer


def test_a_fast_machine_takes_exactly_the_stated_time():
    total, pacer = paced([0.02] * 50)
    assert total == pytest.approx(5.0)
    assert pacer.over_share == 0.0


def test_jitter_is_caught_up():
    total, pacer = paced([0.02] * 10 + [0.3] + [0.02] * 39)
    assert total == pytest.approx(5.0)
    assert 0 < pacer.over_share < 0.1


def test_a_long_pause_is_not_caught_up_beyond_the_backlog():
    total, pacer = paced([0.02] * 10 + [5.0] + [0.02] * 89)
    assert total == pytest.approx(10.0 + 5.0 - 0.1 - 0.5)
    assert pacer.lost_s == pytest.approx(4.4)


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=80))
def test_never_faster_than_stated(costs):
    total, _ = paced(costs)
    assert total >= 0.1 * len(costs) - 1e-9
    assert total >= sum(costs) - 1e-9


def test_momentum_makes_the_outer_step_as_long_as_a_round_is_worth():
    assert fitting(None, 9.0) == fitting(0.0, 9.0) == fitting(1.0, 9.0) == PLAIN
    assert fitting(1.5, 1.0) == PLAIN
    for gain, most, times in ((1.2, 4.0, 1.2), (2.0, 9.0, 2.0), (4.0, 9.0, 3.0), (4.0, 4.0, 2.0)):
        assert 1 / (1 - fitting(gain, most).momentum) == pytest.approx(times, rel=0.01)
        assert fitting(gain, most).lr == 1.0
