"""Fair share: what each queue has, has had, and deserves, in chips of a reference (``worth``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from skep.model.policy import Policy, Queue
from skep.model.snapshot import Rates, Shape, Snapshot
from skep.scheduler.worth import Worth


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


_NONE = Worth((), np.empty(0))


class Tree:
    """The queues of a policy with what they hold; ``charge`` counts what a plan gives."""

    def __init__(self, snapshot: Snapshot, policy: Policy) -> None:
        self.on = policy.fair_share
        self._queues = {queue.name: queue for queue in reversed(policy.queues)}
        self._held: dict[str, float] = dict.fromkeys(self._queues, 0.0)
        self._used: dict[str, float] = dict.fromkeys(self._queues, 0.0)
        self._paths = {name: self._path(name) for name in self._queues}
        self._capacity, self.worth = 0.0, _NONE
        self._part: dict[str, float] = {}
        if self.on:
            self._fill(snapshot)

    def _path(self, name: str) -> tuple[str, ...]:
        """From the top down to ``name``."""
        path = [name]
        while (parent := self._queues[path[-1]].parent) in self._queues and parent not in path:
            path.append(parent)
        return tuple(reversed(path))

    def _fill(self, snapshot: Snapshot) -> None:
        self.worth = worth_in(snapshot)
        self._capacity = self.worth.amount(snapshot.pools.chips, snapshot.pools.kind)
        self._parts(None, self._capacity)
        for queue, now in held_worth(snapshot, self.worth).items():
            for name in self._paths.get(queue, ()):
                self._held[name] += now
        for queue, used in snapshot.used.items():
            for name in self._paths.get(queue, ()):
                self._used[name] += used

    def _parts(self, parent: str | None, whole: float) -> None:
        children = [q for q in self._queues.values() if self._above(q) == parent]
        total = sum(q.weight for q in children)
        for q in children:
            self._part[q.name] = whole * q.weight / total
            self._parts(q.name, self._part[q.name])

    def over(self, name: str) -> float:
        """Held above its part by weight, in chips of the reference; below it where negative."""
        return self._held[name] - self._part[name]

    def path(self, queue: str) -> tuple[str, ...]:
        """From the top down to ``queue``."""
        return self._paths.get(queue, ())

    def charge(self, queue: str, kind: str, chips: int, rates: Rates = ()) -> None:
        """Chips of ``kind`` are given to a job of ``queue`` that works at ``rates`` on them."""
        if self.on:
            worth = self.worth.of(kind, rates) * chips
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
        deserved = dict.fromkeys(self._queues, 0.0)
        self._divide(None, self._capacity, wish, deserved)
        return tuple(
            Standing(name, self._held[name], self._used[name], self._part[name], deserved[name])
            for name in self._queues
        )

    def _divide(
        self,
        parent: str | None,
        to_give: float,
        wish: Mapping[str, float],
        deserved: dict[str, float],
    ) -> None:
        """Weighted max-min: who wants less than its part leaves the rest to its siblings."""
        children = [q for q in self._queues.values() if self._above(q) == parent]
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
            self._divide(q.name, deserved[q.name], wish, deserved)

    def _above(self, queue: Queue) -> str | None:
        return queue.parent if queue.parent in self._queues else None


def standings(snapshot: Snapshot, policy: Policy, queue: str) -> tuple[Standing, ...]:
    """Where ``queue`` and the queues above it stand; nothing without fair share."""
    if not policy.fair_share:
        return ()
    tree = Tree(snapshot, policy)
    path = tree.path(queue)
    return tuple(found for found in tree.standings(wanted(snapshot)) if found.queue in path)


def worth_in(snapshot: Snapshot) -> Worth:
    """What the chips of the snapshot's pool are worth."""
    return Worth(snapshot.pools.kind, snapshot.pools.speed)


def held_worth(snapshot: Snapshot, worth: Worth) -> dict[str, float]:
    """Per queue what it holds, in chips of the reference."""
    if snapshot.held_worth is not None:
        return dict(snapshot.held_worth)
    kinds, held = snapshot.pools.kind, snapshot.held_in
    total = {queue: float(chips) for queue, chips in snapshot.held.items()}
    return total | {queue: worth.amount(chips, kinds) for queue, chips in held.items()}


def wanted(snapshot: Snapshot) -> dict[str, float]:
    """Per queue what it holds and waits for, in chips of the reference."""
    worth = worth_in(snapshot)
    total = held_worth(snapshot, worth)
    shapes: dict[int, float] = {}
    for job in snapshot.waiting:
        shape = snapshot.shapes[job.shape]
        if job.shape not in shapes:
            shapes[job.shape] = asked_worth(shape, worth)
        total[shape.queue] = total.get(shape.queue, 0.0) + shapes[job.shape]
    return total


def asked_worth(shape: Shape, worth: Worth) -> float:
    """What a job's first wish is worth, in chips of the reference."""
    first = shape.chips[0]
    kind = first.as_good_as.kind if first.as_good_as else first.kind or ""
    return first.count * worth.of(kind, shape.rates)
