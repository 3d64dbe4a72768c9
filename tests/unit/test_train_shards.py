"""Ranks of one site: who exchanges what, who takes part, which checkpoint all resume from."""

import threading

import pytest
import torch

from skep.errors import InputError
from skep.train.admission import Admission
from skep.train.checkpoint import Checkpoint, save
from skep.train.frames import Kind, Message
from skep.train.keeper import Keeper
from skep.train.member import Member
from skep.train.outer import fresh
from skep.train.ranks import Group
from skep.train.shards import shards_of


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


@pytest.mark.parametrize(
    ("damaged", "stamp"), [(None, "r/20"), ("outer.ckpt", "r/10"), ("both", None)]
)
def test_all_ranks_resume_from_checkpoints_of_one_step(tmp_path, damaged, stamp):
    for rank in (0, 1):
        state = fresh(torch.ones(4), "0/a")
        for step in ("r/10", "r/20"):
            save(str(tmp_path / str(rank)), Checkpoint((state,), state.anchor, (0,), b"", (), step))
    for path in (tmp_path / "1").iterdir():
        if damaged in (path.name, "both"):
            path.write_bytes(path.read_bytes()[:-1] + b"x")
    told = []

    def work(rank):
        keeper = Keeper(str(tmp_path / str(rank.rank)), told.append, 0.0)
        return keeper.load_alike([4], rank)

    found = on_all(2, work)
    assert [one and one.stamp for one in found] == [stamp, stamp]
    assert any("not resumed" in text for text in told) == (stamp is None)
