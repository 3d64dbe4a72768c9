"""The hard quotas of all queues, counted again at commit; no code is shared with the scheduler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from skep.control.world import World
from skep.model.placement import Share
from skep.model.policy import Policy, Queue, Quota


class Quotas:
    """What queues hold: in the world, and of what a plan has given since."""

    def __init__(self, world: World, policy: Policy) -> None:
        self._world, self._policy = world, policy
        self._given: dict[tuple[str, str, str], int] = defaultdict(int)  # queue, kind, site
        self._bound: dict[str, bool] = {}

    def take(self, queue: str, shares: Iterable[Share]) -> None:
        """Count what a committed placement gives."""
        for share in shares:
            self._given[queue, share.chip, share.site] += share.chips

    def bind(self, queue: str) -> bool:
        """Whether there is any hard quota over the queue."""
        known = self._bound.get(queue)
        if known is None:
            known = self._bound[queue] = any(
                above.max_chips is not None or any(not quota.soft for quota in above.quotas)
                for above in self._path(queue)
            )
        return known

    def over(self, queue: str, shares: tuple[Share, ...], gone: dict[str, int]) -> str:
        """Which quota the shares would break; "" for none. ``gone``: chips to come back by queue.

        What comes back is counted for quotas over all kinds and sites only.
        """
        for above in self._path(queue):
            if above.max_chips is not None:
                whole = Quota(max=above.max_chips)
                back = sum(gone.get(name, 0) for name in self._below(above.name))
                if reason := self._over(above, whole, shares, back):
                    return reason
            for quota in above.quotas:
                if not quota.soft and (reason := self._over(above, quota, shares, 0)):
                    return reason
        return ""

    def _over(self, queue: Queue, quota: Quota, shares: tuple[Share, ...], back: int) -> str:
        new = sum(s.chips for s in shares if _counts(quota, s.chip, s.site))
        held = self._held(queue.name, quota) - back + new
        if not new or held <= quota.max:
            return ""
        what = f" {quota.chip}" if quota.chip else ""
        where = f" at {quota.site}" if quota.site else ""
        return f"queue {queue.name} would hold {held} of {quota.max}{what} chips{where}"

    def _held(self, queue: str, quota: Quota) -> int:
        below = set(self._below(queue))
        given = sum(
            chips
            for (name, kind, site), chips in self._given.items()
            if name in below and _counts(quota, kind, site)
        )
        if quota.chip is None and quota.site is None:
            return given + sum(self._world.held.get(name, 0) for name in below)
        topology = self._world.topology
        rows = [
            row
            for row, kind in enumerate(topology.kind)
            if _counts(quota, kind, topology.names[topology.pool_site[row]])
        ]
        columns = (c for name, c in self._world.held_in.items() if name in below)
        return given + sum(int(column[rows].sum()) for column in columns)

    def _path(self, name: str | None) -> Iterator[Queue]:
        while name is not None and (queue := self._policy.queue(name)) is not None:
            yield queue
            name = queue.parent

    def _below(self, queue: str) -> Iterator[str]:
        for other in self._policy.queues:
            if any(above.name == queue for above in self._path(other.name)):
                yield other.name


def _counts(quota: Quota, kind: str, site: str) -> bool:
    return quota.chip in (None, kind) and quota.site in (None, site)
