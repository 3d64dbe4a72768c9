"""The jobs of a trace as the product takes them: specifications, checked once for each shape."""

from __future__ import annotations

import math
import re
from functools import cached_property

import numpy as np
from pydantic import ValidationError

from skep.control.service import Control
from skep.control.snapshot import take_snapshot
from skep.errors import SkepError
from skep.files.problems import input_error
from skep.files.workload import workload_of
from skep.model.job import ChipRequest, Elastic, Job, Span
from skep.model.snapshot import Floats, Ints
from skep.model.workload import Workload
from skep.scheduler.check import admissible
from skep.sim.conditions import Checkpoints
from skep.sim.trace import Trace

# Failures of hardware are no fault of a job: it is tried again however often.
RETRIES = 10_000
_KEPT = 50_000  # specifications; traces with exact estimates have as many as jobs

Key = tuple[object, ...]


class Requests:
    """``of(row)``: the job's specification, or why the product refuses it."""

    def __init__(
        self, trace: Trace, control: Control, saving: Checkpoints | None, now: float
    ) -> None:
        self._trace, self._control, self._now = trace, control, now
        self._saving = saving.every if saving is not None else None
        self._known: dict[Key, tuple[Job, str]] = {}
        self._like: dict[Key, tuple[Job, str]] = {}  # of jobs alike but for their estimates
        self._verdicts: dict[Key, str] = {}
        self._worth: dict[tuple[tuple[int, int], str], float] = {}
        self._queues = {queue.name for queue in control.policy.queues}
        self._alone = control.policy.queues[0].name if len(self._queues) == 1 else ""

    @cached_property
    def _columns(self) -> tuple[list[float | None], ...]:
        """What tells the jobs apart: columns in which they are not all alike; estimates last."""
        t = self._trace
        columns: tuple[Ints | Floats, ...] = (
            t.kind, t.queue, t.chips, t.priority, t.sites, t.least, t.most, t.deadline, t.app,
            t.model,
        )  # fmt: skip
        return (*(_hashable(c) for c in columns if not _all_alike(c)), _hashable(t.estimate))

    @cached_property
    def _kinds(self) -> list[tuple[int, int]]:
        """Per job: row of its kind and of its model."""
        return list(zip(self._trace.kind.tolist(), self._trace.model.tolist(), strict=True))

    def of(self, row: int) -> tuple[Job, str]:
        """The specification of a row of the trace, and "" or why it is refused."""
        key = tuple([column[row] for column in self._columns])
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
                self._like.clear()
            found = self._known[key] = self._alike(row, key)
        return found

    def _alike(self, row: int, key: Key) -> tuple[Job, str]:
        """As one that differs by its estimate alone, where there was one: it was checked."""
        like, estimate = self._like.get(key[:-1]), self._estimate(row)
        if like is None or (estimate is not None and math.isinf(estimate)):
            like = self._like[key[:-1]] = self._made(row)
        spec, verdict = like
        return spec.model_copy(update={"duration": estimate}), verdict

    def _estimate(self, row: int) -> float | None:
        estimate = float(self._trace.estimate[row])
        return None if math.isnan(estimate) or estimate <= 0 else estimate

    def user(self, row: int) -> str:
        """Who submits the job."""
        return self._trace.users[int(self._trace.user[row])]

    def worth(self, row: int, kind: str) -> float:
        """Speed of a chip of ``kind`` in chips of the kind that the trace names for the job.

        By the planner's rates for the job's model, which are what the scheduler compares kinds by;
        1 where the trace names no kind, or where one of the speeds is not known.
        """
        key = self._kinds[row], kind
        known = self._worth.get(key)
        if known is None:
            named = self._trace.kinds[key[0][0]].split("|")[0]
            world = self._control.world
            rates = dict(world.rates.of(self.of(row)[0])) or world.topology.speeds
            ours, theirs = rates.get(kind, 0.0), rates.get(named, 0.0)
            known = self._worth[key] = ours / theirs if ours > 0 and theirs > 0 else 1.0
        return known

    def _made(self, row: int) -> tuple[Job, str]:
        try:
            spec = self._spec(row)
        except ValidationError as error:
            raise input_error(error, Job, {}, source=f"{self._trace.name}, job {row}") from None
        # Neither estimates nor priorities say whether the pool could ever hold a job.
        key = spec.chips, spec.queue, spec.span, spec.elastic
        if key not in self._verdicts:
            self._verdicts[key] = self._verdict(spec)
        return spec, self._verdicts[key]

    def _verdict(self, spec: Job) -> str:
        world, policy = self._control.world, self._control.policy
        clean = self._control.electricity.clean(world.drawn, self._now)
        try:
            admissible(spec, take_snapshot(world, policy, clean, self._now), policy)
        except SkepError as error:
            return str(error)
        return ""

    def _model(self, name: str) -> Workload | None:
        return workload_of(name, self._trace.name, None) if name else None

    def _spec(self, row: int) -> Job:
        t = self._trace
        count = int(t.chips[row])
        kinds = t.kinds[t.kind[row]].split("|")
        queue = t.queues[t.queue[row]]
        deadline = float(t.deadline[row])
        elastic = Elastic(min=int(t.least[row]), max=int(t.most[row])) if t.most[row] else None
        return Job(
            name=_name(t.apps[t.app[row]]),
            run="work",
            model=self._model(t.models[t.model[row]]),
            chips=tuple(ChipRequest(kind=kind or None, count=count) for kind in kinds),
            queue=queue if queue in self._queues or not self._alone else self._alone,
            priority=int(t.priority[row]),
            span=Span(min=1, max=int(t.sites[row])) if t.sites[row] > 1 else Span(),
            elastic=elastic,
            duration=self._estimate(row),
            deadline=None if math.isnan(deadline) or deadline <= 0 else deadline,
            checkpoint_every=self._saving,
            retries=RETRIES,
        )


def _name(app: str) -> str:
    """A job's name of what a trace calls it: letters, digits, and . _ - inside."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", app)[:64].strip("._-") or "traced"


def _all_alike(column: Ints | Floats) -> bool:
    return bool((column == column[0]).all() or np.isnan(column).all())


def _hashable(column: Ints | Floats) -> list[float | None]:
    """Its values; None for nan, which is not equal to itself and so is never found as a key."""
    if np.isnan(column).any():
        return [None if value != value else value for value in column.tolist()]
    return list(column.tolist())
