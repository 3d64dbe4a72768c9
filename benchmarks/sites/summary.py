"""Figures of benchmarks/train.py that need several measurements: time to a fixed loss. Pure."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Sites = Sequence[Mapping[str, Any]]
Raw = Mapping[tuple[str, float], Sites]  # by system and Mbit/s (0: not shaped)
CHOSEN = "skep chosen"
PEERS = {"ddp": "ddp fp16", "torchft": "torchft long", "hivemind": "hivemind"}
LOCKSTEP = ("ddp fp16",)  # the loss after so many steps is the same on any link


def curve(sites: Sites) -> list[tuple[float, float]]:
    """(steps, held-out loss), the mean over the sites, at the steps at which all have looked."""
    looks = min((len(site["curve"]) for site in sites), default=0)
    found = []
    for place in range(looks):
        steps = sites[0]["curve"][place][0]
        found.append((steps, statistics.mean(site["curve"][place][1] for site in sites)))
    return found


def steps_to(loss: float, points: Sequence[tuple[float, float]]) -> float | None:
    """Steps after which the loss is first reached, between looks by a straight line."""
    for before, after in itertools.pairwise(points):
        if after[1] <= loss < before[1]:
            share = (before[1] - loss) / (before[1] - after[1])
            return before[0] + share * (after[0] - before[0])
    return points[0][0] if points and points[0][1] <= loss else None


def step_s(sites: Sites) -> float:
    """Seconds of a step, waiting included, without those that this machine was too slow."""
    times = [(site["wall_s"] - site["contention_s"]) / site["steps"] for site in sites]
    return statistics.mean(times)


def target(raw: Raw, fast: float) -> float | None:
    """The loss that every system has reached at the end on the fast link."""
    names = [name for name in (CHOSEN, *PEERS.values()) if curve(raw.get((name, fast), []))]
    return max((curve(raw[name, fast])[-1][1] for name in names), default=None)


def seconds_to(loss: float, name: str, rate: float, fast: float, raw: Raw) -> float | None:
    """Seconds of ``name`` to ``loss`` at ``rate``; None where it did not get there."""
    sites = raw.get((name, rate), [])
    if not sites:
        return None
    steps = steps_to(loss, curve(sites))
    if steps is None and name in LOCKSTEP:
        steps = steps_to(loss, curve(raw.get((name, fast), [])))
    return None if steps is None else steps * step_s(sites)


def times(raw: Raw, chip_s: float, fast: float = 100.0, slow: float = 1.0) -> dict[str, float]:
    """``time_to_loss_1mbit``: over the time that skep needs on the fast link if it never waited;
    ``time_to_loss_vs_…``: a peer's time on the slow link over skep's."""
    loss = target(raw, fast)
    if loss is None:
        return {}
    found = {"time_to_loss_target": loss}
    ours = seconds_to(loss, CHOSEN, slow, fast, raw)
    steps = steps_to(loss, curve(raw.get((CHOSEN, fast), [])))
    if ours is None or steps is None:
        return found
    found["time_to_loss_1mbit"] = ours / (steps * chip_s)
    for key, name in PEERS.items():
        theirs = seconds_to(loss, name, slow, fast, raw)
        if theirs is not None:
            found[f"time_to_loss_vs_{key}"] = theirs / ours
    return found
