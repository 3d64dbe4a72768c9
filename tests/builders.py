"""Builders: snapshots from short descriptions.

>>> snapshot = world(site("north", 8), site("south", 4, cap=400.0), jobs=[job(6), job(2)])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from skep.model.job import ChipRequest, Elastic, Span
from skep.model.snapshot import Pools, Repair, Shape, Sites, Snapshot, Waiting

KIND = "cpu-core"


@dataclass(frozen=True)
class PoolRow:
    """A pool of one chip kind; ``free`` None: all of it."""

    chips: int
    kind: str = KIND
    free: int | None = None
    node: int = 1
    block: int | None = None
    watts: float = 0.0  # that one chip at work adds, before PUE
    speed: float = 1.0


@dataclass(frozen=True)
class SiteRow:
    """A site and its pools."""

    name: str
    pools: tuple[PoolRow, ...]
    country: str = "SE"
    up: bool = True
    drained: bool = False
    cap: float = np.inf
    idle: float = 0.0  # W at the meter with no run alive
    pue: float = 1.0
    clean: float = 0.0

    @property
    def drawn(self) -> float:
        held = ((p.chips - (p.chips if p.free is None else p.free)) * p.watts for p in self.pools)
        return self.idle + self.pue * sum(held)


@dataclass(frozen=True)
class JobRow:
    """A waiting job: its shape in full, and who asks when."""

    shape: Shape
    waiting: Waiting = field(default_factory=lambda: Waiting("", 1, 0, 0, 0.0))


def pool(chips: int, kind: str = KIND, **more: object) -> PoolRow:
    """A pool: ``pool(8, "h100-sxm", free=2, node=8)``."""
    return PoolRow(chips, kind, **more)  # type: ignore[arg-type]


def site(
    name: str, *pools: PoolRow | int, free: int | None = None, watts: float = 0.0, **more: object
) -> SiteRow:
    """A site: ``site("north", 8, free=2)``, or with several pools ``site("north", pool(8), …)``."""
    rows = tuple(p if isinstance(p, PoolRow) else PoolRow(p, free=free, watts=watts) for p in pools)
    return SiteRow(name, rows, **more)  # type: ignore[arg-type]


def job(
    chips: int | Sequence[ChipRequest],
    *,
    kind: str | None = KIND,
    span: tuple[int, int] | int = 1,
    elastic: tuple[int, int] | None = None,
    per: str = "chip",
    queue: str = "default",
    shape: Mapping[str, object] | None = None,
    **waiting: object,
) -> JobRow:
    """A waiting job; ``shape``: more fields of its shape; the rest are fields of ``Waiting``.

    Its id is given by ``world``.
    """
    low, high = (span, span) if isinstance(span, int) else span
    asked = (ChipRequest(kind=kind, count=chips),) if isinstance(chips, int) else tuple(chips)
    made = Shape(
        asked,
        Span(min=low, max=high),
        Elastic(min=elastic[0], max=elastic[1]) if elastic else None,
        per,
        queue,
        **(shape or {}),  # type: ignore[arg-type]
    )
    first = {"job": "", "version": 1, "shape": 0, "priority": 0, "submitted_at": 0.0}
    return JobRow(made, Waiting(**{**first, **waiting}))  # type: ignore[arg-type]


def repair(
    chips: int,
    others: Iterable[str],
    *,
    kind: str = KIND,
    rank: int = 1,
    avoid: Iterable[str] = (),
    **more: object,
) -> JobRow:
    """A job that wants a lost share again."""
    lost = Repair(kind, chips, rank, frozenset(others), frozenset(avoid))
    return job(chips + 1, kind=kind, span=2, repair=lost, **more)  # type: ignore[arg-type]


def world(
    *sites: SiteRow,
    jobs: Sequence[JobRow] = (),
    links: Iterable[tuple[str, str]] | Mapping[tuple[str, str], float] | None = None,
    held: Mapping[str, int] | None = None,
) -> Snapshot:
    """A snapshot; ``links`` None: each site reaches each other. Jobs are ``j1``, ``j2``, …

    The jobs' ages follow their order unless ``submitted_at`` is given.
    """
    shapes = {row.shape: None for row in jobs}
    index = {shape: number for number, shape in enumerate(shapes)}
    waiting = tuple(
        replace(
            row.waiting,
            job=row.waiting.job or f"j{number}",
            shape=index[row.shape],
            submitted_at=row.waiting.submitted_at or float(number),
        )
        for number, row in enumerate(jobs, start=1)
    )
    return Snapshot(_sites(sites, links), _pools(sites), tuple(shapes), waiting, dict(held or {}))


def _sites(
    rows: Sequence[SiteRow],
    links: Iterable[tuple[str, str]] | Mapping[tuple[str, str], float] | None,
) -> Sites:
    width = np.full((len(rows), len(rows)), np.inf if links is None else 0.0)
    np.fill_diagonal(width, np.inf)
    place = {row.name: number for number, row in enumerate(rows)}
    wide = links if isinstance(links, Mapping) else dict.fromkeys(links or (), 1e9)
    for (a, b), bandwidth in wide.items():
        width[place[a], place[b]] = width[place[b], place[a]] = bandwidth
    return Sites(
        names=tuple(row.name for row in rows),
        countries=tuple(row.country for row in rows),
        up=np.array([row.up for row in rows], dtype=bool),
        drained=np.array([row.drained for row in rows], dtype=bool),
        power_cap=np.array([row.cap for row in rows], dtype=float),
        power_drawn=np.array([row.drawn for row in rows], dtype=float),
        pue=np.array([row.pue for row in rows], dtype=float),
        clean=np.array([row.clean for row in rows], dtype=float),
        bandwidth=width,
        rtt=np.zeros_like(width),
    )


def _pools(rows: Sequence[SiteRow]) -> Pools:
    flat = [(s, i, p) for s, row in enumerate(rows) for i, p in enumerate(row.pools)]
    pools = [p for _, _, p in flat]

    def column(values: Iterable[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(list(values), dtype=np.int64)

    return Pools(
        site=column(s for s, _, _ in flat),
        index=column(i for _, i, _ in flat),
        kind=tuple(p.kind for p in pools),
        chips=column(p.chips for p in pools),
        free=column(p.chips if p.free is None else p.free for p in pools),
        chips_per_node=column(p.node for p in pools),
        block_chips=column(p.block or p.chips for p in pools),
        marginal_power=np.array([p.watts for p in pools], dtype=float),
        speed=np.array([p.speed for p in pools], dtype=float),
    )
