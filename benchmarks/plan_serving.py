"""The serving model against published measurements (``../shared/facts/runs/serving.csv``).

Prints the error of throughput per group, in sample and with constants fitted without one source.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from skep.data import catalogue
from skep.files.workload import load_model
from skep.planner import serving
from skep.planner import servingconstants as constants
from skep.planner.serve import Load, serve
from skep.planner.serving import Instance

FACTS = Path(__file__).parents[2] / "shared" / "facts" / "runs" / "serving.csv"
CHIPS = (
    (r"H100", "h100-sxm"),
    (r"H800", "h800-sxm"),
    (r"H200-NVL", None),
    (r"H200", "h200-sxm"),
    (r"B200-SXM", "b200-sxm"),
    (r"GB200", "gb200-nvl72"),
    (r"GB300", "gb300-nvl72"),
    (r"L40S", "l40s"),
    (r"RTX PRO 6000", "rtx-pro-6000"),
    (r"MI300X.*MI325X|MI325X.*MI300X", None),
    (r"MI300X", "mi300x"),
    (r"MI325X", "mi325x"),
    (r"910C", "ascend-910c"),
    (r"910B", "ascend-910b2"),
)
MODELS = (
    (r"V3\.2", None),
    (r"^DeepSeek|^deepseek", "deepseek-v3"),
    (r"llama2-70b", "llama-2-70b"),
    (r"llama3.1-405b", "llama-3-405b"),
    (r"llama3.1-8b", "llama-3-8b"),
    (r"Pangu Pro", "pangu-pro-moe"),
    (r"^32B dense", "qwen3-32b"),
    (r"^72B dense", "qwen2.5-72b"),
)
LENGTHS = {  # MLPerf data sets: tokens in and out, as the table tells them
    "llama-2-70b": (294, 294),
    "llama-3-405b": (9400, 680),
    "llama-3-8b": (800, 128),
    "deepseek-v3": (800, 3900),  # of DeepSeek-R1
}


@dataclass(frozen=True)
class Case:
    row: str
    source: str
    group: str
    measured: float
    phase: str
    base: Instance
    sizes: tuple[int, ...]
    load: Load
    batch: int | None


def find(text: str, table: tuple[tuple[str, str | None], ...]) -> str | None:
    return next((name for pattern, name in table if re.search(pattern, text)), None)


def cases() -> tuple[list[Case], dict[str, str]]:
    """Rows that can be computed, and the others with the reason."""
    known = catalogue.chips()
    made, left = [], {}
    for row in csv.DictReader(FACTS.read_text().splitlines()):
        got = case(row, known)
        if isinstance(got, str):
            left[row["id"]] = got
        else:
            made.append(got)
    return made, left


def case(row, known) -> Case | str:
    """A row as a case, or why it cannot be one."""
    chip, model = find(row["chip"], CHIPS), find(row["model"], MODELS)
    if chip is None:
        return "chip not in the catalogue, or mixed"
    if model is None:
        return "model or context not told, or its attention is not modelled"
    if "hit" in row["phase"]:
        return "mostly from a cache"
    if "end-to-end" in row["phase"]:
        return "size of the instance not told"
    if re.search(r"\d+A\d+F", row["parallelism"]):
        return "attention and experts on different chips"
    made = mlperf if "MLPerf" in row["source"] else published
    return made(row, load_model(model).workload, known[chip])


def mlperf(row, model, chip) -> Case:
    """MLPerf inference: both phases, under the limits of its scenario, instances of up to 8."""
    kind = row["phase"].split(", ")[1]
    ttft = limit(row["latency"], r"TTFT<=([\d.]+) (ms|s)")
    tpot = limit(row["latency"], r"TPOT<=([\d.]+) (ms|s)")
    load = Load(*LENGTHS[model.name], ttft, tpot)
    sizes = tuple(n for n in (1, 2, 4, 8) if n <= int(row["n_chips"]))
    base = Instance(model, chip, 1, precision(row))
    rate = float(row["tokens_per_s_per_chip"])
    return Case(row["id"], row["source"], f"MLPerf {kind}", rate, kind, base, sizes, load, None)


def published(row, model, chip) -> Case | str:
    """One phase, or both, of a known number of chips."""
    phase, context = row["phase"].split()[0], length(row["context"])
    chips = ranks(row) or int(row["n_chips"] or 0)
    deepseek = model.name == "deepseek-v3"
    if deepseek and not chips:
        chips = {"prefill": 32}.get(phase, 144)  # as DeepSeek runs it
    if not context or not chips:
        return "context or number of chips not told"
    spread = deepseek and chips > 1
    guesses = 1 if "speculative MTP" in row["notes"] or "MTP" in row["model"] else 0
    base = Instance(model, chip, 1, precision(row), 16.0, spread, guesses)
    tpot = float(row["tpot_ms"]) / 1e3 if row["tpot_ms"] else None
    batch = int(row["batch"]) if row["batch"].isdigit() else None
    if batch and spread and phase == "decode":
        batch *= chips  # told per chip
    group = f"{phase}, {'spread experts' if spread else 'one node'}"
    rate = float(row["tokens_per_s_per_chip"])
    load = Load(context, 1000, None, tpot)
    return Case(row["id"], row["source"], group, rate, phase, base, (chips,), load, batch)


def precision(row) -> str:
    words = row["precision"].lower()
    if "fp4" in words:
        return "fp4"
    return "int8" if "int8" in words or "w8a8" in words else "fp8"


def limit(text: str, pattern: str) -> float | None:
    found = re.search(pattern, text)
    return float(found[1]) * (1e-3 if found[2] == "ms" else 1.0) if found else None


def length(text: str) -> int | None:
    found = re.search(r"([\d,]+)(K)?", text)
    if not found:
        return None
    return int(found[1].replace(",", "")) * (1024 if found[2] else 1)


def ranks(row) -> int | None:
    found = re.search(r"EP(\d+)", row["parallelism"])
    if not found:
        return None
    count = int(found[1])
    return count // 2 if "910C" in row["chip"] else count  # two dies are one chip


def predicted(one: Case) -> float | None:
    """Output tokens/s per chip (prompt tokens/s for prefill) that the model says."""
    best = None
    for chips in one.sizes:
        for spread in {
            one.base.spread,
            bool(one.base.model.moe) and len(one.sizes) > 1 and chips > 1,
        }:
            at = replace(one.base, chips=chips, spread=spread)
            rate = rate_of(one, at)
            best = rate if rate is not None and (best is None or rate > best) else best
    return best


def rate_of(one: Case, at: Instance) -> float | None:
    if at.room <= 0:
        return None
    if one.phase == "prefill":
        tokens = one.batch * one.load.prompt if one.batch else 16384.0 * at.chips
        return tokens / at.prefill(tokens, one.load.prompt) / at.chips
    if one.phase == "decode":
        context = one.load.prompt
        batch = one.batch
        if batch is None:
            most = min(at.most(context), constants.SHARED.batch * at.chips)
            batch = largest(at, context, most, one.load.tpot) if one.load.tpot else most
        step = at.decode(batch, context)
        return batch * at.tokens_per_step() / step / at.chips
    if one.phase == "mixed":
        served = serve(at, replace(one.load, answer=1024))
    else:
        served = serve(at, one.load)
    return served.rate / at.chips if served else None


def largest(at: Instance, context: float, most: int, tpot: float) -> int:
    low, high = 1, max(2, most)
    while high - low > 1:
        middle = (low + high) // 2
        if at.decode(middle, context) / at.tokens_per_step() <= tpot:
            low = middle
        else:
            high = middle
    return low


def errors(made: list[Case]) -> list[tuple[Case, float]]:
    """(case, predicted / measured - 1)."""
    return [(c, (predicted(c) or 0.0) / c.measured - 1.0) for c in made]


FITTED = {  # constant -> (start, least, most)
    "memory": (0.64, 0.6, 0.92),
    "attention": (0.33, 0.2, 0.8),
    "links": (0.8, 0.3, 0.85),
    "latency": (2e-6, 1e-6, 2e-5),
    "step": (6e-3, 0.2e-3, 1e-2),
    "tail": (1.6, 1.0, 2.5),
    "half_rows": (0.03, 0.002, 1.0),
    "layer": (7e-6, 5e-6, 1e-4),
    "expert_half_rows": (0.8, 0.02, 4.0),
}


def fit(made: list[Case], evaluations: int = 30) -> tuple[dict[str, float], dict]:
    """Constants that fit ``made`` best (soft absolute error of the logarithm, repeats share)."""
    import numpy as np
    from scipy.optimize import least_squares

    families = sorted({family(c) for c in made})
    same = [configuration(c) for c in made]
    weights = np.array([same.count(s) ** -0.5 for s in same])

    def residuals(x):
        use(
            dict(zip(FITTED, np.exp(x), strict=False)),
            dict(zip(families, np.exp(x[len(FITTED) :]), strict=True)),
        )
        known: dict = {}
        for one, key in zip(made, same, strict=True):
            if key not in known:
                known[key] = max(predicted(one) or 1e-3, 1e-3)
        return weights * np.log([known[k] / c.measured for k, c in zip(same, made, strict=True)])

    start, least, most = (np.log([*(v[i] for v in FITTED.values())]) for i in range(3))
    wide = np.ones(len(families))
    best = least_squares(
        residuals,
        np.concatenate([start, np.log(0.5) * wide]),
        bounds=(
            np.concatenate([least, np.log(0.1) * wide]),
            np.concatenate([most, np.log(0.85) * wide]),
        ),
        loss="soft_l1",
        f_scale=0.2,
        diff_step=0.02,
        max_nfev=evaluations,
    )
    values = [float(v) for v in np.exp(best.x)]
    return dict(zip(FITTED, values, strict=False)), dict(
        zip(families, values[len(FITTED) :], strict=True)
    )


def use(shared: dict[str, float], families: dict) -> None:
    """Put these constants in the place of those that skep ships with."""
    made = replace(constants.Shared(), **shared)
    constants.SHARED = serving.SHARED = made
    for key, products in families.items():
        constants.FAMILIES[key] = replace(
            constants.FAMILIES.get(key, constants.UNKNOWN), products=float(products)
        )


def family(one: Case) -> tuple[str, str]:
    chip, number_format = one.base.chip, one.base.rate_format
    own = (chip.kind, number_format)
    return own if own in constants.FAMILIES else (chip.vendor, number_format)


def configuration(one: Case) -> tuple:
    return (one.base, one.sizes, one.load, one.batch, one.phase)


def publisher(source: str) -> str:
    """Who published: of MLPerf the submitter."""
    found = re.search(r"5\.1-\d+ ([^/]+) /", source)
    return f"MLPerf {found[1].strip()}" if found else source.split("(")[0][:24].strip()


def held_out(made: list[Case]) -> list[tuple[Case, float]]:
    """Errors of each source with constants fitted without it.

    A family that only the left-out source has measured is forgotten: it gets its vendor's constant.
    """
    found = []
    shipped = dict(constants.FAMILIES)
    for one in sorted({publisher(c.source) for c in made}):
        constants.FAMILIES.clear()
        constants.FAMILIES.update(shipped)
        shared, families = fit([c for c in made if publisher(c.source) != one], 12)
        constants.FAMILIES.clear()
        constants.FAMILIES.update({key: shipped[key] for key in families if key in shipped})
        use(shared, families)
        found += errors([c for c in made if publisher(c.source) == one])
    return found


def serving_pct() -> float | None:
    """Mean absolute error of throughput in percent; ``None`` where the facts are not here."""
    if not FACTS.exists():
        return None
    return 100.0 * statistics.mean(abs(e) for _, e in errors(cases()[0]))


def show(title: str, found: list[tuple[Case, float]]) -> dict[str, float]:
    print(f"{title:<34} rows   mean  median  p90   worst   bias")
    groups = sorted({c.group for c, _ in found})
    for name in [*groups, "all"]:
        some = [e for c, e in found if name in (c.group, "all")]
        size = sorted(abs(e) for e in some)
        p90 = size[int(0.9 * (len(size) - 1))]
        print(
            f"  {name:<32} {len(some):>4} {statistics.mean(size):>6.1%} "
            f"{statistics.median(size):>6.1%} {p90:>6.1%} {size[-1]:>6.1%} "
            f"{statistics.mean(some):>+6.1%}"
        )
    every = [abs(e) for _, e in found]
    return {"mean": 100 * statistics.mean(every), "median": 100 * statistics.median(every)}


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--json", type=Path)
    ask.add_argument("--fit", action="store_true", help="print constants fitted to all rows")
    ask.add_argument("--leave-one-out", action="store_true", help="a few minutes")
    told = ask.parse_args()
    if not FACTS.exists():
        print("skipped: facts not here")
        return 0
    made, left = cases()
    print(f"{len(made)} rows; {len(left)} left out:")
    for reason in sorted(set(left.values())):
        print(f"  {sum(r == reason for r in left.values()):>3} {reason}")
    figures = {"serving_pct": show("in sample", errors(made))["mean"]}
    if told.fit:
        print(*fit(made, 60), sep="\n")
    if told.leave_one_out:
        figures["serving_leave_one_out_pct"] = show("one source left out", held_out(made))["mean"]
    if told.json:
        told.json.write_text(json.dumps({k: round(v, 2) for k, v in figures.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
