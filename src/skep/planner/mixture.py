"""One training over parts that are not alike: kinds of chips, sites, links, prices of their own.

Every part trains a copy of the model on its share of the batch, in its own best layout, and the
parts average every H steps (low communication). Shares go by speed, so that all finish a step
together; which parts to take is decided by what the whole does: a part is left out where waiting
for its link costs more than its chips bring.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from skep.errors import InputError
from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner.bill import Bill, bill
from skep.planner.goodput import Failing, Goodput, goodput
from skep.planner.links import Links, joined, width
from skep.planner.parts import Part
from skep.planner.sharing import Asked, Correct, alone, shared, trained
from skep.planner.sites import Round, round_of
from skep.planner.training import Conditions, Link, Tools, Training

ALL_SETS = 7
"""Sites up to which every set of them is looked at; beyond, sets of those with links so wide."""
WORTH = 1e-3
"""A site is taken where the whole gains so much (relative)."""
SMALL = "its share of the batch is so small that the others would wait for it"
LOCAL_RTT = 1e-4


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
    asked = Asked(work, links, tuple(known), under, tools, correct)
    rates, failed = alone(asked, parts)
    able = [part for part in parts if id(part) in rates]
    left = [Left(part, failed[id(part)]) for part in parts if id(part) in failed]
    if not able:
        raise InputError("--on", None, f"no part can train {work.name}: {left[0].why}")
    tried = [able] if everything else _sets_worth(asked, able, rates)
    done = [shared(asked, some, rates) for some in tried]
    speeds = [_speed(asked, some, one) for some, one in zip(tried, done, strict=True)]
    best = max(range(len(tried)), key=lambda at: speeds[at])
    chosen = [
        trained(asked, part, one.work.global_batch, quick=False)
        for part, one in zip(tried[best], done[best], strict=True)
    ]
    taken = {part.site for part in tried[best]}
    left += [_slow(asked, p, able, taken, rates) for p in able if p.site not in taken]
    return _together(asked, tried[best], chosen, left)


def _sets_worth(
    asked: Asked, parts: Sequence[Part], rates: Mapping[int, float]
) -> list[list[Part]]:
    """Parts of the sites that are worth a closer look: those that should be best together, these
    without the smallest one by one (whose shares may round badly), and the fastest site alone."""
    sites = _worth(asked, parts, rates)
    by_site = {s: [p for p in parts if p.site == s] for s in sorted({p.site for p in parts})}
    of = {site: sum(rates[id(p)] for p in own) for site, own in by_site.items()}
    order = sorted(sites, key=lambda s: of[s])
    sets = [frozenset(order[place:]) for place in range(min(len(order), ALL_SETS))]
    sets.append(frozenset({max(by_site, key=lambda s: _with_the_whole_batch(asked, by_site[s]))}))
    return [[p for p in parts if p.site in some] for some in dict.fromkeys(sets)]


def _with_the_whole_batch(asked: Asked, parts: Sequence[Part]) -> float:
    """Tokens/s of a site alone: with more of the batch another one may be the fastest."""
    rates, _ = alone(asked, parts)
    return sum(rates.values())


def _speed(asked: Asked, parts: Sequence[Part], trainings: Sequence[Training]) -> float:
    """Tokens/s of these trainings together, failures included; 0 where they cannot be."""
    if not trainings:
        return 0.0
    step = max(one.step for one in trainings)
    trip, _ = _exchange(asked, parts, step)
    used = trip.utilisation if trip else 1.0
    tokens = sum(one.work.tokens_per_step for one in trainings)
    return tokens / step * used * _goodput(asked, [(o.chips, o.rate) for o in trainings]).share


def _worth(asked: Asked, parts: Sequence[Part], rates: Mapping[int, float]) -> set[str]:
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


def _value(asked: Asked, parts: Sequence[Part], rates: Mapping[int, float]) -> float:
    """Tokens/s of ``parts``, exchange and failures included; 0 where nothing joins them."""
    whole = sum(rates[id(part)] for part in parts)
    trip, _ = _exchange(asked, parts, asked.work.tokens_per_step / whole)
    used = trip.utilisation if trip else 1.0
    if used <= 0.0:
        return 0.0
    return whole * used * _goodput(asked, [(p.usable, rates[id(p)]) for p in parts]).share


def _exchange(asked: Asked, parts: Sequence[Part], step: float) -> tuple[Round | None, Link | None]:
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


def _goodput(asked: Asked, parts: Sequence[tuple[int, float]]) -> Goodput:
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
    asked: Asked,
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
    if change > WORTH:
        return Left(part, SMALL)
    link = f"over {found[0].bandwidth / 1e9:,.3g} Gbit/s " if found else ""
    way = "slower" if change < 0 else "faster, which is not worth it"
    return Left(part, f"{link}the whole would be {abs(change):.1%} {way} with it")


def _together(
    asked: Asked, parts: Sequence[Part], trainings: Sequence[Training], left: Sequence[Left]
) -> Mixture:
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


def _share(
    part: Part, one: Training, step: float, used: float, rate: float, seconds: float | None
) -> Share:
    busy = one.busy * one.step / step * used
    billed = bill(one.filled.chip, one.chips, seconds or 0.0, busy, part.prices)
    return Share(part, one, rate, 1.0 - one.step / step, billed)
