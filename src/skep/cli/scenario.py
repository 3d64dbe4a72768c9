"""A simulated scenario, told as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skep.units import duration, si

if TYPE_CHECKING:
    from rich.table import Table

    from skep.sim.report import SimulationReport, Spread

SITES_SHOWN = 5  # those that came nearest to their caps


def figures(report: SimulationReport) -> Table:
    """What happened."""
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


def power(report: SimulationReport) -> Table:
    """The sites that came nearest to their caps."""
    from skep.cli.tables import table

    made = table("PEAK POWER AT", "DRAWN", "CAP", right=("DRAWN", "CAP"))
    for site in report.power[:SITES_SHOWN]:
        cap = "none" if site.cap is None else si(site.cap, "W")
        made.add_row(site.site, si(site.peak, "W"), cap)
    return made
