"""The model in balanced pieces, each with rounds of its own, so that links are never idle or full.

A fragment is a range of the flat parameter vector, all of nearly one length. Each has its own
anchor, momentum, round number, tokens and digest, and its own leader: the sites take turns, so
that together they lead like a butterfly reduction, each averaging its share of the model, and one
that is slow or dies delays its share alone. No sockets, threads or clocks here (see ``rounds``).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from skep.train.beats import Links, pauses
from skep.train.choice import Chosen, Known, choose
from skep.train.frames import Kind, Message
from skep.train.gauge import Gauge
from skep.train.lead import Options
from skep.train.member import Member
from skep.train.outer import OuterState, fitting
from skep.train.parts import Call, Local, Part, beat
from skep.train.rounds import Rounds

CHOOSE_S = 1.0
LATELY_S = 5.0  # for which the fragments tell one thing once
GAIN_S = 30.0  # for which the gauge must say something new before that is told
WEAKEST = 4.0  # of the largest site's rate over this one's, as far as it lengthens steps
SMALLEST = 100_000  # parameters of a fragment, below which cutting brings nothing
LARGEST = 1 << 25
USUAL, MOST = 8, 48


def fragments_for(length: int) -> int:
    """How many fragments a model of ``length`` parameters is cut into; alike at every site."""
    few = min(max(length // SMALLEST, 1), USUAL)
    return min(max(few, -(-length // LARGEST)), MOST)


def why_fragments(length: int, count: int | None) -> str:
    """One line for the log: into how many pieces a model is cut, and why (``count``: as set)."""
    if count is not None:
        return f"fragments: {count}, as set"
    return f"fragments: {fragments_for(length)}, by the {length} parameters of the model"


def cuts(length: int, count: int) -> list[tuple[int, int]]:
    """(start, stop) of each fragment; their lengths differ by one at most."""
    edges = [length * index // count for index in range(count + 1)]
    return list(itertools.pairwise(edges))


def digest_of(states: Sequence[OuterState]) -> str:
    """One digest of all fragments: that of the only one, or one over theirs (hex)."""
    if len(states) == 1:
        return states[0].digest
    text = "/".join(state.digest for state in states)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def one_origin(states: Sequence[OuterState]) -> bool:
    """Whether all fragments come from the same initial parameters, so that they fit together."""
    return len({state.origin for state in states}) <= 1


class Fragments:
    """The rounds of all fragments at one site."""

    def __init__(
        self, me: Member, states: Sequence[OuterState], options: Options, now: float
    ) -> None:
        self.me = me
        self.rounds = [Rounds(me, state, options, now, index) for index, state in enumerate(states)]
        self.outbox: list[tuple[str, Message]] = []
        self.events: list[str] = []
        self._lately: dict[str, float] = {}  # what was told, when
        # When another rank of this site saw the rounds called that those here go with, if they do.
        self.nudged: float | None = None
        self.receiving = False  # whether some peer's data has come in part
        self.rates: Mapping[str, float] = {}  # bytes/s that the link to each peer carries
        self.sees: Mapping[str, float] = {}  # as ``parts.beat`` tells it
        self.chosen: Chosen | None = None
        self._options, self._chosen_at = options, 0.0
        self._told_choice: Chosen | None = None
        self.gauge, self._told_gain, self._gauged_at = Gauge(), "", now
        self.times, self._told_length = 1.0, False
        self._parameters = sum(state.anchor.numel() for state in states)
        self._told: dict[str, dict[int, str]] = {}
        self._links = Links()
        self._beaten = 0.0
        self._mark_begun()

    # -- what the training loop sees --------------------------------------------------------

    @property
    def states(self) -> tuple[OuterState, ...]:
        return tuple(rounds.state for rounds in self.rounds)

    @property
    def wanted(self) -> dict[int, Call]:
        """By fragment, what the training loop is asked for."""
        asked = ((rounds.index, rounds.wanted) for rounds in self.rounds)
        return {index: call for index, call in asked if call is not None}

    @property
    def views(self) -> dict[str, Any]:
        return self.rounds[0].views

    @property
    def local(self) -> Local:
        return self.rounds[0].local

    @property
    def reports(self) -> dict[str, Local]:
        return self.rounds[0].reports

    @property
    def finished(self) -> bool:
        return all(rounds.finished for rounds in self.rounds)

    def refused(self) -> list[int]:
        """Fragments whose contribution was kept out since the last call."""
        found = [rounds.index for rounds in self.rounds if rounds.refused]
        for index in found:
            self.rounds[index].refused = ""
        return found

    def all_end(self) -> bool:
        """Whether all connected sites have ended their training."""
        return all(view.local.finishing for view in list(self.views.values()))

    def behind(self) -> bool:
        return any(rounds.behind() for rounds in self.rounds)

    def level(self) -> bool:
        return all(rounds.level() for rounds in self.rounds)

    def report(self, local: Local, pending: Sequence[int]) -> None:
        """How the training loop is doing; ``pending`` tokens by fragment."""
        for rounds, tokens in zip(self.rounds, pending, strict=True):
            rounds.local = replace(local, pending=tokens)

    def answers(self, index: int, part: Part) -> None:
        """The training loop answers a call with ``part``, which is going to be ``offered``."""
        wanted, self.rounds[index].wanted = self.rounds[index].wanted, None
        part.final = wanted is not None and wanted.final

    def offered(self, index: int, part: Part, now: float) -> None:
        self.rounds[index].offered(part, now)
        self._collect(now)

    def absorb(self, parts: Mapping[int, Part], now: float) -> None:
        """Alone, at the end: the anchors become this site's own parameters."""
        for index, part in parts.items():
            self.rounds[index].absorb(part, now)
        self._collect(now)

    def drain(self) -> list[dict[str, Any]]:
        """The records of the rounds applied since the last time."""
        records = []
        for rounds in self.rounds:
            closed, rounds.closed = rounds.closed, []
            records += [record | {"fragment": rounds.index} for record in closed]
        return records

    # -- what happens -----------------------------------------------------------------------

    def joined(self, member: Member, now: float) -> None:
        self._told.pop(member.site, None)
        self._links.forget(member.site)
        for rounds in self.rounds:
            rounds.joined(member)
        self._tell([member.site], now)
        self._collect(now)

    def left(self, site: str, now: float, on_purpose: bool = False) -> None:
        for rounds in self.rounds:
            rounds.left(site, now, on_purpose)
        self._collect(now)

    def received(self, site: str, message: Message, now: float) -> None:
        """Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is not of the protocol."""
        if message.kind is Kind.BEAT:
            for rounds in self.rounds:
                rounds.received(site, message, now)
        else:
            index = int(message.fields["fragment"])
            if not 0 <= index < len(self.rounds):
                raise ValueError(f"fragment {index} of {len(self.rounds)}")
            self.rounds[index].received(site, message, now)
            if message.kind is Kind.CALL and index == 0:
                self.tick(now)  # the other fragments follow at once
        self._collect(now)

    def ended(self, member: Member) -> None:
        """A site that did not take part yet has left on purpose."""
        for rounds in self.rounds:
            rounds.ended.add(member.seat_name)

    def only_these(self) -> None:
        """The sites that are connected now are all that there are."""
        for rounds in self.rounds:
            rounds.only_these()

    def announce(self, now: float) -> None:
        """Tell the peers at once how this site is doing."""
        self._beat(now)

    def tick(self, now: float) -> None:
        """To be called some ten times a second."""
        if now - self._beaten >= pauses(len(self.views) + 1)[0]:
            self._beat(now)
        if self.chosen is None or now - self._chosen_at >= CHOOSE_S:
            self._choose(now)
            self._tell_gain(now)
        for rounds in self.rounds:
            rounds.wave = self.rounds[0].called_last if rounds.index else self.nudged
            rounds.receiving, rounds.rates = self.receiving, self.rates
            rounds.tick(now)
        self._collect(now)

    def _tell_gain(self, now: float) -> None:
        """What it has been for ``GAIN_S``, once: a young model learns the same everywhere."""
        text = self.gauge.said()
        kind = text.partition(":")[0]
        if not text or kind == self._told_gain:
            self._gauged_at = now
        elif now - self._gauged_at >= GAIN_S:
            self._told_gain = kind
            self.events.append(text)

    def _choose(self, now: float) -> None:
        """Codec and interval by the link and the step, as they are now."""
        options, local = self._options, self.local
        step_s = self._step_s()
        interval = options.interval
        if options.interval_steps is not None and local.step_s:
            interval = options.interval_steps * local.step_s
        known = Known(
            self._parameters,
            fragments=len(self.rounds),
            sites=len(self.views) + 1,
            step_s=step_s,
            rate=min(self.rates.values(), default=None),
            interval_s=interval,
            codec=options.codec,
            bounds=options.bounds,
            one_level=options.one_level,
        )
        self._chosen_at, self.chosen = now, choose(known, self.chosen)
        self._lengthen()
        gain = None if options.lengthened else self.gauge.speed_up
        for rounds in self.rounds:
            rounds.pace(self.chosen, fitting(gain, self.gauge.most))
        if self.views and step_s and self.chosen.differs(self._told_choice):
            self._told_choice = self.chosen
            self.events.append(self.chosen.told())

    def _lengthen(self) -> None:
        """How many times as large the batch of all sites is, while this site averages with them."""
        together = bool(self.views) and not self.rounds[0].missing()
        own, others = self.local.rate, [view.local.rate for view in self.views.values()]
        weaker = min(max([own, *others]) / own, WEAKEST) if own else 1.0
        self.times = self.gauge.most * weaker if together and self.gauge.most > 1.0 else 1.0
        if self._options.lengthened and self.times > 1.0 and not self._told_length:
            self._told_length = True
            text = f"local steps are as long as those on a batch {self.times:.3g} times as large"
            self.events.append(f"{text}, which averaging makes of this site's")

    def _step_s(self) -> float | None:
        """Seconds of a local step, the average over all sites weighted by their tokens."""
        reports = [self.local, *(view.local for view in self.views.values())]
        rate = sum(report.rate for report in reports)
        tokens = sum(report.tokens_per_step for report in reports)
        return tokens / rate if rate and tokens else self.local.step_s or None

    def _collect(self, now: float) -> None:
        """Messages first, then the beat that tells of what they bring."""
        self._mark_begun()
        for rounds in self.rounds:
            outbox, rounds.outbox = rounds.outbox, []
            self.outbox += outbox
            events, rounds.events = rounds.events, []
            self.events += [text for text in events if self._is_new(text, now)]
            found, rounds.moments = rounds.moments, []
            for moments in found:
                self.gauge.take(moments)
        due = now - self._beaten >= pauses(len(self.views) + 1)[1]
        if due and any(rounds.news for rounds in self.rounds):
            self._beat(now)

    def _is_new(self, text: str, now: float) -> bool:
        """Not the same that another fragment has just told."""
        told, self._lately[text] = self._lately.get(text), now
        self._lately = {text: at for text, at in self._lately.items() if now - at < LATELY_S}
        return told is None or now - told >= LATELY_S

    def _mark_begun(self) -> None:
        begun = any(rounds.state.round > 0 for rounds in self.rounds)
        for rounds in self.rounds:
            rounds.begun = begun

    def _beat(self, now: float) -> None:
        """Tell each peer what has changed since it was told last, and how this site is doing."""
        self._beaten = now
        for rounds in self.rounds:
            rounds.news = False
        self._tell(self.views, now)

    def _tell(self, peers: Iterable[str], now: float) -> None:
        sites = self.rounds[0].addresses()
        sees = self.sees if len(self.views) > 1 else {}  # of two neither needs a way around
        self._links.look(sites, sees, now)
        pending = [rounds.local.pending for rounds in self.rounds]
        for site in peers:
            told = self._told.setdefault(site, {})
            keys = {r.index: r.key for r in self.rounds if told.get(r.index) != r.told_as}
            told.update({r.index: r.told_as for r in self.rounds})
            self.outbox.append((site, beat(keys, pending, self.local, *self._links.news(site))))


def cat(states: Sequence[OuterState]) -> torch.Tensor:
    """The anchors of all fragments as one vector."""
    return torch.cat([state.anchor for state in states])
