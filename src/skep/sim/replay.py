"""A trace replayed: the product's own decisions and state machine, without agents' messages.

What decides is ``Control.cycle``; what changes state are the product's events, folded by the
product (``Draft``, ``World``, ``skep.control.outcome``). What a site would report (a run started,
a run ended) is made an event here at once instead of travelling as a report. So a job costs some
hundred microseconds instead of milliseconds. Docs: ``docs/decisions/0014-trace-replay.md``.
"""

from __future__ import annotations

import gc
import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skep.control.avoid import named
from skep.control.draft import Draft
from skep.control.electricity import Electricity
from skep.control.outcome import after_end
from skep.control.service import Control
from skep.control.topology import Topology
from skep.model.event import (
    Event,
    GangReady,
    JobEnded,
    Placed,
    RunEnded,
    RunOutcome,
    RunReady,
    RunStarted,
    RunStopping,
    SiteJoined,
    Submitted,
)
from skep.model.policy import Policy
from skep.model.snapshot import Floats, Ints
from skep.sim.conditions import Conditions
from skep.sim.fragments import Fragments
from skep.sim.machines import Machines
from skep.sim.outages import Outages
from skep.sim.record import BINS, OUTCOMES, Record, Timeline
from skep.sim.requests import Requests
from skep.sim.tail import Tail
from skep.sim.task import Live, Task
from skep.sim.trace import Trace
from skep.sim.wear import Broken

INF = float("inf")
_TICK = 0.001  # a timer of the product that is due at once: time must move
_STEPS_PER_NOTE = 64  # steps between two calls of ``progress``


class Replay:
    """One replay. ``run`` takes it to its end; ``record`` and ``timeline`` tell what happened.

    ``period``: decide at most every so many seconds; 0: at each moment at which anything happened.
    ``by_node``: bind runs to nodes, which costs some microseconds a job.
    """

    def __init__(
        self,
        topology: Topology,
        policy: Policy,
        trace: Trace,
        conditions: Conditions,
        broken: Sequence[Broken] = (),
        *,
        seed: int = 0,
        period: float = 0.0,
        by_node: bool = True,
    ) -> None:
        self.topology, self.trace, self.conditions = topology, trace, conditions
        self.period, self.start = period, trace.start
        self.record = Record(trace)
        self.timeline = Timeline(len(topology.names), max(trace.span, 1.0) / BINS)
        self.machines = Machines(topology, conditions, seed, by_node=by_node or conditions.by_node)
        self._tail = Tail()
        electricity = Electricity(topology, self.start, hours=1, on=False)
        self.control = Control(topology, policy, self._tail, electricity, self.start)
        self.requests = Requests(trace, self.control, conditions.checkpoint, self.start)
        self.now = self.start
        self.steps = 0
        self.tasks: dict[str, Task] = {}  # by job
        self._order = 0
        self._at_once = False  # runs of a gang are ready, or chips came back: a cycle is due
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._soon: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        self._arrived = 0  # rows of the trace that were submitted
        self._times: list[float] = (trace.submit + self.start).tolist()
        self.outages = Outages(self)
        self._acts: dict[str, Callable[[Any], None]] = {
            "placed": self._placed,
            "job_ended": self._job_ended,
            "run_ended": self._run_gone,
            "gang_ready": self._go,
            "run_stopping": self._stopping,
            "preempted": self._preempted,
        }
        self._sampled = -1
        self._fragments = Fragments(trace, topology)
        # Chips that wait; part of the free chips that is broken up; free chips; fragments.
        self._sample = (0, 0.0, 0.0, 0.0)
        self.draft = Draft(self.control.world)
        for fault in broken:
            self.at(self.start + fault.at, self.outages.begin, fault)

    def run(self, progress: Callable[[int, float], None] | None = None, until: float = INF) -> None:
        """Replay until nothing is left to do, or ``until`` s after the start.

        ``progress`` hears (jobs that ended, s after the start).
        """
        # A state is a tree: nothing here needs the collector, which would walk a million jobs.
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._open()
            while (now := self._next()) < INF and now <= self.start + until:
                self._step(now)
                self.steps += 1
                if progress is not None and self.steps % _STEPS_PER_NOTE == 0:
                    progress(self.record.events["job_ended"], self.now - self.start)
        finally:
            if collecting:
                gc.enable()

    # Time

    def _open(self) -> None:
        """All sites report; they keep their leases by reporting, which need not be simulated."""
        world = self.control.world
        for name in self.topology.names:
            self.draft.add(SiteJoined(at=self.start, site=name, agent=f"{name}-1"))
            world.heard[name] = INF
        self._step(self.start)

    def at(self, when: float, act: Callable[..., None], *what: object) -> None:
        """Have ``act(when, *what)`` done at ``when``: in order of time, then as they were asked."""
        if when == self.now:  # behind all that is due by now, and spared the heap
            self._soon.append((act, what))
            return
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, act, what))

    def _next(self) -> float:
        """The next moment of which anything must be made; infinity at the end."""
        if self._at_once:
            return self.now
        arrival = self._times[self._arrived] if self._arrived < len(self._times) else INF
        if arrival == INF and not self.control.world.active:
            return INF
        wake = self.control.next_wake()
        found = min(arrival, self._heap[0][0] if self._heap else INF)
        if wake < found:
            found = max(wake, self.now + _TICK)
        if self.period and found < INF:
            passed = (found - self.start) / self.period
            found = self.start + math.ceil(passed - 1e-9) * self.period
        return found

    def _step(self, now: float) -> None:
        self._measure(now)
        self.now = now
        self._arrive(now)
        self._happen(now)
        self.draft.commit(self._tail)
        self.control.cycle(now)
        self.draft = Draft(self.control.world)
        events = self._tail.drain()
        self.record.events.update([event.kind for event in events])
        for event in events:
            act = self._acts.get(event.kind)
            if act is not None:
                act(event)
        # What follows at once (a run starts) waits for no cycle of its own, unless a gang does, or
        # somebody for the chips of a run that was stopped.
        self._at_once = False
        self._happen(now)

    def _happen(self, now: float) -> None:
        """All that is noted up to ``now``, into the draft."""
        heap, soon = self._heap, self._soon
        while True:
            if heap and heap[0][0] <= now:
                when, _, act, what = heapq.heappop(heap)
                act(when, *what)
            elif soon:
                act, what = soon.popleft()
                act(now, *what)
            else:
                return

    def _arrive(self, now: float) -> None:
        times, row = self._times, self._arrived
        while row < len(times) and times[row] <= now:
            spec, refusal = self.requests.of(row)
            if refusal:
                self.record.refused[row] = refusal
                self.record.outcome[row] = OUTCOMES.index("refused")
            else:
                user = self.requests.user(row)
                self.draft.fold(Submitted(at=times[row], job=str(row), spec=spec, user=user))
            row += 1
        self._arrived = row

    # What the control plane decided

    def _go(self, event: GangReady) -> None:
        task = self.tasks[event.job]
        for live in tuple(task.runs.values()):
            if not live.started:
                self.at(event.at, self._begin, task, live)

    def _stopping(self, event: RunStopping) -> None:
        takes, grace = self.conditions.stop, event.grace
        takes = takes if grace is None else min(takes, grace)
        if (found := self.live(event.job, event.run)) is not None:
            self.at(event.at + takes, self._stopped, *found, event.reason)

    def _preempted(self, event: Event) -> None:
        self.record.preempted[int(event.job)] += 1

    def _placed(self, event: Placed) -> None:
        task = self.tasks.get(event.job)
        if task is None:
            row, trace = int(event.job), self.trace
            task = Task(row, event.job, float(trace.duration[row]), int(trace.chips[row]))
            self.tasks[event.job] = task
        takes = self.conditions.setup + (self.conditions.restart if task.starts else 0.0)
        task.starts += 1
        self.record.attempts[task.row] += 1
        for grant in event.runs:
            share = grant.share
            pool = self.topology.pool_row[share.site, share.pool]
            worth = self.requests.worth(task.row, share.chip)
            live = Live(grant.run, share, pool, share.chips * worth / task.chips)
            task.runs[grant.run] = live
            live.slow = self.machines.bind(pool, grant.run, share.chips, share.avoid)
            then = self._begin if event.go else self._ready
            self.at(event.at + takes, then, task, live)

    def _job_ended(self, event: JobEnded) -> None:
        row = int(event.job)
        self.record.outcome[row] = OUTCOMES.index(event.outcome)
        self.record.ended[row] = event.at - self.start
        task = self.tasks.pop(event.job, None)
        if task is not None:
            self.record.lost[row] = task.lost
        world = self.control.world
        state = world.jobs.pop(event.job)
        for run in state.runs:
            world.job_of.pop(run, None)

    # What happens at sites

    def _ready(self, when: float, task: Task, live: Live) -> None:
        if task.holds(live) and live.share.site not in self.outages.dark:
            self.draft.fold(RunReady(at=when, job=task.job, run=live.run))
            self._at_once = True

    def _begin(self, when: float, task: Task, live: Live) -> None:
        if not task.holds(live) or live.share.site in self.outages.dark:
            return
        if math.isinf(live.slow):
            self.over(when, task, live, "failed", "its site has not so many chips in order")
            return
        task.advance(when)
        live.started, live.began = True, when
        if math.isnan(self.record.started[task.row]):
            self.record.started[task.row] = when - self.start
        self.record.site[task.row] = self.topology.row[live.share.site]
        self.draft.fold(RunStarted(at=when, job=task.job, run=live.run))
        self.outages.stall(task)
        self.turn(task, when)

    def turn(self, task: Task, when: float) -> None:
        """The task's speed has changed: note its end anew."""
        left = task.turn(self.conditions.checkpoint)
        if left < INF:
            self.at(when + left, self._done, task, task.serial)

    def _done(self, when: float, task: Task, serial: int) -> None:
        if task.serial != serial:
            return
        task.advance(when)
        for live in tuple(task.runs.values()):
            if live.started:
                self.over(when, task, live, "succeeded", "")

    def _stopped(self, when: float, task: Task, live: Live, reason: str) -> None:
        if task.holds(live) and live.share.site not in self.outages.dark:
            self.over(when, task, live, "stopped", reason)

    def over(
        self,
        when: float,
        task: Task,
        live: Live,
        outcome: RunOutcome,
        reason: str,
        nodes: tuple[str, ...] = (),
    ) -> None:
        """A run ends at its site, which tells the control plane, also on which nodes it failed."""
        self._at_once = True
        self._leave(when, task, live, outcome)
        draft = self.draft
        state = draft.job(task.job)
        if state is None or state.ended or state.runs[live.run].ended:
            return
        event = RunEnded(
            at=when, job=task.job, run=live.run, outcome=outcome, reason=reason, nodes=named(nodes)
        )
        state = draft.fold(event)
        draft.add(*after_end(state, state.runs[live.run], self.control.policy, when))

    def _leave(self, when: float, task: Task, live: Live, outcome: RunOutcome) -> None:
        """A run has ended: its nodes are free, and the others go on without it."""
        task.advance(when)
        if outcome in ("failed", "lost"):
            task.forget(live, when, self.conditions.exchange)
        del task.runs[live.run]
        self.machines.release(live.pool, live.run)
        self.go_on(task, when, outcome)

    def go_on(self, task: Task, when: float, outcome: RunOutcome) -> None:
        if any(live.started for live in task.runs.values()):
            if outcome != "succeeded":
                self.turn(task, when)
        elif outcome != "succeeded":
            task.serial += 1
            task.fall_back(self.conditions.checkpoint)

    def _run_gone(self, event: RunEnded) -> None:
        """The control plane gave a run up (its site is lost): here it is over as well."""
        if event.outcome == "lost" and (found := self.live(event.job, event.run)) is not None:
            self._leave(event.at, *found, event.outcome)

    def live(self, job: str, run: str) -> tuple[Task, Live] | None:
        """The run, if it goes on, and what it is a part of."""
        task = self.tasks.get(job)
        live = task.runs.get(run) if task is not None else None
        return None if task is None or live is None else (task, live)

    # Measuring

    def _measure(self, now: float) -> None:
        """The state since the last step held until now."""
        since = self.now - self.start
        world = self.control.world
        span = int(since / self.timeline.width)
        if span != self._sampled:
            self._sampled = span
            chips = sum(int(self.trace.chips[int(job)]) for job in world.waiting)
            free = world.free - self.machines.out
            fragments = self._fragments.expected(free)
            self._sample = chips, self.machines.broken_up(), float(free.sum()), fragments
        top = self.topology
        held: Ints | Floats = top.total - world.free - self.machines.out
        if len(held) > len(top.names):  # a pool for each site needs no adding up
            held = np.bincount(top.pool_site, weights=held, minlength=len(top.names))
        state = (len(world.waiting), *self._sample)
        self.timeline.add(since, now - self.start, held, state)
