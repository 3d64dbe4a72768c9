"""``skep plan calibrate RUNS``: fits a chip's constants to one's own runs, before and after."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from rich.table import Table

from skep.errors import InputError
from skep.planner.calibrate import Calibrated, Run


def calibrate(runs: Path | None, own: Path | None, as_json: bool) -> None:
    """Read the runs, fit, and print what changed."""
    from skep.cli.output import show, show_json
    from skep.cli.planning import tools
    from skep.files.chipfile import find_chip, load_chips
    from skep.files.runs import load_runs
    from skep.planner import calibrate as fitting
    from skep.planner.unknown import fill

    if runs is None:
        raise InputError("RUNS", None, "allowed: a CSV file of measured runs (required)")
    known = load_chips(own)
    kind, measured = load_runs(runs)
    chip = fill(find_chip(kind, known, "chip"), known.values()).chip
    model = tools()
    found = fitting.calibrate(measured, model.facts(chip), model.estimate)
    if as_json:
        show_json(_json(found))
        return
    show(_runs(measured, found), "", _summary(found), "", _factors(found))


def _json(found: Calibrated) -> dict[str, object]:
    return {
        "chip": found.kind,
        "factors": found.factors,
        "before": found.before,
        "after": found.after,
        "left_out": found.left_out,
    }


def _runs(measured: list[Run], found: Calibrated) -> Table:
    from skep.cli.tables import table
    from skep.planner.words import layout_words, time_words

    right = ("MEASURED", "BEFORE", "AFTER", "LEFT OUT")
    made = table("MODEL", "LAYOUT", *right, right=right)
    for run, *ratios in zip(measured, found.before, found.after, found.left_out, strict=True):
        told = [f"{ratio - 1:+.1%}" for ratio in ratios]
        made.add_row(run.work.name, layout_words(run.layout), time_words(run.step), *told)
    return made


def _summary(found: Calibrated) -> str:
    before, after, out = (
        mean(abs(ratio - 1) for ratio in some)
        for some in (found.before, found.after, found.left_out)
    )
    return (
        f"{found.kind}, {len(found.before)} runs: mean error {before:.1%} before, {after:.1%} "
        f"after, {out:.1%} of a run that was left out"
    )


def _factors(found: Calibrated) -> str:
    told = ", ".join(f"{name} x {factor:.3g}" for name, factor in found.factors.items())
    return f"{told}\nuse it: the same with --json into a file, then skep plan … --calibration FILE"
