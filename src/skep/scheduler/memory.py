"""Memory: what one cycle leaves to the next, so that a cycle costs what has changed.

With a memory or without one the plan is the same: a shape that was refused fits no better where
nothing has been given back since, and is not looked at again until something is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skep.model.policy import Policy
from skep.model.snapshot import Floats, Ints, Snapshot
from skep.scheduler.board import Atlas, day_of
from skep.scheduler.ledger import Ledger
from skep.scheduler.line import Group, Line

Same = tuple[int, str]
"""Shape, and the job's id where it is a group alone: decided alike whatever the priority."""


def same(group: Group) -> Same:
    """What is refused with ``group``."""
    return (group.key[0], group.key[2])


class Memory:
    """Kept by whoever calls ``schedule`` again and again with the world of one control plane."""

    def __init__(self) -> None:
        self._atlas: Atlas | None = None
        self._line: Line | None = None
        self._seen = 0  # how many of the line's changes
        self._refused: set[Same] = set()
        self._next_overdue = -np.inf
        self._free: Ints = np.empty(0, dtype=np.int64)
        self._headroom: Floats = np.empty(0)
        self._largest: Ints = np.empty(0, dtype=np.int64)
        self._used: list[int] = []

    def atlas(self, snapshot: Snapshot, policy: Policy, now: float) -> Atlas:
        """The atlas of ``snapshot``, the same one as long as it may be; else all is forgotten."""
        date = day_of(now)
        if self._atlas is None or not self._atlas.covers(snapshot, policy, date):
            self._atlas = Atlas(snapshot, policy, date)
            self._line = None
        return self._atlas

    def to_look_at(self, line: Line, ledger: Ledger, now: float) -> list[Group]:
        """The groups that may be decided otherwise than refused as before."""
        if line is not self._line or self._given_back(ledger):
            self._refused.clear()
            return list(line.groups.values())
        if now >= self._next_overdue:
            changed: Iterable[Group] = line.groups.values()
        else:
            keys = dict.fromkeys(line.touched[self._seen :])
            changed = (line.groups[key] for key in keys if key in line.groups)
        return [group for group in changed if same(group) not in self._refused]

    def _given_back(self, ledger: Ledger) -> bool:
        return bool(
            (ledger.free > self._free).any()
            or (ledger.headroom > self._headroom).any()
            or (ledger.largest > self._largest).any()
            or any(now < then for now, then in zip(ledger.limits.used(), self._used, strict=True))
        )

    def keep(self, line: Line, ledger: Ledger, refused: Iterable[Same], now: float) -> None:
        """Remember what was refused at the end of a cycle, and how little was left."""
        del line.touched[: max(0, len(line.touched) - 1_000_000)]
        self._line, self._seen = line, len(line.touched)
        self._refused.update(refused)
        self._free, self._headroom = ledger.free, ledger.headroom
        self._largest, self._used = ledger.largest, ledger.limits.used()
        if now >= self._next_overdue:
            heads = [line.submitted[group.rows[0]] for group in line.groups.values()]
            self._next_overdue = float(min(heads, default=np.inf)) + line.patience
