"""Ranks of one site: who exchanges what, who takes part, which checkpoint all resume from."""

import os
import shutil
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skep.errors import InputError
from skep.train.admission import Admission
from skep.train.checkpoint import Checkpoint, save
from skep.train.flat import FlatModel
from skep.train.frames import Kind, Message
from skep.train.layout import Place, moved
from skep.train.member import Member
from skep.train.outer import sealed
from skep.train.ranks import Group
from skep.train.resume import Resume, folder_of
from skep.train.shards import Shards, shards_of


class Rank:
    """One of several threads that play the ranks of a site."""

    def __init__(self, rank, world, box, barrier):
        self.rank, self.world, self._box, self._barrier = rank, world, box, barrier
        self.first = rank == 0

    def gathered(self, value):
        self._box[self.rank] = value
        self._barrier.wait(10)
        found = list(self._box)
        self._barrier.wait(10)
        return found

    def broadcast_object(self, value, group=None):
        return self.gathered(value)[0]

    def group(self, ranks):
        return Group(tuple(ranks))


def on_all(world, work):
    """What ``work(rank)`` returns or raises on each rank."""
    box, barrier, found = [None] * world, threading.Barrier(world), [None] * world

    def body(rank):
        try:
            found[rank] = work(Rank(rank, world, box, barrier))
        except InputError as error:
            found[rank] = error

    threads = [threading.Thread(target=body, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_copies_the_first_rank_exchanges_all():
    made = on_all(3, lambda rank: shards_of(torch.nn.Linear(3, 2), rank, sharded=False))
    assert [shards.speaks for shards in made] == [True, False, False]
    assert [shards.own.length for shards in made] == [8, 0, 0]
    assert {(shards.rail, shards.rails, shards.twins.ranks) for shards in made} == {
        (0, 1, (0, 1, 2))
    }
    assert [copies.group.ranks for copies in made[2].copies] == [(0, 1, 2)]


def test_where_each_rank_holds_its_own_each_exchanges():
    made = on_all(3, lambda rank: shards_of(torch.nn.Linear(2 + rank.rank, 2), rank, sharded=True))
    assert [(shards.rail, shards.rails, shards.own.length) for shards in made] == [
        (0, 3, 6),
        (1, 3, 8),
        (2, 3, 10),
    ]
    assert not any(shards.copies for shards in made)


def test_ranks_of_other_shapes_are_refused_unless_that_is_meant():
    made = on_all(2, lambda rank: shards_of(torch.nn.Linear(2 + rank.rank, 2), rank, sharded=False))
    assert all(isinstance(error, InputError) for error in made)
    assert "sharded=True" in str(made[0])


def test_fsdp1_is_refused():
    model = type("FullyShardedDataParallel", (torch.nn.Linear,), {})(2, 2)
    (error,) = on_all(1, lambda rank: shards_of(model, rank, sharded=False))
    assert "fully_shard" in str(error)


def member(site, run="r1"):
    return Member(site, 0, run, "x", rails=2)


def beat(**keys):
    return Message(Kind.BEAT, {"keys": keys, "rate": 1.0})


def test_a_site_takes_part_once_all_ranks_are_connected_to_it():
    rail = Admission(gated=True)
    assert not rail.joined(member("b"))
    assert not rail.lets("b", beat(one=[1]))
    assert not rail.lets("b", beat(two=[2]))
    assert not rail.lets("b", Message(Kind.CALL, {"fragment": 1}))
    assert not rail.lets("b", Message(Kind.RESULT, {"fragment": 1}))
    assert rail.admit({("b", "r1"), ("c", "r1")}) == (
        [],
        [(member("b"), [beat(one=[1], two=[2]), Message(Kind.CALL, {"fragment": 1})])],
    )
    assert rail.lets("b", beat())
    assert rail.admit({("b", "r1")}) == ([], [])
    assert rail.admit(set()) == (["b"], [])  # lost on another rail
    assert not rail.lets("b", beat())
    assert not rail.left(member("b"))


def test_a_run_that_replaces_another_waits_for_its_other_ranks():
    rail = Admission(gated=True)
    rail.joined(member("b"))
    rail.admit({("b", "r1")})
    assert rail.joined(member("b"))  # connected anew
    assert rail.left(member("b"))
    assert not rail.joined(member("b", "r2"))
    assert rail.admit({("b", "r1")}) == ([], [])
    assert rail.admit({("b", "r2")}) == ([], [(member("b", "r2"), [])])


def test_with_one_rail_whoever_is_connected_takes_part():
    rail = Admission()
    assert rail.joined(member("b"))
    assert rail.lets("b", beat())
    assert rail.left(member("b"))


SHAPES = ((5, 3), (4,), (1,), ())


def whole(seed):
    chance = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=chance) for shape in SHAPES]


def places(rank, world, dim=0):
    """As ``torch.chunk`` cuts the first dimension (or the last) over so many ranks."""
    found = []
    for index, shape in enumerate(SHAPES):
        box = [(0, size) for size in shape]
        if shape:
            at = dim % len(shape)
            each = -(-shape[at] // world)
            start = min(rank * each, shape[at])
            box[at] = (start, min(start + each, shape[at]))
        elif rank:
            continue  # what is not sharded the first rank has
        found.append(Place(index, shape, tuple(box)))
    return tuple(found)


def flat(tensors, here):
    pieces = [
        tensors[place.index][tuple(slice(*pair) for pair in place.box)].reshape(-1)
        for place in here
    ]
    return torch.cat(pieces)


def shards(rank, world, **more):
    own = FlatModel(torch.nn.Module())
    everybody = Group(tuple(range(world)))
    facts = {"own": own, "speaks": True, "copies": (), "twins": everybody, "rail": rank}
    return Shards(**(facts | {"rails": world, "length": 0, "signature": "", "places": None} | more))


def write(folder, world, stamp, seed=1, shelf=None):
    """A checkpoint by so many ranks, each in two fragments: anchors, momenta, parameters."""
    for rank in range(world):
        here = places(rank, world)
        anchor, momentum, own = (flat(whole(seed + n), here) for n in range(3))
        half = len(anchor) // 2
        states = tuple(
            sealed(a.clone(), m.clone(), round=7 + rank, tokens=70 + n, origin="0/a", shelf=shelf)
            for n, (a, m) in enumerate(
                zip(
                    anchor.split([half, len(anchor) - half]),
                    momentum.split([half, len(anchor) - half]),
                    strict=True,
                )
            )
        )
        made = Checkpoint(states, own, (4, 5), b"", ((0, 9),), stamp, here)
        save(folder_of(str(folder), rank, world), made)


def resumed(folder, world, told, lengths=None):
    def work(rank):
        mine = shards(rank.rank, world, places=places(rank.rank, world))
        total = sum(place.count for place in mine.places)
        found = Resume(str(folder), rank, mine, told.append)
        return found.find(lengths or [total - 1, 1])

    return on_all(world, work)


@pytest.mark.parametrize(
    ("damaged", "stamp"), [(None, "r/20"), ("outer.ckpt", "r/10"), ("both", None)]
)
def test_all_ranks_resume_from_checkpoints_of_one_step(tmp_path, damaged, stamp):
    for step in ("r/10", "r/20"):
        write(tmp_path, 2, step)
    for path in (tmp_path / "rank-1-of-2").iterdir():
        if damaged in (path.name, "both"):
            path.write_bytes(path.read_bytes()[:-1] + b"x")
    told = []
    found = resumed(tmp_path, 2, told)
    assert [one and one.stamp for one in found] == [stamp, stamp]
    assert any("not resumed" in text for text in told) == (stamp is None)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_shards_are_cut_anew_for_another_number_of_ranks(tmp_path, before, after):
    write(tmp_path, before, "r/10")
    told = []
    found = resumed(tmp_path, after, told)
    for rank, made in enumerate(found):
        here = places(rank, after)
        assert torch.equal(torch.cat([state.anchor for state in made.states]), flat(whole(1), here))
        momentum = torch.cat([state.momentum for state in made.states])
        assert torch.equal(momentum, flat(whole(2), here))
        assert torch.equal(made.parameters, flat(whole(3), here))
        assert {state.round for state in made.states} == {7}
        assert {state.tokens for state in made.states} == {70}
        assert made.pending == (5, 5)
        assert made.used == (((0, 9),) if rank == 0 else ())
    assert told == [f"shards of {before} are cut for {after}; the optimizer starts afresh"]


def test_the_newest_of_several_numbers_of_ranks_is_taken(tmp_path):
    write(tmp_path, 2, "r/10", seed=1)
    write(tmp_path, 3, "r/20", seed=5)
    for path in tmp_path.rglob("rank-*-of-2/*"):
        os.utime(path, (1.0, 1.0))
    assert [made.stamp for made in resumed(tmp_path, 2, [])] == ["r/20", "r/20"]
    for path in tmp_path.rglob("rank-*-of-3/*"):
        os.utime(path, (0.5, 0.5))
    assert [made.stamp for made in resumed(tmp_path, 2, [])] == ["r/10", "r/10"]


def test_shards_that_do_not_cover_the_model_are_refused(tmp_path):
    write(tmp_path, 3, "r/10")
    shutil.rmtree(tmp_path / "rank-2-of-3")
    told = []
    assert resumed(tmp_path, 2, told) == [None, None]
    assert any("not resumed" in text for text in told)


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([0, -1]), st.sampled_from([0, -1]))
def test_however_shards_were_cut_each_value_goes_to_its_place(before, after, one, other):
    tensors = whole(3)
    for rank in range(after):
        here = places(rank, after, other)
        target = torch.full((sum(place.count for place in here),), float("nan"))
        parts = [places(r, before, one) for r in range(before)]
        count = sum(moved(flat(tensors, there), there, target, here) for there in parts)
        assert count == len(target)
        assert torch.equal(target, flat(tensors, here))
