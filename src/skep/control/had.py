"""What a job has had: the chip-time of its runs, which ``order: attained`` goes by."""

from __future__ import annotations

from skep.model.snapshot import Rates
from skep.model.state import JobState
from skep.scheduler.worth import Worth


def had_by(job: JobState, until: float, worth: Worth, rates: Rates) -> float:
    """Chip-seconds, in chips of the reference, that the job's runs have had by ``until`` (s).

    Those that have not ended count to ``until``, also where they began later than that: so that
    what all have had by another time is more by the time between, times what they hold.
    """
    return sum(
        ((until if run.ended_at is None else run.ended_at) - run.started_at)
        * run.share.chips
        * worth.of(run.share.chip, rates)
        for run in job.runs.values()
        if run.started_at is not None
    )
