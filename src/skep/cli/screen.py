"""What is shown while a job is followed: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from skep.cli.follow import News
from skep.cli.logs import Lines
from skep.cli.output import console, printable
from skep.control.sentence import sentence
from skep.model.views import SiteView
from skep.units import duration, si
from skep.web.figures import Figures, SiteFigures, figures
from skep.web.story import Story

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

PLAIN_EVERY = 5.0  # seconds between lines of figures where there is no terminal
QUIET = frozenset({"run_ready", "run_started", "run_stopping"})
MOST_NOTES = 3


class Screen(Protocol):
    """Shows news as they come. Use it as a context manager."""

    def __enter__(self) -> Screen: ...
    def __exit__(self, *exc: object) -> None: ...
    def take(self, news: News) -> None: ...
    def note(self, text: str) -> None: ...


def sentences(news: News, began: float) -> list[str]:
    """What happened and what was logged, one line each, with the time since the submit."""
    told = [
        f"{_since(logged.event.at, began)}  {printable(sentence(logged.event))}"
        for logged in news.events
        if logged.event.kind not in QUIET
    ]
    for entry in news.lines:
        if entry.line.get("kind") == "event":
            at = float(entry.line.get("t") or began)
            text = printable(str(entry.line.get("text", "")))
            told.append(f"{_since(at, began)}  {entry.site}: {text}")
    return told


def _since(at: float, began: float) -> str:
    return f"{max(0.0, at - began):6.1f} s"


def watts(story: Story) -> dict[str, SiteView]:
    """The newest look at the sites of the job."""
    newest = story.samples[-1].sites if story.samples else ()
    mine = set(story.sites())
    return {view.name: view for view in newest if view.name in mine}


class Plain:
    """Lines: what happened, what was written, and figures every few seconds."""

    def __init__(self, story: Story, clock: Callable[[], float] = time.monotonic) -> None:
        self._story, self._clock = story, clock
        self._out = console()
        self._lines = Lines(several=True)
        self._next = clock() + PLAIN_EVERY

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *exc: object) -> None:
        for line in self._lines.rest():
            self._out.print(printable(line))

    def take(self, news: News) -> None:
        for text in sentences(news, self._story.job.submitted_at):
            self._out.print(text)
        for part in news.logs:
            for line in self._lines.take(part):
                self._out.print(printable(line))
        if self._clock() >= self._next and any(self._story.of_kind("step")):
            self._next = self._clock() + PLAIN_EVERY
            self._out.print(figures_line(self._story, time.time()))

    def note(self, text: str) -> None:
        self._out.print(text)


def figures_line(story: Story, now: float) -> str:
    """All figures of this moment in one line."""
    told, views = figures(story, now), watts(story)
    sites = "; ".join(
        f"{s.site} loss {loss(s.last_loss)}, {s.rate_now:,.0f} tokens/s{_drawn(views.get(s.site))}"
        for s in told.sites
    )
    return (
        f"{_since(now, story.job.submitted_at)}  loss {loss(told.last_loss)},"
        f" {sum(s.rate_now for s in told.sites):,.0f} tokens/s, round {told.rounds},"
        f" {si(told.bytes_sent, 'B')} sent, blocked {duration(told.blocked_s)} | {sites}"
    )


def _drawn(view: SiteView | None) -> str:
    if view is None or view.power is None:
        return ""
    return f", {si(view.power.drawn, 'W')} ({view.power.renewable:.0%} renewable)"


class Live:
    """A table that stays in place; what happened scrolls above it."""

    def __init__(self, story: Story) -> None:
        from rich.live import Live as RichLive

        self._story = story
        self._out = console()
        self._lines = Lines(several=True)
        self._live = RichLive(console=self._out, auto_refresh=False, transient=True)

    def __enter__(self) -> Live:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()
        self._out.print(_sites(figures(self._story, time.time()), watts(self._story)))

    def take(self, news: News) -> None:
        for text in sentences(news, self._story.job.submitted_at):
            self._out.print(text)
        for part in news.logs:
            for line in self._lines.take(part):
                self._out.print(printable(line), style="dim")
        self._live.update(_picture(self._story, time.time()), refresh=True)

    def note(self, text: str) -> None:
        self._out.print(text, style="yellow")


def _picture(story: Story, now: float) -> Group:
    from rich.console import Group
    from rich.text import Text

    from skep.cli.tables import STYLES

    told, job = figures(story, now), story.job
    head = Text(f"\n{job.name} is ")
    head.append(job.phase, style=STYLES.get(job.phase, ""))
    head.append(f" for {duration(told.wall_s)}" if job.started_at else f": {printable(job.reason)}")
    if told.heldout_last is not None:
        head.append(f" · held-out loss {loss(told.heldout_last)}")
    if told.rounds:
        head.append(f" · round {told.rounds}")
    return Group(head, "", _sites(told, watts(story))) if told.sites else Group(head)


def _sites(told: Figures, views: dict[str, SiteView]) -> Table:
    from skep.cli.tables import phase, table

    columns = (
        "SITE", "CHIPS", "RUN", "LOSS", "TOKENS/S", "ROUND", "WITH", "SENT", "BLOCKED", "POWER",
        "RENEWABLE",
    )  # fmt: skip
    made = table(*columns, right=tuple(c for c in columns if c not in ("SITE", "RUN")))
    for s in told.sites:
        made.add_row(
            s.site, f"{s.chips} {s.chip}", phase(s.phase), *_training(s), *_power(views.get(s.site))
        )
    if len(told.sites) > 1:
        made.add_section()
        made.add_row(*_total(told, views))
    return made


def _training(s: SiteFigures) -> tuple[str, ...]:
    return (
        loss(s.last_loss),
        f"{s.rate_now:,.0f}" if s.rate_now else "–",
        str(s.round) if s.round else "–",
        f"{s.participants} sites" if s.participants > 1 else "–",
        si(s.bytes_sent, "B") if s.bytes_sent else "–",
        duration(s.blocked_s),
    )


def _power(view: SiteView | None) -> tuple[str, str]:
    if view is None or view.power is None:
        return "–", "–"
    return si(view.power.drawn, "W"), f"{view.power.renewable:.0%}"


def _total(told: Figures, views: dict[str, SiteView]) -> tuple[str, ...]:
    powers = [view.power for view in views.values() if view.power]
    drawn = sum(p.drawn for p in powers)
    clean = sum(p.drawn * p.renewable for p in powers)
    return (
        "all",
        str(sum(s.chips for s in told.sites)),
        "",
        loss(told.last_loss),
        f"{sum(s.rate_now for s in told.sites):,.0f}",
        "",
        "",
        si(told.bytes_sent, "B"),
        duration(told.blocked_s),
        si(drawn, "W") if powers else "–",
        f"{clean / drawn:.0%}" if drawn else "–",
    )


def loss(value: float | None) -> str:
    """A loss with three decimals; "–" where there is none."""
    return "–" if value is None else f"{value:.3f}"


def screen_for(story: Story) -> Screen:
    """A live table where there is a terminal, else lines."""
    return Live(story) if console().is_terminal else Plain(story)
