"""Headroom: W that may still be committed under a site's cap, now and over hours."""

from __future__ import annotations

import numpy as np

from skep.model.snapshot import Floats


def headroom(cap: Floats, committed: Floats, margin: float = 0.0) -> Floats:
    """W free per site under ``cap`` less ``margin`` (0..1); negative where it is exceeded.

    Arrays broadcast; a cap of inf leaves inf.
    """
    return np.asarray(cap * (1.0 - margin) - committed)


def window_headroom(caps: Floats, committed: Floats, margin: float = 0.0) -> Floats:
    """W free in every hour of a window: the least over hours, the last axis of both arrays."""
    free = headroom(caps, committed, margin)
    return np.asarray(free.min(axis=-1))
