"""Memory: what one cycle leaves to the next, so that a cycle costs what has changed.

With a memory or without one the plan is the same: a shape that was refused fits no better where
nothing has been given back since, and is not looked at again until something is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from skep.model.policy import Policy
from skep.model.snapshot import Floats, Held, Ints, Shape, Snapshot
from skep.scheduler.ahead import Ahead
from skep.scheduler.board import Atlas, day_of
from skep.scheduler.ledger import Ledger
from skep.scheduler.line import Group, Key, Line
from skep.scheduler.prey import Runs
from skep.scheduler.reach import kinds_of
from skep.scheduler.reserve import Slot
from skep.scheduler.timeline import Releases

LATER = 30.0
"""A promise that begins so much later than before (s) may let others start before it."""
Same = tuple[int, str]
"""Shape, and the job's id where it is a group alone: decided alike whatever the priority."""


def same(group: Group) -> Same:
    """What is refused with ``group``."""
    return (group.key[0], group.key[2])


def _overdue(line: Line, group: Group, now: float) -> bool:
    return bool(line.submitted[group.rows[0]] + line.patience <= now)


class Memory:
    """Kept by whoever calls ``schedule`` again and again with the world of one control plane."""

    def __init__(self) -> None:
        self._atlas: Atlas | None = None
        self._line: Line | None = None
        self._seen = 0  # how many of the line's changes
        self._refused: set[Same] = set()
        self._later: tuple[Key, ...] = ()
        self._next_overdue = -np.inf
        self._free: Ints = np.empty(0, dtype=np.int64)
        self._headroom: Floats = np.empty(0)
        self._largest: Ints = np.empty(0, dtype=np.int64)
        self._used: list[int] = []
        self._promised: dict[str, float] = {}  # job -> from when on
        self._slots: dict[str, Slot] = {}  # job -> what it was promised
        self._releases: tuple[Sequence[Held], Releases | None] = ((), None)
        self._runs = Runs(())
        self._as_before = False
        self._again = np.inf

    @property
    def _known(self) -> Atlas:
        assert self._atlas is not None  # asked for first
        return self._atlas

    def atlas(self, snapshot: Snapshot, policy: Policy, now: float) -> Atlas:
        """The atlas of ``snapshot``, the same one as long as it may be; else all is forgotten."""
        date = day_of(now)
        if self._atlas is None or not self._atlas.covers(snapshot, policy, date):
            self._atlas = Atlas(snapshot, policy, date)
            self._line = None
            self._runs = Runs(())
        return self._atlas

    def releases(self, running: Sequence[Held], now: float) -> Releases | None:
        """The ends of what runs, as columns; the same as before where nothing has changed."""
        known, found = self._releases
        if known is not running:
            found = Releases.of(running, now) if running else None
            self._releases = running, found
        return found

    def runs(self, running: Sequence[Held]) -> Runs:
        """What runs; the same as before where nothing has changed."""
        if self._runs.running is not running:
            self._runs = Runs(running, self._runs)
        return self._runs

    def recall(self, ahead: Ahead) -> None:
        """Tell what was promised, and whether nothing has been given back since."""
        ahead.known, ahead.none_sooner = self._slots, self._as_before

    def to_look_at(self, line: Line, ledger: Ledger, now: float) -> list[Group]:
        """The groups that may be decided otherwise than refused as before."""
        anew = line is not self._line or self._fewer_used(ledger) or self._moved(line, now)
        kinds = set() if anew else self._touched_kinds(line, self._given_back(ledger))
        self._as_before = not anew and not kinds
        if anew:
            self._refused.clear()
            return list(line.groups.values())
        # Who is new may come before those that were promised chips, whatever its shape.
        keys = dict.fromkeys((*line.touched[self._seen :], *self._later))
        found = {id(line.groups[key]): line.groups[key] for key in keys if key in line.groups}
        if kinds:
            some = {number for number, shape in line.shapes.items() if self._asks(shape) & kinds}
            self._refused = {what for what in self._refused if what[0] not in some}
            found |= {id(g): g for g in line.groups.values() if g.shape in some}
        if now >= self._next_overdue:
            # Refused or not: who has waited too long has chips kept for it from now on.
            found |= {
                id(group): group
                for group in line.groups.values()
                if same(group) not in self._refused or _overdue(line, group, now)
            }
        # Who was promised chips is promised them again, before those who come behind.
        heads = (line.groups[line.keys[line.row[job]]] for job in self._promised)
        return list((found | {id(group): group for group in heads}).values())

    def _moved(self, line: Line, now: float) -> bool:
        """Whether time alone may have changed more than what was touched."""
        return now >= self._again or any(job not in line.row for job in self._promised)

    def _fewer_used(self, ledger: Ledger) -> bool:
        return any(now < then for now, then in zip(ledger.limits.used(), self._used, strict=True))

    def _given_back(self, ledger: Ledger) -> set[str]:
        """Kinds of which more can be had somewhere than was left."""
        pools = self._known.snapshot.pools
        more = (ledger.free > self._free) | (ledger.largest > self._largest)
        cooler = ledger.headroom > self._headroom
        if cooler.any():
            more |= cooler[pools.site]
        return {pools.kind[row] for row in np.flatnonzero(more).tolist()} if more.any() else set()

    def _touched_kinds(self, line: Line, kinds: set[str]) -> set[str]:
        """``kinds``, and those to or from which what is promised may move for it."""
        heads = [line.shapes[line.groups[line.keys[line.row[job]]].shape] for job in self._promised]
        asked = [self._asks(shape) for shape in heads] if kinds else []
        before = 0
        while len(kinds) > before:
            before = len(kinds)
            kinds = kinds.union(*(wishes for wishes in asked if wishes & kinds))
        return kinds

    def _asks(self, shape: Shape) -> set[str]:
        return kinds_of(self._known.kinds, shape)

    def to_look_at_too(self, line: Line, ahead: Ahead) -> list[Group]:
        """What was left out because it had been refused before, and may fit now.

        A promise of the last cycle begins later: others may fit before it, on chips of its kinds.
        """
        now = {found.job: found.start for found in ahead.reservations}
        later = [
            job for job, then in self._promised.items() if now.get(job, -np.inf) > then + LATER
        ]
        kinds: set[str] = set()
        for job in later:
            kinds |= self._asks(line.shapes[line.keys[line.row[job]][0]])
        some = (
            {n for n, shape in line.shapes.items() if self._asks(shape) & kinds} if kinds else set()
        )
        again = {what for what in self._refused if what[0] in some}
        self._refused -= again
        return [group for group in line.groups.values() if same(group) in again] if again else []

    def forget(self) -> None:
        """Look at everything the next time: what runs will end at other times than was thought."""
        self._line = None

    def keep(self, line: Line, refused: Iterable[Same], later: Iterable[Key], ahead: Ahead) -> None:
        """Remember what was refused at the end of a cycle, and how little was left.

        ``later`` are groups whose time had not come.
        """
        ledger, now = ahead.ledger, ahead.timeline.now
        self._promised = {found.job: found.start for found in ahead.reservations}
        self._slots = ahead.slots
        self._again = ahead.again
        del line.touched[: max(0, len(line.touched) - 1_000_000)]
        self._line, self._seen = line, len(line.touched)
        self._refused.update(refused)
        self._later = tuple(later)
        self._free, self._headroom = ledger.free, ledger.headroom
        self._largest, self._used = ledger.largest, ledger.limits.used()
        if now >= self._next_overdue:
            heads = [line.submitted[group.rows[0]] for group in line.groups.values()]
            self._next_overdue = float(min(heads, default=np.inf)) + line.patience
