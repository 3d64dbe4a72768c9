"""Limits: quotas of queues, by chip kind and site, and how much of each is used.

A quota of a queue counts what the queues below it hold as well. A soft quota binds in the first
round only: what nobody else wanted within theirs may then be had above it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from skep.model.policy import Policy, Queue
from skep.model.snapshot import Ints, Snapshot


@dataclass(slots=True)
class Limit:
    """At most ``most`` chips held by ``queue``, of ``kind`` and at ``site`` (row) where given."""

    queue: str
    kind: str | None
    site: int | None
    most: int
    soft: bool
    used: int
    where: str = ""  # name of the site

    @property
    def left(self) -> int:
        return max(0, self.most - self.used)

    def __str__(self) -> str:
        soft = "soft quota" if self.soft else "quota"
        kind = f" of {self.kind}" if self.kind else ""
        return f"{soft}{kind}{f' at {self.where}' if self.where else ''} of queue {self.queue}"


def above(policy: Policy, queue: str) -> Iterator[Queue]:
    """``queue`` and the queues above it, nearest first; nothing for a queue not there."""
    queues = {q.name: q for q in reversed(policy.queues)}
    found = queues.get(queue)
    seen: set[str] = set()
    while found is not None and found.name not in seen:
        yield found
        seen.add(found.name)
        found = queues.get(found.parent) if found.parent is not None else None


class Limits:
    """All quotas of a policy, with what is used of them; ``soft`` says whether soft ones bind."""

    def __init__(self, snapshot: Snapshot, policy: Policy, *, empty: bool = False) -> None:
        self._policy = policy
        self._paths: dict[str, tuple[str, ...]] = {}
        self._of: dict[tuple[str, str], tuple[Limit, ...]] = {}
        self.soft = any(_soft(queue) for queue in policy.queues)
        placed = any(quota.site is not None for q in policy.queues for quota in q.quotas)
        row = {name: n for n, name in enumerate(snapshot.sites.names)} if placed else {}
        self.all = [limit for q in policy.queues for limit in _limits(q, row)]
        self._by_queue: dict[str, list[Limit]] = {}
        for limit in self.all:
            self._by_queue.setdefault(limit.queue, []).append(limit)
        if self.all and not empty:
            self._count(snapshot)

    def _count(self, snapshot: Snapshot) -> None:
        pools = snapshot.pools
        for queue in {*snapshot.held, *snapshot.held_in}:
            held = snapshot.held_in.get(queue)
            for limit in self._on(queue):
                if limit.kind is None and limit.site is None:
                    limit.used += snapshot.held.get(queue, 0)
                elif held is not None:
                    there = np.ones(len(held), dtype=bool)
                    if limit.kind is not None:
                        there &= np.array([kind == limit.kind for kind in pools.kind])
                    if limit.site is not None:
                        there &= pools.site == limit.site
                    limit.used += int(held[there].sum())

    def path(self, queue: str) -> tuple[str, ...]:
        """``queue`` and the queues above it."""
        if queue not in self._paths:
            self._paths[queue] = tuple(q.name for q in above(self._policy, queue))
        return self._paths[queue]

    def _on(self, queue: str) -> Iterator[Limit]:
        return (limit for name in self.path(queue) for limit in self._by_queue.get(name, ()))

    def of(self, queue: str, kind: str) -> tuple[Limit, ...]:
        """The quotas that chips of ``kind`` for ``queue`` count against."""
        if not self.all:
            return ()
        if (queue, kind) not in self._of:
            kinds = set(kind.split("+"))
            self._of[queue, kind] = tuple(
                limit for limit in self._on(queue) if limit.kind is None or limit.kind in kinds
            )
        return self._of[queue, kind]

    def tightest(self, queue: str, kind: str) -> Limit | None:
        """The quota over all sites that leaves the least; None without one."""
        wide = [x for x in self._binding(queue, kind) if x.site is None and _whole(x, kind)]
        return min(wide, key=lambda limit: limit.left) if wide else None

    def left(self, queue: str, kind: str) -> float:
        """Chips that ``queue`` may still take over all sites; inf without a quota."""
        limit = self.tightest(queue, kind)
        return math.inf if limit is None else limit.left

    def at_sites(self, queue: str, kind: str) -> list[Limit]:
        """The quotas that bind at one site, or for one of several kinds."""
        return [x for x in self._binding(queue, kind) if x.site is not None or not _whole(x, kind)]

    def _binding(self, queue: str, kind: str) -> list[Limit]:
        return [limit for limit in self.of(queue, kind) if self.soft or not limit.soft]

    def bound_softly(self, queue: str, kind: str) -> bool:
        """Whether a soft quota counts these chips."""
        return any(limit.soft for limit in self.of(queue, kind))

    def held_softly(self, queue: str) -> int:
        """Chips that count against the ``soft_chips`` of ``queue``, which has some."""
        mine = self._by_queue[queue]
        return next(x.used for x in mine if x.soft and x.kind is None and x.site is None)

    def take(self, queue: str, kind: str, sites: Ints, chips: Ints) -> None:
        """Count chips of ``kind`` given to ``queue`` at ``sites`` (rows)."""
        for limit in self.of(queue, kind):
            mine = chips if limit.site is None else chips[sites == limit.site]
            limit.used += int(mine.sum())

    def used(self) -> list[int]:
        """What is used of each, in the policy's order."""
        return [limit.used for limit in self.all]

    def restore(self, used: list[int]) -> None:
        """Be as when ``used`` was told."""
        for limit, count in zip(self.all, used, strict=True):
            limit.used = count


def _whole(limit: Limit, kind: str) -> bool:
    return limit.kind is None or limit.kind == kind


def _soft(queue: Queue) -> bool:
    return queue.soft_chips is not None or any(quota.soft for quota in queue.quotas)


def _limits(queue: Queue, row: dict[str, int]) -> Iterator[Limit]:
    if queue.max_chips is not None:
        yield Limit(queue.name, None, None, queue.max_chips, False, 0)
    if queue.soft_chips is not None:
        yield Limit(queue.name, None, None, queue.soft_chips, True, 0)
    for quota in queue.quotas:
        if quota.site is None or quota.site in row:
            site = None if quota.site is None else row[quota.site]
            where = quota.site or ""
            yield Limit(queue.name, quota.chip, site, quota.max, quota.soft, 0, where)
