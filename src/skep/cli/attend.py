"""One ``skep run``: a control plane, the job, its following, the comparison, the report."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skep.cli.compare import Comparison, compare
from skep.cli.embedded import control_plane
from skep.cli.follow import News, begin, follow
from skep.cli.home import home_at
from skep.cli.output import note, show, show_json
from skep.cli.screen import screen_for
from skep.client import Client
from skep.errors import ConflictError, SkepError
from skep.model.views import JobDetail
from skep.web.figures import Figures, figures
from skep.web.story import Story

CANCEL_TIME = 20.0  # seconds that a cancelled job may take to end


@dataclass(slots=True)
class Session:
    """What the user asked for. ``quiet``: nothing but one JSON document on standard output."""

    server: str | None
    home: Path | None
    quiet: bool
    compare: bool
    report: Path | None

    def run(self, file: Path, pool: Path | None, send: Callable[[Client], JobDetail]) -> str:
        """Do all of it; the phase in which the job ended. SIGTERM counts as Ctrl-C."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with control_plane(self.server, self.home, pool, file) as (client, own):
            job = send(client)
            try:
                story = self.attend(client, job)
                told = figures(story, time.time())
                compared = self._compare(client, story.job, told)
            except KeyboardInterrupt:
                self._interrupted(client, job, own)
                raise
        self._tell(story, told, compared)
        return story.job.phase

    def attend(self, client: Client, job: JobDetail) -> Story:
        """Follow a job to its end."""
        follower = begin(client, job)
        if self.quiet:
            follow(follower, _nothing, note)
            return follower.story
        show(f"{job.name} is job {job.id} at {client.url}")
        with screen_for(follower.story) as screen:
            follow(follower, screen.take, screen.note)
        return follower.story

    def _compare(
        self, client: Client, job: JobDetail, told: Figures
    ) -> tuple[Comparison, Story] | None:
        if not self.compare or job.phase != "succeeded":
            return None
        try:
            return compare(client, job, told, job.user, self.attend)
        except SkepError as error:
            note(f"skep: no comparison: {error}")
            return None

    def _interrupted(self, client: Client, job: JobDetail, own: bool) -> None:
        if not own:
            again = f"skep logs -f {job.id}{self._options()}"
            note(f"\n{job.name} goes on: '{again}' follows it, 'skep cancel {job.id}' ends it")
            return
        note(f"\ncancelling {job.name}")
        for mine in client.jobs():
            if mine.ended_at is None and mine.user == job.user and mine.name.startswith(job.name):
                _cancel(client, mine.id)

    def _tell(self, story: Story, told: Figures, compared: tuple[Comparison, Story] | None) -> None:
        comparison, alone = compared if compared is not None else (None, None)
        path = self._write_report(story, told, alone)
        if self.quiet:
            show_json(
                {
                    "job": story.job.model_dump(mode="json"),
                    "figures": told.to_dict(),
                    "alone": comparison.to_dict() if comparison else None,
                    "report": str(path) if path else None,
                }
            )
            return
        from skep.cli.summary import summary

        show(summary(story.job, told, comparison, path, self._options().strip()))

    def _write_report(self, story: Story, told: Figures, alone: Story | None) -> Path | None:
        if self.report is None and not story.lines:
            return None
        from skep.web.report import write_report

        path = self.report or report_path(self.home, story.job.id)
        try:
            return write_report(path, story, told, alone, time.time())
        except OSError as error:
            note(f"skep: no report: {path}: {error.strerror}")
            return None

    def _options(self) -> str:
        """Options with which other commands find the same job."""
        if self.server and self.server != os.environ.get("SKEP_SERVER"):
            return f" --server {shlex.quote(self.server)}"
        if self.home and str(self.home) != os.environ.get("SKEP_HOME"):
            return f" --home {shlex.quote(str(self.home))}"
        return ""


def report_path(home: Path | None, job: str) -> Path:
    """Where the report of a job lies by default."""
    return home_at(home).path / "reports" / f"{job}.html"


def _cancel(client: Client, job: str) -> None:
    try:
        client.cancel(job)
    except ConflictError:
        return
    until = time.monotonic() + CANCEL_TIME
    while client.job(job).ended_at is None and time.monotonic() < until:
        time.sleep(0.1)


def _nothing(_news: News) -> None:
    """Nobody looks."""
