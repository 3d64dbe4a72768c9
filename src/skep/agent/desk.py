"""What the agent last heard and what it has to say: the shared state of its threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from skep.engines.base import Engine
from skep.model.job import OnSiteLoss
from skep.model.message import Answer, LogChunk, ProgressChunk, Report, RunReport

LOG_BYTES = 256 * 1024
PROGRESS_LINES = 500


@dataclass(slots=True)
class Desk:
    """Takes answers in, gives reports out; may be used from several threads.

    ``lease_until`` is on the agent's clock; None before the first lease. ``full`` tells that the
    last report with output had no room for all of it.
    """

    agent: str
    lease_until: float | None = None
    answer: Answer | None = None
    reports: tuple[RunReport, ...] = ()
    policies: dict[str, OnSiteLoss] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    full: bool = False
    _number: int = 0
    _renewed: float = 0.0
    _heard_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def renew(self, sent: float, lease: float) -> float:
        """The lease runs ``lease`` seconds from when the report was sent; its end is answered.

        The report that was sent last counts: its answer may also shorten the lease.
        """
        with self._lock:
            if self.lease_until is None or sent >= self._renewed:
                self.lease_until, self._renewed = sent + lease, sent
            return self.lease_until

    def hear(self, answer: Answer, sent: float, now: float) -> bool:
        """Take an answer whose report was sent at ``sent``; False where a newer one was heard.

        Any answer renews the lease. One of a lower revision counts only if it was asked for after
        the last one was heard: then the control plane has begun to count anew; else the two
        crossed on their way.
        """
        self.renew(sent, answer.lease)
        with self._lock:
            known = self.answer
            if known is not None and answer.revision < known.revision and sent < self._heard_at:
                return False
            self.answer, self._heard_at = answer, now
            self.acknowledged |= answer.acknowledged
            self.policies |= {o.run: o.spec.on_site_loss for o in answer.orders}
            return True

    def note(self, reports: tuple[RunReport, ...]) -> bool:
        """Keep what the engine holds now; True where a run's state has changed."""
        with self._lock:
            changed = reports != self.reports
            self.reports = reports
            return changed

    def drop(self, run: str) -> None:
        """Forget what is known of a run that the engine forgot."""
        with self._lock:
            self.policies.pop(run, None)
            for key in [k for k in self.acknowledged if k.partition("/")[0] == run]:
                del self.acknowledged[key]

    def report(self, engine: Engine | None = None) -> Report:
        """The next report; with the output not yet acknowledged where an engine is given."""
        with self._lock:
            self._number += 1
            number, reports = self._number, self.reports
            known = -1 if self.answer is None else self.answer.revision
            acknowledged = dict(self.acknowledged)
        logs: tuple[LogChunk, ...] = ()
        progress: tuple[ProgressChunk, ...] = ()
        if engine is not None:
            # Another run goes first each time, so that a talkative one silences nobody.
            turn = number % max(1, len(reports))
            runs = [report.run for report in (*reports[turn:], *reports[:turn])]
            logs = new_logs(engine, runs, acknowledged)
            progress = new_progress(engine, runs, acknowledged)
            self.full = _size(logs) > LOG_BYTES // 2 or _lines(progress) == PROGRESS_LINES
        return Report(
            agent=self.agent,
            number=number,
            runs=reports,
            logs=logs,
            progress=progress,
            known=known,
        )

    def unsent(self, engine: Engine, run: str) -> bool:
        """Whether the run has output that the control plane has not acknowledged."""
        acknowledged = dict(self.acknowledged)
        return bool(
            new_logs(engine, [run], acknowledged) or new_progress(engine, [run], acknowledged)
        )


def new_logs(engine: Engine, runs: list[str], done: dict[str, int]) -> tuple[LogChunk, ...]:
    """Log text beyond the acknowledged offsets, at most ``LOG_BYTES`` in all."""
    chunks: tuple[LogChunk, ...] = ()
    for run in runs:
        room = LOG_BYTES - _size(chunks)
        after = {key.partition("/")[2]: at for key, at in done.items() if key.startswith(run + "/")}
        if room > 0:
            chunks += engine.logs(run, after, room)
    return chunks


def new_progress(
    engine: Engine, runs: list[str], done: dict[str, int]
) -> tuple[ProgressChunk, ...]:
    """Progress lines beyond the acknowledged ones, at most ``PROGRESS_LINES`` in all."""
    chunks: tuple[ProgressChunk, ...] = ()
    for run in runs:
        room = PROGRESS_LINES - _lines(chunks)
        if room > 0 and (chunk := engine.progress(run, done.get(run, 0), room)) is not None:
            chunks += (chunk,)
    return chunks


def _size(logs: tuple[LogChunk, ...]) -> int:
    return sum(len(chunk.text.encode()) for chunk in logs)


def _lines(progress: tuple[ProgressChunk, ...]) -> int:
    return sum(len(chunk.lines) for chunk in progress)
