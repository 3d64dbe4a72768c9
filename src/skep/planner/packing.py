"""Many runs of many models on many chips as arrays, so that one call of ``step`` times them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skep.model.workload import Workload
from skep.planner.chip import ChipFacts
from skep.planner.layout import RECOMPUTE, Layout, Layouts
from skep.planner.machine import Machine
from skep.planner.shape import Shape, shape_of
from skep.planner.step import step

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """A workload on chips, in one layout or, where that is not known, in the best of several."""

    work: Workload
    chip: ChipFacts
    layouts: tuple[Layout, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Cases whose workloads have the same kinds of products. ``of``: index of each line's case."""

    of: NDArray[np.int64]
    shape: Shape
    at: Layouts
    chips: tuple[ChipFacts, ...]
    dtypes: tuple[str, ...]


def pack(cases: Sequence[Case]) -> list[Batch]:
    """Arrays for ``cases``: a line per case and layout, a batch per kind of attention and MoE."""
    lines: dict[tuple[Any, ...], list[tuple[int, Case, Layout]]] = defaultdict(list)
    for index, case in enumerate(cases):
        for layout in case.layouts:
            latent = case.work.latent
            key = (latent is not None, latent and latent.query_rank > 0, case.work.moe is not None)
            lines[key].append((index, case, layout))
    return [_batch(group) for group in lines.values()]


def _batch(lines: list[tuple[int, Case, Layout]]) -> Batch:
    return Batch(
        of=np.array([index for index, _, _ in lines]),
        shape=_shapes([shape_of(case.work) for _, case, _ in lines]),
        at=layouts_of([layout for _, _, layout in lines]),
        chips=tuple(case.chip for _, case, _ in lines),
        dtypes=tuple(case.work.dtype for _, case, _ in lines),
    )


def layouts_of(layouts: Sequence[Layout]) -> Layouts:
    """Arrays of ``layouts``, one axis."""

    def number(value: Any) -> float:
        return float(RECOMPUTE.index(value)) if isinstance(value, str) else float(value)

    return Layouts(
        **{
            f.name: np.array([number(getattr(one, f.name)) for one in layouts])
            for f in fields(Layouts)
        }
    )


def _shapes(shapes: Sequence[Shape]) -> Shape:
    columns: dict[str, Any] = {
        f.name: np.array([getattr(one, f.name) for one in shapes])
        for f in fields(Shape)
        if f.name != "project"
    }
    columns["project"] = tuple(
        (
            np.array([one.project[place][0] for one in shapes]),
            np.array([one.project[place][1] for one in shapes]),
            split,
        )
        for place, (_, _, split) in enumerate(shapes[0].project)
    )
    return Shape(**columns)


def times(batches: Iterable[Batch], machines: Iterable[Machine], cases: int) -> Values:
    """Seconds of a step of every case: of the fastest of its layouts."""
    best = np.full(cases, np.inf)
    for batch, machine in zip(batches, machines, strict=True):
        np.minimum.at(best, batch.of, np.asarray(step(batch.shape, machine, batch.at).total))
    return best


def columns(items: Sequence[Any], names: Iterable[str]) -> Mapping[str, Values]:
    """Attributes of ``items`` as arrays."""
    return {name: np.array([getattr(item, name) for item in items]) for name in names}
