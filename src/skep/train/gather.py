"""Contributions to one call: whom a site has asked, what has come, how long that takes.

The leader of a round gathers from the sites that it calls itself, a gateway (``gateway``) from
those of its group. Times are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skep.train.guard import Guard
from skep.train.outer import OuterState
from skep.train.parts import Part, fits
from skep.train.schedule import patience, smooth
from skep.train.shelf import Shelf, allowed

if TYPE_CHECKING:
    from skep.train.lead import Options

ASK_AGAIN = 4.0  # limits after which a site that has not answered is called again


@dataclass(slots=True)
class Gathering:
    """An open call, or none, and what was measured of the earlier ones."""

    options: Options
    called: float | None = None  # when it was opened; None: none is open
    final: bool = False
    expected: set[str] = field(default_factory=set)
    parts: dict[str, Part] = field(default_factory=dict)
    awaited: dict[str, float] = field(default_factory=dict)  # called when, not answered yet
    arrival_s: float | None = None
    guard: Guard = field(default_factory=Guard)

    @property
    def patience_s(self) -> float:
        """Seconds after the call for which everyone is waited for."""
        return patience(self.arrival_s, self.options.grace)

    def ask(self, now: float, sites: set[str], final: bool) -> set[str]:
        """Open a call; those of ``sites`` that must be told (the others still owe a part)."""
        self.called, self.final, self.expected = now, final, set(sites)
        limit = ASK_AGAIN * self.patience_s
        owing = {site for site, asked in self.awaited.items() if now - asked < limit}
        calls = sites if final else sites - owing - set(self.parts)
        self.awaited.update(dict.fromkeys(calls, now))
        return calls

    def take(self, site: str, part: Part, now: float) -> None:
        """A contribution has arrived: the newest of a site contains its older ones."""
        held = self.parts.get(site)
        if held is None or held.run != part.run or held.number <= part.number:
            self.parts[site] = part
        self.answered(site, now)

    def answered(self, site: str, now: float) -> None:
        """``site`` need not be called again before the next time."""
        asked = self.awaited.pop(site, None)
        if asked is not None:
            self.arrival_s = smooth(self.arrival_s, now - asked)

    def excuse(self, site: str) -> None:
        """Do not wait for it."""
        self.expected.discard(site)
        self.awaited.pop(site, None)

    def outdated(self, site: str, run: str) -> None:
        """``site`` is connected anew; what an older run of it sent does not count any more."""
        if site in self.parts and self.parts[site].run != run:
            del self.parts[site]

    def sifted(
        self, parts: Mapping[str, Part], state: OuterState
    ) -> tuple[dict[str, Part], dict[str, str]]:
        """Those of ``parts`` that may be merged into ``state``, and who is kept out, and why.

        What does not fit is not kept out: it comes again.
        """
        fitting = {site: part for site, part in parts.items() if fits(part, site, state)}
        refused = self.guard.absurd(fitting) | not_theirs(fitting, state.shelf)
        good = {site: part for site, part in fitting.items() if site not in refused}
        return good, refused


def not_theirs(parts: Mapping[str, Part], shelf: Shelf | None) -> dict[str, str]:
    """Sites that trained on samples that meanwhile were given to others, after a long absence."""
    told = "its samples were given to others meanwhile"
    asked = ((site, part.want) for site, part in parts.items())
    return {site: told for site, want in asked if want and not allowed(shelf, site, want)}
