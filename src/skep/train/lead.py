"""The leader's part of a round: whom it called, what came, when it opens and closes.

Any site can lead, as all hold the same state: the first in order among those that are up to date
does. A leader that dies takes an open round with it and nothing else, because nobody forgets its
own progress before it has seen it merged. Times are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from skep.train.choice import AUTO, DELAY_SHARE, Bounds, Chosen, Known, choose
from skep.train.codec import EXACT, codec, kept, last_codec
from skep.train.gauge import moments
from skep.train.guard import Guard
from skep.train.outer import PLAIN, Outer, OuterState, outer_step, sum_of
from skep.train.parts import Part, Result, fits
from skep.train.schedule import may_close, patience, smooth
from skep.train.shelf import Shelf, allowed, settle
from skep.train.weights import shares

ASK_AGAIN = 4.0  # limits after which a site that has not answered is called again
HUNGRY_S = 0.5  # between rounds while a site waits for samples
LONG_AGO = 5.0  # a contribution older than so many intervals makes its round a plain average


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may set about the rounds; absent means chosen from measurements."""

    outer: Outer | None = None
    codec: str = AUTO
    interval: float | None = None  # seconds
    interval_steps: int | None = None  # local steps, instead of seconds
    grace: float | None = None  # seconds a round waits for everyone
    lengthened: bool = False  # local steps are (``stride``), so no momentum unless set
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(slots=True)
class Lead:
    """Open round and measurements of the leader."""

    options: Options
    called: float | None = None  # when the open round was called; None: none is open
    final: bool = False
    expected: set[str] = field(default_factory=set)
    parts: dict[str, Part] = field(default_factory=dict)
    awaited: dict[str, float] = field(default_factory=dict)  # called when, not answered yet
    since: float = 0.0  # when the last round was called
    since_steps: float = 0.0  # local steps of this site at that time
    closed: float = 0.0
    undelivered: set[str] = field(default_factory=set)
    arrival_s: float | None = None
    exchange_s: float | None = None
    guard: Guard = field(default_factory=Guard)
    owed: torch.Tensor | None = None  # what encoding the averages has dropped so far
    chosen: Chosen = field(default_factory=lambda: choose(Known(0)))
    outer: Outer = PLAIN  # as chosen

    @property
    def interval_s(self) -> float:
        """Seconds from one call to the next: as chosen, or twice what an exchange really took."""
        if self.options.interval is not None:
            return self.options.interval
        measured = (self.exchange_s or 0.0) / DELAY_SHARE
        return max(self.chosen.interval_s, min(measured, self.chosen.longest_s))

    @property
    def codec(self) -> str:
        """The name of the codec for what this site sends."""
        return self.chosen.codec if self.options.codec == AUTO else self.options.codec

    def due(self, now: float, steps: int, wave: bool | None, hungry: bool = False) -> bool:
        """Whether it is time to call the next round.

        The first fragment keeps the time (``wave`` None), the others follow its calls, or open one
        by themselves when there was none for two intervals.
        """
        if self.called is not None:
            return False
        if self.undelivered and now - self.closed < patience(self.exchange_s, self.options.grace):
            return False
        if hungry and now - self.since >= HUNGRY_S if wave is None else wave:
            return True
        times = 1.0 if wave is None else 2.0
        if self.options.interval_steps is not None:
            return steps - self.since_steps >= times * self.options.interval_steps
        return now - self.since >= times * self.interval_s

    def open(self, now: float, steps: int, sites: set[str], final: bool) -> set[str]:
        """Open a round; those of ``sites`` that must be called (the others still owe a part)."""
        self.called = self.since = now
        self.since_steps = steps
        self.final = final
        self.expected = set(sites)
        limit = ASK_AGAIN * patience(self.arrival_s, self.options.grace)
        owing = {site for site, asked in self.awaited.items() if now - asked < limit}
        calls = sites if final else sites - owing - set(self.parts)
        self.awaited.update(dict.fromkeys(calls, now))
        return calls

    def take(self, site: str, part: Part, now: float) -> None:
        """A contribution has arrived: the newest of a site contains its older ones."""
        self.parts[site] = part
        asked = self.awaited.pop(site, None)
        if asked is not None:
            self.arrival_s = smooth(self.arrival_s, now - asked)

    def forget(self, site: str) -> None:
        """A site has left: do not wait for it. What it sent still counts."""
        self.expected.discard(site)
        self.awaited.pop(site, None)
        self.undelivered.discard(site)

    def rejoined(self, site: str, run: str) -> None:
        """A site is connected anew; what an older run of it sent does not count any more."""
        self.forget(site)
        if site in self.parts and self.parts[site].run != run:
            del self.parts[site]

    def abandon(self) -> None:
        """Someone else leads."""
        self.called = None
        self.parts.clear()
        self.awaited.clear()
        self.undelivered.clear()

    def closes(self, now: float, rates: Mapping[str, float]) -> bool:
        """Whether the open round is to be closed now."""
        if self.called is None:
            return False
        missing = self.expected & set(self.awaited)
        arrived = {site for site in self.parts if site not in missing}
        limit = patience(self.arrival_s, self.options.grace)
        if self.options.grace is None and self.arrival_s is not None:
            limit = min(limit, max(DELAY_SHARE * self.chosen.interval_s, 0.5))
        return may_close(now - self.called, limit, rates, arrived, self.expected)

    def close(
        self, state: OuterState, now: float, members: Sequence[str]
    ) -> tuple[OuterState, Result] | None:
        """Average what came, take the outer step; None when nothing usable came."""
        parts = {site: part for site, part in self.parts.items() if fits(part, site, state)}
        self.called, self.closed, self.parts = None, now, {}
        refused = self.guard.absurd(parts) | _not_theirs(parts, state.shelf)
        parts = {site: part for site, part in parts.items() if site not in refused}
        if not parts:
            return None
        outer = self._outer(parts)
        share = shares(parts)
        average = sum_of({site: part.progress * share[site] for site, part in parts.items()})
        new, result = self._apply(state, average, parts, outer, members)
        common = () if self.codec == "sparse" else moments(parts) or ()
        wants = {site: part.want for site, part in parts.items() if part.want is not None}
        shelf = settle(state.shelf, wants, new.round)
        new = replace(new, shelf=shelf)
        return new, replace(result, refused=refused, moments=tuple(common), shelf=shelf)

    def _apply(
        self,
        state: OuterState,
        average: torch.Tensor,
        parts: Mapping[str, Part],
        outer: Outer,
        members: Sequence[str],
    ) -> tuple[OuterState, Result]:
        name = last_codec(self.codec) if self.final else self.codec
        share = kept(self.codec)
        owed = None if self.final and share < 1.0 else self.owed
        whole = average if owed is None else average + owed
        payload = codec(name).encode(whole, len(parts))
        decoded = codec(name).decode(payload, state.anchor.numel())
        self.owed = None if name == EXACT else share * (whole - decoded)
        tokens = sum(part.tokens for part in parts.values())
        merged = {site: (part.run, part.number) for site, part in parts.items()}
        new = outer_step(state, decoded, outer, tokens, merged, members)
        how = (outer, tokens, merged, self.final, name, payload, new.members)
        return new, Result(state.digest, new.digest, *how)

    def _outer(self, parts: Mapping[str, Part]) -> Outer:
        """Momentum only where several sites bring progress of an ordinary length."""
        usual = LONG_AGO * max(self.interval_s, self.exchange_s or 0.0, 0.2)
        oldest = max(part.seconds for part in parts.values())
        steady = self.options.interval_steps is not None or oldest <= usual
        outer = self.options.outer or self.outer
        return outer if steady and len(parts) > 1 and not self.final else PLAIN

    def delivered(self, site: str, now: float) -> None:
        """``site`` has the state of the last round; measures the exchange when it is the last."""
        if site in self.undelivered:
            self.undelivered.discard(site)
            if not self.undelivered:
                self.exchange_s = smooth(self.exchange_s, now - self.since)


def _not_theirs(parts: Mapping[str, Part], shelf: Shelf | None) -> dict[str, str]:
    """Sites that trained on samples that meanwhile were given to others, after a long absence."""
    told = "its samples were given to others meanwhile"
    asked = ((site, part.want) for site, part in parts.items())
    return {site: told for site, want in asked if want and not allowed(shelf, site, want)}
