"""Figures, plots and page of a job, from one made-up story."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.cli.compare import SECONDS, Comparison, alone_spec
from skep.cli.summary import heldout_words, next_commands, training_rows
from skep.errors import SkepError
from skep.model.event import GangReady, JobEnded, Logged, SiteLost, Submitted
from skep.model.job import ChipRequest, Job, Span
from skep.model.views import (
    JobDetail,
    PoolView,
    PowerView,
    ProgressLine,
    RunView,
    SiteView,
)
from skep.web import plots
from skep.web.figures import figures
from skep.web.report import render, write_report
from skep.web.story import MOST_SAMPLES, Story, number

BEGAN = 1000.0
SITES = (("a", 2), ("b", 1))
EVIL = "<script>alert(1)</script>"


def run_view(site: str, chips: int, attempt: int = 1, **more) -> RunView:
    values = {
        "run": f"j-a{attempt}-{site}", "attempt": attempt, "site": site, "chip": "cpu-core",
        "chips": chips, "nodes": 1, "phase": "succeeded", "placed_at": BEGAN - 1,
        "started_at": BEGAN, "ended_at": BEGAN + 10, "exit_code": 0, "energy": 100.0 * chips,
        "renewable": 0.5,
    }  # fmt: skip
    return RunView(**(values | more))


def job(runs: list[RunView], name: str = "train") -> JobDetail:
    spec = Job(
        name=name, run=EVIL, span=Span(min=2), env={"SECRET": "hunter2"},
        chips=(ChipRequest(kind="cpu-core", count=3),),
    )  # fmt: skip
    return JobDetail(
        id=f"{name}-1", name=name, user="u", queue="default", priority=0, phase="succeeded",
        chips=3, chip="cpu-core", sites=("a", "b"), submitted_at=BEGAN - 2, started_at=BEGAN,
        ended_at=BEGAN + 10, reason="done", spec=spec, runs=tuple(runs), version=3,
    )  # fmt: skip


def line(n: int, site: str, attempt: int = 1, **values) -> ProgressLine:
    return ProgressLine(n=n, run=f"j-a{attempt}-{site}", site=site, line=values)


def step(n: int, site: str, at: float, k: int, attempt: int = 1, **more) -> ProgressLine:
    values = {
        "kind": "step", "t": BEGAN + at, "step": 10 * k, "tokens": 100 * k, "loss": 5.0 - 0.1 * k,
        "tokens_per_s": 100.0, "exchange_s": 0.1 * k, "bytes_sent": 1000 * k,
        "bytes_received": 10 * k, "round": k, "participants": 2,
    }  # fmt: skip
    return line(n, site, attempt, **(values | more))


@pytest.fixture
def story() -> Story:
    made = Story(job=job([run_view(s, c) for s, c in SITES]))
    for k in range(1, 11):
        made.lines += [step(2 * k, "a", k, k), step(2 * k + 1, "b", k, k)]
    final = {"kind": "final", "ddp_bytes_per_token": 500.0, "steps_over_pace": 0.1}
    made.lines += [step(30, "a", 10, 10, **final), step(31, "b", 10, 10, **final)]
    made.lines += [line(32, s, kind="log", t=BEGAN + 5, heldout_loss=4.5) for s in "ab"]
    made.lines += [
        line(33, s, kind="log", t=BEGAN + 10, heldout_loss=4.0, final=True) for s in "ab"
    ]
    made.lines.append(line(34, "a", kind="event", t=BEGAN + 4, text=f"b left {EVIL}"))
    made.events = [
        Logged(seq=1, event=Submitted(at=BEGAN - 2, job="train-1", spec=made.job.spec)),
        Logged(seq=2, event=GangReady(at=BEGAN, job="train-1", attempt=1)),
        Logged(seq=3, event=SiteLost(at=BEGAN + 3, site="b", reason="silent")),
        Logged(seq=4, event=JobEnded(at=BEGAN + 10, outcome="succeeded", reason="done")),
    ]
    for k in range(5):
        made.sample(BEGAN + 2 * k, [site_view("a"), site_view("b")])
    return made


def site_view(name: str) -> SiteView:
    power = PowerView(cap=30, drawn=12, sun=2, wind=4, grid=6, renewable=0.5)
    return SiteView(
        name=name, phase="up", reason="", country="SE", engine="local", runs=(), silent=0.1,
        pools=(PoolView(chip="cpu-core", chips=1, free=0, nodes=1),), power=power,
    )  # fmt: skip


def test_figures_are_sums_and_means_of_what_was_reported(story: Story) -> None:
    told = figures(story, BEGAN + 99)
    assert told.wall_s == 10.0
    assert told.tokens == 2000
    assert told.bytes_sent == 20_000
    assert told.bytes_per_token == 10.0
    assert told.plain_bytes_per_token == 500.0
    assert told.saving == 50.0
    assert told.blocked_s == pytest.approx(2.0)
    assert told.tokens_per_s == pytest.approx(2000 / 9)
    assert told.first_loss == pytest.approx(4.9)
    assert told.heldout_last == 4.0
    assert told.heldout_first == 4.5
    assert told.energy == 300.0
    assert told.renewable == 0.5
    assert told.over_pace == pytest.approx(0.1)
    assert [s.site for s in told.sites] == ["a", "b"]


def test_counters_of_several_attempts_at_a_site_are_added(story: Story) -> None:
    again = run_view("b", 1, attempt=2, energy=50.0, renewable=1.0)
    story.job = job([*story.job.runs, again])
    story.lines.append(step(40, "b", 20, 3, attempt=2))
    b = figures(story, BEGAN + 99).sites[1]
    assert b.tokens == 1000 + 300
    assert b.bytes_sent == 10_000 + 3000
    assert b.energy == 150.0
    assert b.renewable == pytest.approx((50 + 50) / 150)


def test_a_job_that_reports_nothing_has_figures_too() -> None:
    bare = Story(job=job([]))
    told = figures(bare, BEGAN + 5)
    assert told.tokens == 0
    assert told.first_loss is None
    assert told.saving is None
    assert "Over time" in render(bare, told, None, BEGAN + 5)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
NAMES = ("t", "step", "tokens", "loss", "tokens_per_s", "bytes_sent", "round", "heldout_loss")


@given(
    st.lists(
        st.dictionaries(st.sampled_from(NAMES), anything)
        .flatmap(lambda d: st.sampled_from(["step", "final", "log", "x"]).map(
            lambda kind: d | {"kind": kind}
        )),
        max_size=6,
    )
)  # fmt: skip
def test_whatever_a_program_writes_as_progress_gives_figures(lines: list[dict]) -> None:
    story = Story(job=job([run_view("a", 1)]))
    story.lines = [line(n, "a", **values) for n, values in enumerate(lines)]
    told = figures(story, BEGAN + 10)
    assert told.wall_s == 10.0
    assert told.tokens == told.sites[0].tokens


def test_numbers_are_only_finite_numbers() -> None:
    values = {"a": True, "b": "3", "c": float("nan"), "d": float("inf"), "e": 3, "f": None}
    assert [number(values, name) for name in values] == [None, None, None, None, 3.0, None]


def test_bytes_of_a_round_come_from_neighbouring_lines_of_one_run(story: Story) -> None:
    assert plots.sent_per_round(story, "a") == [(float(k), 1000.0) for k in range(2, 11)]
    story.lines.append(step(50, "a", 20, 1, attempt=2))
    assert len(plots.sent_per_round(story, "a")) == 9


def test_samples_of_a_long_job_are_bounded(story: Story) -> None:
    first = story.samples[0].at
    for k in range(3 * MOST_SAMPLES):
        story.sample(BEGAN + 100 + k, [])
    assert len(story.samples) <= MOST_SAMPLES
    assert story.samples[0].at == first
    assert story.samples[-1].at == BEGAN + 100 + 3 * MOST_SAMPLES - 1


class Page(HTMLParser):
    """Checks that tags close, and collects whatever a browser would fetch."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag, attrs) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name in ("src", "href", "data", "action") and not str(value).startswith("#"):
                self.fetched.append(str(value))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(story: Story) -> None:
    text = render(story, figures(story, BEGAN + 10), story, BEGAN + 10)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.fetched == []
    assert page.scripts == 0
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg") == 6  # loss, rate, exchange, runs, power of two sites


def test_the_page_escapes_what_others_wrote_and_keeps_secrets(story: Story) -> None:
    text = render(story, figures(story, BEGAN + 10), None, BEGAN + 10)
    assert "b left &lt;script&gt;" in text
    assert EVIL not in text
    assert "hunter2" not in text
    assert "SECRET" in text


def test_no_stand_in_colour_is_left(story: Story) -> None:
    text = plots.loss_plot(story, None) + plots.gantt_plot(story, BEGAN + 10)
    assert "#0a0b" not in text
    assert "var(--ink)" in text
    assert 'role="img"' in text


def test_the_report_is_written_whole_or_not_at_all(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = figures(story, BEGAN + 10)
    path = write_report(tmp_path / "new" / "r.html", story, told, None, BEGAN + 10)
    before = path.read_text()
    assert before.startswith("<!doctype html>")

    def full(self: Path, *_: object, **__: object) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_report(path, story, told, None, BEGAN + 10)
    assert [p.name for p in path.parent.iterdir()] == ["r.html"]
    assert path.read_text() == before


def test_the_summary_says_what_was_won_against_the_single_site(story: Story) -> None:
    told = figures(story, BEGAN + 10)
    alone = Comparison("x", "a", 2, heldout=4.25, last_loss=4.2, wall_s=10.0, tokens=900)
    assert "0.250 better together" in heldout_words(told, alone)
    worse = Comparison("x", "a", 2, heldout=3.5, last_loss=4.2, wall_s=10.0, tokens=900)
    assert "0.500 worse together" in heldout_words(told, worse)
    rows = dict(training_rows(told, alone))
    assert rows["sent between sites"] == (
        "20 kB, 10.0 bytes a token; plain data parallelism sends 500 (50 times as much)"
    )
    assert rows["loss"].startswith("4.900 at the start")


def test_the_summary_names_three_commands(story: Story) -> None:
    commands = next_commands(story.job, figures(story, BEGAN + 10), "--home x")
    assert commands == [
        "skep why train --home x",
        "skep logs train --site b --home x",
        "skep show train --home x",
    ]


def test_the_single_site_gets_the_chips_of_the_strongest_and_the_same_time(story: Story) -> None:
    story.lines.append(step(60, "a", 12, 12))
    spec = alone_spec(story.job, figures(story, BEGAN + 10))
    assert spec.name == "train-alone"
    assert spec.chips == (ChipRequest(kind="cpu-core", count=2),)
    assert spec.span == Span()
    assert spec.env == {"SECRET": "hunter2", SECONDS: "11.0"}


def test_one_site_cannot_be_compared_with_itself(story: Story) -> None:
    story.job = job([run_view("a", 2)])
    with pytest.raises(SkepError, match="one site only"):
        alone_spec(story.job, figures(story, BEGAN + 10))
