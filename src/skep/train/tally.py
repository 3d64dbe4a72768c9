"""Who took part in the rounds so far, and how late their averages came. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skep.train.schedule import smooth


@dataclass(slots=True)
class Tally:
    """Of the rounds of this rank's fragments."""

    rounds: int = 0
    staleness_s: float | None = None  # from the call of a round to its average, of late
    _merged: Counter[str] = field(default_factory=Counter)

    def take(self, record: Mapping[str, Any]) -> None:
        """A round, as ``Result.record`` tells it."""
        self.rounds += 1
        self._merged.update(record["sites"])
        late = max(record["applied_at"] - record["called_at"], 0.0)
        self.staleness_s = smooth(self.staleness_s, late)

    def participation(self) -> dict[str, float]:
        """By site, the share of these rounds that merged a contribution of it."""
        return {site: count / self.rounds for site, count in sorted(self._merged.items())}
