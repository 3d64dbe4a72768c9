"""What runs measured: read from the progress lines that the store keeps of each run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from skep.model.measured import Measured
from skep.model.state import JobState, RunState
from skep.store.base import Store

LEAST_STEPS = 20  # fewer tell more of the start than of the step
PAGE = 10_000


def measured(store: Store, jobs: Iterable[JobState]) -> tuple[Measured, ...]:
    """One entry for each run of ``jobs`` that told its figures at its end, in their order."""
    return tuple(found for job in jobs for found in _of_job(store, job))


def _of_job(store: Store, job: JobState) -> Iterator[Measured]:
    last: dict[str, Mapping[str, Any]] = {}
    after = 0
    while page := store.progress(job.id, after=after, limit=PAGE):
        after = page[-1][0]
        last.update({run: line for _, run, line in page if line.get("kind") == "final"})
    for run, line in last.items():
        if run in job.runs and (found := _of_run(job, job.runs[run], line)) is not None:
            yield found


def _of_run(job: JobState, run: RunState, line: Mapping[str, Any]) -> Measured | None:
    steps, tokens = _number(line, "steps"), _number(line, "tokens")
    step, flops = _number(line, "step_s"), _number(line, "step_flops")
    if steps < LEAST_STEPS or min(tokens, step, flops) <= 0:
        return None
    return Measured(
        job=job.id,
        name=job.spec.name,
        run=run.run,
        site=run.share.site,
        chip=run.share.chip,
        chips=run.share.chips,
        step=step,
        tokens=tokens / steps,
        flops=flops,
        steps=int(steps),
    )


def _number(line: Mapping[str, Any], name: str) -> float:
    """The number of that name; 0 where there is none."""
    value = line.get(name)
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if whole and value is not None else 0.0
