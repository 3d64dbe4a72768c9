"""Gradients are clipped as they would be on the batches of all sites, and alone as by torch."""

import math

import pytest
import torch

from skep.train.clipping import Clip, Known, Looked, together
from skep.train.ranks import Ranks
from skep.train.settings import Settings

SITES, LENGTH = 4, 4000
TOGETHER = Settings(site="a", listen="127.0.0.1:1")


def noisy(signal, steps, seed=1, noise=1.0):
    chance = torch.Generator().manual_seed(seed)
    return [signal + noise * torch.randn(LENGTH, generator=chance) for _ in range(steps)]


def clipping(chosen=TOGETHER, ranks=None, length=LENGTH):
    parameters = [torch.nn.Parameter(torch.zeros(length)) for _ in range(2)]
    return parameters, Clip(parameters, ranks or Ranks(), chosen)


def turn(clip, times):
    """As ``Run`` does it after each step, with one rank."""
    clip.learn(*clip.told(), times)


def after(gradients, times):
    """A ``Clip`` that has seen these, clipped to nothing, and its parameters."""
    parameters, clip = clipping()
    for gradient in gradients:
        for parameter in parameters:
            parameter.grad = gradient.clone()
        clip.clip(1e9)
        turn(clip, times)
    return parameters, clip


def clipped(gradient, most, history, times):
    """The norm of ``gradient`` after it was clipped to ``most``, and the one that was told."""
    parameters, clip = after(history, times)
    for parameter in parameters:
        parameter.grad = gradient.clone()
    told = clip.clip(most)
    return float(torch.stack([p.grad.norm() for p in parameters]).norm()), float(told)


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 10.0])
def test_what_is_common_to_all_sites_is_told_from_noise(scale):
    signal = scale * torch.randn(LENGTH, generator=torch.Generator().manual_seed(9))
    _, clip = after(noisy(signal, 60), SITES)
    assert clip._known.common == pytest.approx(scale**2 / (scale**2 + 1), abs=0.02)
    assert clip._known.usual == pytest.approx(math.sqrt(2 * LENGTH * (scale**2 + 1)), rel=0.05)


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 10.0])
def test_a_gradient_is_clipped_as_much_as_the_average_of_all_sites(scale):
    signal = scale * torch.randn(LENGTH, generator=torch.Generator().manual_seed(9))
    own = noisy(signal, 61, seed=0)
    others = [noisy(signal, 61, seed=site)[-1] for site in range(1, SITES)]
    average = math.sqrt(2) * float((sum(others, own[-1]) / SITES).norm())
    most = average / 2
    norm, told = clipped(own[-1], most, own[:-1], SITES)
    assert told == pytest.approx(math.sqrt(2) * float(own[-1].norm()), rel=1e-5)
    assert norm / told == pytest.approx(0.5, rel=0.03)
    assert clipped(own[-1], 1.05 * average, own[:-1], SITES)[0] == pytest.approx(told, rel=1e-4)


def test_alone_it_is_torchs_to_the_bit():
    for chosen in (Settings(site="a"), TOGETHER):
        parameters, clip = clipping(chosen)
        for gradient in noisy(0.1, 20):
            theirs = [torch.nn.Parameter(torch.zeros(LENGTH)) for _ in range(2)]
            for parameter in [*parameters, *theirs]:
                parameter.grad = gradient.clone()
            expected = torch.nn.utils.clip_grad_norm_(theirs, 3.0)
            assert torch.equal(clip.clip(3.0), expected)
            for ours, other in zip(parameters, theirs, strict=True):
                assert torch.equal(ours.grad, other.grad)
            turn(clip, 1.0)


@pytest.mark.parametrize("factor", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("times", [1.5, 4.0, 100.0])
def test_it_never_leaves_less_than_torch_nor_more_than_the_times(factor, times):
    history = noisy(0.0, 40)
    norm, _ = clipped(factor * history[0], 1.0, history, times)
    least = min(1.0, factor * math.sqrt(2) * float(history[0].norm()))
    assert least * 0.999 <= norm <= times * 1.001


def test_a_spike_that_all_sites_see_is_clipped_as_by_torch():
    """As when training becomes unstable: what is common stays the share that it was."""
    known = Known(cosines=1.0, pairs=1.0, norms=1.0, steps=1.0)
    assert float(together(torch.tensor(50.0), known, 4.0)) == pytest.approx(50.0)


def test_nothing_is_taken_for_noise_before_it_was_seen():
    assert float(together(torch.tensor(3.0), Known(), 4.0)) == 3.0
    assert float(together(torch.tensor(3.0), Known().seen(Looked(0, 9, 0), 3.0), 4.0)) == 3.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_gradients_that_are_not_finite_or_zero_teach_nothing(bad):
    history = noisy(0.0, 30)
    _, clip = after(history, SITES)
    known = clip._known
    assert known.seen(Looked(bad, bad, 1.0), bad) == known
    parameters, clip = after([*history, torch.full((LENGTH,), bad), *history], SITES)
    assert clip._known.common == pytest.approx(0.0, abs=0.05)
    for parameter in parameters:
        parameter.grad = torch.full((LENGTH,), bad)
    told = clip.clip(1.0)
    assert float(told) == 0.0 if bad == 0.0 else not math.isfinite(float(told))


def test_steps_without_clipping_and_parameters_without_gradients():
    parameters, clip = clipping()
    assert clip.told() == (Looked(), 0.0)
    assert float(clip.clip(1.0)) == 0.0
    parameters[0].grad = torch.ones(LENGTH)
    clip.clip(1.0)
    looked, norm = clip.told()
    assert (looked.product, norm) == (0.0, pytest.approx(math.sqrt(LENGTH)))
    assert clip.told() == (Looked(), 0.0)
    parameters[1].grad = torch.ones(LENGTH)  # of another shape than before: not compared
    clip.clip(1.0)
    assert clip.told()[0].product == 0.0


class Two(Ranks):
    """One of two ranks that hold alike shards of a model."""

    def __init__(self):
        super().__init__()
        self.world = 2

    def summed(self, values):
        return [2 * value for value in values]


@pytest.mark.parametrize("times", [1.0, 4.0])
def test_parameters_of_each_ranks_own_are_clipped_by_the_norm_of_all(times):
    chosen = Settings(site="a", listen="127.0.0.1:1", sharded=True)
    parameters, clip = clipping(chosen, Two(), length=2)
    clip.times = times
    for parameter in parameters:
        parameter.grad = torch.ones(2)
    assert float(clip.clip(1.0)) == pytest.approx(math.sqrt(8))
    assert float(parameters[0].grad[0]) == pytest.approx(1 / math.sqrt(8), rel=1e-5)


def test_of_large_models_some_values_are_looked_at_of_each_column():
    wide = torch.nn.Parameter(torch.zeros(1 << 11, 1 << 11))
    clip = Clip([wide], Ranks(), TOGETHER)
    wide.grad = torch.zeros_like(wide)
    wide.grad[:, ::2] = 1.0
    clip.clip(1e9)
    assert 1 << 17 < clip._before.numel() < 1 << 19
    assert float(clip._before.mean()) == pytest.approx(0.5, abs=0.01)
