"""Figures of benchmarks/train.py from its records (``beside``), means over seeds. Pure.

Time to a fixed loss is steps to that loss times seconds of a step. Steps are read from the held-out
loss, averaged over sites and seeds, by a power law through the second half of the looks: single
looks are chance. Seconds of a step are those at 1 Mbit/s, waiting included.

``time_to_loss_1mbit`` is the time at 1 Mbit/s over that of the same system with the same settings
and free communication (links that are not shaped); both have their own curve, and the loss is the
larger one of the two at the end. ``time_to_loss_vs_PEER`` is the peer's time over that of skep with
all chosen; the loss is the largest one of all at the end. A peer's steps are those that it needs
with free communication: at 1 Mbit/s it learns at best as much from a step.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
CASE = ("size", "system", "mbit", "rtt_ms", "steps", "chip_s", "sites", "seed")
BASE = "4x128"  # the size whose figures have no size in their names
SLOW = 1.0
CHOSEN, FIXED = "skep chosen", "skep int4"
PARALLEL = "ddp fp16"
PEERS = {"ddp": PARALLEL, "torchft": "torchft long", "hivemind": "hivemind"}
HEAD = (
    f"{'size':<6} {'system':<14} {'Mbit/s':>6} {'seeds':>5} {'steps':>5} {'share':>6} {'calm':>6} "
    f"{'+-':>6} {'blocked':>8} {'B/token':>8} {'+-':>6} {'heldout':>8} {'+-':>6} {'rounds':>6} "
    f"{'load':>4}"
)


def case(record: Record) -> tuple[Any, ...]:
    """What was measured: two records of one case are the same measurement made twice."""
    return tuple(record[name] for name in CASE)


def spread(values: Sequence[float]) -> float:
    """Standard deviation of a sample; 0 of one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def means(records: Iterable[Record], name: str) -> list[float]:
    """For each seed the mean over its sites; nothing of seeds that failed."""
    found = [record["found"] for record in records if record["found"]]
    return [statistics.mean(site[name] for site in sites) for sites in found if name in sites[0]]


def row(records: Sequence[Record]) -> str:
    """One line of the table, of records that differ by their seeds only."""
    first = records[0]
    good = [record for record in records if record["found"]]
    link = f"{first['mbit']:g}" if first["mbit"] else "none"
    head = f"{first['size']:<6} {first['system']:<14} {link:>6} {len(good):>5} {first['steps']:>5} "
    told = "".join(
        f"\n    seed {record['seed']} failed: {record['failed']}"
        for record in records
        if record["failed"]
    )
    if not good:
        return head + told.lstrip("\n ")
    calm, size, loss, blocked = (
        means(good, name)
        for name in ("share_without_contention", "bytes_per_token", "heldout", "blocked_s")
    )
    rounds = means(good, "round") or means(good, "committed") or [0.0]
    waited = f"{statistics.mean(blocked):.3f}" if blocked else "-"
    return (
        f"{head}{statistics.mean(means(good, 'share')):>6.3f} {statistics.mean(calm):>6.3f} "
        f"{spread(calm):>6.3f} {waited:>8} {statistics.mean(size):>8.1f} {spread(size):>6.1f} "
        f"{statistics.mean(loss):>8.4f} {spread(loss):>6.4f} {statistics.mean(rounds):>6.0f} "
        f"{max(record['load'] for record in good):>4.1f}{told}"
    )


def figures(records: Sequence[Record]) -> dict[str, float]:
    """All flat figures that the records give."""
    two = [record for record in records if record["sites"] == 2]
    base = [record for record in two if record["size"] == BASE and not record["rtt_ms"]]
    return shares(two) | peers_times(base) | own_times(base) | gaps(records)


def rows(records: Iterable[Record]) -> dict[tuple[Any, ...], list[Record]]:
    """Records by all of their case but the seed."""
    found: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        found.setdefault(case(record)[:-1], []).append(record)
    return found


def shares(records: Iterable[Record]) -> dict[str, float]:
    """Share of ideal and bytes per token of each system, size and link, with their spreads; of
    rows with several numbers of steps the one with most seeds, then most steps."""
    found: dict[str, float] = {}
    for key, some in sorted(
        rows(records).items(), key=lambda pair: (len(pair[1]), str(pair[0][1]), pair[0][4])
    ):
        size, system, mbit, rtt = key[:4]
        calm, sent = means(some, "share_without_contention"), means(some, "bytes_per_token")
        if not calm:
            continue
        link = f"{mbit:g}mbit" if mbit else "unshaped"
        link += f"_{rtt:g}ms" if rtt else ""
        tail = system.replace(" ", "_") + ("" if size == BASE else f"_{size}")
        found[f"ideal_share_{link}_{tail}"] = statistics.mean(calm)
        if len(calm) > 1:
            found[f"ideal_share_spread_{link}_{tail}"] = spread(calm)
        found[f"bytes_per_token_{link}_{tail}"] = statistics.mean(sent)
        if system == FIXED and size == BASE and not rtt:
            found[f"ideal_share_{link}"] = statistics.mean(calm)
            if mbit == 100.0:
                found["bytes_per_token_int4"] = statistics.mean(sent)
    return found


# --- time to a fixed loss ---


def curve(records: Iterable[Record]) -> list[tuple[float, float]]:
    """(steps, held-out loss), the mean over sites and seeds, where all have looked."""
    sites = [site for record in records for site in record["found"]]
    looks = min((len(site["curve"]) for site in sites), default=0)
    return [
        (sites[0]["curve"][n][0], statistics.mean(site["curve"][n][1] for site in sites))
        for n in range(looks)
    ]


def law(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """(a, b) of ``log loss = a + b log steps`` by least squares over the second half of the points;
    None where there are fewer than two, or the loss does not fall."""
    late = points[len(points) // 2 :]
    if len(late) < 2:
        return None
    found = statistics.linear_regression(
        [math.log(steps) for steps, _ in late], [math.log(loss) for _, loss in late]
    )
    return (found.intercept, found.slope) if found.slope < 0.0 else None


def steps_to(loss: float, points: Sequence[tuple[float, float]]) -> float | None:
    """Steps until the law through the points is down to ``loss``; None where the law says that it
    takes more steps than were made (by more than a tenth: no guesses)."""
    found = law(points)
    if found is None:
        return None
    steps = math.exp((math.log(loss) - found[0]) / found[1])
    return steps if steps <= 1.1 * points[-1][0] else None


def last(points: Sequence[tuple[float, float]]) -> float | None:
    """The loss at the end, by the law through the points."""
    found = law(points)
    return None if found is None else math.exp(found[0] + found[1] * math.log(points[-1][0]))


def step_s(records: Iterable[Record]) -> float:
    """Seconds of a step, waiting included, without those that this machine was too slow."""
    sites = [site for record in records for site in record["found"]]
    return float(
        statistics.mean((site["wall_s"] - site["contention_s"]) / site["steps"] for site in sites)
    )


def own_times(records: Sequence[Record]) -> dict[str, float]:
    """Time to a loss at 1 Mbit/s over that with free communication: of skep with rounds of a fixed
    length (the same settings on both links), and with all chosen (other settings on each)."""
    found: dict[str, float] = {}
    for key, system in (("", FIXED), ("_chosen", CHOSEN)):
        steps = most_steps(records, [(system, SLOW), (system, 0.0)])
        slow, free = (of(records, system, mbit, steps) for mbit in (SLOW, 0.0))
        curves = [curve(slow), curve(free)]
        ends = [last(points) for points in curves]
        loss = max((end for end in ends if end is not None), default=None)
        if loss is None or None in ends:
            continue
        there, here = (steps_to(loss, points) for points in curves)
        if there is not None and here is not None:
            found[f"time_to_loss_1mbit{key}"] = there * step_s(slow) / (here * step_s(free))
            found[f"time_to_loss_1mbit{key}_target"] = loss
    return found


def peers_times(records: Sequence[Record]) -> dict[str, float]:
    """``time_to_loss_vs_PEER``."""
    seen = [(system, 0.0) for system in PEERS.values() if of(records, system, 0.0)]
    steps = most_steps(records, [(CHOSEN, SLOW), *seen])
    curves = {CHOSEN: curve(of(records, CHOSEN, SLOW, steps))}
    curves |= {system: curve(of(records, system, 0.0, steps)) for system, _ in seen}
    ends = [last(points) for points in curves.values()]
    loss = max((end for end in ends if end is not None), default=None)
    if not seen or loss is None or None in ends:
        return {}
    found = {"time_to_loss_target": loss}
    times = {}
    for system, points in curves.items():
        slow, count = of(records, system, SLOW), steps_to(loss, points)
        if slow and count is not None:
            times[system] = count * step_s(slow)
    for key, system in PEERS.items():
        if CHOSEN in times and system in times:
            found[f"time_to_loss_vs_{key}"] = times[system] / times[CHOSEN]
    return found


def of(
    records: Iterable[Record], system: str, mbit: float, steps: int | None = None
) -> list[Record]:
    """What a system found on such a link; of most steps, unless ``steps`` says of how many."""
    some = [r for r in records if r["system"] == system and r["mbit"] == mbit and r["found"]]
    if steps is None:
        steps = max((record["steps"] for record in some), default=0)
    return [record for record in some if record["steps"] == steps]


def most_steps(records: Sequence[Record], both: Iterable[tuple[str, float]]) -> int:
    """The most steps that have been made by each (system, Mbit/s); 0 where there are none."""
    made = [
        {r["steps"] for r in records if (r["system"], r["mbit"]) == one and r["found"]}
        for one in both
    ]
    return max(set.intersection(*made), default=0)


# --- loss at equal tokens ---


def gaps(records: Sequence[Record], sites: int = 4) -> dict[str, float]:
    """Loss at equal tokens above that of data parallelism in per cent, of each system with so many
    sites on links that are not shaped; "alone" has trained one site's share of the tokens."""
    some = [r for r in records if r["size"] == BASE and not r["mbit"] and not r["rtt_ms"]]
    tried = [r for r in some if r["sites"] == sites or r["system"] == "alone"]
    steps = max((r["steps"] for r in tried if r["system"] == PARALLEL), default=0)
    parallel = means(of(tried, PARALLEL, 0.0, steps), "heldout") if steps else []
    found: dict[str, float] = {}
    for system in sorted({record["system"] for record in tried}) if parallel else []:
        losses = means(of(tried, system, 0.0, steps), "heldout")
        key = system.replace(" ", "_")
        if losses:
            found[f"loss_{sites}_sites_{key}"] = statistics.mean(losses)
            found[f"loss_spread_{sites}_sites_{key}"] = spread(losses)
            if system != PARALLEL:
                above = statistics.mean(losses) / statistics.mean(parallel) - 1
                found[f"loss_gap_{sites}_sites_{key}_pct"] = 100 * above
    return found
