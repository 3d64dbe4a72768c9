"""How far a replayed job has come: work done at a rate, what a checkpoint holds of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from skep.model.placement import Share
from skep.sim.conditions import Checkpoints


@dataclass(slots=True)
class Live:
    """One run of a task that holds chips. ``rate``: its part of the task's speed."""

    run: str
    share: Share
    pool: int  # row of the pool
    rate: float
    slow: float = 1.0
    started: bool = False
    began: float = 0.0
    stalled: int = 0  # links of it that are down, for which it waits
    cut: float | None = None  # when it last exchanged, while no link leads to the others


@dataclass(slots=True)
class Task:
    """A job at work. ``need`` and ``done`` are in s of work on the chips that the trace says.

    Its speed is the sum of its runs' chips, each worth its kind's speed, over what the trace says,
    divided by the slowest run's slowness: a gang waits for its slowest. While some of its runs
    live, what was done is held by them; when none is left, the last checkpoint counts.
    """

    row: int
    job: str
    need: float
    chips: int
    done: float = 0.0
    since: float = 0.0
    speed: float = 0.0  # s of work done in a second, saving included
    serial: int = 0  # of the last end that was noted; earlier ones are void
    runs: dict[str, Live] = field(default_factory=dict)
    starts: int = 0
    lost: float = 0.0  # chip-s of work done again

    def advance(self, now: float) -> None:
        """Bring ``done`` to ``now``."""
        self.done = min(self.need, self.done + (now - self.since) * self.speed)
        self.since = now

    def holds(self, live: Live) -> bool:
        """Whether the run goes on: neither it nor the job has ended."""
        return self.runs.get(live.run) is live

    def turn(self, saving: Checkpoints | None) -> float:
        """Set the speed from the runs that work; answers the s until all is done (inf: never)."""
        self.serial += 1
        rate, slow, stalled = 0.0, 1.0, 0
        for live in self.runs.values():
            if live.started:
                rate += live.rate
                slow = max(slow, live.slow)
                stalled += live.stalled
        if not rate or stalled:
            self.speed = 0.0
            return float("inf") if self.done < self.need or not rate else 0.0
        each = slow / rate  # s for one s of work
        self.speed = 1.0 / (each + (saving.cost / saving.every if saving else 0.0))
        return (self.need - self.done) / self.speed

    def exchanged(self, live: Live, now: float, exchange: float) -> float:
        """When the share last exchanged what it had done, each ``exchange`` s of its run."""
        return now - (now - live.began) % exchange if live.cut is None else live.cut

    def forget(self, live: Live, now: float, exchange: float) -> None:
        """A share is gone while others go on: so is what it did since its last exchange."""
        others = any(other.started for other in self.runs.values() if other is not live)
        if not live.started or not others or not exchange or live.stalled:
            return
        alone = (now - self.exchanged(live, now, exchange)) * live.rate / live.slow
        self.lost += min(alone, self.done) * self.chips
        self.done -= min(alone, self.done)

    def fall_back(self, saving: Checkpoints | None) -> None:
        """Nobody is left who holds what was done: go back to the last checkpoint."""
        kept = self.done - self.done % saving.every if saving else 0.0
        self.lost += (self.done - kept) * self.chips
        self.done, self.speed = kept, 0.0
