"""The agent's loop: the only clock of the agent. Three threads around one desk.

The *body* looks at the engine 20 times a second, decides and acts. The *listener* holds a long
poll, so that an order arrives at once. The *teller* reports at once what has changed here, and
new output about once a second. A run's bundle is fetched beside them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from skep.agent.cycle import Action, Forget, Go, Prepare, Stop, decide
from skep.agent.desk import Desk
from skep.agent.transport import Backoff, Transport
from skep.engines.base import Engine, Fenced, Material
from skep.errors import NotFoundError
from skep.model.message import Answer, Order, Report

TICK = 0.05
OUTPUT_EVERY = 1.0
FETCHES = 4  # at a time
# An ended run whose output nobody takes is kept for so long, in seconds.
KEEP_OUTPUT = 30.0
_FIRST_WAIT = 1.0
_AT_ONCE = 0.1


class Loop:
    """One agent of one site. ``clock`` must not stop while the machine sleeps."""

    def __init__(
        self,
        site: str,
        agent: str,
        engine: Engine,
        transport: Transport,
        folder: Path,
        clock: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self.site, self.engine, self.transport = site, engine, transport
        self.folder, self.clock, self.say = folder, clock, say
        self.desk = Desk(agent)
        self.stopping = threading.Event()
        self._news = threading.Event()
        self._turn = threading.Event()
        self._fetching: set[str] = set()
        self._said: dict[str, str] = {}
        self._ended_at: dict[str, float] = {}
        self._few = threading.Semaphore(FETCHES)

    def run(self) -> None:
        """Work until ``stop``; runs go on after that."""
        # Before the first report: one without the runs held here would tell that they are gone.
        self.desk.note(self.engine.poll())
        threads = [
            threading.Thread(target=self._again, args=(what, once), name=what, daemon=True)
            for what, once in (("listening", self._listen), ("reporting", self._tell))
        ]
        for thread in threads:
            thread.start()
        self._again("looking after the runs", self._body)

    def _again(self, what: str, once: Callable[[], None]) -> None:
        """Do it until the agent ends; whatever fails is done again after a pause."""
        trouble = Backoff(f"{self.site}: {what}", self.say, self.stopping)
        while not self.stopping.is_set():
            try:
                once()
                trouble.worked()
            except Exception as error:  # an agent that ends helps nobody
                trouble.failed(error)

    def stop(self) -> None:
        """End the loop soon; to be called from a signal or another thread."""
        self.stopping.set()
        self._turn.set()
        self._news.set()

    def _body(self) -> None:
        self.step()
        self._turn.wait(TICK)
        self._turn.clear()

    def step(self) -> tuple[Action, ...]:
        """Look, decide, act, once."""
        reports = self.engine.poll()
        if self.desk.note(reports):
            self._news.set()
            for report in reports:
                self._say(f"run {report.run}", f"is {report.phase} {report.reason}".rstrip())
        desk = self.desk
        actions = decide(desk.answer, reports, self.clock(), desk.lease_until, desk.policies)
        for action in actions:
            try:
                self._act(action)
            except Exception as error:  # one run's trouble is not the others'
                self._say(f"{action}"[:80], f"failed: {type(error).__name__}: {error}")
        return actions

    def _act(self, action: Action) -> None:
        if isinstance(action, Prepare):
            if action.order.run not in self._fetching:
                self._fetching.add(action.order.run)
                threading.Thread(target=self._prepare, args=(action.order,), daemon=True).start()
        elif isinstance(action, Go):
            self.engine.go(action.order)
        elif isinstance(action, Stop):
            self._say(f"stopping {action.run}", action.reason)
            self.engine.stop(action.run, action.grace, action.reason)
        else:
            self._forget(action)

    def _prepare(self, order: Order) -> None:
        trouble = Backoff(f"fetching the workdir of {order.run}", self.say, self.stopping)
        try:
            with self._few:
                material = Material(self._bundle(order), self._token(order))
            self.engine.prepare(order, material)
            self._turn.set()
        except Exception as error:  # asked for again while it is ordered
            trouble.failed(error)
        finally:
            self._fetching.discard(order.run)

    def _token(self, order: Order) -> str:
        answer = self.desk.answer
        return "" if answer is None else answer.exchange_token.get(order.job, "")

    def _bundle(self, order: Order) -> Path | None:
        """The packed workdir; None where there is none, or the control plane has it no more."""
        digest = order.spec.bundle
        if digest is None:
            return None
        path = self.folder / f"{digest}.tar.gz"
        if path.exists():
            return path
        try:
            return self.transport.bundle(digest, path)
        except NotFoundError:
            return None

    def _forget(self, action: Forget) -> None:
        """Once its output has arrived, or nobody took it for long."""
        since = self._ended_at.setdefault(action.run, self.clock())
        if self.clock() - since < KEEP_OUTPUT and self.desk.unsent(self.engine, action.run):
            return
        self.engine.forget(action.run)
        self.desk.drop(action.run)
        del self._ended_at[action.run]
        for about in (f"run {action.run}", f"stopping {action.run}"):
            self._said.pop(about, None)

    def _listen(self) -> None:
        began, known = self.clock(), self.desk.answer
        wait = 0.0 if known is None else max(_FIRST_WAIT, known.heartbeat)
        answer = self._exchange(self.desk.report(), wait)
        same = known is not None and known.revision == answer.revision
        if same and self.clock() - began < _AT_ONCE:
            self.stopping.wait(_AT_ONCE)  # it does not hold calls: do not flood it

    def _tell(self) -> None:
        news = self._news.wait(OUTPUT_EVERY)
        self._news.clear()
        try:
            report = self.desk.report(self.engine)
            if news or report.logs or report.progress:
                self._exchange(report, 0.0)
        except Exception:
            self._news.set()
            raise
        if self.desk.full:
            self._news.set()

    def _exchange(self, report: Report, wait: float) -> Answer:
        """One report and its answer, heard. The lease is on disk before anything follows it."""
        sent = self.clock()
        answer = self.transport.report(self.site, report, wait)
        if isinstance(self.engine, Fenced):
            self.engine.hold_lease(self.desk.renew(sent, answer.lease))
        if self.desk.hear(answer, sent, self.clock()):
            self._turn.set()
        return answer

    def _say(self, about: str, what: str) -> None:
        """One line for each new thing about a run, however often it is found."""
        if self._said.get(about) != what:
            self._said[about] = what
            self.say(f"{about}: {what}")
