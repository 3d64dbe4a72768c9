"""A training as a whole: the best layout, corrected, over sites, with failures, and its bill.

Everything that ``skep plan MODEL --on FLEET`` answers, from values alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import exp, log

from skep.errors import InputError
from skep.model.chip import Chip
from skep.model.measured import Measured
from skep.model.workload import Workload
from skep.planner.answer import Estimate, Ranking
from skep.planner.bill import Bill, Prices, bill
from skep.planner.chip import ChipFacts
from skep.planner.goodput import Failing, Goodput, goodput
from skep.planner.layout import Layout
from skep.planner.learning import Correction, same_model
from skep.planner.sites import Exchange, Round, round_of
from skep.planner.step import WORK
from skep.planner.unknown import SPEED, Filled, fill


@dataclass(frozen=True, slots=True)
class Link:
    """What joins the sites: bit/s and s, the slowest pair."""

    bandwidth: float
    rtt: float = 0.03


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which a plan is made: sites and their link, failures, prices.

    ``others``: sites beside these ``sites`` that they average with (chips of another kind).
    """

    sites: int = 1
    others: int = 0
    link: Link | None = None
    exchange: Exchange = field(default_factory=Exchange)
    failing: Failing = field(default_factory=Failing)
    prices: Prices = field(default_factory=Prices)


@dataclass(frozen=True, slots=True)
class Tools:
    """The performance model behind a plan: how chips become facts, the searches, one estimate.

    ``quick`` looks at fewer layouts and finds about the same speed: where many are compared.
    """

    facts: Callable[[Chip], ChipFacts]
    search: Callable[[Workload, ChipFacts, int], Ranking]
    quick: Callable[[Workload, ChipFacts, int], Ranking]
    estimate: Callable[[Workload, ChipFacts, Layout], Estimate]


@dataclass(frozen=True, slots=True)
class Training:
    """One way to train. Times in s, rates in tokens/s of all chips; ``low``/``high`` hold 80 %.

    ``rate`` is while nothing fails; ``real_rate`` with failures. ``seconds`` is the whole training,
    ``None`` where nobody said how many tokens it has.
    """

    work: Workload
    filled: Filled
    chips: int
    ranking: Ranking
    correction: Correction
    step: float
    low: float
    high: float
    round: Round | None
    goodput: Goodput
    bill: Bill
    seconds: float | None

    @property
    def best(self) -> Estimate:
        """The estimate of the fastest layout (of one site)."""
        return self.ranking.best

    @property
    def rate(self) -> float:
        """Tokens/s of all sites together, without failures."""
        used = self.round.utilisation if self.round else 1.0
        return self.work.tokens_per_step / self.step * used

    @property
    def real_rate(self) -> float:
        """The same over weeks, with failures and checkpoints."""
        return self.rate * self.goodput.share

    @property
    def mfu(self) -> float:
        """Model FLOPs over the peak, of the corrected step."""
        return self.best.mfu * self.best.step / self.step

    @property
    def busy(self) -> float:
        """Share of the time in which the chips are at work."""
        used = self.round.utilisation if self.round else 1.0
        return busy_share(self.best.parts) * used

    @property
    def speed_range(self) -> tuple[float, float]:
        """Rates that hold 80 % of held-out runs."""
        return self.rate * self.step / self.high, self.rate * self.step / self.low


def busy_share(parts: Mapping[str, float]) -> float:
    """Share of a step in which the chips are at work and not waiting."""
    whole = sum(parts.values())
    return sum(time for name, time in parts.items() if name in WORK) / whole if whole else 0.0


def train(
    work: Workload,
    chip: Chip,
    chips: int,
    known: Iterable[Chip],
    under: Conditions,
    tools: Tools,
    correct: Callable[[ChipFacts, Estimate], Correction] | None = None,
) -> Training:
    """The best way to train ``work`` on ``chips`` chips. ``InputError`` where it fits nowhere."""
    filled = fill(chip, known)
    mine = _of_site(work, chips, under)
    facts = tools.facts(filled.chip)
    ranking = tools.search(mine, facts, chips // under.sites)
    correction = correct(facts, ranking.best) if correct else Correction()
    best = ranking.best
    step = best.step * correction.factor
    low, high = _range(mine, filled, best, tools)
    trip = _round(work, step, under)
    share = goodput(chips, under.failing, under.sites)
    partial = Training(
        work=work,
        filled=filled,
        chips=chips,
        ranking=ranking,
        correction=correction,
        step=step,
        low=step * low,
        high=step * high,
        round=trip,
        goodput=share,
        bill=bill(filled.chip, chips, 0.0, 0.0, under.prices),
        seconds=None,
    )
    seconds = work.tokens / partial.real_rate if work.tokens and partial.real_rate else None
    billed = bill(filled.chip, chips, seconds or 0.0, partial.busy, under.prices)
    return replace(partial, bill=billed, seconds=seconds)


def _of_site(work: Workload, chips: int, under: Conditions) -> Workload:
    """The part of one site: its share of the batch. ``InputError`` where it does not divide."""
    sites = under.sites
    if sites == 1:
        return work
    for name, value, what in (
        ("chips", chips, "chips"),
        ("global_batch", work.global_batch, "sequences"),
    ):
        if value % sites:
            raise InputError(name, value, f"allowed: {what} that {sites} sites can share alike")
    return work.model_copy(update={"global_batch": work.global_batch // sites})


def _round(work: Workload, step: float, under: Conditions) -> Round | None:
    every, link = under.sites + under.others, under.link
    if every < 2 or link is None:
        return None
    return round_of(work.parameters, every, step, link.bandwidth, link.rtt, under.exchange)


def _range(work: Workload, filled: Filled, best: Estimate, tools: Tools) -> tuple[float, float]:
    """Factors of the step below and above: of the model, and of what is not published."""
    low, high = best.low / best.step, best.high / best.step
    if not filled.fields & SPEED:
        return low, high
    fast = tools.estimate(work, tools.facts(filled.high), best.layout).step / best.step
    slow = tools.estimate(work, tools.facts(filled.low), best.layout).step / best.step
    return together(low, fast), together(high, slow)


def together(one: float, other: float) -> float:
    """Two independent factors to one side as one: their logarithms as errors add up in squares."""
    size = (log(one) ** 2 + log(other) ** 2) ** 0.5
    return exp(size if one * other >= 1.0 else -size)


def learning(
    runs: Iterable[Measured], work: Workload, tools: Tools, learnt: Callable[..., Correction]
) -> Callable[[ChipFacts, Estimate], Correction]:
    """How a training is corrected by what runs of real jobs measured (``skep.planner.learning``).

    A run of another model counts through its FLOPs per token.
    """
    kept = tuple(runs)

    def correct(facts: ChipFacts, best: Estimate) -> Correction:
        def predict(run: Measured) -> float:
            batch = max(run.chips, round(run.tokens / work.seq_len))
            sized = work.model_copy(update={"global_batch": batch})
            found = tools.quick(sized, facts, run.chips).best.step
            alike = 1.0 if same_model(run, work) else run.flops_per_token / work.flops_per_token()
            return found * alike * run.tokens / sized.tokens_per_step

        return learnt(kept, facts.kind, work, best.chips, predict)

    return correct
