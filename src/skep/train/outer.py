"""The outer state that all sites share, and the outer step that each of them takes alike.

The step is Nesterov's in the form of ``torch.optim.SGD(nesterov=True)``, on progress instead of
gradients (progress = local parameters - anchor, averaged over sites):

    buffer <- m * buffer + progress
    anchor <- anchor + lr * (progress + m * buffer)

Multiplications and additions are separate operations: a fused multiply-add would round differently
on different processors, and the anchors must stay bit-identical.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import torch

from skep.train.shelf import Shelf

Name = TypeVar("Name", str, tuple[str, str])


@dataclass(frozen=True, slots=True)
class Outer:
    """Learning rate and momentum of the outer step."""

    lr: float = 1.0
    momentum: float = 0.0


PLAIN = Outer(1.0, 0.0)  # a weighted average, nothing more


def fitting(gain: float | None, most: float) -> Outer:
    """The outer step where a common round is worth ``gain`` of a site's own, of ``most`` at best.

    Averaging takes noise away and leaves the step as long as that of one site, though a step on
    ``gain`` times as much data could be longer by that. Momentum ``m`` lengthens it by
    ``1 / (1 - m)`` in the directions that last, hence ``m = 1 - 1 / gain``: none where all sites
    learn the same, as those of a young model do. Of ``gain`` no more than the root of ``most`` is
    taken, by which steps of Adam may grow with the batch (arXiv 2205.10287).
    """
    if gain is None or gain <= 1.0:
        return PLAIN
    return Outer(1.0, round(1.0 - 1.0 / min(gain, max(most, 1.0) ** 0.5), 3))


class Key(NamedTuple):
    """What tells two outer states apart, and which of them is ahead."""

    tokens: int
    round: int
    origin: str
    digest: str
    begun: int = 0  # 1 where any fragment of the model has had a round
    sound: int = 1  # 0 where the leader of the last round told another digest: a bit has flipped


def ahead(one: Key, other: Key) -> bool:
    """Whether ``one`` must be adopted by who holds ``other``: a total order over unequal states.

    More tokens win, then more rounds, then a model that has begun to train; between fresh states
    the lower origin wins (it begins with the rank of the site), so that a cold start ends with the
    first site's initial parameters.
    """
    if one[:4] == other[:4]:
        return False
    if (one.tokens, one.round, one.begun) != (other.tokens, other.round, other.begun):
        return (one.tokens, one.round, one.begun) > (other.tokens, other.round, other.begun)
    if one.origin != other.origin:
        return one.origin < other.origin
    return one.digest > other.digest


@dataclass(frozen=True, slots=True, eq=False)
class OuterState:
    """Anchor and momentum (fp32, flat, never changed in place), and what has been merged in them.

    ``tokens`` counts what all sites together have put into the anchor. ``merged`` says for each
    site which of its contributions (run id, number) was the last to be merged: so a site knows
    what of its own progress is already in an anchor that it receives by whatever way. ``members``
    are the epoch's (``Standing.epoch``): most of them must be there for the next round.
    """

    anchor: torch.Tensor
    momentum: torch.Tensor
    round: int = 0
    tokens: int = 0
    origin: str = ""
    merged: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    digest: str = ""
    members: tuple[str, ...] = ()  # seats of the epoch, in order
    shelf: Shelf | None = None  # samples leased and done; of the first fragment

    @property
    def key(self) -> Key:
        return Key(self.tokens, self.round, self.origin, self.digest)


def sealed(
    anchor: torch.Tensor,
    momentum: torch.Tensor,
    *,
    round: int = 0,  # noqa: A002 - the word of the protocol
    tokens: int = 0,
    origin: str = "",
    merged: Mapping[str, tuple[str, int]] | None = None,
    members: Sequence[str] = (),
    shelf: Shelf | None = None,
) -> OuterState:
    """A state with its digest (hex, 16 bytes of blake2b over anchor, momentum, round, tokens and
    what has been merged: who holds another account of that would refuse what is owed).

    The same parameters of two origins have one digest: they need not be sent.
    """
    sha = hashlib.blake2b(digest_size=16)
    sha.update(_raw(anchor))
    sha.update(_raw(momentum))
    sha.update(f"{round}/{tokens}".encode())
    held = dict(merged or {})
    for site, (run, number) in sorted(held.items()):
        sha.update(f"/{site}/{run}/{number}".encode())
    digest = sha.hexdigest()
    told = tuple(members)
    return OuterState(anchor, momentum, round, tokens, origin, held, digest, told, shelf)


def _raw(vector: torch.Tensor) -> memoryview:
    return memoryview(vector.detach().contiguous().numpy()).cast("B")  # type: ignore[arg-type]


def fresh(vector: torch.Tensor, origin: str) -> OuterState:
    """Round 0: the initial parameters of ``origin``."""
    return sealed(vector.clone(), torch.zeros_like(vector), origin=origin)


def outer_step(
    state: OuterState,
    progress: torch.Tensor,
    outer: Outer,
    tokens: int,
    merged: Mapping[str, tuple[str, int]],
    members: Sequence[str] = (),
) -> OuterState:
    """The next state: one round later, ``tokens`` more, ``merged`` brought up to date."""
    buffer = state.momentum * outer.momentum
    buffer = buffer + progress
    step = buffer * outer.momentum
    step = step + progress
    step = step * outer.lr
    if outer.momentum == 0.0:
        buffer = torch.zeros_like(buffer)
    return sealed(
        state.anchor + step,
        buffer,
        round=state.round + 1,
        tokens=state.tokens + tokens,
        origin=state.origin,
        merged={**state.merged, **merged},
        members=members or state.members,
        shelf=state.shelf,
    )


def sum_of(vectors: Mapping[Name, torch.Tensor]) -> torch.Tensor:
    """The sum in the order of the names."""
    names = sorted(vectors)
    result = vectors[names[0]].clone()
    for name in names[1:]:
        result = result + vectors[name]
    return result
