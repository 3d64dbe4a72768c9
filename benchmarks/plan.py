"""The performance model: how well it meets published runs, and how fast it searches layouts.

    python benchmarks/plan.py [--rounds N] [--quick] [--json FILE] [--write]

Accuracy needs a table of published runs that is not in this repository (../shared/facts/runs); who
is eligible is written in tests/measured.py. Errors are of the step time (tokens/s is its inverse),
never of a quoted utilisation. Speed is CPU time of one process, the median of the rounds.
``--quick`` leaves out the fits with one source held out; ``--write`` puts the tables into
docs/models/performance.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # fit.py beside this file

import fit as fitting
import plan_page as page
from skep.data import efficiency
from skep.model.workload import Workload
from skep.planner.estimate import energy
from skep.planner.fit import predict
from skep.planner.layout import Layout
from skep.planner.machine import machine_of
from skep.planner.memory import memory
from skep.planner.packing import layouts_of
from skep.planner.search import cuts, search
from skep.planner.shape import shape_of
from skep.planner.space import OPTIONS, Constraints, distinct, layouts, meshes
from skep.planner.step import step
from tests.measured import FACTS, RECOMPUTATIONS, Run, read, rows, runs

GPT3 = Workload(
    name="gpt3-175b", layers=96, hidden=12288, heads=96, kv_heads=96, head_dim=128, ffn=49152,
    gated_mlp=False, vocab=51200, tied_embeddings=True, seq_len=2048, global_batch=4096,
)  # fmt: skip
CHIPS = 4096
EIGHT = tuple(f"r{number:04d}" for number in range(23, 31))  # Korthikanti et al., table 5
SWEEP = 3  # layouts of one model on one system from which on a choice is judged
NEAR = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="no leave-one-out")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--write", action="store_true", help="write the tables into the docs")
    given = parser.parse_args()
    figures, told = _speed(given.rounds)
    sections = {"constants": page.constants(), "speed": told}
    if FACTS.is_dir():
        found, errors = _accuracy(given.quick)
        figures |= found
        sections |= errors
        figures |= _serving()
    else:
        print("accuracy skipped: facts not here")
    if given.write:
        page.write(sections)
    if given.json:
        given.json.write_text(json.dumps({k: round(v, 4) for k, v in figures.items()}, indent=1))


def _speed(rounds: int) -> tuple[dict[str, float], list[str]]:
    chip, everything = efficiency.facts("a100-sxm-80gb"), Constraints()
    lines = meshes(GPT3, CHIPS, everything)
    shape, on = shape_of(GPT3), machine_of(chip, GPT3.dtype)
    spaces = [layouts(lines[:, cut], everything) for cut in cuts(lines, everything)]
    forms = [np.broadcast_shapes(*(getattr(s, n).shape for n in s.__slots__)) for s in spaces]
    entries = sum(int(np.prod(form)) for form in forms)
    means = sum(
        int(np.count_nonzero(np.broadcast_to(distinct(s), form)))
        for s, form in zip(spaces, forms, strict=True)
    )

    def alone() -> None:
        for one in spaces:
            np.asarray(step(shape, on, one).total)

    def whole() -> None:
        for one in spaces:
            parts = step(shape, on, one)
            joules = np.asarray(energy(parts, on, one))
            joules * (0.1 / 3.6e6)  # cost of the energy, USD at 0.1 a kWh
            np.asarray(memory(shape, on, one).total)

    in_time, in_all = _seconds(alone, rounds), _seconds(whole, rounds)
    found = _seconds(lambda: search(GPT3, chip, CHIPS, everything), rounds)
    usual = _seconds(lambda: search(GPT3, chip, CHIPS), rounds)
    print(f"GPT-3 175B on {CHIPS:,} chips, batch {GPT3.global_batch:,}: axes tp, pp, dp, cp, ep,")
    print(f"virtual stages, micro-batch ({lines.shape[1]:,} that divide) x {', '.join(OPTIONS)}")
    print(f"= {entries:,} entries, of which {means:,} say something different (only those count)")
    print(f"{'':36s} {'layouts/CPU-s':>14} {'CPU-s':>7}")
    print(f"{'time alone':36s} {means / in_time:14,.0f} {in_time:7.3f}")
    print(f"{'with memory, energy, cost':36s} {means / in_all:14,.0f} {in_all:7.3f}")
    print(f"{'search, whole space, best and why':36s} {means / found:14,.0f} {found:7.3f}")
    print(f"{'search, no offloads (usual question)':36s} {'':14s} {usual:7.3f}")
    rows = (
        ("time alone", in_time),
        ("with memory, energy, cost", in_all),
        ("search: best, runners-up and why", found),
    )
    options = entries // lines.shape[1]
    lines_told = [
        f"GPT-3 175B on {CHIPS:,} chips, batch {GPT3.global_batch:,}: {lines.shape[1]:,} meshes "
        f"that divide × {options:,} options = {entries:,} entries, of which {means:,} say "
        "something different and are counted.",
        "",
        "| CPU-seconds of one core | layouts/CPU-s | whole space |",
        "| --- | --- | --- |",
        *(f"| {name} | {means / took / 1e6:.0f} M | {took:.2f} |" for name, took in rows),
        f"| the usual question (no offloads) | | {usual:.2f} |",
    ]
    return {"layouts_per_cpu_s": means / in_time, "gpt3_4096_s": found}, lines_told


def _seconds(act, rounds: int) -> float:  # type: ignore[no-untyped-def]
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        act()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def _accuracy(quick: bool) -> tuple[dict[str, float], dict[str, list[str]]]:
    every = runs()
    shipped = predict(efficiency.constants(), [fitting.measured(run) for run in every])
    error = fitting.errors(shipped)
    moe = np.array([run.moe for run in every])
    print(f"\n{fitting.HEAD}")
    print(fitting.row("dense, all eligible", error[~moe]))
    print(fitting.row("MoE, all eligible", error[moe]))
    for key in ("family", "chip"):
        _by(key, every, error, moe)
    eight = np.array([run.id in EIGHT for run in every])
    print(fitting.row("Korthikanti, table 5, end to end", error[eight]))
    told = memory_errors()
    figures = {
        "dense_mean_pct": _mean(error[~moe]),
        "moe_mean_pct": _mean(error[moe]),
        "megatron_table_pct": _mean(error[eight]),
        "memory_pct": _mean(told),
        "layout_regret_ok_share": regret(every, shipped),
    }
    if not quick:
        out = fitting.errors(fitting.leave_out("family"))
        print(fitting.row("dense, each source held out", out[~moe]))
        print(fitting.row("MoE, each source held out", out[moe]))
        _by("family", every, out, moe, "  held out: ")
        figures["dense_leave_one_out_pct"] = _mean(out[~moe])
        figures["moe_leave_one_out_pct"] = _mean(out[moe])
        chip = fitting.errors(fitting.leave_out("chip"))
        sections = {
            "errors": page.errors(
                (
                    ("dense, all", error[~moe]),
                    ("dense, its source left out", out[~moe]),
                    ("dense, its chip left out", chip[~moe]),
                    ("experts, all", error[moe]),
                    ("experts, its source left out", out[moe]),
                    ("experts, its chip left out", chip[moe]),
                    ("Megatron end to end (Korthikanti, table 5)", error[eight]),
                    ("memory, where published", told),
                )
            ),
            "sources": page.sources(every, error, out),
            "chips": page.chips(every, error, chip),
            "bands": page.bands(every, out, chip),
        }
        print("\n".join(sections["bands"]))
        return figures, sections
    return figures, {}


def _mean(error: np.ndarray) -> float:
    return float(np.abs(error).mean()) * 100


def _by(key: str, every: list[Run], error: np.ndarray, moe: np.ndarray, head: str = "  ") -> None:
    for name in sorted({getattr(run, key) for run in every}):
        mine = np.array([getattr(run, key) == name for run in every])
        for which, label in ((mine & ~moe, ""), (mine & moe, " (MoE)")):
            if which.any():
                print(fitting.row(f"{head}{name}{label}", error[which]))


def bytes_of(run: Run) -> float:
    """bytes of a chip by the model, in the leanest of what the source leaves open."""
    chip = replace(
        fitting.facts(run), efficiency=efficiency.efficiency_of(_kind(run.chip), run.stack)
    )
    open_layouts: list[Layout] = [
        replace(layout, recompute=again)
        for layout in run.layouts
        for again in ((layout.recompute,) if run.stated else RECOMPUTATIONS)
    ]
    shape, on = shape_of(run.work), machine_of(chip, run.work.dtype)
    return float(np.min(np.asarray(memory(shape, on, layouts_of(open_layouts)).total)))


def _kind(chip: str) -> str:
    return "h100-sxm" if chip == fitting.CAPPED else chip


def memory_error() -> float:
    """Mean size of the errors of memory, %."""
    return _mean(memory_errors())


def memory_errors() -> np.ndarray:
    """Relative errors of memory, where it is published; says what failed and what ran wrongly."""
    table = [run for row in rows() if (run := read(row, timed=False))]
    told = [run for run in table if run.memory]
    error = np.array([bytes_of(run) / run.memory - 1.0 for run in told if run.memory])
    print(fitting.row("memory, where published", error))
    failed = [run for run in table if run.group == "oom_negative"]
    refused = [run for run in failed if bytes_of(run) > fitting.facts(run).memory]
    wrong = [run for run in runs() if bytes_of(run) > fitting.facts(run).memory]
    print(f"out of memory: {len(refused)} of {len(failed)} refused; let through: ", end="")
    print(", ".join(run.id for run in failed if run not in refused) or "none")
    print(f"ran, but refused: {len(wrong)} of {len(runs())}: ", end="")
    print(", ".join(f"{run.id} ({run.family})" for run in wrong) or "none")
    return error


def regret(every: list[Run], predicted: np.ndarray) -> float:
    """Share of the sweeps whose chosen layout is within 5 % of the best measured one."""
    sweeps: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, run in enumerate(every):
        work = run.work
        same = (work.layers, work.hidden, work.heads, work.seq_len, work.dtype)
        sweeps[(run.family, run.stack, run.chip, run.chips, *same)].append(place)
    regrets = []
    for places in sweeps.values():
        if len({every[place].layouts for place in places}) >= SWEEP:
            per_sequence = [every[p].step / every[p].work.global_batch for p in places]
            guess = [predicted[p] / every[p].work.global_batch for p in places]
            chosen = per_sequence[int(np.argmin(guess))]
            regrets.append(chosen / min(per_sequence) - 1.0)
    good = [regret <= NEAR for regret in regrets]
    print(
        f"sweeps of {SWEEP} or more layouts: {len(good)}; the chosen one within {NEAR:.0%} of the "
        f"best: {sum(good)}; worst {max(regrets):.1%}"
    )
    return sum(good) / len(good)


def _serving() -> dict[str, float]:
    import plan_serving

    error = [error for _, error in plan_serving.errors(plan_serving.cases()[0])]
    print(fitting.row("serving, throughput", np.array(error)))
    return {"serving_pct": _mean(np.array(error))}


if __name__ == "__main__":
    main()
