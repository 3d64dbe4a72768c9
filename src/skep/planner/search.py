"""The fastest layouts of a workload on chips of one kind, and why the others lose.

Every layout of the space is timed and weighed, in chunks of arrays. Memory is asked first: a chunk
of meshes of which nothing fits is not timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from skep.errors import InputError
from skep.model.workload import Workload
from skep.planner.answer import Estimate, Ranking, RunnerUp
from skep.planner.chip import ChipFacts
from skep.planner.estimate import estimate
from skep.planner.layout import Layout, Layouts, Numbers
from skep.planner.machine import Machine, machine_of
from skep.planner.memory import memory
from skep.planner.shape import Shape, shape_of
from skep.planner.space import OPTIONS, USUAL, Constraints, distinct, layouts, meshes
from skep.planner.step import step

CHUNK = 1 << 17  # layouts at a time: arrays of 1 MB, which stay in the cache
OVER = 1.5  # times the memory of a chip up to which what does not fit is still worth a word
MOST = 1 << 20  # chips up to which "how many would it take" is asked


@dataclass(frozen=True, slots=True)
class _Found:
    """Per mesh: the fastest options that fit, and that nearly fit, by position."""

    time: Numbers
    choice: Numbers
    any_time: Numbers
    any_choice: Numbers
    least: float
    considered: int
    fitting: int


def search(
    work: Workload,
    chip: ChipFacts,
    n_chips: int,
    constraints: Constraints = USUAL,
    top: int = 5,
) -> Ranking:
    """The ``top`` fastest layouts that fit, one per mesh of degrees, with what the losers lose by.

    Raises ``InputError`` where no layout divides the work, or none fits: with the least memory that
    one needs, and on how many chips one would fit.
    """
    lines = meshes(work, n_chips, constraints)
    found = _evaluate(work, chip, lines, constraints)
    if not found.fitting:
        raise InputError("chips", n_chips, _fits_nowhere(work, chip, n_chips, constraints, found))
    order = np.argsort(found.time, kind="stable")
    chosen = [
        estimate(work, chip, _layout(lines, constraints, place, found.choice))
        for place in _one_per_mesh(lines, order, found.time, top)
    ]
    best = chosen[0]
    losers = [_runner_up(best, one) for one in chosen[1:]]
    too_large = _too_large(work, chip, lines, constraints, found, best)
    return Ranking(
        best=best,
        runners_up=(*([too_large] if too_large else []), *losers),
        considered=found.considered,
        fitting=found.fitting,
    )


def fastest_within(
    work: Workload, chip: ChipFacts, at_most: int, constraints: Constraints = USUAL
) -> Estimate:
    """The fastest layout on ``at_most`` chips or on a half, a quarter, … of them.

    More chips can be slower at fixed work; who has them may leave some alone.
    """
    best: Estimate | None = None
    refused: InputError | None = None
    for chips in (at_most >> halved for halved in range(at_most.bit_length())):
        try:
            found = search(work, chip, chips, constraints, top=1).best
        except InputError as error:
            refused = refused or error
            continue
        if best is None or found.step < best.step:
            best = found
    if best is None:
        raise refused or InputError("chips", at_most, "allowed: 1 or more")
    return best


def _evaluate(work: Workload, chip: ChipFacts, lines: Numbers, only: Constraints) -> _Found:
    shape, on = shape_of(work), machine_of(chip, work.dtype)
    parts = [_chunk(shape, on, lines[:, cut], only) for cut in cuts(lines, only)]
    return _Found(
        time=np.concatenate([one.time for one in parts]),
        choice=np.concatenate([one.choice for one in parts]),
        any_time=np.concatenate([one.any_time for one in parts]),
        any_choice=np.concatenate([one.any_choice for one in parts]),
        least=min(one.least for one in parts),
        considered=sum(one.considered for one in parts),
        fitting=sum(one.fitting for one in parts),
    )


def cuts(lines: Numbers, only: Constraints) -> Iterator[slice]:
    """Meshes to look at together, so that with their options they are about ``CHUNK`` layouts."""
    options = prod(len(getattr(only, name)) for name in OPTIONS)
    several = max(64, CHUNK // options)
    for start in range(0, lines.shape[1], several):
        yield slice(start, start + several)


def _chunk(shape: Shape, on: Machine, lines: Numbers, only: Constraints) -> _Found:
    at = layouts(lines, only)
    form = np.broadcast_shapes(*(getattr(at, name).shape for name in at.__slots__))
    held = np.asarray(memory(shape, on, at).total)
    means = distinct(at)
    fits = (held <= on.memory) & means
    seconds = np.asarray(step(shape, on, at).total)
    meshes_here = form[-1]
    near = means & (held <= OVER * on.memory)
    any_time = np.broadcast_to(np.where(near, seconds, np.inf), form).reshape(-1, meshes_here)
    time = np.broadcast_to(np.where(fits, seconds, np.inf), form).reshape(-1, meshes_here)
    choice, any_choice = time.argmin(axis=0), any_time.argmin(axis=0)
    every = np.arange(meshes_here)
    return _Found(
        time=time[choice, every],
        choice=choice,
        any_time=any_time[any_choice, every],
        any_choice=any_choice,
        least=float(held.min()),
        considered=int(np.count_nonzero(np.broadcast_to(means, form))),
        fitting=int(np.count_nonzero(np.broadcast_to(fits, form))),
    )


def _one_per_mesh(lines: Numbers, order: Numbers, time: Numbers, top: int) -> list[int]:
    """The first of ``order`` for each (tp, pp, dp, cp, ep), up to ``top`` of them."""
    seen: dict[tuple[float, ...], int] = {}
    for place in order:
        if not np.isfinite(time[place]) or len(seen) == top:
            break
        seen.setdefault(tuple(lines[:5, place]), int(place))
    return list(seen.values())


def _layout(lines: Numbers, only: Constraints, place: int, choice: Numbers) -> Layout:
    at = layouts(lines[:, place : place + 1], only)
    form = np.broadcast_shapes(*(getattr(at, name).shape for name in at.__slots__))
    return at.pick(form, int(choice[place]))


def _runner_up(best: Estimate, other: Estimate) -> RunnerUp:
    worse = {name: other.parts[name] - best.parts[name] for name in best.parts}
    largest = sorted(worse, key=lambda name: -worse[name])[:2]
    reasons = [f"{name} +{worse[name]:.3g} s" for name in largest if worse[name] > 0]
    return RunnerUp(
        estimate=other,
        slower=other.step / best.step - 1.0,
        why=" and ".join(reasons) or "equal",
    )


def _too_large(
    work: Workload,
    chip: ChipFacts,
    lines: Numbers,
    only: Constraints,
    found: _Found,
    best: Estimate,
) -> RunnerUp | None:
    """The fastest layout that nearly fits, where it is faster than the best that fits."""
    place = int(found.any_time.argmin())
    if found.any_time[place] >= best.step * (1.0 - 1e-9):
        return None
    other = estimate(work, chip, _layout(lines, only, place, found.any_choice))
    return RunnerUp(
        estimate=other,
        slower=other.step / best.step - 1.0,
        why=(
            f"does not fit: needs {other.memory_total / 1e9:.0f} GB of "
            f"{other.memory_limit / 1e9:.0f} GB a chip"
        ),
    )


def _fits_nowhere(
    work: Workload, chip: ChipFacts, n_chips: int, only: Constraints, found: _Found
) -> str:
    text = (
        f"{work.name} fits on {n_chips} {chip.kind} in no layout: the leanest needs "
        f"{found.least / 1e9:.3g} GB of {chip.memory / 1e9:.3g} GB a chip"
    )
    wanted = n_chips
    while wanted < MOST:
        wanted *= 2
        if _fits_on(work, chip, wanted, only):
            return f"{text}; allowed: {wanted} chips or more (of {n_chips} x 2^k)"
    return f"{text}; allowed: chips with more memory, or a smaller micro-batch"


def _fits_on(work: Workload, chip: ChipFacts, n_chips: int, only: Constraints) -> bool:
    try:
        lines = meshes(work, n_chips, only)
    except InputError:
        return False
    shape, on = shape_of(work), machine_of(chip, work.dtype)
    return any(
        bool(np.any(np.asarray(memory(shape, on, layouts(lines[:, cut], only)).total) <= on.memory))
        for cut in cuts(lines, only)
    )


def count(work: Workload, n_chips: int, only: Constraints = USUAL) -> int:
    """Layouts in the space, those that say the same counted once."""
    lines = meshes(work, n_chips, only)
    return sum(_meaning(layouts(lines[:, cut], only)) for cut in cuts(lines, only))


def _meaning(at: Layouts) -> int:
    form = np.broadcast_shapes(*(getattr(at, name).shape for name in at.__slots__))
    return int(np.count_nonzero(np.broadcast_to(distinct(at), form)))
