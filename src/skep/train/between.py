"""What the ranks of a site do together between two steps: agree, apply new anchors, contribute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from skep.train.admission import Link
from skep.train.exchange import Exchange
from skep.train.outer import OuterState
from skep.train.parts import Call, Local, Part
from skep.train.ranks import Ranks
from skep.train.replicas import Replicas
from skep.train.shards import Shards
from skep.train.word import Gate, Word, mark_of

LOOK_S = 0.1
PARTLY_S = 5.0  # for which it is no news that a site is connected to some ranks only


@dataclass(frozen=True, slots=True)
class Seen:
    """What this rank sees of its own exchange, before the ranks agree."""

    newest: Sequence[OuterState] = ()
    changed: Sequence[int] = ()  # fragments whose newest anchor is not applied
    calls: Mapping[int, Call] = field(default_factory=dict)
    changes: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What a rank tells the others when its connections have changed."""

    links: frozenset[Link]
    rails: Mapping[str, list[str]]
    ready: bool
    behind: bool
    over: bool


class Between:
    """This rank's exchange and replicas (None where it does not exchange) among those of others."""

    def __init__(
        self,
        ranks: Ranks,
        shards: Shards,
        exchange: Exchange | None,
        replicas: Replicas | None,
        tell: Callable[[str], None],
    ) -> None:
        self.ranks, self.shards = ranks, shards
        self.exchange, self.replicas, self._tell = exchange, replicas, tell
        own = len(replicas.states) if replicas is not None else 0
        self.gate = Gate(int(ranks.summed([float(own)])[0]))
        self.applied = False  # in the last turn
        self._seen = Seen()
        self._calls = self._followed = 0  # of the first rail: seen here, followed
        self._called_last = 0.0
        self._heard = 0  # changes that the other ranks have heard of
        self._others = (0.0, 0.0)  # bytes sent and received by the other ranks
        self._partly: dict[str, int] = {}  # sites that not all ranks are connected to, but how many
        self._partly_since = 0.0
        self.started: set[str] = set()  # resumed with these, which are then all that there are

    def turn(self, mine: Word, trained: bool, now: float) -> Word:
        """On all ranks: agree, and apply new anchors where all are to. Returns the sum of the
        ranks' words; ``mine`` has what this rank alone knows."""
        seen = self._seen = self._look()
        own = mine._replace(**self._numbers(seen))
        word = Word(*self.ranks.summed(own))
        self._others = (word.sent - own.sent, word.received - own.received)
        if trained and self.replicas is not None:
            self.replicas.trained(int(word.tokens))
        self.applied = self.gate.opens(word)
        if self.applied:
            self._apply(seen)
        self._keep_together(word, now)
        if self.replicas is not None and (word.asked_then if self.applied else word.asked):
            self.replicas.snapshot()
        return word

    def _keep_together(self, word: Word, now: float) -> None:
        """The ranks that exchange know the same sites and call their rounds at one time."""
        if word.linked:
            self.regroup(now)
        exchange = self.exchange
        if exchange is not None and self.started and self.started <= set(exchange.sites):
            self.started = set()
            exchange.only_these()  # whoever started them anew says who takes part
        if word.calls > self._followed:
            self._followed = int(word.calls)
            if self.exchange is not None and self.shards.rail:
                self.exchange.nudge(now)
        if self._partly and now - self._partly_since > PARTLY_S:
            for site, count in self._partly.items():
                text = f"{count} of {self.shards.rails} ranks are connected to {site}"
                self._tell(f"{text}: it takes part once all are")
            self._partly = {}

    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received, of all ranks."""
        own = self.exchange
        sent, received = (own.sent, own.received_bytes) if own is not None else (0, 0)
        return sent + int(self._others[0]), received + int(self._others[1])

    # -- agreeing ---------------------------------------------------------------------------

    def _look(self) -> Seen:
        exchange, replicas = self.exchange, self.replicas
        if exchange is None or replicas is None:
            return Seen()
        newest, changes = exchange.states, exchange.changes
        return Seen(newest, replicas.changed(newest), dict(exchange.wanted), changes)

    def _numbers(self, seen: Seen) -> dict[str, float]:
        exchange, replicas = self.exchange, self.replicas
        if exchange is None or replicas is None:
            return {}
        mark = mark_of(seen.newest)
        several = self.shards.rails > 1
        if self.ranks.first and exchange.called_last != self._called_last:
            self._called_last = exchange.called_last
            self._calls += 1
        asked, asked_then = self._asked(seen, replicas)
        return {
            "speaking": 1.0,
            "changed": float(len(seen.changed)),
            "apart": float(not replicas.fit(seen.newest)),
            "mark": float(mark),
            "mark_squared": float(mark * mark),
            "asked": float(asked),
            "asked_then": float(asked_then),
            "linked": float(several and seen.changes != self._heard),
            "sent": float(exchange.sent),
            "received": float(exchange.received_bytes),
            "calls": float(self._calls),
        }

    def _asked(self, seen: Seen, replicas: Replicas) -> tuple[bool, bool]:
        """Whether calls want a new snapshot: on the anchors as applied, on the newest."""
        asked = asked_then = False
        for index, call in seen.calls.items():
            if call.final:
                continue
            if call.base == replicas.states[index].digest:
                asked = asked or replicas.stale(index)
            if call.base == seen.newest[index].digest:
                asked_then = asked_then or index in seen.changed or replicas.stale(index)
        return asked, asked_then

    def _apply(self, seen: Seen) -> None:
        if self.replicas is not None:
            self.replicas.adopt(seen.newest, seen.changed)
        self.shards.spread(self.ranks)

    # -- taking part ------------------------------------------------------------------------

    def take_part(self, local: Local, now: float) -> bool:
        """Report, and answer the calls that were seen in this turn; whether there were any."""
        if self.exchange is None or self.replicas is None:
            return False
        self.exchange.report(local, self.replicas.pending)
        return self.contribute(self._seen.calls, now)

    def contribute(self, calls: Mapping[int, Call], now: float) -> bool:
        """Answer these calls as far as they fit; whether any did."""
        exchange, replicas = self.exchange, self.replicas
        if exchange is None or replicas is None:
            return False
        for index in exchange.refused():
            replicas.drop(index)
        parts: dict[int, Part] = {}
        for index, call in calls.items():
            if call.base != replicas.states[index].digest or exchange.wanted.get(index) != call:
                continue
            last = call.final
            part = replicas.part(index, now, last=True) if last else replicas.answer(index, now)
            if part is None:
                self._tell("the local parameters are not finite: back to the anchor")
                replicas.drop(index)
                continue
            parts[index] = part
        exchange.contribute(parts)
        return bool(parts)

    # -- which sites take part --------------------------------------------------------------

    def connect(self, expected: set[str], seconds: float, clock: Callable[[], float]) -> str | None:
        """On all ranks: until all of ``expected`` are here and level, or training is under way; who
        is missing after so many seconds, with commas, None if that did not matter."""
        began = clock()
        if self.shards.rails == 1:
            return self._await(expected, began + seconds, clock)
        listening = self.exchange.listening if self.exchange is not None else None
        addresses = [at for at in self.ranks.gathered(listening) if at is not None]
        if self.exchange is not None and self.ranks.first:
            self.exchange.tell_rails(addresses)
        while True:
            told = self.regroup(clock(), expected, clock() - began >= seconds)
            if all(one.ready for one in told):
                return None
            if any(one.over for one in told) and not any(one.behind for one in told):
                return ", ".join(sorted(expected - {site for site, _ in _whole(told)}))
            if self.exchange is not None:
                self.exchange.wait(LOOK_S)

    def _await(self, expected: set[str], deadline: float, clock: Callable[[], float]) -> str | None:
        """As ``connect``, where one rank exchanges for all."""
        exchange = self.exchange
        while exchange is not None and (clock() < deadline or exchange.behind):
            if exchange.ready(expected):
                return None
            exchange.wait(LOOK_S)
        return ", ".join(sorted(expected - set(exchange.sites))) if exchange is not None else None

    def regroup(
        self, now: float, expected: set[str] | None = None, over: bool = False
    ) -> list[Told]:
        """On all ranks: only sites that all of them are connected to take part."""
        exchange, mine = self.exchange, None
        if exchange is not None:
            self._heard = exchange.changes
            ready = exchange.ready(expected or set())
            rails = exchange.rails if self.ranks.first else {}
            mine = Told(exchange.links, rails, ready, exchange.behind, over)
        told = [one for one in self.ranks.gathered(mine) if one is not None]
        if exchange is not None:
            rail = self.shards.rail
            at = {site: rails[rail] for site, rails in told[0].rails.items() if rail < len(rails)}
            if rail:
                exchange.learn({site: address for site, address in at.items() if address})
            exchange.admit(_whole(told))
        if self.ranks.first:
            counts = Counter(site for one in told for site, _ in one.links)
            full = {site for site, _ in _whole(told)}
            self._partly = {site: count for site, count in counts.items() if site not in full}
            self._partly_since = now
        return told


def _whole(told: Sequence[Told]) -> frozenset[Link]:
    """The runs of other sites that all ranks are connected to."""
    return frozenset.intersection(*(one.links for one in told))
