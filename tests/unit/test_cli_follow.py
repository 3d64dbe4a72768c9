"""Following: what is pulled, when it ends, what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from skep.cli import follow as following
from skep.cli.follow import Follower, News, follow, whole_story
from skep.cli.screen import Plain, sentences
from skep.errors import UnreachableError
from skep.model.event import GangReady, JobEnded, Logged, RunReady, Submitted
from skep.model.job import Job
from skep.model.views import Events, JobDetail, LogPart, Logs, Progress, ProgressLine, RunView
from skep.web.story import Story

SPEC = Job(name="train", run="true")


def detail(phase: str = "running") -> JobDetail:
    run = RunView(
        run="r1", attempt=1, site="a", chip="c", chips=1, nodes=1, phase="running", placed_at=1.0
    )
    return JobDetail(
        id="train-1", name="train", user="u", queue="default", priority=0, phase=phase, chips=1,
        chip="c", sites=("a",), submitted_at=100.0, started_at=100.0, reason="", version=1,
        spec=SPEC, runs=(run,), ended_at=110.0 if phase != "running" else None,
    )  # fmt: skip


def progress(n: int, **line: Any) -> ProgressLine:
    return ProgressLine(n=n, run="r1", site="a", line={"t": 100.0 + n, **line})


class Script:
    """A control plane that has one new thing in each round of pulls."""

    def __init__(self, rounds: list[tuple[str, list[ProgressLine], str]]) -> None:
        self.rounds, self.at, self.failures = rounds, 0, 0
        self.asked_after: list[int] = []

    def events(self, job: str, after: int = 0, wait: float = 0.0) -> Events:
        if self.failures:
            self.failures -= 1
            raise UnreachableError("away")
        self.at += 1
        if self.now()[0] == "failed" and after < 9:
            ended = JobEnded(at=110.0, outcome="failed", reason="exit 1")
            return Events(events=(Logged(seq=9, event=ended),), next=9)
        return Events(events=(), next=after)

    def now(self) -> tuple[str, list[ProgressLine], str]:
        return self.rounds[min(self.at, len(self.rounds)) - 1] if self.at else self.rounds[0]

    def progress(self, job: str, after: int = 0, *, limit: int | None = None) -> Progress:
        self.asked_after.append(after)
        lines = tuple(line for line in self.now()[1] if line.n > after)
        return Progress(lines=lines, next=lines[-1].n if lines else after)

    def logs(self, job: str, *, cursor: str | None = None) -> Logs:
        text = self.now()[2]
        part = LogPart(run="r1", site="a", process="0", offset=0, text=text)
        new = bool(text) and cursor != str(self.at)
        return Logs(parts=(part,) if new else (), cursor=cursor or "0", ended=False)

    def job(self, ref: str) -> JobDetail:
        return detail(self.now()[0])

    def sites(self) -> list[Any]:
        return []

    def pool(self) -> None:
        return None


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def follower(script: Script) -> Follower:
    return Follower(script, Story(job=detail()), clock=Clock(), wall=lambda: 105.0)  # type: ignore[arg-type]


def test_each_line_is_pulled_once_and_the_last_ones_are_waited_for() -> None:
    step, final = progress(1, kind="step", loss=3.0), progress(2, kind="final", loss=2.0)
    script = Script(
        [
            ("running", [step], "hello\n"),
            ("succeeded", [step], ""),
            ("succeeded", [step, final], ""),
            ("succeeded", [step, final], ""),
        ]
    )
    mine = follower(script)
    seen: list[News] = []
    job = follow(mine, seen.append, pytest.fail)
    assert job.phase == "succeeded"
    assert [line.n for line in mine.story.lines] == [1, 2]
    assert [line.n for news in seen for line in news.lines] == [1, 2]


def test_a_last_line_that_never_comes_is_not_waited_for_for_ever() -> None:
    script = Script([("succeeded", [progress(1, kind="step")], "")])
    mine = follower(script)
    assert follow(mine, lambda _: None, pytest.fail).phase == "succeeded"
    assert mine.clock.now < following.DRAIN + 10  # type: ignore[attr-defined]


def test_a_failed_job_ends_after_one_quiet_pull() -> None:
    script = Script([("failed", [progress(1, kind="step")], "")])
    mine = follower(script)
    assert follow(mine, lambda _: None, pytest.fail).phase == "failed"
    assert script.at == 2


def test_a_control_plane_that_is_away_for_a_while_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following.time, "sleep", lambda _: None)
    script = Script([("failed", [], "")])
    script.failures = 3
    told: list[str] = []
    assert follow(follower(script), lambda _: None, told.append).phase == "failed"
    assert len(told) == 3
    script = Script([("running", [], "")])
    script.failures = 1000
    with pytest.raises(UnreachableError):
        follow(follower(script), lambda _: None, told.append)


def test_a_whole_story_is_read_without_waiting() -> None:
    script = Script([("failed", [progress(1, kind="step"), progress(2, kind="step")], "")])
    assert [line.n for line in whole_story(script, detail()).lines] == [1, 2]  # type: ignore[arg-type]


def test_sentences_leave_out_what_is_only_noise_and_what_moves_the_cursor() -> None:
    events = (
        Logged(seq=1, event=Submitted(at=100.0, job="train-1", spec=SPEC)),
        Logged(seq=2, event=RunReady(at=101.0, run="r1")),
        Logged(seq=3, event=GangReady(at=102.5, attempt=1)),
    )
    lines = (progress(3, kind="event", text="b \x1b[2Jleft"), progress(4, kind="step"))
    told = sentences(News(events=events, lines=lines), began=100.0)
    assert len(told) == 3
    assert told[1].startswith("   2.5 s  all runs of attempt 1 are ready")
    assert told[2] == "   3.0 s  a: b �[2Jleft"


def test_plain_output_has_figures_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story(job=detail())
    clock = Clock()
    with Plain(story, clock) as screen:
        for n in range(1, 9):
            line = progress(
                n, kind="step", loss=3.0, tokens=100 * n, tokens_per_s=50.0, bytes_sent=10, round=n
            )
            story.lines.append(line)
            part = LogPart(run="r1", site="a", process="0", offset=0, text=f"line {n}\nrest")
            screen.take(News(lines=(line,), logs=(part,) if n == 1 else ()))
    out = capsys.readouterr().out
    assert 1 <= out.count("tokens/s, round") <= 4
    assert "a/0 | line 1\n" in out
    assert out.endswith("a/0 | rest\n")
