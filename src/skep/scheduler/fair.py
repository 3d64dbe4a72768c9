"""Fair share: what each queue has, has had, and deserves, in chips as good as a reference.

The reference is the fastest kind of the pool: a hundred weak chips are charged as the few strong
ones whose work they do. A chip whose speed is not known is charged as one of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skep.model.policy import Policy, Queue
from skep.model.snapshot import Floats, Snapshot


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a queue stands, all in chips of the reference. A queue counts those below it too.

    ``held`` now; ``used`` held on average in the past, decayed; ``part`` of all chips by weight
    among its siblings; ``deserved``: ``part``, and what others of theirs leave idle.
    """

    queue: str
    held: float
    used: float
    part: float
    deserved: float

    @property
    def over(self) -> float:
        """Held above what is deserved; below it where negative."""
        return self.held - self.deserved


def worth_of_kinds(kinds: Sequence[str], speed: Floats) -> dict[str, float]:
    """Chips of the fastest of ``kinds`` that one chip of each is charged as (above 0, up to 1)."""
    known = dict(zip(kinds, speed.tolist(), strict=True))
    fastest = max(known.values(), default=0.0)
    return {kind: (s / fastest if s > 0 else 1.0) for kind, s in known.items()}


class Tree:
    """The queues of a policy with what they hold; ``charge`` counts what a plan gives."""

    def __init__(self, snapshot: Snapshot, policy: Policy) -> None:
        self.on = policy.fair_share
        self._queues = {queue.name: queue for queue in reversed(policy.queues)}
        self._worth = worth_of_kinds(snapshot.pools.kind, snapshot.pools.speed)
        self._held: dict[str, float] = dict.fromkeys(self._queues, 0.0)
        self._used: dict[str, float] = dict.fromkeys(self._queues, 0.0)
        self._paths = {name: self._path(name) for name in self._queues}
        self._capacity = 0.0
        if self.on:
            self._fill(snapshot)

    def _path(self, name: str) -> tuple[str, ...]:
        """From the top down to ``name``."""
        path = [name]
        while (parent := self._queues[path[-1]].parent) in self._queues and parent not in path:
            path.append(parent)
        return tuple(reversed(path))

    def _fill(self, snapshot: Snapshot) -> None:
        pools = snapshot.pools
        each = [self._worth[kind] for kind in pools.kind]
        self._capacity = float(pools.chips @ each) if each else 0.0
        for queue in {*snapshot.held, *snapshot.held_in}:
            held = snapshot.held_in.get(queue)
            now = float(snapshot.held.get(queue, 0)) if held is None else float(held @ each)
            for name in self._paths.get(queue, ()):
                self._held[name] += now
        for queue, used in snapshot.used.items():
            for name in self._paths.get(queue, ()):
                self._used[name] += used

    def path(self, queue: str) -> tuple[str, ...]:
        """From the top down to ``queue``."""
        return self._paths.get(queue, ())

    def charge(self, queue: str, kind: str, chips: int) -> None:
        """Chips of ``kind`` are given to ``queue``."""
        if self.on:
            worth = self._worth.get(kind, 1.0) * chips
            for name in self._paths.get(queue, ()):
                self._held[name] += worth

    def copy(self) -> dict[str, float]:
        """What ``restore`` takes."""
        return dict(self._held)

    def restore(self, held: dict[str, float]) -> None:
        """Be as when ``held`` was told."""
        self._held = dict(held)

    def next(self, queues: Iterable[str]) -> str:
        """Whose turn it is: from the top down the one that has had the least for its weight."""
        return min(queues, key=self._turn)

    def _turn(self, name: str) -> tuple[int, tuple[tuple[float, str], ...]]:
        queue = self._queues.get(name)
        if queue is None:
            return (0, ())
        ratios = tuple((self.ratio(each), each) for each in self._paths[name])
        return (-queue.priority, ratios)

    def ratio(self, name: str) -> float:
        """Held and used, for its weight."""
        return (self._held[name] + self._used[name]) / self._queues[name].weight

    def standings(self, wanted: Mapping[str, float]) -> tuple[Standing, ...]:
        """Every queue's; ``wanted`` is what each holds and waits for: more it does not deserve."""
        wish = dict.fromkeys(self._queues, 0.0)
        for queue, amount in wanted.items():
            for name in self._paths.get(queue, ()):
                wish[name] += amount
        part, deserved = dict.fromkeys(self._queues, 0.0), dict.fromkeys(self._queues, 0.0)
        self._divide(None, self._capacity, self._capacity, wish, part, deserved)
        return tuple(
            Standing(name, self._held[name], self._used[name], part[name], deserved[name])
            for name in self._queues
        )

    def _divide(
        self,
        parent: str | None,
        all_of_it: float,
        to_give: float,
        wish: Mapping[str, float],
        part: dict[str, float],
        deserved: dict[str, float],
    ) -> None:
        """Weighted max-min: who wants less than its part leaves the rest to its siblings."""
        children = [q for q in self._queues.values() if self._above(q) == parent]
        total = sum(q.weight for q in children)
        for q in children:
            part[q.name] = all_of_it * q.weight / total
        open_ = list(children)
        while open_:
            weight = sum(q.weight for q in open_)
            content = [q for q in open_ if wish[q.name] <= to_give * q.weight / weight]
            for q in content or open_:
                deserved[q.name] = min(wish[q.name], to_give * q.weight / weight)
            if not content:
                break
            to_give -= sum(deserved[q.name] for q in content)
            open_ = [q for q in open_ if q not in content]
        for q in children:
            self._divide(q.name, part[q.name], deserved[q.name], wish, part, deserved)

    def _above(self, queue: Queue) -> str | None:
        return queue.parent if queue.parent in self._queues else None


def standings(snapshot: Snapshot, policy: Policy, queue: str) -> tuple[Standing, ...]:
    """Where ``queue`` and the queues above it stand; nothing without fair share."""
    if not policy.fair_share:
        return ()
    tree = Tree(snapshot, policy)
    path = tree.path(queue)
    return tuple(found for found in tree.standings(wanted(snapshot)) if found.queue in path)


def wanted(snapshot: Snapshot) -> dict[str, float]:
    """Per queue what it holds and waits for, in chips of the fastest kind."""
    worth = worth_of_kinds(snapshot.pools.kind, snapshot.pools.speed)
    each = np.array([worth[kind] for kind in snapshot.pools.kind])
    total = {queue: float(held @ each) for queue, held in snapshot.held_in.items()}
    for queue, chips in snapshot.held.items():
        total.setdefault(queue, float(chips))
    shapes: dict[int, float] = {}
    for job in snapshot.waiting:
        shape = snapshot.shapes[job.shape]
        if job.shape not in shapes:
            first = shape.chips[0]
            kind = first.as_good_as.kind if first.as_good_as else first.kind or ""
            shapes[job.shape] = first.count * worth.get(kind, 1.0)
        total[shape.queue] = total.get(shape.queue, 0.0) + shapes[job.shape]
    return total
