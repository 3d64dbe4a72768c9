"""What an instance, or a whole pool of chips, serves under a load: rates, latencies, limits.

Two ways: *together*, where prompts are read between decode steps, and *separate*, where some
chips only read prompts and others only decode, and the cache goes over the network in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log

from skep.model.chip import Chip
from skep.model.workload import Workload
from skep.planner import servingconstants as constants
from skep.planner.serving import Instance

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LARGEST = 512
NINETY_NINE = -log(1.0 - 0.99)  # an exponential tail is over this many means in 1 % of cases


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: prompts of ``prompt`` tokens, answers of ``answer`` tokens, limits in s.

    ``ttft`` and ``tpot`` are what 99 % of requests may take to the first token and between tokens.
    ``shared`` is the share of the prompt whose cache is already there.
    """

    prompt: float
    answer: float
    ttft: float | None = None
    tpot: float | None = None
    shared: float = 0.0

    @property
    def context(self) -> float:
        """Tokens that a sequence has in the mean while it is answered."""
        return self.prompt + self.answer / 2


@dataclass(frozen=True, slots=True)
class Served:
    """What the chips of one instance do: ``rate`` output tokens/s, means in s.

    ``prompt_share`` of the chips read prompts where the phases are separate, else 0: then the rate
    is that of a pool of many instances, for as many chips as one has. ``limit`` is what holds the
    rate: memory, batch (how servers are set up), tpot, ttft.
    """

    instance: Instance
    prompt_share: float
    batch: int
    rate: float
    ttft: float
    tpot: float
    limit: str

    @property
    def rate_per_chip(self) -> float:
        """Output tokens/s of one chip."""
        return self.rate / self.instance.chips

    @property
    def band(self) -> tuple[float, float]:
        """Rates that hold 80 % of held-out measurements of a chip of this status."""
        below, above = constants.SPREADS[self.instance.status]
        return self.rate * (1 - below), self.rate * (1 + above)


def serve(instance: Instance, load: Load, most: int | None = None) -> Served | None:
    """The largest rate of one instance that does both phases, within the limits of ``load``.

    ``None`` where not one sequence fits, or none can be in time.
    """
    fits = instance.most(load.context)
    roof = min(fits, most if most is not None else constants.SHARED.batch * instance.chips)
    read = _read(instance, load)
    use = _use(load, read)
    if roof < 1 or use <= 0.0:
        return None
    batch, limit = _batch(lambda b: _together(instance, load, b, read), roof, fits, load)
    if batch < 1:
        return None
    tpot = _together(instance, load, batch, read)
    limit = f"{limit}, ttft" if use < 0.95 else limit
    first = instance.prefill(load.prompt * (1 - load.shared), load.prompt) + tpot
    return Served(instance, 0.0, batch, use * batch / tpot, first, tpot, limit)


def separate(instance: Instance, load: Load) -> Served | None:
    """The same with phases apart: instances of this size, some to read, some to decode.

    Instances of either phase in the ratio that keeps both busy.
    """
    fits = instance.most(load.context)
    roof = min(fits, constants.SHARED.batch * instance.chips)
    read = _read(instance, load)
    use = _use(load, read)
    if roof < 1 or use <= 0.0:
        return None
    batch, limit = _batch(lambda b: _step(instance, load, b), roof, fits, load)
    if batch < 1:
        return None
    tpot = _step(instance, load, batch)
    decodes = batch / tpot / load.answer  # requests/s that one instance decodes
    reads = use / read  # and that one reads
    share = decodes / (decodes + reads)
    rate = load.answer * share * reads
    moved = instance.cache(load.prompt) / max(instance.chips * (instance.chip.nic or 0.0) / 8, 1e9)
    first = instance.prefill(load.prompt * (1 - load.shared), load.prompt) + moved + tpot
    return Served(instance, share, batch, rate, first, tpot, limit)


def best(
    model: Workload,
    chip: Chip,
    load: Load,
    precision: str,
    most_chips: int,
    *,
    apart: bool | None = None,
) -> Served | None:
    """The way to serve on ``most_chips`` chips with the highest rate; ``None`` where none fits.

    Instances of powers of two of chips, or of all; those beyond a block only with experts spread.
    ``apart``: phases separate, together, or (``None``) whichever is better.
    """
    found: Served | None = None
    most = 0.0
    base = Instance(model, chip, 1, precision)
    for chips in sorted({n for n in (*SIZES, min(most_chips, LARGEST)) if n <= most_chips}):
        for spread in (False, True) if model.moe and chips > 1 else (False,):
            if not spread and chips > (chip.scale_up_size or 1):
                continue
            at = replace(base, chips=chips, spread=spread)
            ways = [serve(at, load)] if apart is not True else []
            if apart is not False and 2 * chips <= most_chips:
                ways.append(separate(at, load))
            for way in ways:
                whole = way.rate * (most_chips // chips) if way else 0.0
                if whole > most * 1.01:
                    found, most = way, whole
    return found


def least_chips(model: Workload, chip: Chip, load: Load, precision: str) -> int | None:
    """Chips that the smallest instance needs; ``None`` where 256 are too few."""
    for chips in SIZES:
        for spread in (False, True):
            if Instance(model, chip, chips, precision, spread=spread).most(load.context) >= 1:
                return chips
    return None


def _batch(tpot: Callable[[int], float], roof: int, fits: int, load: Load) -> tuple[int, str]:
    """The largest batch in time, and what limits it."""
    told = "memory" if roof == fits else "batch"
    if load.tpot is None or tpot(roof) * constants.SHARED.tail <= load.tpot:
        return roof, told
    low, high = 0, roof
    while high - low > 1:
        middle = (low + high) // 2
        fast = tpot(middle) * constants.SHARED.tail <= load.tpot
        low, high = (middle, high) if fast else (low, middle)
    return low, "tpot"


def _read(instance: Instance, load: Load) -> float:
    """s of one prompt, read in chunks of many tokens."""
    fresh = max(load.prompt * (1.0 - load.shared), 1.0)
    many = max(1.0, constants.SHARED.chunk * instance.chips / fresh)
    return instance.prefill(fresh * many, load.prompt) / many


def _step(instance: Instance, load: Load, batch: int) -> float:
    return instance.decode(batch, load.context) / instance.tokens_per_step()


def _together(instance: Instance, load: Load, batch: int, read: float) -> float:
    """s between two tokens: the step, and the prompts that are read meanwhile."""
    return _step(instance, load, batch) + batch / max(load.answer, 1.0) * read


def _use(load: Load, read: float) -> float:
    """Share of the capacity that may be used so that 99 % of prompts are read in time.

    Waiting of an M/D/1 queue, S rho / (2 (1 - rho)) in the mean, with an exponential tail.
    """
    if load.ttft is None:
        return 1.0
    spare = load.ttft - read
    if spare <= 0.0:
        return 0.0
    ratio = 2.0 * spare / (NINETY_NINE * read)
    return ratio / (1.0 + ratio)
