"""Figures of benchmarks/train.py from its records (``beside``), means over seeds. Pure.

Time to a fixed loss is steps to that loss times the time of a step. Steps are read from the
held-out loss, averaged over sites and seeds, by a power law through the second half of the looks:
single looks are chance. The time of a step is that at 1 Mbit/s, waiting included, in steps of the
chip: 4 Mbit/s and a chip of 0.1 s are as hard as 1 Mbit/s and one of 0.4 s, and let long runs fit.

``time_to_loss_1mbit`` is the time at 1 Mbit/s over that of the same system with the same settings
and free communication (links that are not shaped); both have their own curve, and the loss is the
larger one of the two at the end. ``time_to_loss_vs_PEER`` is the peer's time over that of skep with
all chosen; the loss is the largest one of all at the end. A peer's steps are those that it needs
with free communication: at 1 Mbit/s it learns at best as much from a step.
Both are of the runs with most steps that there are.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
CASE = ("size", "system", "mbit", "rtt_ms", "steps", "chip_s", "sites", "seed")
BASE, CHIP_S = "4x128", 0.4  # the size and chip whose figures have neither in their names
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
    usual = [r for r in two if r["size"] != BASE or r["chip_s"] == CHIP_S]
    return shares(usual) | peers_times(base) | own_times(base) | gaps(records)


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


def step_chips(records: Iterable[Record]) -> float:
    """The time of a step in steps of the chip, waiting included, without the time that this
    machine was too slow."""
    found = [
        (site["wall_s"] - site["contention_s"]) / site["steps"] / record["chip_s"]
        for record in records
        for site in record["found"]
    ]
    return float(statistics.mean(found))


Runs = Mapping[tuple[str, bool], Mapping[tuple[int, float], list[Record]]]


def runs(records: Iterable[Record]) -> Runs:
    """By system and whether at 1 Mbit/s (or as hard a link) or with free communication; then by
    steps and chip."""
    found: dict[tuple[str, bool], dict[tuple[int, float], list[Record]]] = {}
    for record in records:
        slow = math.isclose(record["mbit"] * record["chip_s"], CHIP_S)
        if record["found"] and (slow or not record["mbit"]):
            some = found.setdefault((record["system"], slow), {})
            some.setdefault((record["steps"], record["chip_s"]), []).append(record)
    return found


def own_times(records: Sequence[Record]) -> dict[str, float]:
    """Time to a loss at 1 Mbit/s over that with free communication: of skep with rounds of a fixed
    length (the same settings on both links), and with all chosen (other settings on each)."""
    found: dict[str, float] = {}
    made = runs(records)
    for system in (FIXED, CHOSEN):
        slow, free = made.get((system, True), {}), made.get((system, False), {})
        for key in sorted(slow.keys() & free.keys()):
            curves = [curve(slow[key]), curve(free[key])]
            ends = [last(points) for points in curves]
            loss = max((end for end in ends if end is not None), default=0.0)
            there, here = (steps_to(loss, points) for points in curves)
            if None in ends or there is None or here is None:
                continue
            times = there * step_chips(slow[key]) / (here * step_chips(free[key]))
            name = system.replace(" ", "_")
            found[f"time_to_loss_1mbit_{name}_{key[0]}_steps"] = times
            headline = "time_to_loss_1mbit" + ("" if system == FIXED else "_chosen")
            found |= {headline: times, f"{headline}_target": loss}
    return found


def peers_times(records: Sequence[Record]) -> dict[str, float]:
    """``time_to_loss_vs_PEER``."""
    made = runs(records)
    there = {CHOSEN: made.get((CHOSEN, True), {})}
    there |= {s: made[s, False] for s in PEERS.values() if (s, False) in made}
    common = set.intersection(*(set(some) for some in there.values()))
    if len(there) < 2 or not common:
        return {}
    curves = {system: curve(some[max(common)]) for system, some in there.items()}
    ends = [last(points) for points in curves.values()]
    if None in ends:
        return {}
    loss = max(end for end in ends if end is not None)
    times = {}
    for system, points in curves.items():
        slow, count = made.get((system, True), {}), steps_to(loss, points)
        if slow and count is not None:
            times[system] = count * step_chips(slow[max(slow)])
    found = {"time_to_loss_target": loss}
    for key, system in PEERS.items():
        if CHOSEN in times and system in times:
            found[f"time_to_loss_vs_{key}"] = times[system] / times[CHOSEN]
    return found


# --- loss at equal tokens ---


def gaps(records: Sequence[Record], sites: int = 4) -> dict[str, float]:
    """Loss at equal tokens above that of data parallelism in per cent, of each system with so many
    sites on links that are not shaped; "alone" has trained one site's share of the tokens."""
    some = [r for r in records if r["size"] == BASE and not r["mbit"] and not r["rtt_ms"]]
    tried = [r for r in some if r["sites"] == sites or r["system"] == "alone"]
    steps = max((r["steps"] for r in tried if r["system"] == PARALLEL), default=0)
    tried = [r for r in tried if r["steps"] == steps]
    parallel = means((r for r in tried if r["system"] == PARALLEL), "heldout")
    found: dict[str, float] = {}
    for system in sorted({record["system"] for record in tried}) if parallel else []:
        losses = means((r for r in tried if r["system"] == system), "heldout")
        key = system.replace(" ", "_")
        if losses:
            found[f"loss_{sites}_sites_{key}"] = statistics.mean(losses)
            found[f"loss_spread_{sites}_sites_{key}"] = spread(losses)
            if system != PARALLEL:
                above = statistics.mean(losses) / statistics.mean(parallel) - 1
                found[f"loss_gap_{sites}_sites_{key}_pct"] = 100 * above
    return found
