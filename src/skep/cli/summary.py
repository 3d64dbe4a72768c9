"""The summary at the end of ``skep run``: figures in, lines out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from skep.cli.compare import Comparison
from skep.cli.screen import loss
from skep.cli.tables import STYLES, phase, table
from skep.model.views import JobDetail
from skep.units import duration, si
from skep.web.figures import Figures


def summary(
    job: JobDetail, told: Figures, compared: Comparison | None, report: Path | None, again: str
) -> Group:
    """All that is worth knowing of an ended job. ``again``: options to reach the same place."""
    head = Text("\n")
    head.append(f"{job.name} {job.phase}", style=STYLES.get(job.phase, ""))
    head.append(f" after {duration(told.wall_s)}: {job.reason}\n")
    parts: list[Text | Table] = [head]
    if told.tokens:
        parts += [_training(told, compared), Text(), _sites(told), Text()]
    parts.append(_next(job, told, report, again))
    return Group(*parts)


def _training(told: Figures, compared: Comparison | None) -> Table:
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in training_rows(told, compared):
        made.add_row(name, value)
    return made


def training_rows(told: Figures, compared: Comparison | None) -> list[tuple[str, str]]:
    """Name and value of each line."""
    rows = [("loss", f"{loss(told.first_loss)} at the start, {loss(told.last_loss)} at the end")]
    if told.heldout_last is not None:
        rows.append(("held-out loss", heldout_words(told, compared)))
    rows.append(("tokens", f"{told.tokens:,}, {told.tokens_per_s:,.0f} a second"))
    if told.bytes_per_token is not None:
        rows.append(("sent between sites", bytes_words(told)))
        rows.append(("blocked", blocked_words(told)))
    if told.energy:
        share = f"{told.renewable:.0%} of it renewable (modelled)"
        rows.append(("energy", f"{si(told.energy, 'J')}, {share}"))
    if told.over_pace is not None:
        rows.append(("chip speed", f"{told.over_pace:.1%} of the steps overran the stated speed"))
    return rows


def heldout_words(told: Figures, compared: Comparison | None) -> str:
    """The held-out loss, and the best single site's where it was compared."""
    first = f" (from {loss(told.heldout_first)})" if told.heldout_first is not None else ""
    words = f"{loss(told.heldout_last)}{first}"
    if compared is None or compared.heldout is None or told.heldout_last is None:
        return words
    gain = compared.heldout - told.heldout_last
    better = f"{gain:.3f} better together" if gain >= 0 else f"{-gain:.3f} worse together"
    return (
        f"{words}; {compared.site} alone in {duration(compared.wall_s)}:"
        f" {loss(compared.heldout)} ({better})"
    )


def bytes_words(told: Figures) -> str:
    """Bytes a token, against plain data parallelism."""
    words = f"{si(told.bytes_sent, 'B')}, {told.bytes_per_token:,.1f} bytes a token"
    if told.saving is None:
        return words
    return (
        f"{words}; plain data parallelism sends {told.plain_bytes_per_token:,.0f}"
        f" ({told.saving:,.0f} times as much)"
    )


def blocked_words(told: Figures) -> str:
    """Seconds that training waited for exchange."""
    trained = sum(s.trained_s for s in told.sites)
    share = f", {told.blocked_s / trained:.1%} of the training time" if trained else ""
    return f"{duration(told.blocked_s)} over all sites{share}"


def _sites(told: Figures) -> Table:
    columns = (
        "SITE", "CHIPS", "RUN", "LOSS", "TOKENS", "TOKENS/S", "SENT", "BLOCKED", "ENERGY",
        "RENEWABLE",
    )  # fmt: skip
    made = table(*columns, right=tuple(c for c in columns if c not in ("SITE", "RUN")))
    for s in told.sites:
        made.add_row(
            s.site,
            f"{s.chips} {s.chip}",
            phase(s.phase),
            loss(s.last_loss),
            f"{s.tokens:,}",
            f"{s.tokens_per_s:,.0f}",
            si(s.bytes_sent, "B"),
            duration(s.blocked_s),
            si(s.energy, "J") if s.energy else "–",
            f"{s.renewable:.0%}" if s.energy else "–",
        )
    return made


def _next(job: JobDetail, told: Figures, report: Path | None, again: str) -> Text:
    text = Text()
    if report is not None:
        text.append(f"Report: {report}\n")
    text.append("Try next:\n", style="bold")
    for command in next_commands(job, told, again):
        text.append(f"  {command}\n")
    return text


def next_commands(job: JobDetail, told: Figures, again: str) -> list[str]:
    """Three commands that show more."""
    end = f" {again}" if again else ""
    site = f" --site {told.sites[-1].site}" if len(told.sites) > 1 else ""
    return [
        f"skep why {job.name}{end}",
        f"skep logs {job.name}{site}{end}",
        f"skep show {job.name}{end}",
    ]
