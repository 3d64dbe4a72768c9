"""One training over parts that are not alike: kinds of chips, sites, links, prices of their own.

Every part trains a copy of the model on its share of the batch, in its own best layout, and the
parts average every H steps (low communication). Shares go by speed, so that all finish a step
together; which parts to take is decided by what the whole does: a part is left out where waiting
for its link costs more than its chips bring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from skep.errors import InputError
from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner.answer import Estimate
from skep.planner.bill import Bill, bill
from skep.planner.chip import ChipFacts
from skep.planner.goodput import Failing, Goodput, goodput
from skep.planner.learning import Correction
from skep.planner.links import Links, joined, width
from skep.planner.parts import Part, batch_near, count
from skep.planner.sites import Round, round_of
from skep.planner.training import Conditions, Link, Tools, Training, train

ALL_SETS = 7
"""Sites up to which every set of them is looked at; beyond, sets of those with links so wide."""
WORTH = 1e-3
"""A site is taken where the whole gains so much (relative)."""
LOCAL_RTT = 1e-4
FIRST = (1.0, 8.0)
NEAR = (
    FIRST,
    (1.0, 32.0),
    (1.0, 4.0),
    (1.0, 2.0),
    (0.9, 4.0),
    (1.1, 4.0),
    (0.94, 16.0),
    (1.06, 16.0),
)
"""Batches that are tried: times the share, in units of so small a part of it."""
FEW = 12  # parts up to which all of them are tried


@dataclass(frozen=True, slots=True)
class Share:
    """A part that is taken: how it trains its share of the batch, and what that costs.

    ``waits``: share of its step that it waits for slower parts (shares are whole sequences).
    """

    part: Part
    training: Training
    rate: float
    waits: float
    bill: Bill


@dataclass(frozen=True, slots=True)
class Left:
    """A part that is not taken, and why."""

    part: Part
    why: str


@dataclass(frozen=True, slots=True)
class Mixture:
    """The whole. ``rate`` in tokens/s while nothing fails, ``real_rate`` with failures; ``low`` and
    ``high`` around ``rate`` hold what the parts' bands hold (all off to one side at once).

    ``link`` is the slowest one of the ring; ``None`` for one site. ``enough`` inside ``round`` is
    the knee. ``seconds`` is the whole training where its tokens are known.
    """

    work: Workload
    shares: tuple[Share, ...]
    left: tuple[Left, ...]
    step: float
    round: Round | None
    link: Link | None
    goodput: Goodput
    rate: float
    low: float
    high: float
    seconds: float | None

    @property
    def real_rate(self) -> float:
        """Tokens/s over weeks, with failures and checkpoints."""
        return self.rate * self.goodput.share

    @property
    def chips(self) -> int:
        """Chips that work."""
        return sum(one.training.chips for one in self.shares)


Correct = Callable[[ChipFacts, Estimate], Correction]


@dataclass(frozen=True, slots=True)
class _Asked:
    work: Workload
    links: Links
    known: tuple[Chip, ...]
    under: Conditions
    tools: Tools
    correct: Correct | None


def mixture(
    work: Workload,
    parts: Sequence[Part],
    links: Links,
    known: Iterable[Chip],
    under: Conditions,
    tools: Tools,
    correct: Correct | None = None,
    everything: bool = False,
) -> Mixture:
    """The best way to train ``work`` on ``parts`` together.

    ``everything``: no part is left out for being slow (only where it cannot hold the model).
    Raises ``InputError`` where no part can train it, or the sites taken are not joined.
    """
    asked = _Asked(work, links, tuple(known), under, tools, correct)
    first, left = _alone(asked, parts)
    if not first:
        raise InputError("--on", None, f"no part can train {work.name}: {left[0].why}")
    rates = {id(one.part): one.training.rate for one in first}
    chosen = [one.part for one in first]
    if not everything:
        sites = _worth(asked, chosen, rates)
        left += [_slow(asked, p, chosen, sites, rates) for p in chosen if p.site not in sites]
        chosen = [p for p in chosen if p.site in sites]
    return _together(asked, chosen, _refined(asked, chosen, rates), left)


def _refined(
    asked: _Asked, parts: Sequence[Part], rates: Mapping[int, float]
) -> Mapping[int, float]:
    """The rates with shares by speed: a part's speed hangs a little on its share."""
    whole = sum(rates[id(part)] for part in parts)
    sizes = [asked.work.global_batch * rates[id(part)] / whole for part in parts]
    return {
        id(part): _train(asked, part, batch_near(size, FIRST[1], count(part)), quick=True).rate
        for part, size in zip(parts, sizes, strict=True)
    }


@dataclass(frozen=True, slots=True)
class _First:
    part: Part
    training: Training


def _alone(asked: _Asked, parts: Sequence[Part]) -> tuple[list[_First], list[Left]]:
    """How fast each part is with a share of the batch by its peak; those that cannot train."""
    peaks = [part.usable * (part.chip.held_to or part.chip.peak_flops or 1e12) for part in parts]
    found, left = [], []
    for part, peak in zip(parts, peaks, strict=True):
        try:
            wanted = asked.work.global_batch * peak / (sum(peaks) or 1.0)
            size = batch_near(wanted, FIRST[1], count(part))
            found.append(_First(part, _train(asked, part, size, quick=True)))
        except InputError as error:
            left.append(Left(part, str(error)))
    return found, left


def _train(asked: _Asked, part: Part, batch: int, *, quick: bool) -> Training:
    sized = asked.work.model_copy(update={"global_batch": batch})
    tools = replace(asked.tools, search=asked.tools.quick) if quick else asked.tools
    alone = replace(asked.under, sites=1, others=0, link=None, prices=part.prices)
    return train(sized, part.chip, count(part), asked.known, alone, tools, asked.correct)


def _worth(asked: _Asked, parts: Sequence[Part], rates: Mapping[int, float]) -> set[str]:
    """The sites that together are fastest."""
    sites = sorted({part.site for part in parts})
    by_site = {s: [p for p in parts if p.site == s] for s in sites}

    def value(some: Iterable[str]) -> float:
        return _value(asked, [p for s in some for p in by_site[s]], rates)

    best: tuple[str, ...] = ()
    most = 0.0
    for some in _sets(sites, asked.links):
        if (found := value(some)) > most * (1.0 + WORTH):
            best, most = some, found
    return set(best)


def _sets(sites: Sequence[str], links: Links) -> Iterable[tuple[str, ...]]:
    """Sets of sites to look at, small ones first."""
    if len(sites) <= ALL_SETS:
        for size in range(1, len(sites) + 1):
            yield from combinations(sites, size)
        return
    yield from ((site,) for site in sites)
    widths = {site: width(site, sites, links) for site in sites}
    for least in sorted(set(widths.values()), reverse=True):
        yield tuple(site for site in sites if widths[site] >= least)


def _value(asked: _Asked, parts: Sequence[Part], rates: Mapping[int, float]) -> float:
    """Tokens/s of ``parts``, exchange and failures included; 0 where nothing joins them."""
    whole = sum(rates[id(part)] for part in parts)
    trip, _ = _exchange(asked, parts, asked.work.tokens_per_step / whole)
    used = trip.utilisation if trip else 1.0
    if used <= 0.0:
        return 0.0
    return whole * used * _goodput(asked, [(p.usable, rates[id(p)]) for p in parts]).share


def _exchange(
    asked: _Asked, parts: Sequence[Part], step: float
) -> tuple[Round | None, Link | None]:
    """The round between the sites of ``parts``; kinds at one site exchange over their own NICs."""
    sites = sorted({part.site for part in parts})
    how = asked.under.exchange
    if len(sites) > 1:
        found = joined(sites, asked.links)
        if found is None:
            return _never(len(sites)), None
        link, times = found
        real = replace(how, bits=how.bits * times)
        trip = round_of(asked.work.parameters, len(sites), step, link.bandwidth, link.rtt, real)
        return trip, link
    if len(parts) > 1:
        link = Link(min(p.usable * (p.chip.nic or 0.0) for p in parts) or _NIC, LOCAL_RTT)
        return (
            round_of(asked.work.parameters, len(parts), step, link.bandwidth, link.rtt, how),
            link,
        )
    return None, None


_NIC = 200e9  # bit/s where no chip's is published


def _never(sites: int) -> Round:
    return Round(sites, 0.0, float("inf"), 0.0, 0.0, float("inf"), 0.0)


def _goodput(asked: _Asked, parts: Sequence[tuple[int, float]]) -> Goodput:
    """Parts that go on alone between exchanges fail alone; at one step each all stop together."""
    failing: Failing = asked.under.failing
    chips = sum(count for count, _ in parts)
    if asked.under.exchange.interval == 1:
        return goodput(chips, failing)
    each = [(goodput(count, failing), rate) for count, rate in parts]
    whole = sum(rate for _, rate in each)
    slowest = min((good for good, _ in each), key=lambda good: good.between)
    return Goodput(
        share=sum(good.share * rate for good, rate in each) / whole,
        interval=slowest.interval,
        between=failing.between(chips),
        spares=sum(good.spares for good, _ in each),
    )


def _slow(
    asked: _Asked,
    part: Part,
    all_parts: Sequence[Part],
    taken: set[str],
    rates: Mapping[int, float],
) -> Left:
    inside = [p for p in all_parts if p.site in taken]
    with_it = [p for p in all_parts if p.site in taken | {part.site}]
    change = _value(asked, with_it, rates) / _value(asked, inside, rates) - 1.0
    sites = sorted({p.site for p in with_it})
    found = joined(sites, asked.links) if len(sites) > 1 else None
    if len(sites) > 1 and found is None:
        return Left(part, "no link to the others")
    link = f"over {found[0].bandwidth / 1e9:,.3g} Gbit/s " if found else ""
    way = "slower" if change < 0 else "faster, which is not worth it"
    return Left(part, f"{link}the whole would be {abs(change):.1%} {way} with it")


def _together(
    asked: _Asked, parts: Sequence[Part], rates: Mapping[int, float], left: Sequence[Left]
) -> Mixture:
    trainings = _shared(asked, parts, rates)
    batch = sum(one.work.global_batch for one in trainings)
    work = asked.work.model_copy(update={"global_batch": batch})
    step = max(one.step for one in trainings)
    trip, link = _exchange(asked, parts, step)
    used = trip.utilisation if trip else 1.0
    if used <= 0.0:
        names = ", ".join(sorted({part.site for part in parts}))
        raise InputError("links", None, f"allowed: links that join the sites {names}")
    rate = work.tokens_per_step / step * used
    good = _goodput(asked, [(one.chips, one.rate) for one in trainings])
    seconds = work.tokens / (rate * good.share) if work.tokens and good.share else None
    shares = tuple(
        _share(part, one, step, used, rate * one.work.global_batch / batch, seconds)
        for part, one in zip(parts, trainings, strict=True)
    )
    low, high = (sum(one.speed_range[end] for one in trainings) for end in (0, 1))
    told = sum(one.rate for one in trainings)
    return Mixture(
        work=work,
        shares=shares,
        left=tuple(left),
        step=step,
        round=trip,
        link=link,
        goodput=good,
        rate=rate,
        low=rate * low / told,
        high=rate * high / told,
        seconds=seconds,
    )


def _shared(asked: _Asked, parts: Sequence[Part], rates: Mapping[int, float]) -> list[Training]:
    """Each part's training with its share: of the batches near it those with which most is done.

    For every length of a step that some part would have, each part takes the most sequences that
    it does in it; the best of these lengths counts.
    """
    whole = sum(rates[id(part)] for part in parts)
    near = NEAR if len(parts) <= FEW else NEAR[:2]
    open_parts = [_options(asked, part, rates[id(part)] / whole, near) for part in parts]
    best: list[Training] = []
    most = 0.0
    for longest in sorted({one.step for options in open_parts for one in options}):
        fit = [[one for one in options if one.step <= longest] for options in open_parts]
        if not all(fit):
            continue
        chosen = [max(some, key=lambda one: one.work.global_batch) for some in fit]
        done = sum(one.work.global_batch for one in chosen) / longest
        if done > most:
            best, most = chosen, done
    return [
        _train(asked, part, one.work.global_batch, quick=False)
        for part, one in zip(parts, best, strict=True)
    ]


def _options(
    asked: _Asked, part: Part, share: float, near: Sequence[tuple[float, float]]
) -> list[Training]:
    """Trainings with batches near the share."""
    wanted, chips = asked.work.global_batch * share, count(part)
    sizes = {batch_near(wanted * times, parts, chips) for times, parts in near}
    found = []
    for size in sorted(sizes):
        try:
            found.append(_train(asked, part, size, quick=True))
        except InputError:
            continue
    return found


def _share(
    part: Part, one: Training, step: float, used: float, rate: float, seconds: float | None
) -> Share:
    busy = one.busy * one.step / step * used
    billed = bill(one.filled.chip, one.chips, seconds or 0.0, busy, part.prices)
    return Share(part, one, rate, 1.0 - one.step / step, billed)
