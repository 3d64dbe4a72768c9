from __future__ import annotations

import dataclasses

import pytest

from skep.model.evolve import quick, replace
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


@quick
@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    one: int
    others: list[int] = dataclasses.field(default_factory=list)
    word: str = "a"


def test_a_quick_record_is_made_as_dataclasses_make_it() -> None:
    pair = Pair(1)
    assert pair == Pair(one=1, others=[], word="a")
    assert type(pair) is Pair
    assert repr(pair) == "Pair(one=1, others=[], word='a')".replace("Pair", Pair.__qualname__)
    assert pair.others is not Pair(1).others
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.one = 2  # type: ignore[misc]
    with pytest.raises(TypeError, match="one"):
        Pair()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        Pair(1, colour="red")  # type: ignore[call-arg]
