"""Batches from leased positions: split over ranks, in an order common to all, told when used."""

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from skep.train.data import Samples, leasable
from skep.train.shelf import first, minus, size, tidy


class Port:
    """A lease of everything there is, in pieces; what the ranks share goes through a list."""

    def __init__(self, rank=0, world=1, piece=40, told=None):
        self.rank, self.world, self.piece = rank, world, piece
        self.free, self.used, self.told = ((0, 0),), (), told if told is not None else []
        self.heard, self.upto = 0, 0

    def take(self, count, upto):
        found = first(self.free, count)
        self.free = minus(self.free, found)
        return found

    def put_back(self):
        self.free = tidy((*self.free, *minus(((0, self.upto),), self.used)))

    def mark(self, used, ahead, total):
        assert ahead > 0
        self.used = tidy((*self.used, *used))

    def share(self, value):
        if self.rank == 0:
            self.told.append(value)
            return value
        self.heard += 1
        return self.told[self.heard - 1]

    def await_samples(self, upto):
        begun, self.upto = self.upto, min(max(self.upto, 0) + self.piece, upto)
        if self.rank == 0 and begun < self.upto:
            self.free = tidy((*self.free, (begun, self.upto)))
        return bool(self.share(begun < self.upto if self.rank == 0 else None))

    def rate(self):
        return 0.0


def loader(count, batch=4, shuffle=True, **how):
    return DataLoader(TensorDataset(torch.arange(count)), batch, shuffle=shuffle, **how)


def trained(port, count, passes=1, **how):
    samples, seen = Samples(port), []
    for _ in range(passes):
        for (batch,) in samples.one_pass(loader(count, **how)):
            seen.append(batch.tolist())
            samples.stepped()
    return seen


@pytest.mark.parametrize("how", [{"shuffle": True}, {"shuffle": False}, {"num_workers": 2}])
def test_a_pass_is_gone_through_once(how):
    port = Port()
    seen = [sample for batch in trained(port, 100, passes=2, **how) for sample in batch]
    assert sorted(seen[:100]) == sorted(seen[100:]) == list(range(100))
    assert (seen[:100] == list(range(100))) is (how.get("shuffle", True) is False)
    assert how.get("shuffle", True) is (seen[:100] != seen[100:])
    assert port.used == ((0, 200),)


@pytest.mark.parametrize("count", [102, 82])
def test_ranks_train_on_as_many_batches_each_in_step(count):
    one = Port(0, 2)
    ours = trained(one, count)
    theirs = trained(Port(1, 2, told=one.told), count)
    assert len(ours) == len(theirs)
    assert all(abs(len(a) - len(b)) <= 1 for a, b in zip(ours, theirs, strict=True))
    both = [sample for batch in (*ours, *theirs) for sample in batch]
    assert len(set(both)) == len(both) == count
    assert size(one.used) == count


def test_what_was_loaded_but_not_stepped_on_is_not_told():
    port = Port()
    samples = Samples(port)
    for number, _ in enumerate(samples.one_pass(loader(100))):
        if number == 3:
            break
        samples.stepped()
    assert size(port.used) == 12


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize(
    ("what", "fits"),
    [
        (loader(10), True),
        (loader(10, shuffle=False), True),
        (loader(10, batch=None, shuffle=False), False),
        (DataLoader(Stream()), False),
        (
            DataLoader(TensorDataset(torch.arange(9)), sampler=WeightedRandomSampler([1] * 9, 9)),
            False,
        ),
        ([1, 2], False),
    ],
)
def test_what_can_be_dealt_out(what, fits):
    assert leasable(what) is fits


def test_what_was_left_when_a_pass_was_broken_off_comes_in_the_next():
    port, seen = Port(), []
    samples = Samples(port)
    for number, (batch,) in enumerate(samples.one_pass(loader(40))):
        if number == 3:
            break
        seen += batch.tolist()
        samples.stepped()
    for (batch,) in samples.one_pass(loader(40)):
        seen += batch.tolist()
        samples.stepped()
    assert sorted(seen) == sorted([*range(40), *range(40)])
    assert port.used == ((0, 80),)
