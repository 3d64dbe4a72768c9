"""Which answers count, how the lease runs, and what a report carries."""

from __future__ import annotations

from collections.abc import Mapping

from skep.agent.desk import LOG_BYTES, PROGRESS_LINES, Desk
from skep.model.message import Answer, LogChunk, ProgressChunk, RunReport


def answer(revision: int, lease: float = 10.0, **acknowledged: int) -> Answer:
    return Answer(
        revision=revision,
        lease=lease,
        acknowledged={k.replace("_", "/"): v for k, v in acknowledged.items()},
    )


def test_the_lease_counts_from_when_the_report_was_sent() -> None:
    desk = Desk("x")
    desk.hear(answer(1), sent=100.0, now=105.0)
    assert desk.lease_until == 110.0
    desk.hear(answer(1), sent=99.0, now=106.0)
    assert desk.lease_until == 110.0
    desk.hear(answer(1, lease=2.0), sent=101.0, now=107.0)
    assert desk.lease_until == 103.0


def test_of_two_answers_that_crossed_the_newer_counts() -> None:
    desk = Desk("x")
    assert desk.hear(answer(7), sent=100.0, now=101.0)
    assert not desk.hear(answer(6), sent=99.0, now=102.0)
    assert desk.answer is not None
    assert desk.answer.revision == 7


def test_a_control_plane_that_counts_anew_is_heard() -> None:
    desk = Desk("x")
    desk.hear(answer(7), sent=100.0, now=101.0)
    assert desk.hear(answer(1), sent=102.0, now=103.0)
    assert desk.answer is not None
    assert desk.answer.revision == 1


class Talkative:
    """An engine with endless output: 1 MB of log and 10,000 lines for each run."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, int]]] = []

    def logs(self, run: str, after: Mapping[str, int], limit: int) -> tuple[LogChunk, ...]:
        self.asked.append((run, dict(after)))
        offset = after.get("0", 0)
        size = min(limit, 1_000_000 - offset)
        return (LogChunk(run=run, process="0", offset=offset, text="x" * size),) if size else ()

    def progress(self, run: str, after: int, limit: int) -> ProgressChunk | None:
        lines = tuple({"step": after + n} for n in range(min(limit, 10_000 - after)))
        return ProgressChunk(run=run, offset=after, lines=lines) if lines else None


def test_a_report_carries_what_is_not_acknowledged_up_to_the_caps() -> None:
    desk, engine = Desk("x"), Talkative()
    desk.note((RunReport(run="r", phase="running"),))
    desk.hear(answer(1, r_0=1000, r=70), sent=0.0, now=0.0)
    report = desk.report(engine)  # type: ignore[arg-type]
    assert engine.asked == [("r", {"0": 1000})]
    assert report.logs[0].offset == 1000
    assert len(report.logs[0].text) == LOG_BYTES
    assert report.progress[0].offset == 70
    assert len(report.progress[0].lines) == PROGRESS_LINES
    assert desk.full
    again = desk.report(engine)  # type: ignore[arg-type]
    assert again.logs == report.logs
    assert again.number == report.number + 1
    assert report.known == 1


def test_a_talkative_run_does_not_silence_another() -> None:
    desk, engine = Desk("x"), Talkative()
    desk.note((RunReport(run="r", phase="running"), RunReport(run="s", phase="running")))
    spoke = {desk.report(engine).logs[0].run for _ in range(2)}  # type: ignore[arg-type]
    assert spoke == {"r", "s"}


def test_dropping_a_run_leaves_the_others() -> None:
    desk = Desk("x")
    desk.hear(answer(1, r_0=5, r=1, r1_0=7), sent=0.0, now=0.0)
    desk.drop("r")
    assert desk.acknowledged == {"r1/0": 7}
