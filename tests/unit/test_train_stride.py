"""Local steps are as long as those of one Adam on the batches of all sites, and no longer."""

import copy
from dataclasses import replace

import pytest
import torch

from skep.train.lead import Options
from skep.train.outer import Outer
from skep.train.settings import Settings
from skep.train.stride import Stride, noise_of, period

SITES, LENGTH = 4, 1000
TOGETHER = Settings(site="a", listen="127.0.0.1:1", lengthen=True)


def adam(start, kind=torch.optim.AdamW, **how):
    parameter = torch.nn.Parameter(start.clone())
    return parameter, kind([parameter], **({"lr": 1e-3} | how))


def moved(gradients, times, kind=torch.optim.AdamW, **how):
    """Where Adam is after these gradients, its steps lengthened for ``times`` the batch."""
    parameter, optimizer = adam(torch.zeros(LENGTH), kind, **how)
    stride = Stride([parameter], optimizer, TOGETHER)
    stride.times = times
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        stride.stepped()
    return parameter.detach()


def trained(gradients):
    """Adam as it is, after these gradients."""
    parameter, optimizer = adam(torch.zeros(LENGTH))
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter, optimizer


def noisy(signal, noise, steps, seed):
    chance = torch.Generator().manual_seed(seed)
    return [signal + noise * torch.randn(LENGTH, generator=chance) for _ in range(steps)]


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (torch.optim.AdamW, {}),
        (torch.optim.Adam, {"maximize": True}),
        (torch.optim.AdamW, {"betas": (0.8, 0.99)}),
    ],
)
@pytest.mark.parametrize(("signal", "kept"), [(0.0, 0.65), (0.3, 0.75), (10.0, 1.01)])
def test_the_average_of_sites_goes_as_far_as_adam_on_all_their_batches(kind, how, signal, kept):
    """``kept``: of that way, how much is left of it at most with steps as they are."""
    direction = signal * torch.randn(LENGTH, generator=torch.Generator().manual_seed(2))
    gradients = [noisy(direction, 1.0, 120, site) for site in range(SITES)]
    together = moved([sum(each) / SITES for each in zip(*gradients, strict=True)], 1.0, kind, **how)
    average = sum(moved(own, SITES, kind, **how) for own in gradients) / SITES
    as_they_are = sum(moved(own, 1.0, kind, **how) for own in gradients) / SITES
    whole = float(together.norm())
    assert float(average.norm()) / whole == pytest.approx(1.0, abs=0.2)
    assert float((average - together).norm()) / whole < 0.3
    assert float(as_they_are.norm()) / whole < kept


def test_where_there_is_no_noise_steps_stay_as_they_are():
    gradients = [torch.linspace(-3, 3, LENGTH)] * 50
    assert torch.allclose(moved(gradients, 100.0), moved(gradients, 1.0), rtol=1e-3, atol=0)


def test_no_step_is_longer_than_the_root_of_the_times():
    gradients = noisy(0.0, 1.0, 100, seed=1)
    before, plain = moved(gradients[:-1], 9.0), moved(gradients[:-1], 1.0)
    step = moved(gradients, 9.0, weight_decay=0.0) - moved(gradients[:-1], 9.0, weight_decay=0.0)
    short = moved(gradients, 1.0, weight_decay=0.0) - moved(gradients[:-1], 1.0, weight_decay=0.0)
    assert float(before.norm()) > float(plain.norm())
    assert bool((step.abs() <= 3.001 * short.abs() + 1e-6).all())


def test_a_site_alone_trains_as_ever_to_the_bit():
    gradients = noisy(0.1, 1.0, 20, seed=1)
    parameter, _ = trained(gradients)
    assert torch.equal(moved(gradients, 1.0), parameter.detach())
    assert torch.equal(moved(gradients, 0.0), parameter.detach())


@pytest.mark.parametrize(
    ("kind", "how", "chosen"),
    [
        (torch.optim.SGD, {}, TOGETHER),
        (torch.optim.AdamW, {"amsgrad": True}, TOGETHER),
        (torch.optim.AdamW, {}, Settings(site="a", lengthen=True)),
        (torch.optim.AdamW, {}, Settings(site="a", listen="127.0.0.1:1")),
        (torch.optim.AdamW, {}, replace(TOGETHER, options=Options(outer=Outer(1.0, 0.5)))),
    ],
)
def test_not_with_other_optimizers_alone_or_beside_momentum(kind, how, chosen):
    parameter, optimizer = adam(torch.zeros(3), kind, **how)
    stride = Stride([parameter], optimizer, chosen)
    assert not stride.used
    assert not stride.settings.options.lengthened
    parameter.grad = torch.ones(3)
    optimizer.step()
    before = parameter.detach().clone()
    stride.times = 4.0
    stride.stepped()
    assert torch.equal(parameter, before)


def test_plain_averaging_asked_for_is_no_reason_against_it():
    parameter, optimizer = adam(torch.zeros(3))
    chosen = replace(TOGETHER, options=Options(outer=Outer(1.0, 0.0)))
    assert Stride([parameter], optimizer, chosen).settings.options.lengthened


def test_only_parameters_that_were_stepped_and_are_exchanged_move():
    own, foreign, still = (torch.nn.Parameter(torch.zeros(50)) for _ in range(3))
    optimizer = torch.optim.AdamW([own, foreign, still], lr=1e-3, weight_decay=0.0)
    stride = Stride([own, still], optimizer, TOGETHER)
    stride.times = 4.0
    chance = torch.Generator().manual_seed(1)
    for _ in range(30):
        gradient = torch.randn(50, generator=chance)
        for parameter in (own, foreign):
            parameter.grad = gradient.clone()
        optimizer.step()
        stride.stepped()
    plain = foreign.detach().clone()
    assert not torch.allclose(own, foreign)
    assert not still.any()
    before = own.detach().clone()
    optimizer.found_inf = torch.tensor(1.0)  # as a scaler says that the step was left out
    stride.stepped()
    assert torch.equal(own, before)
    assert torch.equal(foreign, plain)


def test_parameters_without_any_gradient_stay_finite():
    for eps in (1e-8, 1e-20):
        assert bool(torch.isfinite(moved([torch.zeros(LENGTH)] * 5, 4.0, eps=eps)).all())


def test_after_a_resume_nothing_counts_as_noise_before_it_was_seen():
    gradients = noisy(0.0, 1.0, 40, seed=1)
    parameter, optimizer = trained(gradients)
    again, resumed = adam(parameter.detach())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    stride = Stride([again], resumed, TOGETHER)
    stride.times = 4.0
    again.grad = parameter.grad.clone()
    for each in (optimizer, resumed):
        each.step()
    stride.stepped()
    assert torch.allclose(again, parameter, rtol=0, atol=1e-5)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.95])
def test_noise_is_told_from_signal(beta):
    chance = torch.Generator().manual_seed(4)
    signal = torch.randn(LENGTH, generator=chance)
    share = (1 - beta) / (1 + beta)
    square, smooth = signal.square() + 4.0, signal.square() + share * 4.0
    assert torch.allclose(noise_of(square, smooth, beta), torch.full((LENGTH,), 4.0), rtol=1e-3)
    assert torch.equal(noise_of(square, square, beta), torch.zeros(LENGTH))
    assert torch.equal(noise_of(square, 2 * square, beta), torch.zeros(LENGTH))
    assert bool((noise_of(square, 0 * square, beta) <= square).all())
    assert not noise_of(square, smooth, 0.0).any()


@pytest.mark.parametrize(
    ("step", "beta", "steps"), [(1, 0.999, 1), (100, 0.999, 1), (500, 0.999, 7), (9e9, 0.999, 15)]
)
def test_factors_are_renewed_often_enough_for_the_time_that_they_average(step, beta, steps):
    assert period(step, beta) == steps
    assert period(step, 0.95) == period(step, 0.0) == 1
    assert period(1e5, 1.0) >= 1


def test_factors_that_are_kept_for_some_steps_lengthen_as_much(monkeypatch):
    gradients = noisy(0.1, 1.0, 1500, seed=1)
    kept = moved(gradients, SITES)
    monkeypatch.setattr("skep.train.stride.OFTEN", 10**9)
    anew = moved(gradients, SITES)
    plain = moved(gradients, 1.0)
    assert float((kept - anew).norm()) < 0.03 * float((anew - plain).norm())


def test_when_sites_come_or_go_steps_follow_at_once():
    parameter, optimizer = adam(torch.zeros(LENGTH), weight_decay=0.0)
    stride = Stride([parameter], optimizer, TOGETHER)
    steps = []
    for count, gradient in enumerate(noisy(0.0, 1.0, 1203, seed=1)):
        before = parameter.detach().clone()
        parameter.grad = gradient.clone()
        optimizer.step()
        plain = parameter.detach() - before
        stride.times = {1200: 1.0, 1201: 4.0}.get(count, 16.0)
        stride.stepped()
        steps.append(float((parameter.detach() - before).norm() / plain.norm()))
    assert steps[1199] == pytest.approx(4.0, rel=0.15)
    assert steps[1200] == 1.0
    assert steps[1201] == pytest.approx(2.0, rel=0.15)
    assert steps[1202] == pytest.approx(4.0, rel=0.15)
