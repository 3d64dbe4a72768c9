"""Two levels of reduction in sites that run: over sockets, with ranks, with a shared data set."""

import json
from collections import Counter


def through(sites, name):
    """How many sites were in each round that was not the last, as ``name`` tells."""
    return [line["participants"] for line in sites.progress(name, "round") if not line["final"]]


def test_seven_sites_as_processes_end_on_one_model(make):
    sites = make(*"abcdefg")
    for name in "abcdefg":
        sites.start(name, 60.0, until=sites.bell, one_level=3, join={"fragments": 2})
    sites.await_rounds("a", 12)
    sites.ring()
    results = sites.results()
    assert len({result["digest"] for result in results}) == 1
    assert all(result["vector"] == results[0]["vector"] for result in results)
    assert results[0]["global_tokens"] == sum(result["tokens"] for result in results)
    assert max(through(sites, "a")) == 7


def test_a_gateway_that_is_killed_costs_nobody_anything(make):
    sites = make(*"abcdefg")
    for name in "abcdefg":
        sites.start(name, 60.0, until=sites.bell, one_level=3, join={"fragments": 1})
    sites.await_rounds("a", 6)
    sites.kill("c")  # of one fragment the groups are ab, cd, efg: a leads, c and e are gateways
    before = len(sites.progress("a", "round"))
    sites.await_rounds("a", before + 6)
    sites.ring()
    left = [name for name in "abcdefg" if name != "c"]
    results = sites.results(*left)
    assert len({result["digest"] for result in results}) == 1
    assert results[0]["global_tokens"] >= sum(result["tokens"] for result in results)
    assert "d" in sites.progress("a", "round")[-2]["sites"]


def test_ranks_of_sharded_sites_have_two_levels_each(make):
    sites = make(*"abcd")
    for name in "abcd":
        sites.start(name, 60.0, ranks=2, shard="all", steps=60, one_level=2)
    every = [f"{name}{rank}" for name in "abcd" for rank in ("", ".1")]
    results = dict(zip(every, sites.results(*every), strict=True))
    for rank in ("", ".1"):
        assert len({results[f"{name}{rank}"]["digest"] for name in "abcd"}) == 1
    assert all(result["vector"] == results["a"]["vector"] for result in results.values())


def test_seven_sites_share_a_data_set(make):
    sites = make(*"abcdefg")
    for name in "abcdefg":
        sites.start(name, 60.0, samples=600, one_level=3)
    results = sites.results()
    lines = [(sites.folder / f"{name}.steps").read_text().splitlines() for name in "abcdefg"]
    seen = Counter(
        round(600 * value) for own in lines for line in own for value in json.loads(line)
    )
    assert set(seen.values()) == {1}
    assert len(seen) == 600
    assert len({result["digest"] for result in results}) == 1
    assert results[0]["global_tokens"] == 600 * 8
