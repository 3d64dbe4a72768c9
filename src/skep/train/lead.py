"""The leader's part of a round: whom it called, what came, when it opens and closes.

Any site can lead, as all hold the same state: the first in order among those that are up to date
does. A leader that dies takes an open round with it and nothing else, because nobody forgets its
own progress before it has seen it merged. Times are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from skep.train.codec import EXACT, codec, last_codec
from skep.train.guard import Guard
from skep.train.outer import PLAIN, Outer, OuterState, outer_step, weighted
from skep.train.parts import Part, Result, fits
from skep.train.schedule import Bounds, choose_interval, may_close, patience, smooth

ASK_AGAIN = 4.0  # limits after which a site that has not answered is called again
LONG_AGO = 5.0  # a contribution older than so many intervals makes its round a plain average


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may set about the rounds; absent means chosen from measurements."""

    outer: Outer = field(default_factory=Outer)
    codec: str = "fp16"
    interval: float | None = None  # seconds
    interval_steps: int | None = None  # local steps, instead of seconds
    grace: float | None = None  # seconds a round waits for everyone
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(slots=True)
class Lead:
    """Open round and measurements of the leader."""

    options: Options
    index: int = 0  # this fragment among ``count``
    count: int = 1
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

    def interval(self, step_s: float) -> float:
        """Seconds from one call to the next."""
        if self.options.interval is not None:
            return self.options.interval
        all_fragments = None if self.exchange_s is None else self.count * self.exchange_s
        return choose_interval(all_fragments, step_s or None, self.options.bounds)

    def due(self, now: float, step_s: float, steps: int, quiet_since: float) -> bool:
        """Whether it is time to call the next round.

        ``quiet_since``: the last call of another fragment; they are spread over the interval.
        """
        if self.called is not None:
            return False
        if self.undelivered and now - self.closed < patience(self.exchange_s, self.options.grace):
            return False
        if self.options.interval_steps is not None:
            return steps - self.since_steps >= self.options.interval_steps
        interval = self.interval(step_s)
        apart = 0.5 * interval / self.count if self.count > 1 else 0.0
        return now - self.since >= interval and now - quiet_since >= apart

    def stagger(self) -> None:
        """Spread the first rounds of the fragments over the first interval of local steps."""
        steps = self.options.interval_steps or 0
        self.since_steps = -steps * (self.count - 1 - self.index) / self.count

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
        return may_close(now - self.called, limit, rates, arrived, self.expected)

    def close(
        self, state: OuterState, now: float, step_s: float, members: Sequence[str]
    ) -> tuple[OuterState, Result] | None:
        """Average what came, take the outer step; None when nothing usable came."""
        parts = {site: part for site, part in self.parts.items() if fits(part, site, state)}
        self.called, self.closed, self.parts = None, now, {}
        refused = self.guard.absurd(parts)
        parts = {site: part for site, part in parts.items() if site not in refused}
        if not parts:
            return None
        outer = self._outer(parts, step_s)
        average = weighted(
            {site: part.progress for site, part in parts.items()},
            {site: float(part.tokens) for site, part in parts.items()},
        )
        new, result = self._apply(state, average, parts, outer, members)
        return new, replace(result, refused=refused)

    def _apply(
        self,
        state: OuterState,
        average: torch.Tensor,
        parts: Mapping[str, Part],
        outer: Outer,
        members: Sequence[str],
    ) -> tuple[OuterState, Result]:
        name = last_codec(self.options.codec) if self.final else self.options.codec
        whole = average if self.owed is None else average + self.owed
        payload = codec(name).encode(whole, len(parts))
        decoded = codec(name).decode(payload, state.anchor.numel())
        self.owed = None if name == EXACT else whole - decoded
        tokens = sum(part.tokens for part in parts.values())
        merged = {site: (part.run, part.number) for site, part in parts.items()}
        new = outer_step(state, decoded, outer, tokens, merged, members)
        how = (outer, tokens, merged, self.final, name, payload, new.members)
        return new, Result(state.digest, new.digest, *how)

    def _outer(self, parts: Mapping[str, Part], step_s: float) -> Outer:
        """Momentum only where several sites bring progress of an ordinary length."""
        usual = LONG_AGO * max(self.interval(step_s), self.exchange_s or 0.0, 0.2)
        oldest = max(part.seconds for part in parts.values())
        steady = self.options.interval_steps is not None or oldest <= usual
        return self.options.outer if steady and len(parts) > 1 and not self.final else PLAIN

    def delivered(self, site: str, now: float) -> None:
        """``site`` has the state of the last round; measures the exchange when it is the last."""
        if site in self.undelivered:
            self.undelivered.discard(site)
            if not self.undelivered:
                self.exchange_s = smooth(self.exchange_s, now - self.since)
