from __future__ import annotations

import numpy as np
import pytest

from skep.errors import InputError
from skep.model.site import Link, NodePool, Pool, Site
from skep.sim.scaling import DAY, multiplied, scaled
from skep.sim.trace import Trace, build


def trace(days: int = 4, per_day: int = 50) -> Trace:
    chance = np.random.default_rng(1)
    submit = np.sort(chance.uniform(0, days * DAY - 1, days * per_day))
    return build("t", submit, chance.uniform(1, 100, len(submit)), np.full(len(submit), 8))


def test_one_copy_is_the_trace_itself() -> None:
    found = trace()
    assert scaled(found) is found


def test_copies_add_up_and_keep_the_hour_of_the_day() -> None:
    one = trace()
    many = scaled(one, copies=5, jitter=0.0, seed=3)
    assert len(many) == 5 * len(one)
    assert many.work == pytest.approx(5 * one.work)
    assert np.all(np.diff(many.submit) >= 0)
    assert np.allclose(np.sort(many.submit % DAY), np.sort(np.tile(one.submit % DAY, 5)))


def test_the_same_seed_gives_the_same_jobs_and_another_gives_others() -> None:
    one = trace()
    first, again = (scaled(one, copies=3, seed=7) for _ in range(2))
    assert np.array_equal(first.submit, again.submit)
    assert not np.array_equal(first.submit, scaled(one, copies=3, seed=8).submit)


def test_the_first_jobs_are_those_of_the_whole() -> None:
    one = trace()
    whole, part = scaled(one, copies=40, seed=2), scaled(one, copies=40, seed=2, jobs=100)
    assert np.array_equal(part.submit, whole.submit[:100])
    assert np.array_equal(part.duration, whole.duration[:100])


def test_load_brings_jobs_faster_and_leaves_their_length() -> None:
    one = trace()
    fast = scaled(one, load=2.0)
    assert np.allclose(fast.submit * 2, one.submit)
    assert np.array_equal(fast.duration, one.duration)


@pytest.mark.parametrize("given", [{"copies": 0}, {"load": 0.0}, {"load": float("nan")}])
def test_what_cannot_be_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(InputError):
        scaled(trace(), **given)  # type: ignore[arg-type]


def test_a_pool_is_multiplied_with_its_links() -> None:
    sites = tuple(Site(name=n, pools=(NodePool(chip="h100-sxm", nodes=2),)) for n in "ab")
    pool = Pool(sites=sites, links=(Link(between=("a", "b"), bandwidth=1e9),))
    found = multiplied(pool, 3)
    assert [site.name for site in found.sites] == ["a-1", "b-1", "a-2", "b-2", "a-3", "b-3"]
    assert [link.between for link in found.links] == [
        ("a-1", "b-1"),
        ("a-2", "b-2"),
        ("a-3", "b-3"),
    ]
