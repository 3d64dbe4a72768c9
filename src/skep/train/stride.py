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
are: what is missing to each step is added after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch

from skep.train.flat import held
from skep.train.settings import Settings

KINDS = (torch.optim.Adam, torch.optim.AdamW)


@dataclass(slots=True)
class _Seen:
    """Of one parameter: the mean square of its first moment, and of which step it is."""

    smooth: torch.Tensor  # fp32
    step: torch.Tensor  # 0-D


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
        if not self.used:
            return
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                state = self._optimizer.state.get(parameter)
                whole = parameter.grad is not None and not parameter.is_complex()
                if state and whole and id(parameter) in self._own:
                    self._lengthen(parameter, state, group)

    def _lengthen(
        self, parameter: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        first, second = (float(beta) for beta in group["betas"])
        moment, square = held(state["exp_avg"]).float(), held(state["exp_avg_sq"]).float()
        step = torch.as_tensor(state["step"]).float()
        seen = self._seen.get(id(parameter))
        if seen is None:  # nothing is taken for noise until it has been seen to be
            seen = self._seen[id(parameter)] = _Seen(square.clone(), step - 1)
        done = step - seen.step  # 0 where the step was left out, as gradients were not finite
        seen.step = step.clone()
        moment = moment / (1 - first**step).to(moment.device)
        seen.smooth.lerp_(moment.square(), (1 - second) * done.to(moment.device))
        if self.times <= 1.0:
            return
        begun = (1 - second**step).to(moment.device)
        whole = (square / begun).sqrt_().add_(group["eps"])
        noise = noise_of(square, seen.smooth, first)
        less = torch.sub(square, noise, alpha=1 - 1 / self.times, out=noise)
        less = less.div_(begun).sqrt_().add_(group["eps"])
        # moment / less - moment / whole, in the memory that is there: it is as large as the model
        missing = torch.sub(whole, less).mul_(moment).div_(less).div_(whole)
        missing.mul_((done * group["lr"]).to(moment.device))
        held(parameter).sub_(missing.to(parameter.dtype))


def noise_of(square: torch.Tensor, smooth: torch.Tensor, beta: float) -> torch.Tensor:
    """How much of ``square`` is noise: mean squares of the gradients, and of their first moment
    with decay ``beta``. Between 0 and ``square``; 0 for a ``beta`` of 0, which smooths nothing."""
    share = (1 - beta) / (1 + beta)
    if share >= 1.0:
        return torch.zeros_like(square)
    noise = (square - smooth).div_(1 - share).clamp_(min=0.0)
    return torch.minimum(noise, square, out=noise)
