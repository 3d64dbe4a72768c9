"""What a run chooses for itself: codec and interval, each with its reason.

Pure. The shortest interval has the best loss at equal tokens, so the shortest is taken that the
slowest link keeps up with; where that is long, a coarser codec makes it short again. Two rules:

* one exchange of the whole model costs each site ``2 (n - 1) / n`` payloads each way, as all
  sites lead in turn: its parts to the others' fragments, and the results of its own. Where there
  are fewer fragments than sites the leaders' links carry more, with two levels (``groups``) less;
* the delay, from the call to the application everywhere, is half of the interval at most: with
  more of it averaging was hardly better than training alone (decision 0007).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skep.train.codec import last_codec
from skep.train.groups import ABOVE, payloads

AUTO = "auto"
DELAY_SHARE = 0.5
FINER = 0.7  # a finer codec is taken up again only well within its limit, so that it does not flap
STEP_S = 0.1  # of a local step, before it was measured

# Bits per parameter after entropy coding, as ``benchmarks/codec.py`` measures them.
BITS = {"fp32": 32.0, "fp16": 16.0, "int8": 7.0, "int4": 3.4, "int2": 1.6, "sparse": 0.17}
# The codecs that are chosen from, and up to which interval (in local steps) each is kept. No loss
# was measured of int4 against int8; int2 costs less than twice the interval does.
LADDER = (("int4", 24.0), ("int2", 200.0), ("sparse", float("inf")))


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which an automatic interval is chosen, in local steps."""

    least_steps: float = 6.0
    most_steps: float = 200.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is measured, or None before it is. ``rate`` is that of the slowest link, bytes/s."""

    parameters: int
    fragments: int = 1
    sites: int = 2
    step_s: float | None = None
    rate: float | None = None
    interval_s: float | None = None  # set by the user
    codec: str = AUTO
    bounds: Bounds = field(default_factory=Bounds)
    one_level: int = ABOVE  # sites, above which there are two levels


@dataclass(frozen=True, slots=True)
class Chosen:
    """A codec and the seconds between two rounds of a fragment, each with its reason.

    ``longest_s`` is the bound of the interval, should an exchange turn out to take longer.
    """

    codec: str
    interval_s: float
    longest_s: float
    why: Mapping[str, str]
    last_s: float = 0.0  # for the last exchange to have crossed all links

    def differs(self, other: Chosen | None) -> bool:
        """Whether it is worth telling after ``other`` was told."""
        if other is None or self.codec != other.codec:
            return True
        return not 0.7 < self.interval_s / max(other.interval_s, 1e-9) < 1.4

    def told(self) -> str:
        """One line for the log."""
        return "; ".join(f"{name}: {reason}" for name, reason in self.why.items())


def busy_s(known: Known, codec: str) -> float:
    """Seconds that one exchange of the whole model takes of each site's link, each way."""
    if not known.rate:
        return 0.0
    payload = known.parameters * BITS[codec] / 8
    return 2 * (known.sites - 1) / max(known.sites, 1) * payload / known.rate


def needed_s(known: Known, codec: str) -> float:
    """The shortest interval with ``codec`` that the rules allow, in seconds."""
    step = known.step_s or STEP_S
    return max(exchange_s(known, codec) / DELAY_SHARE, known.bounds.least_steps * step)


def exchange_s(known: Known, codec: str) -> float:
    """Seconds from the call of a round of all fragments until all sites have the results."""
    # of few fragments some sites lead none, others more than their share
    turns = -(-known.fragments // known.sites) * known.sites / known.fragments
    one, least = max(known.sites - 1, 1), payloads(known.sites, known.one_level)
    return busy_s(known, codec) * max(turns * least / one, 1.0)


def choose(known: Known, before: Chosen | None = None) -> Chosen:
    """Codec and interval for what is known; ``before`` is what holds now."""
    step = known.step_s or STEP_S
    codec, why_codec = _codec(known, step, before)
    needed, most = needed_s(known, codec), max(known.bounds.most_steps * step, 1.0)
    interval = known.interval_s if known.interval_s is not None else min(needed, most)
    why = {"codec": why_codec, "interval": _why(known, codec, interval, step)}
    return Chosen(codec, interval, most, why, exchange_s(known, last_codec(codec)))


def _codec(known: Known, step: float, before: Chosen | None) -> tuple[str, str]:
    if known.codec != AUTO:
        return known.codec, f"{known.codec}, as set"
    names = [name for name, _ in LADDER]
    now = names.index(before.codec) if before is not None and before.codec in names else 0
    refused = ""
    for place, (name, steps) in enumerate(LADDER):
        limit = steps * step if known.interval_s is None else known.interval_s
        needed = needed_s(known, name)
        if known.interval_s is not None:
            needed = busy_s(known, name) / DELAY_SHARE
        if needed <= limit * (FINER if place < now else 1.0):
            return name, f"{name}{refused}"
        refused = f", as {name} would need {needed / step:.0f} local steps between rounds"
    return names[-1], f"{names[-1]}{refused}"


def _why(known: Known, codec: str, interval: float, step: float) -> str:
    text = f"{interval:.2g} s ({interval / step:.0f} local steps)"
    if known.interval_s is not None:
        return f"{text}, as set"
    if known.rate is None:
        return f"{text}, the least; no link has been busy long enough to be measured"
    share = busy_s(known, codec) / interval if interval else 0.0
    link = f"the slowest link carries {8e-6 * known.rate:.3g} Mbit/s, {share:.0%} of it is used"
    least = interval <= known.bounds.least_steps * step * 1.001
    return f"{text}, {'the least; ' if least else 'the least that the link allows; '}{link}"
