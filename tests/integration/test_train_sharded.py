"""A model sharded inside its sites: rank i exchanges its shard with the ranks i of the others."""

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def names_of(site, ranks):
    return [site, *(f"{site}.{rank}" for rank in range(1, ranks))]


def rails_agree(sites, ranks):
    """Of each rank the anchor is that of the same ranks elsewhere, and all end on one model."""
    found = {site: sites.results(*names_of(site, ranks)) for site in sites.names}
    for rails in zip(*found.values(), strict=True):
        assert len({result["digest"] for result in rails}) == 1
    results = [result for site in found.values() for result in site]
    assert all(result["vector"] == results[0]["vector"] for result in results)
    return found


def test_each_rank_of_a_sharded_model_has_a_rail_of_its_own(make):
    sites = make("a", "b")
    for name in "ab":
        sites.start(name, 3.0, ranks=2, shard="all")
    found = rails_agree(sites, 2)
    first, second = found["a"]
    assert len(first["anchor"]) + len(second["anchor"]) == len(first["vector"]) == 321
    assert first["digest"] != second["digest"]
    assert first["loss"] < 1.0  # 8 before
    assert min(result["round"] for site in found.values() for result in site) >= 3
    assert first["global_tokens"] == sum(found[name][0]["tokens"] for name in "ab")
    assert first["tokens"] == 2 * 16 * first["steps"]  # both ranks train
    joined = [line["text"] for line in sites.progress("a", "event")]
    assert sum("b joined" in text for text in joined) == 1


def test_copies_of_shards_follow_the_rank_that_exchanges(make):
    """Two ranks hold a shard each, two more a copy of each (HSDP)."""
    sites = make("a", "b")
    for name in "ab":
        sites.start(name, 3.0, ranks=4, shard="pairs")
    found = rails_agree(sites, 4)
    assert [bool(result["anchor"]) for result in found["a"]] == [True, True, False, False]
    assert found["a"][0]["loss"] < 1.0


@pytest.mark.parametrize("shard", ["all", ""])
def test_a_site_of_two_ranks_dies_and_the_other_goes_on_until_it_is_back(make, shard):
    sites = make("a", "b")
    for name in "ab":
        sites.start(name, 120.0, ranks=2, shard=shard, until=sites.bell)
    sites.await_rounds("b", 3)
    for who in names_of("a", 2):
        sites.kill(who)
    killed = time.monotonic()
    before = len((sites.folder / "b.steps").read_text().splitlines())
    while time.monotonic() < killed + 2.0:
        time.sleep(0.05)
    assert len((sites.folder / "b.steps").read_text().splitlines()) > before + 20
    known = len(sites.progress("a", "round"))
    sites.start("a", 120.0, ranks=2, shard=shard, until=sites.bell)
    sites.await_rounds("a", known + 5)
    sites.ring()
    found = rails_agree(sites, 2) if shard else None
    assert sites.longest_step("b") < 2.0
    results = found["b"] if found else sites.results("b", "a")
    assert results[0]["loss"] < 1.0
    assert any("job-a2-a" in line["text"] for line in sites.progress("b", "event"))


def test_sites_that_are_not_sharded_alike_are_told_so_and_train_on(make):
    sites = make("a", "b")
    sites.start("a", 3.0, ranks=2, shard="all", join={"start_wait": 1.0})
    sites.start("b", 3.0, join={"start_wait": 1.0})
    results = sites.results("a", "b")
    assert min(result["steps"] for result in results) > 20
    told = [line["text"] for name in "ab" for line in sites.progress(name, "event")]
    assert any(
        "shards its model over 2 ranks" in text and "allowed: as many at all sites" in text
        for text in told
    ), told


def test_sharded_sites_resume_from_the_checkpoints_of_their_ranks_and_of_fewer(make, tmp_path):
    sites = make("a", "b")

    def start(seconds, ranks=2):
        for name in "ab":
            folder = {"SKEP_CHECKPOINT_DIR": str(tmp_path / f"ck-{name}")}
            sites.start(name, seconds, env=folder, ranks=ranks, shard="all", optimizer="AdamW")

    start(120.0)
    written = [
        tmp_path / f"ck-{name}" / f"rank-{i}-of-2" / "outer.ckpt" for name in "ab" for i in (0, 1)
    ]
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in written):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    reached = sites.progress("a", "round")[-1]["round"]
    for name in "ab":
        for who in names_of(name, 2):
            sites.kill(who)
    start(1.5)
    found = rails_agree(sites, 2)
    # Who reads it a moment later may be a round further.
    assert min(found[name][0]["start"][0] for name in "ab") >= reached / 3 > 0
    told = [line["text"] for line in sites.progress("b", "event")]
    assert any(text.startswith("resumed from the checkpoint") for text in told)
    assert not any("starts afresh" in text for text in told)
    start(1.0, ranks=3)  # the shards are cut anew
    again = rails_agree(sites, 3)
    assert again["a"][0]["start"][0] >= found["a"][0]["start"][0] - 1  # from its last checkpoint
    assert again["a"][0]["loss"] < 1.0
    told = [line["text"] for line in sites.progress("b", "event")]
    assert any(text.startswith("shards of 2 are cut for 3") for text in told)


def test_sharded_sites_share_a_data_set(make):
    sites = make("a", "b")
    for name in "ab":
        sites.start(name, 60.0, ranks=2, shard="all", samples=160)
    found = rails_agree(sites, 2)
    seen = []
    for who in [*names_of("a", 2), *names_of("b", 2)]:
        lines = (sites.folder / f"{who}.steps").read_text().splitlines()
        seen += [round(160 * number) for line in lines for number in json.loads(line)]
    assert len(seen) == len(set(seen)) >= 157  # the last ones may be too few for all ranks
    assert found["a"][0]["global_tokens"] == len(seen) * 8
