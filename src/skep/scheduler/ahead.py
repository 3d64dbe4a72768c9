"""Ahead: what becomes of the jobs that do not fit now, as one plan is made.

The first of them are promised chips at the earliest time at which they can be had, so that nobody
behind them delays them; or others are stopped for them; or they are held back on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skep.model.evolve import replace
from skep.model.snapshot import Preemption, Reservation, Shape, Waiting
from skep.scheduler.ask import asks_of
from skep.scheduler.attained import next_change
from skep.scheduler.defer import better_later
from skep.scheduler.migrate import Blocked
from skep.scheduler.preempt import Hunt
from skep.scheduler.prey import Runs
from skep.scheduler.reach import kinds_of
from skep.scheduler.reserve import Slot, as_before, earliest, keep, still_there
from skep.scheduler.timeline import OnTimeline

# Jobs that are promised chips at most: for ``conservative``; ``easy`` promises one for each kind.
DEPTH = 16
ROUNDING = 1e-3  # s


@dataclass(slots=True)
class Ahead(OnTimeline):
    """Collects promises and preemptions; ``told`` is why a job waits that is held back."""

    runs: Runs
    reservations: list[Reservation] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    known: dict[str, Slot] = field(default_factory=dict)  # promised before
    none_sooner: bool = False  # nothing has been given back since
    slots: dict[str, Slot] = field(default_factory=dict)
    again: float = float("inf")
    closed: bool = False  # policy none: nobody goes past the first that does not fit
    _kinds: set[str] = field(default_factory=set)
    _hunt: Hunt | None = None

    @property
    def hunt(self) -> Hunt:
        if self._hunt is None:
            self._hunt = Hunt(self.timeline, self.runs)
        return self._hunt

    @property
    def preemptions(self) -> list[Preemption]:
        return [] if self._hunt is None else self._hunt.found

    @property
    def gone(self) -> set[str]:
        """Runs that this plan stops."""
        return set() if self._hunt is None else self._hunt.gone

    def levels_change(self) -> float:
        """When what runs may be stopped that may not be now: one has then had more; inf: never."""
        policy, found = self.board.policy, float("inf")
        if policy.order == "attained" and policy.preemption:
            for kind in self.board.kinds:
                herd = self.runs.herd(self.board.columns(kind))
                found = min(found, next_change(policy, herd, self.timeline.now))
        return found

    def wants(self, shape: Shape) -> bool:
        """Whether the next job of ``shape`` that does not fit would be promised chips."""
        if self.board.policy.backfill == "conservative":
            return len(self.reservations) < DEPTH
        if self.board.policy.backfill == "none":
            return not self.closed
        return not kinds_of(self.board.kinds, shape) <= self._kinds

    def take_up(self, job: Waiting, shape: Shape) -> bool:
        """The job does not fit now: whether something was done about it."""
        if job.not_before > self.timeline.now:
            return False
        if self.hunt.serve(job, shape) is not None:
            self.told[job.job] = self.preemptions[-1].reason
            if self.hunt.tired:
                self.again = self.timeline.now
            return True
        if not self.wants(shape):
            return False
        slot = self._slot(job, shape)
        if slot is None:
            return False
        promised = keep(self.timeline, job, slot)
        self.slots[job.job] = replace(slot, told=promised)
        self.closed = self.board.policy.backfill == "none"
        lies = {self.board.columns(slot.ask.kind).kinds[row] for row in slot.choice.rows.tolist()}
        # The chips that it may have instead are the next one's; but nobody is promised for ever.
        self._kinds |= lies if lies - self._kinds else kinds_of(self.board.kinds, shape)
        self.reservations.append(promised)
        self.blocked.append(Blocked(job, shape, slot.start))
        return True

    def _slot(self, job: Waiting, shape: Shape) -> Slot | None:
        known = self.known.get(job.job)
        if known is not None and abs(known.end - known.start - shape.length) > ROUNDING:
            known = None  # it is expected to take another time
        if known is not None and known.start > self.timeline.now:
            if self.none_sooner:
                if still_there(self.timeline, known):
                    return known
            elif found := as_before(self.timeline, job, shape, known):
                return found
        return earliest(self.timeline, job, shape)

    def promised(self, job: str) -> Reservation | None:
        """What the job was promised in this plan."""
        return next((found for found in self.reservations if found.job == job), None)

    def holds_back(self, job: Waiting, shape: Shape) -> bool:
        """Whether a job that can wait should start later, when power is cleaner or cheaper."""
        now = self.timeline.now
        if job.start_by <= now:
            return False
        for ask in asks_of(job, shape, self.board, self.ledger):
            later = better_later(self.board, self.ledger, ask, shape.length, job.start_by, now)
            if later is not None:
                self.told[job.job] = later.reason
                self.again = min(self.again, later.start)
                return True
        return False
