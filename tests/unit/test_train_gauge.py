"""The gain gauge finds the noise that was put in, and warns where averaging brings nothing."""

import pytest
import torch

from skep.train.gauge import ENOUGH, Gauge, moments, together
from skep.train.parts import Part


def contributions(tokens, noise, chance, opposed=False):
    """Signal of length 1 per token, noise of variance ``noise`` per token, in 4000 dimensions."""
    signal = torch.randn(4000, generator=chance)
    signal /= signal.norm()
    parts = {}
    for index, count in enumerate(tokens):
        own = torch.randn(4000, generator=chance) * (noise * count / 4000) ** 0.5
        sign = -1.0 if opposed and index else 1.0
        parts[str(index)] = Part(sign * count * signal + own, "r", 1, 0, count, 1.0)
    return parts


def gauged(tokens, noise, rounds=60, opposed=False):
    gauge, chance = Gauge(), torch.Generator().manual_seed(3)
    for _ in range(rounds):
        gauge.take(moments(contributions(tokens, noise, chance, opposed)))
    return gauge


@pytest.mark.parametrize("tokens", [[100, 100], [100, 100, 100, 100], [200, 100, 100], [100, 10]])
@pytest.mark.parametrize("noise", [0.1, 100.0, 1000.0])
def test_the_speed_up_is_that_of_the_noise_that_was_put_in(tokens, noise):
    expected = (1 + noise / max(tokens)) / (1 + noise / sum(tokens))
    assert gauged(tokens, noise).speed_up == pytest.approx(expected, rel=0.12)


def test_it_is_between_none_and_all():
    assert gauged([100] * 4, 1e-6).speed_up == pytest.approx(1.0, abs=0.01)
    assert 2.5 < gauged([100] * 4, 1e4).speed_up <= 4.05


def test_it_warns():
    assert gauged([100] * 4, 1.0).said().startswith("warning: joining sites helps little")
    assert "smaller batches" in gauged([100] * 4, 1.0).said()
    assert gauged([100] * 3, 10.0, opposed=True).said().startswith("warning: the sites' updates")
    assert gauged([100] * 4, 100.0).said().startswith("gain: a common round is worth 1.6")


def test_it_says_nothing_before_it_knows():
    assert gauged([100, 100], 10.0, rounds=ENOUGH - 1).said() == ""
    chance = torch.Generator().manual_seed(1)
    assert together([moments(contributions([100], 1.0, chance))]) is None
    assert together([moments(contributions([100, 0], 1.0, chance))]) is None
