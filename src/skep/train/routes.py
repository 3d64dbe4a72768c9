"""Around a link that is cut or slow: by way of which third site two sites reach each other. Pure.

Each site tells in its beats which sites it sees over a connection of their own, and at what rate.
There is at most one site between two: a way goes over two connections, neither of which is itself a
way around, so there are no loops to be found and none to be broken.

Of two sites the first by name opens the way, so that they do not open two. Whoever is on a way
around tries the direct link again after a while; the pause doubles each time that the direct link
was given up again, so that a link that comes and goes does not take both with it.
Times are arguments (seconds); rates are bytes/s, 0 where none was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

SITES = 1024  # that one may tell of
DOWN_S = 2.0  # without a connection to a site that another one sees
FASTER = 2.0  # so many times the direct link's rate a way around must promise
HOLD_S = 20.0  # for so long, without a break
DOWN_AGAIN_S, DOWN_MOST_S = 10.0, 600.0  # until a link that was down is tried again
SLOW_AGAIN_S, SLOW_MOST_S = 300.0, 3600.0  # until one that was slow is
CALM_S = 600.0  # after which a link that came back counts as one that never was away


@dataclass(frozen=True, slots=True)
class Way:
    """Go by way of this site ("": directly), and why."""

    via: str
    why: str


@dataclass(slots=True)
class _Pair:
    """What is remembered of the links to one site."""

    since: float | None = None  # a way around has been the better one
    slow: bool = False  # as the direct link is slow; else as there is none
    before: float = 0.0  # the rate of the direct link when it was left for being slow
    given_up: int = 0  # times that the direct link was left
    again: float = 0.0  # until then what holds is kept
    returned: float | None = None  # since when the direct link is used again


class Routes:
    """The ways of one site."""

    def __init__(self, me: str) -> None:
        self.me = me
        self._told: dict[str, dict[str, float]] = {}
        self._pairs: dict[str, _Pair] = {}

    def hear(self, site: str, sees: Mapping[str, float | None], afresh: bool = True) -> None:
        """``site`` tells whom it sees: all of them ``afresh``, or what has changed (None: not any
        more). Raises ``ValueError`` or ``TypeError`` for other things."""
        if afresh and None in sees.values():
            raise ValueError("a site that is not seen any more, to one that was told of none")
        told = {} if afresh else dict(self._told.get(site, {}))
        told |= {str(other): float(rate) for other, rate in sees.items() if rate is not None}
        told = {other: rate for other, rate in told.items() if sees.get(other, rate) is not None}
        if not all(isfinite(rate) and rate >= 0 for rate in told.values()):
            raise ValueError(f"rates {told}")
        if len(told) > SITES:
            raise ValueError(f"{len(told)} sites; allowed: at most {SITES}")
        self._told[site] = told

    def forget(self, site: str) -> None:
        """It is not connected any more."""
        self._told.pop(site, None)

    def look(
        self, now: float, direct: Mapping[str, float], around: Mapping[str, float]
    ) -> dict[str, Way]:
        """What to change now: by site, the way to open, or to leave for the direct link.

        ``direct``: sites with a connection of their own and its rate; ``around``: those that are
        reached by way of another, and the rate measured through it.
        """
        seen = {site for told in self._told.values() for site in told}
        found = {}
        for site in sorted(seen | direct.keys() | around.keys()):
            if self.me < site:
                way = self._of(site, now, direct, around)
                if way is not None:
                    found[site] = way
        return found

    def _of(
        self, site: str, now: float, direct: Mapping[str, float], around: Mapping[str, float]
    ) -> Way | None:
        pair = self._pairs.setdefault(site, _Pair())
        if site in around:
            pair.since, pair.slow = now - DOWN_S, False  # should the way be lost another is due
            return self._no_better(pair, around[site], now)
        slow = site in direct
        way = self._faster(site, direct) if slow else self._any(site, direct)
        if way is None or (slow and now < pair.again):
            pair.since = None
            return None
        if pair.since is None or pair.slow != slow:
            pair.since, pair.slow = now, slow
        if now - pair.since < (HOLD_S if slow else DOWN_S):
            return None
        pair.since = now
        pair.before = self._direct(site, direct) if slow else 0.0
        return way

    def _any(self, site: str, direct: Mapping[str, float]) -> Way | None:
        via = self._best(site, direct)
        return Way(via, "the direct link is down") if via else None

    def _faster(self, site: str, direct: Mapping[str, float]) -> Way | None:
        via, now = self._best(site, direct), self._direct(site, direct)
        rate = self._through(via, site, direct)
        if not via or not now or rate < FASTER * now:
            return None
        return Way(
            via, f"the direct link carries {8e-6 * now:.3g} against {8e-6 * rate:.3g} Mbit/s"
        )

    def _no_better(self, pair: _Pair, rate: float, now: float) -> Way | None:
        """A way that was taken for its rate has to keep what it promised."""
        if not 0 < rate < pair.before:
            return None
        was, pair.before = pair.before, 0.0
        self._pause(pair, now, slow=True)
        text = f"the way around carries {8e-6 * rate:.3g}, the direct link {8e-6 * was:.3g} Mbit/s"
        return Way("", text)

    def _best(self, site: str, direct: Mapping[str, float]) -> str:
        """The site between with the best narrowest link, "" if there is none."""
        third = [via for via in direct if via != site and site in self._told.get(via, {})]
        return min(third, key=lambda via: (-self._through(via, site, direct), via), default="")

    def _through(self, via: str, site: str, direct: Mapping[str, float]) -> float:
        """The rate of the narrowest link of a way; 0 where one of the two was not measured."""
        told = self._told.get(via, {})
        there = (direct.get(via, 0.0), told.get(site, 0.0))
        back = told.get(self.me, 0.0) or there[0]
        return min(*there, back)

    def _direct(self, site: str, direct: Mapping[str, float]) -> float:
        known = (direct[site], self._told.get(site, {}).get(self.me, 0.0))
        return min((rate for rate in known if rate), default=0.0)

    # -- what came of it, told at both ends -------------------------------------------------

    def routed(self, site: str, now: float, slow: bool) -> None:
        """``site`` is reached by way of another from now on, though directly as well: ``slow``."""
        pair = self._pairs.setdefault(site, _Pair())
        if pair.returned is not None and now - pair.returned >= CALM_S:
            pair.given_up = 0
        pair.returned = None
        self._pause(pair, now, slow)

    def returned(self, site: str, now: float) -> None:
        """``site`` is reached directly again."""
        pair = self._pairs.setdefault(site, _Pair())
        pair.returned, pair.before = now, 0.0

    def again(self, site: str, now: float) -> bool:
        """Whether the direct link to a site that is reached around is to be tried."""
        return now >= self._pairs.setdefault(site, _Pair()).again

    def _pause(self, pair: _Pair, now: float, slow: bool) -> None:
        least, most = (SLOW_AGAIN_S, SLOW_MOST_S) if slow else (DOWN_AGAIN_S, DOWN_MOST_S)
        pair.again = now + min(least * 2.0 ** min(pair.given_up, 10), most)
        pair.given_up += 1
