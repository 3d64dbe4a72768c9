"""What a site has contributed, from each contribution to the next: its side of any account.

A contribution holds all progress since the one that was last merged, so those of one site overlap:
number 5 made after 3 holds what number 4 made after 3 does. Two histories of rounds may have merged
different ones of them. Here each piece between two contributions is kept by itself, so that what
lies between the last one that one history has merged and the last one of another is known exactly.

Vectors are large, so no more than ``VECTORS`` are kept, the older ones for several pieces together;
a history that ends within such pieces gets of their sum what its tokens are of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from skep.train.shelf import Ranges, minus, tidy

VECTORS = 8  # at most
TOGETHER = 16  # pieces of one vector, beyond which those that are merged are forgotten


@dataclass(frozen=True, slots=True)
class Piece:
    """What was trained from the contribution before up to ``number``, made at ``at`` (seconds)."""

    number: int
    tokens: int
    used: Ranges
    at: float


@dataclass(frozen=True, slots=True)
class Span:
    """Pieces in order, and the sum of their progress."""

    pieces: tuple[Piece, ...]
    progress: torch.Tensor

    @property
    def tokens(self) -> int:
        return sum(piece.tokens for piece in self.pieces)

    @property
    def used(self) -> Ranges:
        return tidy(pair for piece in self.pieces for pair in piece.used)

    @property
    def last(self) -> Piece:
        return self.pieces[-1]

    def __add__(self, other: Span) -> Span:
        return Span((*self.pieces, *other.pieces), self.progress + other.progress)

    def split(self, number: int) -> list[Span]:
        """Up to contribution ``number`` and after it, progress by tokens."""
        sides = (
            tuple(piece for piece in self.pieces if piece.number <= number),
            tuple(piece for piece in self.pieces if piece.number > number),
        )
        if not all(sides):
            return [self]
        share = sum(piece.tokens for piece in sides[0]) / max(self.tokens, 1)
        before = self.progress * share
        return [Span(sides[0], before), Span(sides[1], self.progress - before)]


@dataclass(slots=True)
class Ledger:
    """All that is remembered; ``after``: the contribution that was last merged."""

    after: int = 0
    spans: list[Span] = field(default_factory=list)

    def note(self, now: Piece, progress: torch.Tensor) -> None:
        """A contribution: ``now`` and ``progress`` are all since ``after``."""
        before = self._between(self.after, now.number)
        piece = Piece(now.number, now.tokens, now.used, now.at)
        if before is not None:
            used = minus(now.used, before.used)
            piece = Piece(now.number, now.tokens - before.tokens, used, now.at)
            progress = progress - before.progress
        self.spans.append(Span((piece,), progress))
        self._shorten()

    def move(self, number: int) -> Span | None:
        """``number`` is the last one merged from here on: what lies between, if it is known."""
        low, high = sorted((self.after, number))
        self.after = number
        return self._between(low, high)

    def drop(self) -> None:
        """What is not merged is given up: it is owed to nobody any more."""
        for place, span in enumerate(self.spans):
            if span.last.number > self.after:
                pieces = tuple(Piece(piece.number, 0, (), piece.at) for piece in span.pieces)
                self.spans[place] = Span(pieces, torch.zeros_like(span.progress))

    def _between(self, low: int, high: int) -> Span | None:
        for number in (low, high):
            self.spans = [part for span in self.spans for part in span.split(number)]
        found = [s for s in self.spans if low < s.last.number <= high]
        if not found:
            return None
        total = found[0]
        for span in found[1:]:
            total = total + span
        return total

    def _shorten(self) -> None:
        """Two neighbours become one: the oldest of which the first is not longer than the second.

        What is merged and what is not are never put together.
        """
        while len(self.spans) > VECTORS:
            length = [len(span.pieces) for span in self.spans]
            last = [span.last.number for span in self.spans]
            pairs = [n for n in range(len(length) - 1) if last[n] != self.after]
            first = next((n for n in pairs if length[n] <= length[n + 1]), pairs[0])
            self.spans[first : first + 2] = [self.spans[first] + self.spans[first + 1]]
        oldest = self.spans[0]
        if len(oldest.pieces) > TOGETHER and oldest.last.number <= self.after:
            del self.spans[0]
