"""How far one plan is from the best there is: small cases, every placement enumerated.

    python benchmarks/optimum.py [--cases N] [--json FILE]

The best plan fills the most chips, whoever gets them: no order, no turns. skep decides in order and
never looks ahead within a plan, so that it may fill less; ``first fit`` takes sites by name. Of
each family: the share of cases in which as much is filled as can be, and the chips filled against
the best, on average and at worst.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np

from skep.model.job import ChipRequest, Span
from skep.model.policy import Policy
from skep.model.snapshot import Pools, Shape, Sites, Snapshot, Waiting
from skep.scheduler import schedule

POLICY = Policy(power_margin=0.0)
WATTS = 10.0


@dataclass(frozen=True)
class Wish:
    """``chips`` over at most ``sites`` sites."""

    chips: int
    sites: int


@dataclass(frozen=True)
class Case:
    """Sites with so many chips free, of which power bears so many; jobs in order."""

    free: tuple[int, ...]
    borne: tuple[int, ...]
    jobs: tuple[Wish, ...]

    @property
    def room(self) -> tuple[int, ...]:
        return tuple(map(min, self.free, self.borne))


FAMILIES: dict[str, Callable[[np.random.Generator], Case]] = {}


def family(name: str) -> Callable[[Callable[[np.random.Generator], Case]], None]:
    def note(made: Callable[[np.random.Generator], Case]) -> None:
        FAMILIES[name] = made

    return note


@family("one site each")
def _single(rng: np.random.Generator) -> Case:
    free = tuple(rng.integers(2, 9, 4).tolist())
    return Case(free, free, tuple(Wish(int(n), 1) for n in rng.integers(1, 8, 6)))


@family("up to two sites")
def _double(rng: np.random.Generator) -> Case:
    free = tuple(rng.integers(2, 7, 3).tolist())
    jobs = zip(rng.integers(1, 8, 5).tolist(), rng.integers(1, 3, 5).tolist(), strict=True)
    return Case(free, free, tuple(Wish(*pair) for pair in jobs))


@family("under power caps")
def _powered(rng: np.random.Generator) -> Case:
    free, borne = rng.integers(2, 9, 4), rng.integers(1, 9, 4)
    jobs = tuple(Wish(int(n), 1) for n in rng.integers(1, 8, 6))
    return Case(tuple(free.tolist()), tuple(borne.tolist()), jobs)


@family("many small, one large")
def _mixed(rng: np.random.Generator) -> Case:
    free = tuple(rng.integers(4, 9, 4).tolist())
    small = [Wish(int(n), 1) for n in rng.integers(1, 4, 6)]
    return Case(free, free, (*small, Wish(int(max(free)), 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    print(f"{'family':>22} {'cases':>5} {'':>9} {'best':>6} {'mean':>6} {'worst':>6}")
    for name, make in FAMILIES.items():
        rng = np.random.default_rng(11)
        cases = [make(rng) for _ in range(given.cases)]
        best = np.array([best_of(case) for case in cases], dtype=float)
        for who, fill in (("skep", ours), ("first fit", first_fit)):
            filled = np.array([fill(case) for case in cases], dtype=float)
            part = np.where(best > 0, filled / np.maximum(best, 1), 1.0)
            label, count = (name, str(len(cases))) if who == "skep" else ("", "")
            print(
                f"{label:>22} {count:>5} {who:>9} {(part == 1).mean():>6.0%} "
                f"{part.mean():>6.1%} {part.min():>6.0%}"
            )
            key = f"{who.replace(' ', '_')}_{name.replace(' ', '_').replace(',', '')}"
            figures[f"{key}_mean"], figures[f"{key}_worst"] = float(part.mean()), float(part.min())
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def best_of(case: Case) -> int:
    """The most chips that any plan fills."""

    @cache
    def rest(room: tuple[int, ...], at: int) -> int:
        if at == len(case.jobs):
            return 0
        wish = case.jobs[at]
        given = (wish.chips + rest(left, at + 1) for left in _ways(room, wish))
        return max([rest(room, at + 1), *given])

    return rest(case.room, 0)


def _ways(room: tuple[int, ...], wish: Wish) -> Iterator[tuple[int, ...]]:
    """What is left after each placement of ``wish``."""
    for count in range(1, wish.sites + 1):
        for sites in combinations(range(len(room)), count):
            for parts in _parts(wish.chips, count):
                left = list(room)
                for site, chips in zip(sites, parts, strict=True):
                    left[site] -= chips
                if min(left) >= 0:
                    yield tuple(left)


def _parts(chips: int, count: int) -> Iterator[tuple[int, ...]]:
    if count == 1:
        yield (chips,)
        return
    for first in range(1, chips - count + 2):
        for others in _parts(chips - first, count - 1):
            yield (first, *others)


def ours(case: Case) -> int:
    """Chips filled by one plan of the scheduler."""
    plan = schedule(world(case), POLICY, 1000.0)
    return sum(share.chips for placement in plan.placements for share in placement.shares)


def first_fit(case: Case) -> int:
    """In order, each job from the first sites by name that have room."""
    room, filled = list(case.room), 0
    for wish in case.jobs:
        found = next(_ways(tuple(room), wish), None)
        if found is not None:
            room, filled = list(found), filled + wish.chips
    return filled


def world(case: Case) -> Snapshot:
    count = len(case.free)
    size = np.array([max(n, 8) for n in case.free])
    free = np.array(case.free)
    width = np.full((count, count), np.inf)
    wishes = list(dict.fromkeys(case.jobs))
    shapes = tuple(
        Shape((ChipRequest(kind="c", count=w.chips),), Span(max=w.sites), None, "chip", "default")
        for w in wishes
    )
    return Snapshot(
        Sites(
            names=tuple(f"s{n}" for n in range(count)),
            countries=("",) * count,
            up=np.ones(count, dtype=bool),
            drained=np.zeros(count, dtype=bool),
            power_cap=np.array(case.borne) * WATTS,
            power_drawn=np.zeros(count),
            pue=np.ones(count),
            clean=np.zeros(count),
            bandwidth=width,
            rtt=np.zeros((count, count)),
        ),
        Pools(
            site=np.arange(count),
            index=np.zeros(count, dtype=np.int64),
            kind=("c",) * count,
            chips=size,
            free=free,
            chips_per_node=np.ones(count, dtype=np.int64),
            block_chips=size,
            marginal_power=np.full(count, WATTS),
            speed=np.ones(count),
        ),
        shapes,
        tuple(Waiting(f"j{n}", 1, wishes.index(w), 0, float(n)) for n, w in enumerate(case.jobs)),
    )


if __name__ == "__main__":
    main()
