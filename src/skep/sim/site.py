"""One site of the twin: the product's agent, without its threads, over a simulated engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from skep.agent.cycle import Forget, Go, Prepare, Stop, decide
from skep.agent.desk import Desk
from skep.engines.base import Material
from skep.model.message import Answer, Report
from skep.sim.engine import SimulatedEngine

_NOTHING = Material()


@dataclass(slots=True)
class SimulatedSite:
    """A site with its agent: the same steps as ``skep.agent.loop``.

    It looks at the engine, decides and acts; it reports; it takes answers. ``dark``, ``cut_off``
    and ``agentless`` count the faults that last: no power, no way out, no agent.
    """

    name: str
    engine: SimulatedEngine
    dark: int = 0
    cut_off: int = 0
    agentless: int = 0
    starts: int = 0
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        self.start_agent()

    @property
    def acts(self) -> bool:
        """Whether its agent lives."""
        return not (self.dark or self.agentless)

    @property
    def talks(self) -> bool:
        """Whether its agent lives and reaches the control plane."""
        return self.acts and not self.cut_off

    def start_agent(self) -> None:
        """A new agent process; it finds the lease that the last one noted."""
        self.starts += 1
        self.desk = Desk(f"{self.name}-agent-{self.starts}")
        self.desk.lease_until = self.engine.lease_until()

    # What the agent does

    def step(self) -> None:
        """Look, decide and act, until nothing is left to do. Runs go on without an agent."""
        self.engine.settle()
        while self.acts and self._act():
            continue

    def _act(self) -> bool:
        desk, engine = self.desk, self.engine
        reports = engine.poll()
        desk.note(reports)
        actions = decide(desk.answer, reports, engine.clock(), desk.lease_until, desk.policies)
        for action in actions:
            match action:
                case Prepare(order):
                    engine.prepare(order, _NOTHING)
                case Go(order):
                    engine.go(order)
                case Stop(run, grace, reason):
                    engine.stop(run, grace, reason)
                case Forget(run):
                    engine.forget(run)
                    desk.drop(run)
        return any(not isinstance(action, Stop) for action in actions)

    def report(self) -> Report:
        """All that the site holds, as its agent saw it in its last step."""
        return self.desk.report()

    def hear(self, answer: Answer, sent: float) -> None:
        """Take the answer to a report that was sent at ``sent``."""
        if self.acts:
            self.engine.hold_lease(self.desk.renew(sent, answer.lease))
            self.desk.hear(answer, sent, self.engine.clock())
            self.step()

    def has_news(self, report: Report) -> bool:
        """Whether the site holds what ``report`` did not tell and the control plane waits for."""
        told = {run.run: run.phase for run in report.runs}
        return any(
            told.get(run.run) != run.phase and run.phase != "preparing" for run in self.desk.reports
        )

    # What happens to it

    def lose_power(self) -> None:
        """Everything that lives here dies."""
        self.dark += 1
        self.engine.crash("the site lost its power")

    def regain_power(self) -> bool:
        """Back, with a new agent; True where it talks now."""
        self.dark -= 1
        return self._again()

    def cut(self) -> None:
        """Nothing gets in or out; what runs goes on, as long as its lease lasts."""
        self.cut_off += 1

    def mend(self) -> bool:
        """The way out is back; True where it talks now."""
        self.cut_off -= 1
        return self.talks

    def kill_agent(self) -> None:
        """Its agent dies; runs go on under their supervisors."""
        self.agentless += 1

    def revive_agent(self) -> bool:
        """A new agent; True where it talks now."""
        self.agentless -= 1
        return self._again()

    def _again(self) -> bool:
        if self.acts:
            self.start_agent()
        return self.talks

    def kill_run(self) -> None:
        """The processes of the newest run that works here are killed."""
        now = self.engine.clock()
        for name in reversed(tuple(self.engine.runs)):
            if self.engine.runs[name].runs_at(now):
                self.engine.kill(name, "killed by signal 9")
                return
