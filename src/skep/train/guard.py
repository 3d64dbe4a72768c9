"""Keeps absurd contributions out of the average: a model that exploded at one site stays there."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from skep.train.parts import Part
from skep.train.schedule import smooth

TIMES = 20.0  # as large as usual, for as many tokens as usual


@dataclass(slots=True)
class Guard:
    """Remembers how large contributions usually are (root mean square) and for how many tokens."""

    size: float | None = None
    tokens: float | None = None

    def absurd(self, parts: Mapping[str, Part]) -> dict[str, str]:
        """Sites whose contribution must not be merged, and why; learns from the others.

        The measure is what was merged before; at first, with three sites or more, their median.
        What most sites bring is never absurd: it would be kept out for ever.
        """
        sizes = {site: _size(part) for site, part in parts.items()}
        usual, tokens = self.size, self.tokens
        if usual is None and len(parts) >= 3:
            usual = statistics.median(sizes.values())
            tokens = statistics.median(part.tokens for part in parts.values())
        found = {}
        for site, part in parts.items():
            limit = None if not usual else TIMES * usual * max(1.0, part.tokens / (tokens or 1.0))
            if limit is not None and sizes[site] > limit:
                found[site] = _told(sizes[site], usual)
        if 2 * len(found) > len(parts) > 1:
            found = {}  # most are: it is what is usual that has changed
        for site, part in parts.items():
            if site not in found and sizes[site] > 0:
                self.size = smooth(self.size, sizes[site])
                self.tokens = smooth(self.tokens, float(part.tokens))
        return found

    def beyond(self, whole: Part) -> str:
        """Why the average of several contributions must not be merged; "" where it may.

        Nothing is learned from it: averages are smaller than what one site brings.
        """
        many = whole.tokens / (max(whole.sites, 1) * (self.tokens or 1.0))
        limit = TIMES * (self.size or float("inf")) * max(1.0, many)
        return _told(_size(whole), self.size) if _size(whole) > limit else ""


def _told(size: float, usual: float | None) -> str:
    return f"{size:.3g} where {usual or 0.0:.3g} is usual"


def _size(part: Part) -> float:
    return float(part.progress.square().mean().sqrt()) if part.progress.numel() else 0.0
