"""The wind of an hour does not depend on the window it is asked in."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.power.wind import wind_power

FIRST = -2_000  # hours from the epoch: windows may lie before it
WIND = {seed: wind_power(1.0, 0.3, seed, FIRST * 3600.0, 8000) for seed in (0, 12345)}


@settings(max_examples=100)
@given(
    st.sampled_from(sorted(WIND)),
    st.integers(0, 7000),
    st.integers(0, 1000),
    st.floats(0, 3599),
)
def test_any_window_has_the_same_bits(seed: int, first: int, count: int, into: float) -> None:
    window = wind_power(1.0, 0.3, seed, (FIRST + first) * 3600.0 + into, count)
    assert np.array_equal(window, WIND[seed][first : first + count])


@given(st.integers(0, 2**130), st.floats(0.01, 0.95), st.floats(-1e10, 1e11))
def test_any_seed_factor_and_time_give_values_within_the_capacity(
    seed: int, factor: float, start: float
) -> None:
    wind = wind_power(10.0, factor, seed, start, 5)
    assert wind.shape == (5,)
    assert ((wind >= 0) & (wind <= 10.0)).all()
