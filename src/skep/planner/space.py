"""The space of layouts of a workload on a number of chips, as arrays: no object per layout.

Two parts: *meshes*, one line each (tp, pp, dp, cp, ep, virtual stages, micro-batch: what must
divide; stages even or not), along the last axis; and *options*, an axis each (recomputation, ZeRO,
sequence parallelism, overlaps, offloads). What depends on few options is computed few times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from skep.errors import InputError
from skep.model.workload import Workload
from skep.planner.layout import RECOMPUTE, Layouts, Numbers, Recompute

MESH = ("tp", "pp", "dp", "cp", "ep", "virtual", "micro_batch", "uneven")
ENDS = 2  # embedding and logits, each as good as a layer where layers do not divide evenly
SHORTEST = 128  # tokens of a sequence on one chip below which context parallelism is not tried


@dataclass(frozen=True, slots=True)
class Constraints:
    """What of the space is looked at: per axis the allowed values, ``None`` all."""

    tp: tuple[int, ...] | None = None
    pp: tuple[int, ...] | None = None
    dp: tuple[int, ...] | None = None
    cp: tuple[int, ...] | None = None
    ep: tuple[int, ...] | None = None
    virtual: tuple[int, ...] | None = None
    micro_batch: tuple[int, ...] | None = None
    uneven: tuple[bool, ...] = (False, True)
    recompute: tuple[Recompute, ...] = RECOMPUTE
    zero: tuple[int, ...] = (0, 1, 2, 3)
    sequence_parallel: tuple[bool, ...] = (False, True)
    overlap_tp: tuple[bool, ...] = (False, True)
    overlap_dp: tuple[bool, ...] = (False, True)
    overlap_pp: tuple[bool, ...] = (False, True)
    offload_optimizer: tuple[bool, ...] = (False, True)
    offload_activations: tuple[bool, ...] = (False, True)
    offload_parameters: tuple[bool, ...] = (False, True)


OPTIONS = tuple(f.name for f in fields(Constraints) if f.name not in MESH)

USUAL = Constraints(
    overlap_tp=(True,),
    overlap_dp=(True,),
    overlap_pp=(True,),
    offload_optimizer=(False,),
    offload_activations=(False,),
    offload_parameters=(False,),
)
"""All traffic overlapped (never slower), no offloads (no published run tells their cost)."""


def meshes(work: Workload, n_chips: int, only: Constraints) -> Numbers:
    """Every mesh that divides the work over exactly ``n_chips`` chips: an array (8, meshes)."""
    if n_chips < 1:
        raise InputError("chips", n_chips, "allowed: 1 or more")
    lines = [
        (tp, pp, dp, cp, ep, virtual, micro, uneven)
        for tp, pp, cp, dp in _degrees(work, n_chips, only)
        for micro in _allowed(divisors(work.global_batch // dp), only.micro_batch)
        for virtual in _stages(work, pp, work.global_batch // (dp * micro), only)
        for uneven in only.uneven
        if not uneven or (pp > 1 and virtual == 1)
        for ep in _expert_degrees(work, tp * cp * dp, only)
    ]
    if not lines:
        raise InputError("chips", n_chips, _nothing_divides(work, only))
    return np.array(lines, dtype=np.float64).T.copy()


def _nothing_divides(work: Workload, only: Constraints) -> str:
    if only.tp is not None:
        bad = [tp for tp in only.tp if work.heads % tp]
        if bad:
            return (
                f"no layout divides the work: the {work.heads} heads cannot be split by a tensor "
                f"degree of {bad[0]}; allowed: {', '.join(map(str, divisors(work.heads)))}"
            )
    return (
        f"no layout divides the work: {work.heads} heads, {work.layers} layers, "
        f"{work.global_batch} sequences; allowed: a number of chips made of their divisors"
    )


def _degrees(
    work: Workload, n_chips: int, only: Constraints
) -> Iterator[tuple[int, int, int, int]]:
    for tp in _allowed(divisors(work.heads), only.tp):
        if n_chips % tp:
            continue
        for pp in _allowed(divisors(n_chips // tp), only.pp):
            if pp > work.layers:
                break
            for cp in _allowed(divisors(n_chips // (tp * pp)), only.cp):
                if cp > 1 and (work.seq_len % cp or work.seq_len // cp < SHORTEST):
                    continue
                dp = n_chips // (tp * pp * cp)
                if work.global_batch % dp == 0 and (only.dp is None or dp in only.dp):
                    yield tp, pp, cp, dp


def _expert_degrees(work: Workload, chips: int, only: Constraints) -> Sequence[int]:
    if work.moe is None:
        return [1]
    every = [ep for ep in divisors(work.moe.count) if chips % ep == 0]
    return _allowed(every, only.ep)


def _stages(work: Workload, pp: int, micro: int, only: Constraints) -> Sequence[int]:
    """Stages per chip: one, or what divides a chip's layers (interleaving wants micro % pp = 0).

    Layers need not divide evenly: embedding and logits then count as a layer each, as in Llama 3.
    """
    every = [1]
    if pp > 1 and micro % pp == 0:
        most = work.layers + (ENDS if work.layers % pp else 0)
        every = [v for v in divisors(-(-work.layers // pp)) if pp * v <= most]
    return _allowed(every, only.virtual)


def _allowed(values: Sequence[int], only: tuple[int, ...] | None) -> Sequence[int]:
    return values if only is None else [value for value in values if value in only]


@lru_cache(maxsize=4096)
def divisors(number: int) -> tuple[int, ...]:
    """The divisors of ``number``, ascending."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return (*small, *(number // d for d in reversed(small) if d * d != number))


def layouts(lines: Numbers, only: Constraints) -> Layouts:
    """The meshes ``lines`` along the last axis, every option along an axis of its own."""
    axes = len(OPTIONS) + 1
    mesh = {
        name: row.reshape((1,) * len(OPTIONS) + (-1,))
        for name, row in zip(MESH, lines, strict=True)
    }
    options = {}
    for place, name in enumerate(OPTIONS):
        given = getattr(only, name)
        values = [float(RECOMPUTE.index(v) if isinstance(v, str) else v) for v in given]
        form = [1] * axes
        form[place] = len(values)
        options[name] = np.array(values).reshape(form)
    return Layouts(**mesh, **options)


def distinct(at: Layouts) -> Numbers:
    """Which options mean something where: one of several that say the same is true.

    Without a tensor group nothing is sequence parallel and no such traffic can be hidden; without
    a data-parallel group there is nothing to spread or to hide; without a pipeline no stage sends;
    activations are offloaded where whole layers are recomputed, and then stages are even.
    """
    group = at.dp * at.cp
    keep = (at.tp > 1) | (_first(at.sequence_parallel) & _first(at.overlap_tp))
    keep = keep & ((group > 1) | (_first(at.zero) & _first(at.overlap_dp)))
    keep = keep & ((at.pp > 1) | _first(at.overlap_pp))
    keep = keep & ((at.uneven < 1) | _first(at.offload_activations))
    return np.asarray(keep & ((at.recompute > 2) | _first(at.offload_activations)))


def _first(option: Numbers) -> Numbers:
    """Where ``option`` has its first value: the one that stands for all where none matters."""
    return np.asarray(option == option.reshape(-1)[0])
