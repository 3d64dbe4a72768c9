"""The plots of the report: a story in, SVG out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean

from matplotlib.ticker import MaxNLocator

from skep.model.views import RunView
from skep.web.figures import MEASURED, heldout
from skep.web.ink import Drawing, drawing, ink, series, thin
from skep.web.story import Story, number

Points = list[tuple[float, float]]
OUTCOME = {"succeeded": "good", "running": "good", "failed": "bad", "lost": "bad"}
MARKED = {
    "site_lost": ("site lost", "bad"),
    "site_returned": ("site back", "good"),
    "retried": ("retried", "bad"),
    "gang_ready": ("go", "soft"),
    "gang_expired": ("gang gave up", "bad"),
}


def loss_plot(story: Story, alone: Story | None) -> str:
    """Training loss per site and held-out loss over time, with the single site's beside them."""
    with drawing("Loss over time", "seconds", "loss (nats)") as made:
        for row, site in enumerate(story.sites()):
            points = measured(story, site, "loss")
            _line(made, points, "", series(row), alpha=0.25)
            _line(made, smoothed(points), site, series(row))
        _dots(made, _heldout(story), "held-out", "text")
        if alone is not None:
            _dots(made, _heldout(alone), f"held-out, {_place(alone)} alone", "bad")
        _legend(made)
    return made.svg


def rate_plot(story: Story) -> str:
    """Tokens per second of each site, one upon the other: the upper edge is the whole job."""
    with drawing("Tokens per second of each site", "seconds", "tokens/s") as made:
        sites = [s for s in story.sites() if measured(story, s, "tokens_per_s")]
        times, rows = _common([smoothed(measured(story, s, "tokens_per_s")) for s in sites])
        if times:
            colours = [series(story.sites().index(s)) for s in sites]
            made.axes.stackplot(times, rows, labels=sites, colors=colours, alpha=0.8, step="post")
        _legend(made)
    return made.svg


def exchange_plot(story: Story) -> str:
    """Bytes that each site sent for a round, over the rounds."""
    with drawing("Bytes sent per round", "round", "MB sent for a round") as made:
        for row, site in enumerate(story.sites()):
            points = [(at, value / 1e6) for at, value in sent_per_round(story, site)]
            _line(made, points, site, series(row))
        made.axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(made)
    return made.svg


def power_plot(story: Story, site: str) -> str:
    """The draw of a site over time by source, and its cap."""
    told = [
        (sample.at - story.began(), view.power)
        for sample in story.samples
        for view in sample.sites
        if view.name == site and view.power is not None
    ]
    with drawing(f"Power of {site} by source", "seconds", "W", height=1.75) as made:
        times = [at for at, _ in told]
        parts = [[getattr(p, part) for _, p in told] for part in ("sun", "wind", "grid")]
        made.axes.stackplot(
            times,
            parts,
            labels=["sun", "wind", "grid"],
            colors=[ink("sun"), ink("wind"), ink("mains")],
        )
        cap = next((p.cap for _, p in told if p.cap is not None), None)
        if cap is not None:
            made.axes.axhline(cap, color=ink("bad"), linestyle="--", linewidth=1.2, label="cap")
        _legend(made)
    return made.svg


def gantt_plot(story: Story, now: float) -> str:
    """Runs of each site as bars, and what befell the job as marks."""
    sites, begin = story.sites(), story.job.submitted_at
    height = 1.3 + 0.34 * len(sites)
    with drawing("Runs of each site over time", "seconds since the submit", "", height) as made:
        axes = made.axes
        for run in story.job.runs:
            _bar(made, run, sites.index(run.site), begin, now)
        axes.set_yticks(range(len(sites)), sites)
        axes.set_ylim(len(sites) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        named: set[str] = set()
        for logged in story.events:
            if logged.event.kind in MARKED:
                word, colour = MARKED[logged.event.kind]
                label = "" if word in named else word
                named.add(word)
                at = logged.event.at - begin
                axes.axvline(at, color=ink(colour), linewidth=1.1, linestyle=":", label=label)
        _legend(made)
    return made.svg


def _bar(made: Drawing, run: RunView, row: int, begin: float, now: float) -> None:
    placed, end = run.placed_at - begin, (run.ended_at or now) - begin
    started = end if run.started_at is None else run.started_at - begin
    colour = ink(OUTCOME.get(run.phase, "soft"))
    made.axes.barh(row, max(0.0, started - placed), left=placed, height=0.5, color=ink("grid"))
    made.axes.barh(row, max(0.0, end - started), left=started, height=0.5, color=colour)
    word = run.phase if run.exit_code in (None, 0) else f"{run.phase} (exit {run.exit_code})"
    made.axes.text(started, row, f" {word}", va="center", color=ink("paper"), fontsize=8.0)


def measured(story: Story, site: str, name: str) -> Points:
    """(seconds since the start, value) of a site's progress lines."""
    return [
        (at - story.began(), value)
        for entry in story.of_kind(*MEASURED)
        if entry.site == site
        and (at := number(entry.line, "t")) is not None
        and (value := number(entry.line, name)) is not None
    ]


def smoothed(points: Points, width: int = 7) -> Points:
    """Each value as the mean of its ``width`` neighbours (fewer at the ends)."""
    half = width // 2
    rows = range(len(points))
    return [
        (points[i][0], fmean(y for _, y in points[max(0, i - half) : i + half + 1])) for i in rows
    ]


def sent_per_round(story: Story, site: str) -> Points:
    """(round, bytes) from the counters of neighbouring lines; none where a run began anew."""
    counted = [
        (entry.run, number(entry.line, "round") or 0.0, number(entry.line, "bytes_sent") or 0.0)
        for entry in story.of_kind(*MEASURED)
        if entry.site == site
    ]
    points: Points = []
    if not counted:
        return points
    run, at, sent = counted[0]
    for this, number_, total in counted[1:]:
        if this == run and number_ > at:
            points.append((number_, max(0.0, total - sent) / (number_ - at)))
        if this != run or number_ > at:
            run, at, sent = this, number_, total
    return points


def _common(lines: Sequence[Points]) -> tuple[list[float], list[list[float]]]:
    """Lines of different times on common times: each keeps its value until its next point.

    Before its first point and after its last one a line is at zero.
    """
    times = thin([(t, 0.0) for t in sorted({t for line in lines for t, _ in line})])[0]
    return times, [[_held(line, t) for t in times] for line in lines]


def _held(line: Points, time: float) -> float:
    for (begin, value), (end, _) in pairwise(line):
        if begin <= time < end:
            return value
    return line[-1][1] if line and line[-1][0] == time else 0.0


def _heldout(story: Story) -> Points:
    return [(at - story.began(), value) for at, _, value in heldout(story)]


def _place(story: Story) -> str:
    return ", ".join(story.sites())


def _line(made: Drawing, points: Points, label: str, colour: str, alpha: float = 1.0) -> None:
    if points:
        made.axes.plot(*thin(points), color=colour, label=label, alpha=alpha)


def _dots(made: Drawing, points: Points, label: str, colour: str) -> None:
    if points:
        made.axes.plot(*thin(points), "o", markersize=4.5, color=ink(colour), label=label, zorder=5)


def _legend(made: Drawing) -> None:
    handles, labels = made.axes.get_legend_handles_labels()
    if labels:
        made.figure.legend(handles, labels, loc="outside upper left", ncols=3, handlelength=1.2)


def powered(story: Story) -> list[str]:
    """Sites whose power was seen more than once: those of which there is something to draw."""
    seen: Iterable[str] = (
        view.name for sample in story.samples for view in sample.sites if view.power is not None
    )
    names = list(seen)
    return [site for site in story.sites() if names.count(site) > 1]
