"""A control plane by hand: submit, report for sites, cycle; time is an argument."""

from __future__ import annotations

from typing import Any

from skep.control.electricity import Electricity
from skep.control.service import Control
from skep.control.topology import topology
from skep.lifecycle import replay
from skep.model.chip import Chip
from skep.model.event import Event
from skep.model.job import ChipRequest, Job
from skep.model.message import Answer, Report, RunReport
from skep.model.policy import Policy
from skep.model.site import Lease, NodePool, Pool, Site
from skep.model.state import JobState, RunState
from skep.sim.watch import whole_log
from skep.store.base import Store
from skep.store.memory import MemoryStore

CHIP = Chip(kind="cpu-core", idle_power=1.0, busy_power=11.0)
LEASE = Lease(duration=60.0, grace=10.0, heartbeat=5.0)


class Pilot:
    """Sites ``a``, ``b``, … with so many chips each; every one has an agent that has reported.

    ``nodes``: of each site, alike.

    An agent answers as the product's does, but a phase changes only where a test says so.
    """

    def __init__(
        self,
        *chips: int,
        policy: Policy | None = None,
        store: Store | None = None,
        at: float = 0.0,
        nodes: int = 1,
    ) -> None:
        names = [chr(ord("a") + row) for row in range(len(chips))]
        pool = Pool(
            sites=tuple(
                Site(
                    name=name,
                    pools=(NodePool(chip=CHIP.kind, nodes=nodes, chips_per_node=count // nodes),),
                )
                for name, count in zip(names, chips, strict=True)
            ),
            chips=(CHIP,),
            lease=LEASE,
        )
        self.topology = topology(pool, {CHIP.kind: CHIP})
        self.policy = policy or Policy()
        self.store = store or MemoryStore()
        self.held: dict[str, dict[str, RunReport]] = {name: {} for name in names}
        self.agents = {name: f"{name}-1" for name in names}
        self.known = dict.fromkeys(names, -1)
        self.number = 0
        self.start(at)

    def start(self, now: float) -> None:
        """A (new) control plane over the store."""
        electricity = Electricity(self.topology, 0.0, on=False)
        self.control = Control(self.topology, self.policy, self.store, electricity, now)
        for name in self.held:
            self.report(name, now)

    def submit(self, name: str = "job", chips: int = 1, now: float = 0.0, **spec: Any) -> str:
        job = Job(name=name, run="work", chips=(ChipRequest(count=chips),), **spec)
        self.control.submit(job, "ada", name, now)
        self.control.cycle(now)
        return name

    def report(self, site: str, now: float, **agent: Any) -> Answer:
        """What the site holds; the agent forgets what it may."""
        self.number += 1
        report = Report(
            agent=agent.get("agent", self.agents[site]),
            number=agent.get("number", self.number),
            runs=tuple(self.held[site].values()),
            known=agent.get("known", self.known[site]),
        )
        answer = self.control.report(site, report, {}, now)
        self.known[site] = answer.revision
        for run in answer.forget:
            del self.held[site][run]
        return answer

    def tell(self, run: str, phase: str, now: float, **more: Any) -> Answer:
        """The run's site reports it in that phase; then a cycle."""
        site = run.rsplit("-", 1)[1]
        self.held[site][run] = RunReport(run=run, phase=phase, **more)  # type: ignore[arg-type]
        answer = self.report(site, now)
        self.control.cycle(now)
        return answer

    def running(self, *runs: str, now: float) -> None:
        """Ready, go, running."""
        for run in runs:
            self.tell(run, "ready", now, address="here:1")
        for run in runs:
            self.tell(run, "running", now)

    def beat(self, now: float, *sites: str) -> None:
        """Reports of all these sites, then a cycle."""
        for site in sites or self.held:
            self.report(site, now)
        self.control.cycle(now)

    def job(self, name: str = "job") -> JobState:
        return self.control.world.jobs[name]

    def run(self, run: str) -> RunState:
        return self.job(run.split("-", 1)[0]).runs[run]

    def live(self, name: str = "job") -> dict[str, str]:
        return {r.run: r.phase for r in self.job(name).live()}

    def steps(self, site: str, now: float) -> dict[str, str]:
        """What the site is told to do with which run."""
        return {order.run: order.step for order in self.report(site, now).orders}

    def events(self, kind: type[Event] | None = None) -> list[Event]:
        return [e for e in whole_log(self.store) if kind is None or isinstance(e, kind)]

    def check(self) -> None:
        """The log says what the world says; chips are held by live runs alone."""
        jobs, sites = replay(whole_log(self.store))
        world = self.control.world
        assert jobs == world.jobs
        assert {name: world.sites[name] for name in sites} == sites
        held = sum(run.share.chips for job in world.jobs.values() for run in job.live())
        assert int((self.topology.total - world.free).sum()) == held
