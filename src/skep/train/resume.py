"""Which checkpoint the ranks of a site go on from: of one step, also of another number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from skep.train import checkpoint
from skep.train.checkpoint import Checkpoint
from skep.train.layout import Place, moved
from skep.train.outer import sealed
from skep.train.ranks import Ranks
from skep.train.shards import Shards


def folder_of(base: str, rank: int, ranks: int) -> str:
    """Where one of so many ranks that exchange keeps its checkpoints; "" nowhere."""
    return str(Path(base) / f"rank-{rank}-of-{ranks}") if base and ranks > 1 else base


@dataclass(frozen=True, slots=True)
class Resume:
    """Looks in ``base`` ("": nowhere) for what the ranks of a site can go on from."""

    base: str
    ranks: Ranks
    shards: Shards
    tell: Callable[[str], None]

    def find(self, lengths: Sequence[int]) -> Checkpoint | None:
        """On all ranks: this rank's part of the newest checkpoint that is whole on all of them.

        ``lengths`` are those of this rank's fragments. None: there is none.
        """
        numbers = self.ranks.broadcast_object(self._numbers() if self.base else [])
        for number in numbers:
            for stamp in self._stamps(number):
                found = self._load(number, stamp, lengths)
                if all(self.ranks.gathered(found is not None or not self.shards.speaks)):
                    if number != self.shards.rails:
                        self._tell_cut(number)
                    return found
        if numbers and self.ranks.first:
            self.tell("not resumed: no checkpoint of one step is whole and fits")
        return None

    def _numbers(self) -> list[int]:
        """Numbers of ranks of which there are checkpoints, those of the newest first."""
        root = Path(self.base)
        found = {int(path.name.rpartition("-")[2]) for path in root.glob("rank-0-of-*")} | {1}
        ages = {number: _newest(Path(folder_of(self.base, 0, number))) for number in found}
        return sorted((n for n in ages if ages[n]), key=lambda n: ages[n], reverse=True)

    def _stamps(self, number: int) -> Sequence[str | None]:
        """Of the checkpoints that all ranks can read, the newest first; None: whichever is whole"""
        if number == self.shards.rails == 1:
            return [None]
        mine = None
        if self.shards.speaks:
            own = [checkpoint.stamps(folder) for folder in self._folders(number)]
            mine = [stamp for stamp in own[0] if all(stamp in others for others in own)]
        told = [stamps for stamps in self.ranks.gathered(mine) if stamps is not None]
        return [stamp for stamp in told[0] if all(stamp in stamps for stamps in told)]

    def _folders(self, number: int) -> list[str]:
        """Those that this rank has to read: its own, or all of another number of ranks."""
        if number == self.shards.rails:
            return [folder_of(self.base, self.shards.rail, number)]
        return [folder_of(self.base, rank, number) for rank in range(number)]

    def _load(self, number: int, stamp: str | None, lengths: Sequence[int]) -> Checkpoint | None:
        if not self.shards.speaks:
            return None
        folders = self._folders(number)
        if number == self.shards.rails:
            found, complaints = checkpoint.load(folders[0], lengths, stamp)
            for text in complaints:
                self.tell(text)
            return found
        try:
            made = cut_anew(folders, stamp or "", self.shards.places, lengths)
        except (OSError, ValueError) as error:
            self.tell(f"the checkpoint of {number} ranks is not used: {error}")
            return None
        return made if self.shards.rail == 0 else checkpoint.without_samples(made)

    def _tell_cut(self, number: int) -> None:
        if self.ranks.first:
            here = self.shards.rails
            self.tell(f"shards of {number} are cut for {here}; the optimizer starts afresh")


def _newest(folder: Path) -> float:
    """When the newest checkpoint of a folder was written; 0: there is none."""
    times = [path.stat().st_mtime for path in folder.glob("outer*.ckpt")]
    return max(times, default=0.0)


def cut_anew(
    folders: Sequence[str], stamp: str, here: Sequence[Place] | None, lengths: Sequence[int]
) -> Checkpoint:
    """Of the checkpoints of other ranks the part that lies ``here``, in fragments of ``lengths``.

    One file after the other is in memory. Rounds and tokens are those of the least. Raises
    ``ValueError`` where they do not fit or do not cover it, ``OSError``.
    """
    if here is None:
        raise ValueError("it is not known which part of the model this rank holds")
    vectors = [torch.zeros(sum(lengths)) for _ in range(3)]
    parts, covered = [], 0
    for folder in folders:
        part = checkpoint.read(folder, stamp)
        if part.places is None:
            raise ValueError("it does not say which part of the model it holds")
        found = (
            torch.cat([state.anchor for state in part.states]),
            torch.cat([state.momentum for state in part.states]),
            part.parameters,
        )
        covered += moved(found[0], part.places, vectors[0], here)
        for source, target in zip(found[1:], vectors[1:], strict=True):
            moved(source, part.places, target, here)
        parts.append((part.pending, part.used, [checkpoint.bare(state) for state in part.states]))
    if covered != sum(lengths):
        raise ValueError(f"it covers {covered} of {sum(lengths)} values")
    states = [state for _, _, several in parts for state in several]
    if len({state.origin for state in states}) > 1:
        raise ValueError("its shards come from different initial parameters")
    whole = sealed(
        vectors[0],
        vectors[1],
        round=min(state.round for state in states),
        tokens=min(state.tokens for state in states),
        origin=states[0].origin,
        shelf=states[0].shelf,
    )
    pending = (max(max(counts) for counts, _, _ in parts),)
    made = Checkpoint((whole,), vectors[2], pending, b"", parts[0][1], stamp, tuple(here))
    return checkpoint.cut(made, lengths)
