"""Following a job: pulls what is new and keeps the story."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from skep.client import Client
from skep.errors import UnreachableError
from skep.model.event import Logged
from skep.model.state import ENDED_JOB
from skep.model.views import JobDetail, LogPart, ProgressLine
from skep.web.story import Story

LOOK = 2.0  # seconds between looks at the job and the sites
DRAIN = 3.0  # seconds that late lines may take after the job's end
SILENCE = 60.0  # seconds that the control plane may be away
PAGE = 1000  # lines of a page


@dataclass(slots=True)
class News:
    """What one pull brought."""

    events: tuple[Logged, ...] = ()
    lines: tuple[ProgressLine, ...] = ()
    logs: tuple[LogPart, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.events or self.lines or self.logs)


@dataclass(slots=True)
class Follower:
    """One job at one control plane. ``clock`` counts seconds, ``wall`` since the epoch."""

    client: Client
    story: Story
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    ended: bool = False
    _seq: int = 0
    _line: int = 0
    _cursor: str | None = None
    _looked: float = float("-inf")
    _ended_at: float | None = field(default=None)

    def pull(self, wait: float) -> News:
        """What is new; waits up to ``wait`` seconds for an event. Sets ``ended`` at the end."""
        job, client = self.story.job.id, self.client
        events = client.events(job, after=self._seq, wait=wait)
        lines = client.progress(job, after=self._line, limit=PAGE)
        logs = client.logs(job, cursor=self._cursor)
        self._seq, self._line, self._cursor = events.next, lines.next, logs.cursor
        self.story.events.extend(events.events)
        self.story.lines.extend(lines.lines)
        news = News(events.events, lines.lines, logs.parts)
        self._look(bool(events.events))
        self._notice_end(news)
        return news

    def _look(self, at_once: bool) -> None:
        now = self.clock()
        if at_once or now - self._looked >= LOOK:
            self._looked = now
            self.story.job = self.client.job(self.story.job.id)
            self.story.sample(self.wall(), self.client.sites())

    def _notice_end(self, news: News) -> None:
        if self.story.job.phase not in ENDED_JOB:
            return
        if self._ended_at is None:
            self._ended_at = self.clock()
        if not news and (_complete(self.story) or self.clock() - self._ended_at >= DRAIN):
            self.story.job = self.client.job(self.story.job.id)
            self.ended = True


def _complete(story: Story) -> bool:
    """Whether the last progress line of each site has come, where such lines are to be expected."""
    if story.job.phase != "succeeded" or not any(story.of_kind("step")):
        return True
    return len({entry.site for entry in story.of_kind("final")}) >= len(story.sites())


def follow(
    follower: Follower, each: Callable[[News], None], tell: Callable[[str], None], wait: float = 0.5
) -> JobDetail:
    """Pull until the job has ended; ``each`` sees what came, ``tell`` what is amiss.

    A control plane that is away for less than a minute is waited for.
    """
    last = follower.clock()
    while not follower.ended:
        try:
            each(follower.pull(wait))
            last = follower.clock()
        except UnreachableError as error:
            if follower.clock() - last > SILENCE:
                raise
            tell(f"the control plane does not answer; trying again ({error})")
            time.sleep(1.0)
    return follower.story.job


def whole_story(client: Client, job: JobDetail) -> Story:
    """All that is on record of a job, without waiting for more."""
    follower = begin(client, job)
    while follower.pull(wait=0.0):
        continue
    return follower.story


def begin(client: Client, job: JobDetail) -> Follower:
    """A follower of ``job`` from its first event on."""
    return Follower(client, Story(job=job, pool=client.pool()))
