"""Coarse codecs: how much they keep, how few bytes they need, what they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.codec import CODECS, codec, last_codec
from skep.train.packing import expand, squeeze

COARSE = ["int8", "int4", "int2", "sparse"]
ROUNDING = {"int8": 127, "int4": 7}


def normal(length, seed=0):
    return torch.randn(length, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(ROUNDING))
@given(length=st.integers(1, 700), scale=st.floats(1e-20, 1e20), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_rounding_is_at_most_half_a_level_of_the_block(name, length, scale, seed):
    vector = normal(length, seed) * scale
    back = codec(name).decode(codec(name).encode(vector), length)
    limit = float(vector.abs().max()) / ROUNDING[name] * (0.5 + 2**-7 * ROUNDING[name])
    assert float((back - vector).abs().max()) <= limit


@pytest.mark.parametrize(
    ("name", "bits", "error"),
    [("int8", 7.7, 1e-4), ("int4", 3.6, 0.03), ("int2", 1.8, 0.22), ("sparse", 0.2, 0.95)],
)
def test_bits_and_error_of_a_normal_vector(name, bits, error):
    vector = normal(1 << 17)
    data = codec(name).encode(vector)
    back = codec(name).decode(data, len(vector))
    assert 8 * len(data) / len(vector) < bits
    assert float((back - vector).square().sum() / vector.square().sum()) < error


@pytest.mark.parametrize("name", COARSE)
@pytest.mark.parametrize("length", [1, 127, 128, 129, 4095, 4097, (1 << 19) + 5])
def test_any_length_and_zeros(name, length):
    zeros = torch.zeros(length)
    assert torch.equal(codec(name).decode(codec(name).encode(zeros), length), zeros)
    assert codec(name).decode(codec(name).encode(normal(length)), length).numel() == length


@pytest.mark.parametrize("name", COARSE)
def test_decoding_is_alike_each_time(name):
    data = codec(name).encode(normal(10_000))
    assert torch.equal(codec(name).decode(data, 10_000), codec(name).decode(data, 10_000))


@pytest.mark.parametrize("name", COARSE)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_damaged_updates_are_refused_or_finite(name, data):
    whole = bytearray(codec(name).encode(normal(300)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for hurt in (bytes(whole), bytes(whole[:cut])):
        try:
            vector = codec(name).decode(hurt, 300)
        except ValueError:
            continue
        assert vector.numel() == 300
        assert bool(torch.isfinite(vector).all())


def test_a_bomb_does_not_expand():
    bomb = squeeze(np.zeros(1 << 22, dtype=np.uint8))
    with pytest.raises(ValueError, match="does not expand to 100"):
        expand(bomb, 100)


def test_the_average_of_sparse_updates_keeps_what_each_of_them_kept():
    updates = []
    for seed in (1, 2):
        data = codec("sparse").encode(normal(8192, seed))
        updates.append(codec("sparse").decode(data, 8192))
    average = (updates[0] + updates[1]) / 2
    back = codec("sparse").decode(codec("sparse").encode(average, sources=2), 8192)
    assert torch.equal(back != 0, average != 0)


def test_after_the_last_round_nothing_can_come_later():
    assert {last_codec(name) for name in CODECS} == {"fp32", "fp16", "int8", "int4"}
