"""What jobs, sites and decisions look like on a screen. Views in, things to print out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from skep.cli.output import printable
from skep.model.views import JobDetail, JobView, RunView, SiteView, Why
from skep.units import duration, si

STYLES = {
    "waiting": "yellow",
    "starting": "cyan",
    "running": "green",
    "succeeded": "bold green",
    "failed": "bold red",
    "cancelled": "magenta",
    "assigned": "cyan",
    "ready": "cyan",
    "stopping": "yellow",
    "stopped": "magenta",
    "lost": "bold red",
    "up": "green",
    "unknown": "yellow",
}
VERBS = {"succeeded": "has ", "failed": "has ", "cancelled": "was "}
"""What stands before the phase of a job that has ended."""


def table(*columns: str, right: Sequence[str] = (), whole: bool = False) -> Table:
    """An empty table without lines; the columns in ``right`` are aligned to the right.

    ``whole``: no cell is broken over lines; for tables that are narrow anyway.
    """
    padding = (0, 1, 0, 0) if whole else (0, 1)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=padding)
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        made.add_column(name, justify=justify, overflow="fold", no_wrap=whole)
    return made


def phase(word: str) -> Text:
    """A phase in its colour; the word alone says it too."""
    return Text(word, style=STYLES.get(word, ""))


def clock(at: float) -> str:
    """Local time of day."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


def took(begin: float | None, end: float | None, now: float) -> str:
    """How long from ``begin`` to ``end`` or now; "–" before the beginning."""
    return "–" if begin is None else duration(max(0.0, (end or now) - begin))


def jobs_table(jobs: Sequence[JobView], now: float) -> Table:
    """Jobs, one a line. Times are seconds since the epoch."""
    made = table("JOB", "ID", "PHASE", "CHIPS", "SITES", "AGE", "RUNNING", "WHY", right=("CHIPS",))
    for job in jobs:
        made.add_row(
            job.name,
            job.id,
            phase(job.phase),
            f"{job.chips} {job.chip}".strip(),
            ", ".join(job.sites) or "–",
            duration(max(0.0, now - job.submitted_at)),
            took(job.started_at, job.ended_at, now),
            printable(job.reason),
        )
    return made


def job_lines(job: JobDetail, now: float) -> Text:
    """What was asked for and how it stands."""
    rows = [
        ("job", f"{job.name} ({job.id})"),
        ("phase", job.phase + (", cancelling" if job.cancelling else "")),
        ("why", printable(job.reason)),
        ("user", job.user or "–"),
        ("queue", f"{job.queue}, priority {job.priority}"),
        ("asked for", asked_for(job)),
        ("command", printable(job.spec.run.strip().replace("\n", " ; "))),
        ("submitted", f"{clock(job.submitted_at)}, {duration(now - job.submitted_at)} ago"),
        ("running", took(job.started_at, job.ended_at, now)),
        ("failures", f"{job.failures} (of {job.spec.retries} that are retried)"),
        *_changed(job),
    ]
    text = Text()
    for name, value in rows:
        text.append(f"{name:<10} ", style="dim")
        text.append(value + "\n", style=STYLES.get(job.phase, "") if name == "phase" else "")
    return text


def _changed(job: JobDetail) -> list[tuple[str, str]]:
    """How it gave way, moved and grew, and what is kept for it; nothing where nothing was."""
    rows = []
    if job.stops or job.moves:
        kept = f"{duration(job.kept_work)} of work kept" if job.kept_work else "no work kept"
        what = [f"stopped for others {_times(job.stops)}"] if job.stops else []
        what += [f"moved {_times(job.moves)}"] if job.moves else []
        rows.append(("gave way", f"{', '.join(what)}; {kept}, waited {duration(job.paused)}"))
    if job.elastic:
        rows.append(("size", f"{job.chips} of {job.elastic.min} to {job.elastic.max} chips"))
    if job.claim:
        rows.append(("kept", printable(job.claim)))
    return rows


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def asked_for(job: JobDetail) -> str:
    """Chips and span as a sentence."""
    ways = " or ".join(f"{c.count} {c.kind or 'of any kind'}" for c in job.spec.chips)
    span = job.spec.span
    sites = f"{span.min}" if span.most == span.min else f"{span.min} to {span.most}"
    return f"{ways} over {sites} site{'' if sites == '1' else 's'}"


def runs_table(runs: Sequence[RunView], now: float) -> Table:
    """Runs, one a line."""
    made = table(
        "RUN", "SITE", "CHIPS", "PHASE", "FOR", "POWER", "ENERGY", "RENEWABLE", "WHY",
        right=("CHIPS", "POWER", "ENERGY", "RENEWABLE"),
    )  # fmt: skip
    for run in runs:
        code = f" (exit {run.exit_code})" if run.exit_code else ""
        made.add_row(
            run.run,
            run.site,
            f"{run.chips} {run.chip}",
            phase(run.phase),
            took(run.started_at, run.ended_at, now),
            si(run.power, "W") if run.power and run.ended_at is None else "–",
            si(run.energy, "J") if run.energy else "–",
            f"{run.renewable:.0%}" if run.energy else "–",
            printable(run.reason) + code + _nodes(run),
        )
    return made


def _nodes(run: RunView) -> str:
    """On which nodes it failed, and which ones it was kept off."""
    failed = f"; on {', '.join(run.failed_on)}" if run.failed_on else ""
    return printable(failed + (f"; kept off {', '.join(run.kept_off)}" if run.kept_off else ""))


def sites_table(sites: Sequence[SiteView]) -> Table:
    """Sites, one a line for each kind of chip."""
    made = table(
        "SITE", "STATE", "CHIPS", "FREE", "RUNS", "POWER", "CAP", "RENEWABLE", "COUNTRY", "SILENT",
        right=("CHIPS", "FREE", "RUNS", "POWER", "CAP", "RENEWABLE", "SILENT"),
    )  # fmt: skip
    for site in sites:
        for row, pool in enumerate(site.pools):
            made.add_row(
                *((site.name, phase(site.phase)) if row == 0 else ("", "")),
                f"{pool.chips} {pool.chip}",
                str(pool.free),
                *(_about(site) if row == 0 else ()),
            )
    return made


def _about(site: SiteView) -> tuple[str, ...]:
    power = site.power
    return (
        str(len(site.runs)),
        si(power.drawn, "W") if power else "–",
        si(power.cap, "W") if power and power.cap is not None else "–",
        f"{power.renewable:.0%}" if power else "–",
        site.country or "–",
        duration(site.silent) if site.silent is not None else "–",
    )


def decisions_text(why: Why) -> Text:
    """Decisions as sentences, oldest first."""
    text = Text()
    for decision in why.decisions:
        text.append(clock(float(decision["at"])) + "  ", style="dim")
        text.append(printable(str(decision["text"])) + "\n")
    return text


def _when(text: Text, why: Why) -> None:
    """Its place in the order, how long it takes and when it should start."""
    if why.place is not None:
        by = f" ({printable(why.order)})" if why.order else ""
        text.append(f"It is number {why.place} of {why.waiting} waiting{by}.\n")
    if why.length:
        text.append(f"It is {printable(why.length)}.\n")
    if why.start_reason:
        text.append("Expected to start: ", style="bold")
        text.append(printable(why.start_reason) + "\n")


def why_text(why: Why) -> Text:
    """What was decided on a job and why; for a waiting one what would let it run."""
    text = Text(f"{why.name} ({why.id}) {VERBS.get(why.phase, 'is ')}")
    text.append(why.phase, style=STYLES.get(why.phase, ""))
    text.append(f": {printable(why.summary)}\n")
    _when(text, why)
    for refusal in sorted(why.refusals, key=lambda r: -len(r.sites)):
        some = ", ".join(refusal.sites[:4]) + (" …" if len(refusal.sites) > 4 else "")
        count = len(refusal.sites)
        text.append(f"  {count} site{'s' if count > 1 else ''}: {refusal.reason} ({some})\n")
    if why.remedy:
        text.append("What would let it run: ", style="bold")
        text.append(printable(why.remedy) + "\n")
    if why.changes:
        text.append("It would start now with one of these, the smallest change first:\n")
        for change in why.changes:
            text.append(f"  {change.field}: {printable(change.value)}", style="bold")
            text.append(f"  ({printable(change.gives)})\n")
    for avoided in why.avoids:
        text.append(f"Avoids, where others fit: {printable(avoided)}\n")
    for at in why.standings:
        used, part = f"{at.held:.0f} held, {at.used:.0f} used", f"{at.deserved:.0f} deserved"
        text.append(f"Queue {at.queue}: {used}, {part} (in chips of the fastest kind)\n")
    if why.decisions:
        text.append("\nWhat was decided:\n", style="bold")
        text.append(decisions_text(why))
    return text
