"""The twin: the product's control plane and agents on a simulated clock, store and engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from skep.control.electricity import Electricity
from skep.control.service import Control
from skep.control.topology import Topology
from skep.errors import SkepError, StoreError
from skep.model.message import Answer, Report
from skep.model.policy import Policy
from skep.sim.agenda import Agenda
from skep.sim.engine import SimulatedEngine
from skep.sim.faults import Break
from skep.sim.meter import Meter
from skep.sim.scenario import EngineTimes
from skep.sim.site import SimulatedSite
from skep.sim.stint import Effort
from skep.sim.watch import Watch
from skep.sim.workload import Arrival
from skep.store.base import Store

# From a change for a site until its agent has heard of it, in seconds (its long poll returns).
NOTICE = 0.05
# An agent or a user that finds no control plane tries again after so long.
RETRY = 5.0
# A control plane that cannot write looks again after so long, as the real loop does.
STORE_RETRY = 1.0
# The real loop goes on at once; here time must move, so that a mistake cannot stop it.
_TICK = 0.001

T = TypeVar("T", Arrival, Break)


class Twin:
    """One simulation. ``run`` takes it to its end; ``meter`` and ``watch`` tell what happened."""

    def __init__(
        self,
        topology: Topology,
        policy: Policy,
        store: Store,
        electricity: Electricity,
        start: float,
        times: EngineTimes,
        skew: Mapping[str, float] | None = None,
    ) -> None:
        """``skew``: by how many s the clock of a site is ahead."""
        self.topology, self.policy, self.store = topology, policy, store
        self.electricity, self.start, self.agenda = electricity, start, Agenda(start)
        self.durations: dict[str, float] = {}
        self.exit_codes: dict[str, int] = {}
        self.effort = Effort(self.durations, times.setup, times.checkpoint, self.exit_codes)
        self.watch, self.meter = Watch(), Meter(topology, start)
        self.skew = skew or {}
        self.sites = {name: self._site(name, times) for name in topology.names}
        self.control: Control | None = None
        self.acknowledged: set[str] = set()
        self.refused: dict[str, str] = {}  # arrival -> why the control plane did not take it
        self.to_come = 0  # arrivals that are noted and have not been taken
        self._told = dict.fromkeys(topology.names, -1)  # revision that each agent has
        self._called: set[str] = set()  # agents that are about to report
        self._reported = dict.fromkeys(topology.names, start)
        self._wakes = float("inf")
        self.start_control()

    def _site(self, name: str, times: EngineTimes) -> SimulatedSite:
        effort, takes, skew = self.effort, times.stop, self.skew.get(name, 0.0)
        clock = (lambda: self.agenda.now + skew) if skew else self.agenda
        engine = SimulatedEngine(clock, effort.plan, effort.interrupted, stop_takes=takes)
        engine.wake = lambda when: self.agenda.at(when - skew, partial(self.contact, name))
        engine.started = partial(self.watch.started, engine)
        return SimulatedSite(name, engine)

    def start_control(self) -> None:
        """A control plane begins, from what the store has."""
        self.control = Control(
            self.topology, self.policy, self.store, self.electricity, self.agenda.now
        )
        self._wakes = float("inf")
        self._cycle(self.control)

    # Time

    def run(self, arrivals: Iterator[Arrival], faults: Iterator[Break], duration: float) -> None:
        """Simulate until ``duration`` s have passed or nothing is left to do."""
        end = self.start + duration
        for name in self.sites:
            self.call(name)
            self._keep_lease(name)
        self.to_come += 1
        self._follow(arrivals, self._submit, self._no_more)
        self._follow(faults, partial(broken, self), lambda: None)
        while self.agenda.next() <= end and not self.idle():
            self.agenda.step()
            self.settle()
        if not self.idle():
            self.agenda.now = end
        self._measure()
        self.meter.integrate(self.agenda.now)

    def idle(self) -> bool:
        """Nothing runs or waits, and nothing will come."""
        return self.control is not None and not self.control.world.active and not self.to_come

    def _no_more(self) -> None:
        self.to_come -= 1

    def _follow(
        self, stream: Iterator[T], act: Callable[[T], None], ended: Callable[[], None]
    ) -> None:
        """Note the stream's next; the one after it is noted when that has come."""
        found = next(stream, None)
        if found is None:
            ended()
            return
        item: T = found

        def happen() -> None:
            act(item)
            self._follow(stream, act, ended)

        self.agenda.at(self.start + item.at, happen)

    def settle(self) -> None:
        """After each step: the control plane's cycle where something changed or is due."""
        if self.control is not None and (self._measure() or self._wakes <= self.agenda.now):
            self._cycle(self.control)
            self.watch.check(self.control.world, self.policy, self.agenda.now)

    def _cycle(self, control: Control) -> None:
        now, began = self.agenda.now, time.perf_counter()
        try:
            control.cycle(now)
        except StoreError:
            self._wake(now + STORE_RETRY)
            return
        self.meter.cycles.append(time.perf_counter() - began)
        self._measure()
        for name, revision in control.world.revision.items():
            if self._told[name] != revision:
                self.call(name)
        self._wake(max(now + _TICK, control.next_wake()))

    def _wake(self, when: float) -> None:
        self._wakes = when
        if when < float("inf"):
            self.agenda.at(when, lambda: None)

    def _measure(self) -> bool:
        """Take the new events into the meter; whether there were any."""
        world = self.control.world if self.control else None
        return self.meter.follow(self.store, world, self.agenda.now)

    # What users do

    def _submit(self, arrival: Arrival) -> None:
        self.to_come += 1
        self._try_submit(arrival)

    def _try_submit(self, arrival: Arrival) -> None:
        if self.control is None:
            self.agenda.at(self.agenda.now + RETRY, lambda: self._try_submit(arrival))
            return
        self.to_come -= 1
        self.durations[arrival.id] = arrival.duration
        if arrival.exit_code:
            self.exit_codes[arrival.id] = arrival.exit_code
        try:
            self.control.submit(arrival.spec, arrival.user, arrival.id, self.agenda.now)
            self.acknowledged.add(arrival.id)
        except StoreError:
            self.to_come += 1
            self.agenda.at(self.agenda.now + RETRY, lambda: self._try_submit(arrival))
        except SkepError as error:
            self.refused[arrival.id] = str(error)

    # What agents do

    def call(self, name: str) -> None:
        """Have the site's agent report soon, as when its long poll returns."""
        if name not in self._called:
            self._called.add(name)
            self.agenda.at(self.agenda.now + NOTICE, partial(self._called_up, name))

    def _called_up(self, name: str) -> None:
        self._called.discard(name)
        self.contact(name)

    def contact(self, name: str) -> None:
        """One report of the site's agent and its answer, where both get through."""
        site = self.sites[name]
        site.step()
        if self.control is None or not site.talks:
            return
        report, sent = site.report(), site.engine.clock()
        answer = self.deliver(self.control, name, report)
        if answer is not None:
            self.hear(name, report, answer, sent)

    def deliver(self, control: Control, name: str, report: Report) -> Answer | None:
        """The control plane takes a report; None where it cannot write."""
        try:
            answer = control.report(name, report, {}, self.agenda.now)
        except StoreError:
            return None
        self._told[name], self._reported[name] = answer.revision, self.agenda.now
        return answer

    def hear(self, name: str, report: Report, answer: Answer, sent: float) -> None:
        """The agent takes the answer to a report that it sent at ``sent`` on its own clock."""
        site = self.sites[name]
        site.hear(answer, sent)
        if site.has_news(report):
            self.call(name)

    def _keep_lease(self, name: str) -> None:
        """A report at least every third of the lease."""
        due = self._reported[name] + self.topology.pool.lease.duration / 3
        if due <= self.agenda.now:
            self.contact(name)
            due = self.agenda.now + self.topology.pool.lease.duration / 3
        self.agenda.at(due, partial(self._keep_lease, name))


def broken(twin: Twin, fault: Break) -> None:
    """Let a fault happen, and note when it is over."""
    site = twin.sites.get(fault.site)
    twin.meter.faults[fault.kind] += 1
    if site is None:
        twin.control = None
        mend: Callable[[], None] = twin.start_control
    else:
        mend = _break_site(twin, site, fault)
    twin.agenda.at(twin.agenda.now + fault.lasts, mend)


def _break_site(twin: Twin, site: SimulatedSite, fault: Break) -> Callable[[], None]:
    match fault.kind:
        case "site_lost":
            site.lose_power()
            return _then_call(twin, site, site.regain_power)
        case "site_cut":
            site.cut()
            return _then_call(twin, site, site.mend)
        case "agent_killed":
            site.kill_agent()
            return _then_call(twin, site, site.revive_agent)
        case _:
            site.kill_run()
            return lambda: None


def _then_call(twin: Twin, site: SimulatedSite, mend: Callable[[], bool]) -> Callable[[], None]:
    def happen() -> None:
        if mend():
            twin.call(site.name)

    return happen
