"""Local steps as long as those of one Adam on the batches of all sites together.

Adam divides its step by the root of ``v``, the mean square of the gradients: their signal and the
noise of the site's own batch. On the batches of ``n`` sites that noise is ``n`` times smaller, and
the steps are longer by what is missing. Averaging the sites' parameters takes the noise out of the
steps, but not out of what they were divided by: so it moves less far than it could, by up to the
root of ``n``, and least in those parameters of which the gradient is mostly noise.

How much of ``v`` is noise a site sees by itself. Adam's first moment ``m`` averages the gradients
of some steps; with ``k = (1 - beta1) / (1 + beta1)`` and both averaged over the time of ``v``

    E g^2 = signal + noise          E m^2 = signal + k noise

hence ``noise = (v - E m^2) / (1 - k)``, value by value, and the step is divided by the root of
``v - noise (1 - 1 / n)`` instead. Nothing is sent. The user's optimizer and its state stay as they
are: what is missing to each step is added after it, as ``m`` times a factor for each value. That
follows from averages over ``1 / (1 - beta2)`` steps, so it is renewed some 64 times in these, and
what is left to do at each step is one multiplication and addition for each value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch

from skep.train.flat import held
from skep.train.settings import Settings

KINDS = (torch.optim.Adam, torch.optim.AdamW)
OFTEN = 64  # renewals of the factors in the time over which the second moment averages
JUMP = 1.1  # a change of ``times`` that does not wait for the next renewal

Pair = tuple[torch.Tensor, dict[str, Any]]  # a parameter and the optimizer's state of it


@dataclass(slots=True)
class _Seen:
    """Of one parameter: the mean square of its first moment; per value, what is missing to a step
    of rate 1 for each unit of the first moment. Both fp32, as at the last renewal."""

    smooth: torch.Tensor
    missing: torch.Tensor
    step: float  # the optimizer's count
    times: float = 1.0
    since: int = 0  # steps since then


class Stride:
    """Lengthens the steps of ``optimizer`` for those of ``parameters`` that are exchanged."""

    def __init__(
        self, parameters: Iterable[torch.Tensor], optimizer: torch.optim.Optimizer, chosen: Settings
    ) -> None:
        outer = chosen.options.outer
        twice = outer is not None and outer.momentum > 0.0  # momentum lengthens steps as well
        plain = not any(group.get("amsgrad") for group in optimizer.param_groups)
        fits = type(optimizer) in KINDS and plain and not twice
        self.used = fits and chosen.lengthen and not chosen.alone
        self.settings = replace(chosen, options=replace(chosen.options, lengthened=self.used))
        self.times = 1.0  # tokens of all sites over those of this one; 1: steps as they are
        self._optimizer = optimizer
        self._own = {id(parameter) for parameter in parameters}
        self._seen: dict[int, _Seen] = {}

    @torch.no_grad()
    def stepped(self) -> None:
        """To be called after each step of the optimizer, before gradients are cleared."""
        overflow = getattr(self._optimizer, "found_inf", None)  # set by a scaler
        if not self.used or (overflow is not None and bool(overflow)):
            return  # in the second case the optimizer has left the step out
        for group in self._optimizer.param_groups:
            pairs = self._pairs(group)
            for parameter, state in pairs:
                self._look(parameter, state, group)
            if self.times > 1.0:
                self._lengthen(pairs, float(group["lr"]))

    def _pairs(self, group: dict[str, Any]) -> list[Pair]:
        """What the optimizer has just stepped and skep exchanges."""
        states = self._optimizer.state
        return [
            (parameter, states[parameter])
            for parameter in group["params"]
            if parameter.grad is not None
            and states.get(parameter)
            and id(parameter) in self._own
            and not parameter.is_complex()
        ]

    def _look(self, parameter: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Renew what is kept of the parameter, where that is due."""
        betas = (float(group["betas"][0]), float(group["betas"][1]))
        seen = self._seen.get(id(parameter))
        if seen is None:  # nothing is taken for noise until it has been seen to be
            square = held(state["exp_avg_sq"]).float().clone()
            seen = _Seen(square, torch.zeros_like(square), float(state["step"]) - 1)
            self._seen[id(parameter)] = seen
        seen.since += 1
        times = max(self.times, 1.0)
        jumped = not 1 / JUMP <= times / seen.times <= JUMP
        if seen.since < period(seen.step, betas[1]) and not jumped:
            return
        step = float(state["step"])
        moment, square = held(state["exp_avg"]).float(), held(state["exp_avg_sq"]).float()
        right = 1 - betas[0] ** step  # for the start of the averages, as Adam does it
        seen.smooth.lerp_((moment / right).square_(), 1 - betas[1] ** (step - seen.step))
        seen.step, seen.since, seen.times = step, 0, times
        if times > 1.0:
            less = less_noise(square, seen.smooth, betas[0], times)
            begun, eps = 1 - betas[1] ** step, group["eps"]
            divided = [each.div_(begun).sqrt_().add_(eps) for each in (square.clone(), less)]
            torch.sub(divided[1].reciprocal_(), divided[0].reciprocal_(), out=seen.missing)
            seen.missing.div_(right)

    def _lengthen(self, pairs: list[Pair], rate: float) -> None:
        values: list[torch.Tensor] = []
        moments: list[torch.Tensor] = []
        factors: list[torch.Tensor] = []
        for parameter, state in pairs:
            value, moment = held(parameter), held(state["exp_avg"])
            missing = self._seen[id(parameter)].missing
            if value.dtype == moment.dtype == missing.dtype:
                values.append(value)
                moments.append(moment)
                factors.append(missing)
            else:
                value.sub_((missing * moment * rate).to(value.dtype))
        if values:
            torch._foreach_addcmul_(values, moments, factors, value=-rate)


def period(step: float, beta: float) -> int:
    """Steps between renewals at this ``step``: the decay ``beta`` says over how many the second
    moment averages, in the beginning over all that there were."""
    return max(int(min(step, 1 / max(1 - beta, 1e-9)) / OFTEN), 1)


def less_noise(
    square: torch.Tensor, smooth: torch.Tensor, beta: float, times: float
) -> torch.Tensor:
    """``square`` as it would be on a batch ``times`` as large: see ``noise_of``."""
    noise = noise_of(square, smooth, beta)
    return torch.sub(square, noise, alpha=1 - 1 / times, out=noise)


def noise_of(square: torch.Tensor, smooth: torch.Tensor, beta: float) -> torch.Tensor:
    """How much of ``square`` is noise: mean squares of the gradients, and of their first moment
    with decay ``beta``. Between 0 and ``square``; 0 for a ``beta`` of 0, which smooths nothing."""
    share = (1 - beta) / (1 + beta)
    if share >= 1.0:
        return torch.zeros_like(square)
    noise = (square - smooth).div_(1 - share).clamp_(min=0.0)
    return torch.minimum(noise, square, out=noise)
