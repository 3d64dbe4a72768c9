from __future__ import annotations

import dataclasses

import pytest

from skep.model.evolve import replace
from skep.model.job import Job
from skep.model.state import JobState, SiteState


def test_it_answers_what_dataclasses_replace_answers() -> None:
    job = JobState("j", Job(name="j", run="true"), "u", 1.0)
    changed = replace(job, phase="running", version=2)
    assert changed == dataclasses.replace(job, phase="running", version=2)
    assert (job.phase, job.version) == ("waiting", 1)
    assert hash(changed.id) == hash("j")


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="SiteState has no field 'colour'"):
        replace(SiteState("a"), colour="red")
