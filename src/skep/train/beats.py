"""How often sites tell each other how they are, and what they need not tell again. Pure.

Every site beats to every other one, so what a beat holds costs ``n`` squared: of whom a site sees,
and where those may be dialled, it tells a peer what has changed since that peer was told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

BEAT_S, NEWS_S = 0.5, 0.0
MANY = 32  # sites, above which beats come more seldom
SLOWEST_S = 1.5  # four before a peer that is silent for 6 s counts as gone
NEWS_OF_MANY_S = 0.25  # in which what several fragments have to tell goes into one beat
RATE_CHANGES = 1.25  # times, below which a link's rate is not told again
RATES_S = 10.0  # between two times that rates are told again


def pauses(sites: int) -> tuple[float, float]:
    """Seconds from one beat to the next, and to one that tells news."""
    if sites <= MANY:
        return BEAT_S, NEWS_S
    return min(BEAT_S * sites / MANY, SLOWEST_S), NEWS_OF_MANY_S


class Board(Generic[T]):
    """Values by name; who knows a version is told what has changed since."""

    def __init__(self) -> None:
        self.version = 0
        self._held: dict[str, tuple[int, T | None]] = {}

    def put(self, values: Mapping[str, T]) -> None:
        """These hold now, and no others."""
        gone = [n for n, (_, value) in self._held.items() if value is not None and n not in values]
        news: dict[str, T | None] = dict.fromkeys(gone)
        news |= {n: value for n, value in values.items() if self.held(n) != value}
        if news:
            self.version += 1
            self._held |= {name: (self.version, value) for name, value in news.items()}

    def held(self, name: str) -> T | None:
        return self._held[name][1] if name in self._held else None

    def since(self, version: int) -> dict[str, T | None]:
        """None: it does not hold any more. From version 0 on without those."""
        if version == self.version:
            return {}
        found = ((name, at, value) for name, (at, value) in self._held.items())
        return {
            n: value for n, at, value in found if at > version and (version or value is not None)
        }


class Links:
    """What a site tells of its connections."""

    def __init__(self) -> None:
        self._sites, self._sees = Board[str](), Board[float]()
        self._told: dict[str, tuple[int, int]] = {}  # by peer, the versions that it knows
        self._rated = 0.0

    def look(self, sites: Mapping[str, str], sees: Mapping[str, float], now: float) -> None:
        """Where the peers may be dialled, and the rates of direct connections (bytes/s)."""
        self._sites.put(sites)
        again = now - self._rated >= RATES_S
        self._rated = now if again else self._rated
        self._sees.put({site: self._rate(site, rate, again) for site, rate in sees.items()})

    def _rate(self, site: str, rate: float, again: bool) -> float:
        held = self._sees.held(site)
        if held is None:
            return float(round(rate))
        close = held / RATE_CHANGES <= rate <= held * RATE_CHANGES
        return float(round(rate)) if again and not close else held

    def forget(self, peer: str) -> None:
        """It is connected anew, and knows nothing."""
        self._told.pop(peer, None)

    def news(self, peer: str) -> tuple[dict[str, str | None], dict[str, float | None], bool]:
        """For a beat to ``peer``: sites, sees, and whether it is told all that there is."""
        at, seen = self._told.get(peer, (0, 0))
        self._told[peer] = (self._sites.version, self._sees.version)
        return self._sites.since(at), self._sees.since(seen), seen == 0
