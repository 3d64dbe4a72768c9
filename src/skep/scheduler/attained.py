"""Attained: how much a job has had, by which ``order: attained`` puts it behind others.

Jobs are in classes by the chip-hours (of the reference, see ``worth``) that they have had: the
policy's ``levels`` are the bounds between them. A short job is done before it leaves the first
class, whatever its user said; a long one is passed by all that are shorter so far.
Source: Gu et al., "Tiresias: A GPU Cluster Manager for Distributed Deep Learning", NSDI 2019.
"""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np

from skep.model.policy import Policy
from skep.model.snapshot import Bools, Floats, Holder, Ints
from skep.scheduler.prey import Herd

HOUR = 3600.0
LOST = 0.1  # of what a job has had it may lose so much, to one that has had less
TICK = 30.0  # s between two looks at who has had more
ROUNDING = 1e-3  # s: by then it is in the next class, whatever sums of floats make of it


def level(policy: Policy, had: float) -> int:
    """The class of a job that has had ``had`` chip-seconds: 0 is looked at first."""
    return bisect_right(policy.levels, had / HOUR) if policy.order == "attained" else 0


def chip_hours(had: float, policy: Policy) -> str:
    """``20.5 chip-hours, which puts it behind all that have had less than 16``."""
    at = level(policy, had)
    behind = f", which puts it behind all that have had less than {policy.levels[at - 1]:g}"
    return f"{had / HOUR:.1f} chip-hours{behind if at else ''}"


def had_by(holder: Holder, now: float) -> float:
    """Chip-seconds of the reference that a running job has had by ``now``."""
    return holder.had + holder.weight * max(0.0, now - holder.began)


def levels(policy: Policy, herd: Herd, now: float) -> Ints:
    """The class of the job of each row."""
    had = herd.had + herd.worth * herd.chips * np.maximum(0.0, now - herd.began)
    found: Ints = np.searchsorted(np.array(policy.levels), had / HOUR, side="right")
    return found


def may_give_way(policy: Policy, herd: Herd, now: float, to: int) -> Bools:
    """Which rows' jobs are in a higher class than ``to``, and lose little of what they have had.

    As of the last ``TICK``: else a large pool would be looked through again each second.
    """
    at = _tick(now)
    had = herd.had + herd.worth * herd.chips * np.maximum(0.0, at - herd.began)
    rows = np.arange(len(had))
    lost = herd.each(rows, np.zeros(len(had), dtype=bool), at) * herd.chips
    safe = herd.safe_until > at
    may: Bools = (levels(policy, herd, at) > to) & (lost <= LOST * had) & ~safe
    return may


def _tick(now: float) -> float:
    return math.floor(now / TICK) * TICK


def next_change(policy: Policy, herd: Herd, now: float) -> float:
    """When the next of the jobs comes into another class, may be stopped, or has saved its work.

    Infinity for never; else a whole ``TICK``.
    """
    now = _tick(now)
    bounds: Floats = np.append(np.array(policy.levels) * HOUR, np.inf)
    rate = np.maximum(herd.worth * herd.chips, 1e-9)
    at = herd.began + (bounds[levels(policy, herd, now)] - herd.had) / rate + ROUNDING
    every = np.where((herd.every > 0) & (levels(policy, herd, now) > 0), herd.every, np.inf)
    passed = np.floor(np.maximum(0.0, now - herd.began) / every) + 1.0
    saved = herd.began + np.where(np.isfinite(every), passed * every, np.inf) + ROUNDING
    times = np.concatenate((at, saved, herd.safe_until))
    found = float(times[times > now].min(initial=np.inf))
    return found if math.isinf(found) else math.ceil(found / TICK) * TICK
