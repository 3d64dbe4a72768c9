"""The data of a site: its batches, from samples that are leased to it, and how much is in each.

A ``DataLoader`` over a data set with a length is shared: all sites together go through it once per
pass, each on samples of its own (``shelf``). Whatever else yields batches is only counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler

from skep.train.shelf import Ranges, tidy

REFILL = 16  # batches that are taken from the lease at a time
AHEAD_S = 120.0  # of training that a lease should last, so that a cut link does not stop a site
AT_FIRST = 16  # batches, before the speed is known


class Port(Protocol):
    """What the samples need of a run. All but ``take`` and ``mark`` are called on every rank."""

    rank: int
    world: int

    def take(self, count: int, upto: int) -> Ranges:
        """On rank 0: the next leased positions below ``upto`` that nobody trains on yet, as many
        for each rank."""

    def put_back(self) -> None:
        """What was taken and not trained is free again."""

    def mark(self, used: Ranges, ahead: int, total: int) -> None:
        """On rank 0: trained on ``used`` with this step; wants so many positions ahead."""

    def share(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""

    def await_samples(self, upto: int) -> bool:
        """Wait for positions below ``upto``; False when all are done."""

    def rate(self) -> float:
        """Steps per second; 0 before it is known."""


class Samples:
    """Passes of all sites together over data sets."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._begun = 0  # positions of the passes so far
        self._ready: deque[Ranges] = deque()  # of the batches of all ranks
        self._loading: deque[Ranges] = deque()
        self._yielded: list[Ranges] = []
        self._per_step = 1

    def one_pass(self, loader: DataLoader[Any]) -> Iterator[Any]:
        """This rank's batches of one pass."""
        begun, self._begun = self._begun, self._begun + len(loader.dataset)  # type: ignore[arg-type]
        self._forget()
        self._per_step = (loader.batch_size or 1) * self._port.world
        self._tell()
        batches = _again(loader, _Batches(lambda: self._indices(loader, begun)))
        while self._port.await_samples(self._begun):
            for batch in batches:
                self._yielded.append(self._loading.popleft())
                yield batch

    def _forget(self) -> None:
        """The last pass was broken off: what was taken for it and not trained comes in this one."""
        for waiting in (self._ready, self._loading, self._yielded):
            waiting.clear()
        self._port.put_back()

    def stepped(self) -> None:
        """An optimizer step has been taken on what was yielded."""
        if self._begun:
            used = tidy(pair for ranges in self._yielded for pair in ranges)
            self._yielded.clear()
            self._tell(used)

    def _tell(self, used: Ranges = ()) -> None:
        if self._port.rank == 0:
            steps = self._port.rate() * AHEAD_S or AT_FIRST
            self._port.mark(used, int(steps * self._per_step) or 1, self._begun)

    def _indices(self, loader: DataLoader[Any], begun: int) -> Iterator[list[int]]:
        """Places in the data set for each batch of this rank, until the lease is used up."""
        port, order, epoch = self._port, None, -1
        length = self._begun - begun
        while self._refill():
            whole = self._ready.popleft()
            self._loading.append(whole)
            own = [p for start, stop in whole for p in range(start, stop)][port.rank :: port.world]
            if own[0] // length != epoch or order is None:
                epoch = own[0] // length
                order = _order(loader, length, epoch)
            yield [order[position % length] for position in own]

    def _refill(self) -> bool:
        port = self._port
        if not self._ready:
            first = port.rank == 0
            taken = port.share(port.take(REFILL * self._per_step, self._begun) if first else None)
            self._ready.extend(_cut(taken, self._per_step))
        return bool(self._ready)


class _Batches:
    """A batch sampler that may be gone through again and again."""

    def __init__(self, make: Callable[[], Iterator[list[int]]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[list[int]]:
        return self._make()


def leasable(loader: object) -> bool:
    """Whether a loader's samples can be dealt out: it goes once over a data set with a length."""
    if not isinstance(loader, DataLoader) or loader.batch_size is None:
        return False
    if isinstance(loader.dataset, IterableDataset):
        return False
    sampler = loader.sampler
    shuffled = isinstance(sampler, RandomSampler) and not sampler.replacement
    return shuffled or isinstance(sampler, SequentialSampler)


def _again(loader: DataLoader[Any], batches: _Batches) -> DataLoader[Any]:
    """The same loader with other batches."""
    return DataLoader(
        loader.dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.num_workers > 0,
    )


def _order(loader: DataLoader[Any], length: int, epoch: int) -> list[int] | range:
    """Which sample is at which place of a pass: shuffled alike at all sites, or as they are."""
    if isinstance(loader.sampler, SequentialSampler):
        return range(length)
    order: list[int] = torch.randperm(
        length, generator=torch.Generator().manual_seed(epoch)
    ).tolist()
    return order


def _cut(ranges: Ranges, count: int) -> Iterator[Ranges]:
    """``ranges`` in pieces of ``count`` positions."""
    piece: list[tuple[int, int]] = []
    room = count
    for start, stop in ranges:
        while start < stop:
            end = min(stop, start + room)
            piece.append((start, end))
            room -= end - start
            start = end
            if room == 0:
                yield tuple(piece)
                piece, room = [], count
    if piece:
        yield tuple(piece)


def values_of(batch: object) -> int:
    """Values in the first tensor of a batch (a tensor, a sequence or a mapping); 0 without one."""
    if isinstance(batch, torch.Tensor):
        return batch.numel()
    items = batch.values() if isinstance(batch, dict) else batch
    if not isinstance(items, Iterable) or isinstance(items, str | bytes):
        return 0
    return next((count for count in map(values_of, items) if count), 0)
