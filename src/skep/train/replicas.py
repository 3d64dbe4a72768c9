"""The model of a site, fragment by fragment: what is read for a contribution, where anchors go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from skep.train.flat import FlatModel
from skep.train.fragments import one_origin
from skep.train.outer import OuterState
from skep.train.parts import Part
from skep.train.replica import Replica
from skep.train.shelf import Want

SNAPSHOT_STEPS = 2  # while training goes on; who waits for each round answers at the step itself


class Replicas:
    """One ``Replica`` per fragment over the parameters of ``flat``."""

    def __init__(
        self,
        flat: FlatModel,
        ranges: Sequence[tuple[int, int]],
        states: Sequence[OuterState],
        pending: Sequence[int],
        who: tuple[str, str],
        now: float,
        lasting: int = SNAPSHOT_STEPS,
    ) -> None:
        """``lasting``: local steps for which a snapshot answers the calls of all fragments."""
        self._flat, self._ranges, self._lasting = flat, ranges, lasting
        self._snapshot = torch.empty(0)  # parameters when the first fragment was asked for
        self._open: set[int] = set()  # fragments for which it has not been used yet
        self._steps_since = self._tokens_since = 0
        self._wanted: Want | None = None  # with the snapshot
        self._replicas = [
            Replica(*who, state, now, tokens) for state, tokens in zip(states, pending, strict=True)
        ]

    @property
    def states(self) -> tuple[OuterState, ...]:
        """Of each fragment, the state last applied."""
        return tuple(replica.state for replica in self._replicas)

    @property
    def pending(self) -> tuple[int, ...]:
        """Tokens of this site that are not in the anchor yet, by fragment."""
        return tuple(replica.pending for replica in self._replicas)

    @property
    def want(self) -> Want | None:
        """Samples in the progress that the first fragment has not merged, and more wanted."""
        return self._replicas[0].want

    @want.setter
    def want(self, want: Want | None) -> None:
        self._replicas[0].want = want

    def trained(self, tokens: int) -> None:
        self._steps_since += 1
        self._tokens_since += tokens
        for replica in self._replicas:
            replica.pending += tokens

    def fit(self, newest: Sequence[OuterState]) -> bool:
        """Whether these come from the same initial parameters."""
        return one_origin(newest)

    def changed(self, newest: Sequence[OuterState]) -> list[int]:
        """Fragments whose newest state is not applied yet; none while they do not fit together."""
        pairs = enumerate(zip(newest, self._replicas, strict=True))
        found = [index for index, (state, replica) in pairs if state is not replica.state]
        return found if found and one_origin(newest) else []

    def adopt(self, newest: Sequence[OuterState], indices: Iterable[int]) -> None:
        """Put the local progress of these fragments on top of their newest states."""
        for index in indices:
            self._open.discard(index)
            start, stop = self._ranges[index]
            moved = self._replicas[index].adopt(self._flat.read(start, stop), newest[index])
            self._flat.write(moved, start)

    def stale(self, index: int) -> bool:
        """Whether a call for this fragment wants another snapshot than the last."""
        return index not in self._open or self._steps_since > self._lasting

    def snapshot(self) -> None:
        """From here on calls are answered with the parameters of now."""
        self._snapshot, self._wanted = self._flat.read(), self.want
        self._open = set(range(len(self._replicas)))
        self._steps_since = self._tokens_since = 0

    def answer(self, index: int, now: float) -> Part | None:
        """The progress of one fragment, from one snapshot with those that are asked for with it.

        None when it is not finite.
        """
        if self.stale(index):
            self.snapshot()
        self._open.discard(index)
        own = self._snapshot[slice(*self._ranges[index])]
        want = self._wanted if index == 0 else None
        return self._replicas[index].part(own, now, since=self._tokens_since, want=want)

    def part(self, index: int, now: float, last: bool = False) -> Part | None:
        """The progress of one fragment; None when it is not finite."""
        replica = self._replicas[index]
        return replica.part(self._flat.read(*self._ranges[index]), now, last, want=replica.want)

    def drop(self, index: int) -> None:
        """Take the parameters of one fragment back to its anchor."""
        self._flat.write(self._replicas[index].reset(), self._ranges[index][0])

    def reset(self) -> torch.Tensor:
        """Drop all local progress: the anchors as one vector."""
        return torch.cat([replica.reset() for replica in self._replicas])
