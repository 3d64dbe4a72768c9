"""A trace made larger: more sites, more load. The method: docs/decisions/0014-trace-replay.md."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skep.errors import InputError
from skep.model.site import Link, Pool
from skep.model.snapshot import Floats, Ints
from skep.sim.trace import Trace

DAY = 86400.0


def scaled(
    trace: Trace,
    *,
    copies: int = 1,
    load: float = 1.0,
    jitter: float = 600.0,
    seed: int = 0,
    jobs: int | None = None,
) -> Trace:
    """``copies`` of the trace upon one another, and ``load`` times as many jobs in a second.

    The first copy is the trace itself. Each other one is turned by a whole number of days, drawn
    from ``seed`` (what falls off the end comes at the beginning: hours of the day stay), and each
    of its jobs is moved by up to ``jitter`` s. Then all submissions come ``load`` times as fast;
    durations stay. ``jobs`` keeps the first so many. Raises ``InputError``.
    """
    if copies < 1:
        raise InputError("copies", copies, "allowed: 1 or more")
    if not load > 0:
        raise InputError("load", load, "allowed: more than 0")
    made = _superposed(trace, copies, jitter, seed, jobs) if copies > 1 else trace
    if load != 1.0:
        made = replace(made, submit=made.submit / load)
    return made.take(slice(0, jobs)) if jobs is not None and jobs < len(made) else made


def _superposed(trace: Trace, copies: int, jitter: float, seed: int, jobs: int | None) -> Trace:
    """Only the beginning is made where only the first ``jobs`` are wanted."""
    days = max(1, int(np.ceil((trace.submit[-1] + 1.0) / DAY)))
    until = _enough(trace, copies, jobs, days * DAY)
    rows, at = _turned(trace, copies, jitter, seed, days, until)
    if jobs is not None and len(rows) < jobs and np.isfinite(until):
        rows, at = _turned(trace, copies, jitter, seed, days, np.inf)
    order = np.argsort(at, kind="stable")
    made = trace.take(rows[order])
    size = None if trace.size is None else trace.size * copies
    return replace(made, submit=at[order], size=size, name=f"{trace.name}-x{copies}")


def _turned(
    trace: Trace, copies: int, jitter: float, seed: int, days: int, until: float
) -> tuple[Ints, Floats]:
    """Rows of the trace and times of submission up to ``until``, copy by copy."""
    chance = np.random.default_rng([seed, 21])
    rows: list[Ints] = []
    times: list[Floats] = []
    for copy in range(copies):
        turn = float(chance.integers(days)) * DAY if copy else 0.0
        at = (trace.submit + turn) % (days * DAY) if copy else trace.submit
        if copy and jitter > 0:
            at = at + chance.uniform(0.0, jitter, size=len(trace))
        kept = np.flatnonzero(at <= until)
        rows.append(kept)
        times.append(at[kept])
    return np.concatenate(rows), np.concatenate(times)


def _enough(trace: Trace, copies: int, jobs: int | None, length: float) -> float:
    """A time by which ``copies`` turned copies have more than ``jobs`` jobs, with room to spare."""
    if jobs is None or jobs >= copies * len(trace):
        return float("inf")
    # The densest day may be anywhere in a turned copy; the mean rate is met over many copies.
    return min(length, max(3 * DAY, 3.0 * length * jobs / (copies * len(trace))))


def multiplied(pool: Pool, copies: int) -> Pool:
    """The pool with each site ``copies`` times: ``name-1`` ..; links inside each copy."""
    if copies == 1:
        return pool
    sites = tuple(
        site.model_copy(update={"name": f"{site.name}-{copy}"})
        for copy in range(1, copies + 1)
        for site in pool.sites
    )
    links = tuple(
        Link(
            between=(f"{link.between[0]}-{copy}", f"{link.between[1]}-{copy}"),
            bandwidth=link.bandwidth,
            rtt=link.rtt,
            loss=link.loss,
        )
        for copy in range(1, copies + 1)
        for link in pool.links
    )
    return pool.model_copy(update={"sites": sites, "links": links})
