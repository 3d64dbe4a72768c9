"""Hours: supply comes in steps of one hour, counted from the Unix epoch (UTC)."""

from __future__ import annotations

import math

import numpy as np

from skep.model.snapshot import Ints

HOUR = 3600


def hour_of(time: float) -> int:
    """Number of the hour that ``time`` (epoch s) lies in; hour 0 starts at the epoch."""
    return math.floor(time / HOUR)


def hours_from(time: float, count: int) -> Ints:
    """Numbers of ``count`` hours, the first being the one that ``time`` (epoch s) lies in."""
    first = hour_of(time)
    return np.arange(first, first + count, dtype=np.int64)
