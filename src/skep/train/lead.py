"""The leader's part of a round: whom it called, what came, when it opens and closes.

Any site can lead, as all hold the same state: the first in order among those that are up to date
does. A leader that dies takes an open round with it and nothing else, because nobody forgets its
own progress before it has seen it merged. Times are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from skep.train.bundle import Bundle
from skep.train.choice import AUTO, DELAY_SHARE, Bounds, Chosen, Known, choose
from skep.train.codec import EXACT, codec, kept, last_codec
from skep.train.gather import Gathering
from skep.train.gauge import moments, together
from skep.train.groups import ABOVE
from skep.train.late import SHARE, Late
from skep.train.outer import PLAIN, Outer, OuterState, outer_step, sum_of
from skep.train.parts import Part, Result
from skep.train.schedule import may_close, patience, smooth
from skep.train.shelf import settle
from skep.train.weights import shares

HUNGRY_S = 0.5  # between rounds while a site waits for samples
WEAK_S = 60.0  # for which one that has brought nothing in time is no gateway, if there are others
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
    average_last: float | None = None  # share of the rounds (``late``); 0: none
    bounds: Bounds = field(default_factory=Bounds)
    one_level: int = ABOVE  # sites, above which there are two levels


@dataclass(slots=True)
class Lead(Gathering):
    """Open round and measurements of the leader."""

    since: float = 0.0  # when the last round was called
    since_steps: float = 0.0  # local steps of this site at that time
    closed: float = 0.0
    through: dict[str, str] = field(default_factory=dict)  # by site, the gateway that asks it
    bundles: dict[str, Bundle] = field(default_factory=dict)  # by gateway
    weak: dict[str, float] = field(default_factory=dict)  # who brought none in time, until when
    apart: dict[str, float] = field(default_factory=dict)  # whom a gateway did not reach, the same
    undelivered: set[str] = field(default_factory=set)
    exchange_s: float | None = None
    owed: torch.Tensor | None = None  # what encoding the averages has dropped so far
    chosen: Chosen = field(default_factory=lambda: choose(Known(0)))
    outer: Outer = PLAIN  # as chosen
    late: Late = field(init=False)

    def __post_init__(self) -> None:
        usual = SHARE if self.options.outer is None else 0.0
        share = self.options.average_last
        self.late = Late(usual if share is None else share)

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
        self.since, self.since_steps = now, steps
        return self.ask(now, sites, final)

    def ask_through(self, gateway: str, group: list[str]) -> None:
        """``gateway`` is called for itself and for these."""
        self.through.update(dict.fromkeys([gateway, *group], gateway))

    @property
    def limit_s(self) -> float:
        """Seconds that the open round waits for everyone."""
        if self.options.grace is None and self.arrival_s is not None:
            return min(self.patience_s, max(DELAY_SHARE * self.chosen.interval_s, 0.5))
        return self.patience_s

    def bring(self, gateway: str, bundle: Bundle, state: OuterState, now: float) -> str:
        """A gateway brings what its group has; why that is not used, "" where it is or is late."""
        self.answered(gateway, now)
        if self.called is None or bundle.base != state.digest:
            return ""
        group = {site for site, through in self.through.items() if through == gateway}
        trouble = bundle.trouble(state, group) or self.guard.beyond(bundle.whole)
        for site in group if trouble else {*bundle.entries, *bundle.refused, *bundle.lost} & group:
            self.awaited.pop(site, None)
            if trouble or site not in bundle.entries:
                self.expected.discard(site)
        if not trouble:
            self.bundles[gateway] = bundle
            self.weak.pop(gateway, None)
            self.apart.update(dict.fromkeys(bundle.lost, now + WEAK_S))
        return trouble

    def forget(self, site: str) -> None:
        """A site has left: do not wait for it, nor for those that it was to ask. What it sent
        still counts."""
        gone = [s for s, gateway in self.through.items() if gateway == site]
        for member in [site, *(gone if site not in self.bundles else [])]:
            self.excuse(member)
        self.undelivered.discard(site)

    def rejoined(self, site: str, run: str) -> None:
        """A site is connected anew; what an older run of it sent does not count any more."""
        self.forget(site)
        self.outdated(site, run)
        for gateway, bundle in list(self.bundles.items()):
            if site in bundle.entries and bundle.entries[site].run != run:
                self.expected -= bundle.entries.keys()
                del self.bundles[gateway]

    def abandon(self) -> None:
        """Someone else leads."""
        self.called = None
        self.parts.clear()
        self.bundles.clear()
        self.through.clear()
        self.awaited.clear()
        self.undelivered.clear()

    def closes(self, now: float, rates: Mapping[str, float]) -> bool:
        """Whether the open round is to be closed now."""
        if self.called is None:
            return False
        missing = self.expected & set(self.awaited)
        brought = {site for bundle in self.bundles.values() for site in bundle.entries}
        arrived = (set(self.parts) | brought) - missing
        return may_close(now - self.called, self.limit_s, rates, arrived, self.expected)

    def close(
        self, state: OuterState, now: float, members: Sequence[str]
    ) -> tuple[OuterState, Result] | None:
        """Average what came, take the outer step; None when nothing usable came."""
        parts, bundles = self._end(now)
        entries = {s: part for one in bundles.values() for s, part in one.entries.items()}
        # what is in an average cannot be taken out of it again
        alone = {site: part for site, part in parts.items() if site not in entries}
        good, refused = self.sifted(alone, state)
        parts = good | entries
        refused |= {site: why for one in bundles.values() for site, why in one.refused.items()}
        if not parts:
            return None
        weighed = {("", site): part for site, part in good.items()}
        weighed |= {("through", site): bundle.whole for site, bundle in bundles.items()}
        share = shares(weighed)
        average = sum_of({name: part.progress * share[name] for name, part in weighed.items()})
        average = self.late.instead(state, average) if self.final else average
        new, result = self._apply(state, average, parts, self._outer(parts), members)
        groups = [bundle.moments for bundle in bundles.values()]
        common = None if self.codec == "sparse" else together([moments(good), *groups])
        wants = {site: part.want for site, part in parts.items() if part.want is not None}
        shelf = settle(state.shelf, wants, new.round)
        new = replace(new, shelf=shelf)
        return new, replace(result, refused=refused, moments=tuple(common or ()), shelf=shelf)

    def _end(self, now: float) -> tuple[dict[str, Part], dict[str, Bundle]]:
        """The round is over: what came. Who was asked through a gateway that has brought nothing is
        called anew in the next."""
        parts, bundles, self.parts, self.bundles = self.parts, self.bundles, {}, {}
        self.called, self.closed = None, now
        for site, gateway in self.through.items():
            if gateway not in bundles:
                self.weak[gateway] = now + WEAK_S
            if site != gateway:
                self.awaited.pop(site, None)
        self.through = {}
        self.weak = {site: until for site, until in self.weak.items() if until > now}
        self.apart = {site: until for site, until in self.apart.items() if until > now}
        return parts, bundles

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
