"""Everything that may be asked of a control plane, one method each.

Not thread-safe and without a clock: the API calls it from one event loop, the simulator from its
own; both pass ``now`` (seconds since the epoch).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from skep.control import sites
from skep.control.avoid import grounds
from skep.control.cycle import run_cycle
from skep.control.draft import Draft
from skep.control.electricity import Electricity
from skep.control.sentence import sentence
from skep.control.snapshot import take_snapshot
from skep.control.speaking import Speakers
from skep.control.topology import Topology
from skep.control.view import Energy, in_order_by, job_detail, job_view, site_view, why
from skep.control.world import World
from skep.errors import ConflictError, NotFoundError
from skep.model.event import CancelRequested, Submitted
from skep.model.job import Job
from skep.model.message import Answer, Report
from skep.model.policy import Policy
from skep.model.snapshot import Forecast, Plan, Snapshot
from skep.model.state import JobState, RunState
from skep.model.views import Health, JobDetail, JobView, SiteView, Why
from skep.scheduler import schedule
from skep.scheduler.check import admissible
from skep.scheduler.estimate import told
from skep.scheduler.fair import Standing, standings
from skep.scheduler.order import ordered
from skep.scheduler.schedule import line_of
from skep.store.base import Store


class Control:
    """One control plane over one pool: the world in memory, the store behind it."""

    def __init__(
        self,
        topology: Topology,
        policy: Policy,
        store: Store,
        electricity: Electricity,
        now: float,
        token_of: Callable[[str], str] = lambda _job: "",
    ) -> None:
        self.store, self.policy, self.topology = store, policy, topology
        self.electricity = electricity
        self.world = World(topology, first_revision=int(now * 1000), policy=policy)
        self._token_of = token_of
        self._speakers = Speakers()
        loaded = store.load()
        self.world.seq = loaded.seq
        self.world.load(loaded.jobs, loaded.sites, now)

    # Jobs

    def submit(self, spec: Job, user: str, job: str, now: float) -> JobDetail:
        """Acknowledge a job under the id ``job``; the same id again answers the same job.

        Raises ``InputError`` for what this pool and policy can never run.
        """
        if job not in self.world.jobs and self.store.job(job) is None:
            self._admit(spec, user, now)
            draft = Draft(self.world)
            draft.add(Submitted(at=now, job=job, spec=spec, user=user))
            draft.commit(self.store)
        return self.job(job, now)

    def _admit(self, spec: Job, user: str, now: float) -> None:
        snapshot = self._snapshot(now)
        atlas = self.world.memory.atlas(snapshot, self.policy, now)
        admissible(spec, snapshot, self.policy, user, atlas, self.world.rates.of(spec))

    def cancel(self, ref: str, user: str, now: float) -> JobDetail:
        """Ask a job to end. Raises ``ConflictError`` where it has ended already."""
        state = self._find(ref)
        if state.ended:
            raise ConflictError(f"job {state.id} has {state.phase} already")
        if state.ending is None:
            draft = Draft(self.world)
            draft.add(CancelRequested(at=now, job=state.id, user=user))
            draft.commit(self.store)
        return self.job(state.id, now)

    def job(self, ref: str, now: float) -> JobDetail:
        """One job by id, unique start of an id, or name (the newest of that name)."""
        return job_detail(self._find(ref), self._energy(now), self.electricity.held)

    def _energy(self, now: float) -> Energy:
        def runs_at(site: str) -> Iterator[RunState]:
            states = self.world.jobs.values()
            return (r for job in states for r in job.runs.values() if r.share.site == site)

        return self.electricity.of_run(runs_at, now)

    def jobs(
        self, now: float, *, ended_since: float = 0.0, limit: int = 1000
    ) -> tuple[JobView, ...]:
        """Jobs that have not ended, and those that ended after ``ended_since``; newest first."""
        states = [
            s for s in self.world.jobs.values() if not s.ended or (s.ended_at or now) >= ended_since
        ]
        states.sort(key=lambda s: (-s.submitted_at, s.id))
        return tuple(job_view(s) for s in states[:limit])

    def why(self, ref: str, now: float) -> Why:
        """What was decided on a job and why; for a waiting one, what each site says now."""
        state = self._find(ref)
        plan: Plan | None = None
        order: tuple[str, ...] = ()
        found: tuple[Standing, ...] = ()
        by = ""
        if state.id in self.world.waiting:
            snapshot = self._snapshot(now)
            plan = schedule(snapshot, self.policy, now)
            order = tuple(ordered(line_of(snapshot, self.policy), now))
            found = standings(snapshot, self.policy, state.spec.queue)
            by = in_order_by(self.world, self.policy, state, now)
        logged = self.store.events(job=state.id)
        decisions = tuple({"at": e.event.at, "text": sentence(e.event)} for e in logged)
        length = "" if state.ended else told(self.world.estimate(state))
        avoids = () if state.ended else grounds(state, self.policy, now)
        return why(state, plan, order, found, decisions, length, by, now, avoids)

    def id_of(self, ref: str) -> str:
        """The id that a user's reference means. Raises ``NotFoundError``."""
        return self._find(ref).id

    def _find(self, ref: str) -> JobState:
        known = self.world.jobs.get(ref) or self.store.job(ref)
        if known is not None:
            return known
        found = self.store.find(ref, limit=20)
        named = [i for i in found if self._state(i).spec.name == ref]
        matches = named[:1] or list(found)
        if len(matches) == 1:
            return self._state(matches[0])
        if matches:
            raise ConflictError(f"job {ref!r} could be any of {', '.join(matches[:5])}")
        raise NotFoundError(f"there is no job {ref!r}; `skep ps --all` lists them")

    def _state(self, job: str) -> JobState:
        state = self.world.jobs.get(job) or self.store.job(job)
        if state is None:
            raise NotFoundError(f"there is no job {job!r}; `skep ps --all` lists them")
        return state

    # Sites

    def report(
        self, site: str, report: Report, acknowledged: Mapping[str, int], now: float
    ) -> Answer:
        """Take what a site's agent reports; answer all that the site should hold.

        ``acknowledged``: offsets of logs and progress that the caller has already kept.
        """
        if site not in self.world.sites:
            raise NotFoundError(f"there is no site {site!r} in pool {self.topology.pool.name}")
        if self._speakers.counts(site, report, self.world.revision[site]):
            draft = Draft(self.world)
            sites.take_report(self.world, draft, self.policy, site, report, now)
            draft.commit(self.store)
            if self._speakers.took(site, report, self.world.revision[site]):
                self.world.revision[site] += 1
        # Whoever is answered may count on a lease: also one whose report came late.
        self.world.heard[site] = now
        return self.answer(site, report, acknowledged)

    def answer(self, site: str, report: Report, acknowledged: Mapping[str, int]) -> Answer:
        """All that the site should hold now."""
        return sites.answer(self.world, site, report, acknowledged, self._token_of)

    def owner(self, run: str, site: str) -> str:
        """The job whose run this is, if it was placed at that site; else ""."""
        job = self.world.job_of.get(run, "")
        held = self.world.jobs[job].runs.get(run) if job else None
        return job if held is not None and held.share.site == site else ""

    def sites(self, now: float) -> tuple[SiteView, ...]:
        """Every site of the pool."""
        return tuple(
            site_view(
                self.world,
                state,
                self.electricity.at_site(name, self.world.drawn_at(name), now),
                now,
            )
            for name, state in self.world.sites.items()
        )

    # The cycle

    def cycle(self, now: float) -> Plan:
        """Settle, decide and commit; see ``skep.control.cycle``."""
        return run_cycle(self.world, self.store, self.policy, partial(self._snapshot, now), now)

    def next_wake(self) -> float:
        """When a cycle is due at the latest."""
        return min(self.world.next_wake(), sites.next_expiry(self.world))

    def health(self, version: str) -> Health:
        """Counts that tell whether the control plane works."""
        active = [self.world.jobs[j] for j in self.world.active]
        return Health(
            pool=self.topology.pool.name,
            version=version,
            seq=self.world.seq,
            sites_up=sum(s.phase == "up" for s in self.world.sites.values()),
            sites=len(self.world.sites),
            waiting=sum(s.phase == "waiting" for s in active),
            running=sum(s.phase != "waiting" for s in active),
        )

    def _snapshot(self, now: float, slow: bool = False) -> Snapshot:
        clean = self.electricity.clean(self.world.drawn, now)
        return take_snapshot(self.world, self.policy, clean, now, self._forecast(now), slow=slow)

    def _forecast(self, now: float) -> Forecast | None:
        """Only where somebody may use it: to move, or to wait for better power."""
        wanted = self.policy.migration or self.world.deferring
        return self.electricity.forecast(now) if wanted else None


def job_id(name: str, unique: str) -> str:
    """A job's id: its name, cut to 40 characters, and what makes it unique."""
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', name)[:40].strip('-')}-{unique}"
