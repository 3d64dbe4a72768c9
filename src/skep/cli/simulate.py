"""``skep simulate``: a scenario in simulated time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.options import AsJson
from skep.units import duration, si

if TYPE_CHECKING:
    from rich.table import Table

    from skep.sim.report import SimulationReport, Spread

SITES_SHOWN = 5  # those that came nearest to their caps
BROKEN_PROMISE = 1  # exit code where something happened that must never happen


def simulate(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario file.")],
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="In place of the scenario's own.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run a scenario in simulated time, with the product's own control plane and agents."""
    from skep.cli.output import show, show_json
    from skep.sim.loading import load_scenario
    from skep.sim.loading import simulate as run

    report = run(load_scenario(scenario), seed)
    if as_json:
        show_json(report.to_json())
    else:
        show(_figures(report), "", _power(report))
    return BROKEN_PROMISE if report.violations else 0


def _figures(report: SimulationReport) -> Table:
    from rich.table import Table

    made = Table.grid(padding=(0, 2))
    for name, value in _lines(report):
        made.add_row(name, value)
    return made


def _lines(r: SimulationReport) -> list[tuple[str, str]]:
    runs = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(r.runs.items()))
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(r.faults.items()))
    lines = [
        ("scenario", f"{r.scenario}, seed {r.seed}"),
        ("pool", f"{r.sites:,} sites, {r.chips:,} chips"),
        ("simulated", f"{duration(r.simulated)} in {duration(r.wall)} ({_speed(r):,.0f} times)"),
        ("jobs", f"{r.submitted:,} submitted: {_outcomes(r)}"),
        ("wait", _spread(r.wait)),
        ("chips in use", f"{r.utilisation:.1%} of all, over the time"),
        ("placements", f"{r.placements:,}; runs: {runs or 'none'}"),
        ("faults", faults or "none"),
        ("lost to faults", f"{r.runs_lost:,} runs, {r.work_lost:,.1f} chip-hours done again"),
        ("over a power cap", f"{r.power_violations} times"),
        ("broken promises", f"{len(r.violations)}"),
        ("cycles", f"{r.cycles:,}: {_spread(r.cycle_wall)} (wall time: noise)"),
        ("events", f"{r.events:,} ({r.events / r.wall if r.wall else 0:,.0f}/s)"),
    ]
    return [*lines, *(("broken", text) for text in r.violations[:10])]


def _speed(report: SimulationReport) -> float:
    return report.simulated / report.wall if report.wall else 0.0


def _outcomes(report: SimulationReport) -> str:
    counts = {
        "succeeded": report.succeeded,
        "failed": report.failed,
        "cancelled": report.cancelled,
        "not ended": report.unended,
        "of these never started": report.never_started,
        "refused": report.refused,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "none"


def _spread(spread: Spread) -> str:
    parts = {"mean": spread.mean, "median": spread.median, "p95": spread.p95, "p99": spread.p99}
    return ", ".join(f"{name} {_short(value)}" for name, value in parts.items())


def _short(seconds: float) -> str:
    return duration(seconds) if seconds >= 1 or not seconds else f"{seconds * 1000:.2f} ms"


def _power(report: SimulationReport) -> Table:
    from skep.cli.tables import table

    made = table("PEAK POWER AT", "DRAWN", "CAP", right=("DRAWN", "CAP"))
    for site in report.power[:SITES_SHOWN]:
        cap = "none" if site.cap is None else si(site.cap, "W")
        made.add_row(site.site, si(site.peak, "W"), cap)
    return made
