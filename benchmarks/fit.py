"""Fits the constants of the performance model to published runs (src/skep/data/efficiency.csv).

    python benchmarks/fit.py [--write]

The runs are a table of others that is not in this repository (../shared/facts/runs). Prints what
the shared constants are, and how well runs are met: all in the fit, and each source held out.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the reader of the table is shared with the tests

from skep.data import catalogue, efficiency  # noqa: E402
from skep.planner.chip import ChipFacts, facts_of  # noqa: E402
from skep.planner.constants import CONSTANTS, Kernel, Key  # noqa: E402
from skep.planner.fit import Measured, fit, predict  # noqa: E402
from skep.planner.packing import Case  # noqa: E402
from tests.measured import FACTS, Run, runs  # noqa: E402

TABLE = ROOT / "src/skep/data/efficiency.csv"
# An H100 with 96 GB of HBM2e held to 500 W of 700: power limits at 71 % cost 5 to 7 % of speed
# (Zeus, NSDI'23, other chips), so products reach 0.94 of an H100's share.
CAPPED = "h100-sxm-500w"


def facts(run: Run) -> ChipFacts:
    """The chip of ``run``, with the NICs of its system where the source names them."""
    base = facts_of(catalogue.chips()["h100-sxm" if run.chip == CAPPED else run.chip])
    if run.chip == CAPPED:
        base = replace(base, kind=CAPPED, memory=96 * 2.0**30, memory_bandwidth=2.4e12)
    return replace(base, scale_out=run.nic) if run.nic else base


def kernel(kind: str) -> Kernel:
    if kind == CAPPED:
        whole = efficiency.kernel("h100-sxm")
        return replace(whole, share=0.94 * whole.share, attention=0.94 * whole.attention)
    return efficiency.kernel(kind)


def measured(run: Run) -> Measured:
    return Measured(
        case=Case(run.work, facts(run), run.layouts),
        stack=run.stack,
        kernel=kernel(run.chip),
        step=run.step,
        source=run.family,
    )


def held_out(of: str, by: str) -> tuple[list[int], list[float]]:
    """Places and predictions of the runs of one source (``family``) or ``chip``, left out."""
    all_runs = runs()
    lines = [measured(run) for run in all_runs]
    places = [i for i, run in enumerate(all_runs) if getattr(run, by) == of]
    kept = [line for run, line in zip(all_runs, lines, strict=True) if getattr(run, by) != of]
    return places, predict(fit(kept), [lines[i] for i in places]).tolist()


def leave_out(by: str) -> np.ndarray:
    """Predictions of every run by constants that have not seen its source (or its chip)."""
    all_runs = runs()
    names = sorted({getattr(run, by) for run in all_runs})
    out = np.zeros(len(all_runs))
    with ProcessPoolExecutor(2) as pool:
        for places, values in pool.map(held_out, names, [by] * len(names)):
            out[places] = values
    return out


def errors(predicted: np.ndarray) -> np.ndarray:
    """Relative errors of the step, all runs."""
    return predicted / np.array([run.step for run in runs()]) - 1.0


def row(name: str, error: np.ndarray) -> str:
    size = np.abs(error) * 100
    return (
        f"{name:44s} {len(size):4d} {size.mean():6.1f} {np.median(size):6.1f} "
        f"{np.quantile(size, 0.9):6.1f} {size.max():6.0f} {error.mean() * 100:+6.1f}"
    )


HEAD = f"{'':44s} {'n':>4} {'mean%':>6} {'med%':>6} {'p90%':>6} {'worst':>6} {'bias%':>6}"


WIDER = 1.15
"""Bands are that much wider than the runs' own: so they hold 80 % of a source that they are not
from, too (``plan.py`` tells both)."""


def bands(by_source: np.ndarray, by_chip: np.ndarray) -> dict[str, tuple[float, float]]:
    """Per status, 10th and 90th percentile of measured over predicted, as relative distances.

    Calibrated chips: with the run's source left out. Few rows and never measured: with its chip
    left out, and for the latter far wider above, since chips that nobody publishes much about have
    software that fewer people tuned (docs/models/performance.md has what is known of some). All of
    these of dense models; ``experts``: of the others, with their source left out.
    """
    moe = np.array([run.moe for run in runs()])

    def of(error: np.ndarray, times: float, above: float = 0.0) -> tuple[float, float]:
        ratio = 1.0 / (1.0 + error) - 1.0
        low, high = np.quantile(ratio, 0.1), np.quantile(ratio, 0.9)
        more = above or times
        return min(0.6, times * max(0.0, -float(low))), more * max(0.0, float(high))

    return {
        "calibrated": of(by_source[~moe], WIDER),
        "few rows": of(by_chip[~moe], 1.25),
        "never measured": of(by_chip[~moe], 1.25, 3.5),
        "experts": of(by_source[moe], WIDER),
    }


def write(table: dict[Key, float], band: dict[str, tuple[float, float]]) -> None:
    counts = Counter(run.chip for run in runs())
    of_stack = Counter(run.stack for run in runs())
    with TABLE.open("w", encoding="utf-8", newline="") as text:
        out = csv.writer(text, lineterminator="\n")
        out.writerow(["constant", "level", "of", "value", "runs", "source"])
        source = "benchmarks/fit.py over published runs, June 2021 to August 2026"
        for (constant, level, of), value in sorted(table.items(), key=_order):
            seen = {"shared": sum(counts.values()), "chip": counts[of], "stack": of_stack[of]}
            out.writerow([constant, level, of, f"{value:.5f}", seen.get(level, ""), source])
        for chip, count in sorted(counts.items()):
            out.writerow(["runs", "rows", chip, count, count, source])
        for status, (low, high) in band.items():
            out.writerow(["low", "band", status, f"{low:.3f}", "", "held-out runs, see fit.py"])
            out.writerow(["high", "band", status, f"{high:.3f}", "", "held-out runs, see fit.py"])


def _order(item: tuple[Key, float]) -> tuple[int, int, str]:
    (constant, level, of), _ = item
    names = [one.field for one in CONSTANTS]
    return names.index(constant), ("shared", "framework", "stack", "chip").index(level), of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table of constants")
    given = parser.parse_args()
    if not FACTS.is_dir():
        sys.exit("skipped: facts not here")
    lines = [measured(run) for run in runs()]
    table = fit(lines)
    for constant in CONSTANTS:
        value = constant.natural(
            constant.scale(constant.prior) + table[(constant.field, "shared", "")]
        )
        print(f"{constant.field:14s} {value:.4g}")
    by_source, by_chip = errors(leave_out("family")), errors(leave_out("chip"))
    moe = np.array([run.moe for run in runs()])
    print(HEAD)
    for name, error in (
        ("in sample", errors(predict(table, lines))),
        ("its source left out", by_source),
        ("its chip left out", by_chip),
    ):
        print(row(f"dense, {name}", error[~moe]))
        print(row(f"MoE, {name}", error[moe]))
    band = bands(by_source, by_chip)
    print(band)
    if given.write:
        write(table, band)


if __name__ == "__main__":
    main()
