"""A twin in trouble: small pools and jobs, messages that come late, twice or never, full disks."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from hypothesis import strategies as st

from skep.control.electricity import Electricity
from skep.control.service import Control
from skep.control.topology import topology
from skep.errors import ConflictError, StoreError
from skep.model.chip import Chip
from skep.model.event import Event, Logged
from skep.model.job import ChipRequest, Elastic, Job, Span
from skep.model.message import Answer, Report
from skep.model.policy import Maintenance, Policy, Queue
from skep.model.site import Lease, NodePool, Pool, Power, Site
from skep.model.state import JobState, SiteState
from skep.sim.engine import fenced
from skep.sim.faults import Break
from skep.sim.scenario import EngineTimes
from skep.sim.twin import Twin
from skep.sim.workload import Arrival
from skep.store.memory import MemoryStore

START = 1_800_000_000.0
QUIET = 600.0  # after so many seconds nothing breaks any more
NAMES = ("ash", "birch", "cedar")
LEASE = Lease(duration=30.0, grace=12.0, heartbeat=10.0)
CHIP = Chip(kind="cpu-core", idle_power=1.0, busy_power=11.0)


class FullDisk(MemoryStore):
    """A store that sometimes cannot write."""

    def __init__(self, chance: random.Random, share: float) -> None:
        super().__init__()
        self.chance, self.share = chance, share

    def append(
        self,
        events: Sequence[Event],
        *,
        jobs: Iterable[JobState] = (),
        sites: Iterable[SiteState] = (),
        expect: Mapping[str, int] | None = None,
    ) -> tuple[Logged, ...]:
        if self.chance.random() < self.share:
            raise StoreError("no space left on device")
        return super().append(events, jobs=jobs, sites=sites, expect=expect)


@dataclass(frozen=True)
class Trouble:
    """What a test case is made of; ``seed`` drives the delays of messages and the disk."""

    chips: tuple[int, ...]
    spare: tuple[float, ...]  # part of the chips that each site's cap can feed
    arrivals: tuple[Arrival, ...]
    faults: tuple[Break, ...]
    cancels: tuple[tuple[float, int], ...] = ()  # when, which arrival
    slow: float = 0.0  # messages take up to so many seconds
    lost: float = 0.0  # so large a part of them never arrives
    full: float = 0.0  # so large a part of writes fails
    skew: tuple[float, ...] = ()  # by which the sites' clocks are ahead
    setup: float = 5.0
    stop_takes: float = 1.0
    seed: int = 0
    policy: Policy = field(default_factory=Policy)


def pool_of(trouble: Trouble) -> Pool:
    return Pool(
        sites=tuple(
            Site(
                name=name,
                pools=(NodePool(chip=CHIP.kind, chips_per_node=count),),
                power=Power(cap=count * (1.0 + 10.0 * spare) * 1.03),
            )
            for name, count, spare in zip(NAMES, trouble.chips, trouble.spare, strict=False)
        ),
        chips=(CHIP,),
        lease=LEASE,
    )


class TroubledTwin(Twin):
    """Its messages may come late, out of order or never, until ``QUIET``."""

    def __init__(self, trouble: Trouble) -> None:
        pool = pool_of(trouble)
        columns = topology(pool, {CHIP.kind: CHIP})
        self.trouble, self.chance = trouble, random.Random(trouble.seed)
        store = FullDisk(self.chance, 0.0)
        times = EngineTimes(setup=trouble.setup, stop=trouble.stop_takes, checkpoint=20.0)
        electricity = Electricity(columns, START, on=False)
        skew = dict(zip(NAMES, trouble.skew, strict=False))
        super().__init__(columns, trouble.policy, store, electricity, START, times, skew)
        store.share = trouble.full
        self.disk = store
        self.steps = 0

    @property
    def quiet(self) -> bool:
        return self.agenda.now >= START + QUIET

    def _delay(self) -> float | None:
        if self.quiet:
            return 0.0
        if self.chance.random() < self.trouble.lost:
            return None
        return self.chance.random() ** 3 * self.trouble.slow

    def contact(self, name: str) -> None:
        site, delay = self.sites[name], self._delay()
        site.step()
        if not site.talks or delay is None:
            return
        report, sent = site.report(), site.engine.clock()
        self.agenda.at(self.agenda.now + delay, partial(self._arrive, name, report, sent))

    def _arrive(self, name: str, report: Report, sent: float) -> None:
        back, control = self._delay(), self.control
        if control is None or self.sites[name].cut_off:
            return
        answer = self.deliver(control, name, report)
        if answer is not None and back is not None:
            self.agenda.at(
                self.agenda.now + back, partial(self._answered, name, report, answer, sent)
            )

    def _answered(self, name: str, report: Report, answer: Answer, sent: float) -> None:
        site = self.sites[name]
        if site.acts and not site.cut_off and site.desk.agent == report.agent:
            self.hear(name, report, answer, sent)

    def settle(self) -> None:
        self.disk.share = 0.0 if self.quiet else self.trouble.full
        super().settle()
        self.steps += 1
        if self.control is not None:
            self.check_ended(self.control)
            if self.steps % 25 == 0:
                self.watch.check_all(self.control, self.acknowledged, self.agenda.now)
        assert self.watch.violations == []

    def check_ended(self, control: Control) -> None:
        """What the control plane says is over is over, but for runs that wait for their site."""
        for site in self.sites.values():
            site.engine.settle()
            for run in site.engine.runs.values():
                known = control.world.jobs[run.order.job].runs[run.order.run]
                given_up = known.phase == "lost" and not fenced(run.order)
                alive = run.runs_at(site.engine.clock())
                assert not (alive and known.ended and not given_up), (run, known)

    def cancel(self, row: int) -> None:
        if self.control is None or row >= len(self.trouble.arrivals):
            return
        job = self.trouble.arrivals[row].id
        if job in self.acknowledged:
            try:
                self.control.cancel(job, "ada", self.agenda.now)
            except (ConflictError, StoreError):
                return

    def play(self) -> None:
        """All of it, and then long enough for every job to end."""
        for when, row in self.trouble.cancels:
            self.agenda.at(START + when, partial(self.cancel, row))
        self.to_come += 1  # not before all faults are over
        self.agenda.at(START + QUIET, self._no_more)
        faults = sorted(self.trouble.faults, key=lambda fault: fault.at)
        arrivals = sorted(self.trouble.arrivals, key=lambda arrival: arrival.at)
        self.run(iter(arrivals), iter(faults), QUIET + 3600.0)


@st.composite
def specs(draw: st.DrawFn, most: int) -> Job:
    count = draw(st.integers(1, most))
    low = draw(st.integers(1, min(3, count)))
    elastic = draw(st.booleans()) and draw(st.booleans())
    return Job(
        name="work",
        run="work",
        chips=(ChipRequest(kind=draw(st.sampled_from([CHIP.kind, None])), count=count),),
        span=Span(min=low, max=draw(st.integers(low, 3))),
        elastic=Elastic(min=max(low, count // 2), max=count) if elastic else None,
        retries=draw(st.integers(0, 3)),
        priority=draw(st.integers(0, 2)),
        queue=draw(st.sampled_from(["default", "default", "lent"])),
        duration=draw(st.sampled_from([None, 30.0, 120.0, 300.0, 3600.0])),
        preemptible=draw(st.sampled_from([True, True, True, False])),
        checkpoint_every=draw(st.sampled_from([None, 20.0, 60.0])),
        grace=draw(st.sampled_from([0.0, 2.0, 30.0, 100.0])),
        on_site_loss=draw(st.sampled_from(["replace", "replace", "wait", "fail"])),
        time_limit=draw(st.sampled_from([None, None, None, 10.0, 60.0, 200.0])),
    )


def fits(job: Job, fed: list[int]) -> bool:
    """Whether sites that can feed so many chips can ever take the job."""
    most = sorted((count for count in fed if count), reverse=True)
    need = job.elastic.min if job.elastic else job.chips[0].count
    return len(most) >= job.span.min and sum(most[: job.span.most]) >= need


@st.composite
def policies(draw: st.DrawFn, names: tuple[str, ...]) -> Policy:
    """Everything that changes what runs: preemption, borrowed parts, windows, moves."""
    start = datetime.datetime.fromtimestamp(START + draw(st.integers(30, 500)), tz=datetime.UTC)
    window = Maintenance(
        site=draw(st.sampled_from(names)),
        start=start,
        end=start + datetime.timedelta(seconds=draw(st.integers(10, 200))),
        cap=draw(st.sampled_from([None, None, 20.0])),
    )
    return Policy(
        queues=(
            Queue(name="default", preempt=draw(st.booleans()), soft_chips=6),
            Queue(name="lent", soft_chips=draw(st.sampled_from([0, 1, 3]))),
        ),
        gang_hold=40.0,
        retry_delay=1.0,
        order=draw(st.sampled_from(["age", "shortest", "attained"])),
        levels=(0.001, 0.01),  # 3.6 and 36 chip-seconds
        backfill=draw(st.sampled_from(["easy", "easy", "conservative", "none"])),
        preemption=draw(st.sampled_from([True, True, False])),
        migration=draw(st.booleans()),
        maintenance=draw(st.sampled_from([(), (window,)])),
    )


@st.composite
def troubles(draw: st.DrawFn) -> Trouble:
    chips = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=3)))
    names = NAMES[: len(chips)]
    wanted = draw(st.lists(specs(sum(chips)), min_size=1, max_size=5))
    spare = tuple(draw(st.sampled_from([1.0, 1.0, 0.5])) for _ in chips)
    fed = [int(count * share) for count, share in zip(chips, spare, strict=True)]
    return Trouble(
        chips=chips,
        spare=spare if all(fits(spec, fed) for spec in wanted) else (1.0,) * len(chips),
        arrivals=tuple(
            Arrival(
                at=float(draw(st.integers(0, 300))),
                id=f"job-{row}",
                spec=spec,
                duration=float(draw(st.sampled_from([0, 30, 120, 300, 300]))),
                exit_code=draw(st.sampled_from([0, 0, 0, 0, 1, 127])),
            )
            for row, spec in enumerate(wanted)
        ),
        faults=tuple(draw(st.lists(faults(names), min_size=1, max_size=10))),
        cancels=tuple(draw(st.lists(st.tuples(st.floats(0, 500), st.integers(0, 4)), max_size=2))),
        slow=draw(st.sampled_from([0.0, 0.0, 2.0, 40.0])),
        lost=draw(st.sampled_from([0.0, 0.0, 0.1, 0.5])),
        full=draw(st.sampled_from([0.0, 0.0, 0.1, 0.5])),
        skew=draw(st.sampled_from([(), (), (3600.0, -7200.0, 0.0), (0.0, 1e6, -5.0)])),
        setup=draw(st.sampled_from([0.0, 5.0])),
        stop_takes=draw(st.sampled_from([0.0, 1.0, 30.0])),
        seed=draw(st.integers(0, 2**16)),
        policy=draw(policies(names)),
    )


@st.composite
def faults(draw: st.DrawFn, names: tuple[str, ...]) -> Break:
    at = float(draw(st.integers(0, int(QUIET) - 100)))
    kind = draw(
        st.sampled_from(["site_lost", "site_cut", "agent_killed", "run_killed", "control_killed"])
    )
    site = "" if kind == "control_killed" else draw(st.sampled_from(names))
    return Break(at, kind, site, float(draw(st.sampled_from([1, 20, 60, 60, 120]))))
