"""What turns a job away before any site is looked at: its time, its queue, its user."""

from __future__ import annotations

import datetime

import numpy as np

from skep.model.snapshot import Ints, Refusal, Shape, Waiting
from skep.scheduler.board import Board
from skep.scheduler.line import Group, Line

_LAST = datetime.datetime.max.replace(tzinfo=datetime.UTC).timestamp() - 86400.0


def turned_away(job: Waiting, shape: Shape, board: Board, now: float) -> Refusal | None:
    """The refusal of a job that may not be placed at all now; None where it may."""
    queue = board.queues.get(shape.queue)
    if queue is None:
        known = ", ".join(q.name for q in board.policy.queues)
        return _never(job, f"there is no queue {shape.queue}", f"queues: {known}")
    if queue.users and job.user not in queue.users:
        users = ", ".join(queue.users)
        reason = f"{job.user or 'an unnamed user'} may not use queue {queue.name}"
        return _never(job, reason, f"its users: {users}")
    if job.not_before > now:
        until = _clock(job.not_before)
        return Refusal(job.job, job.version, f"waits to retry until {until}", {})
    return None


def may_pass(board: Board, line: Line, group: Group, now: float) -> Ints:
    """Rows of ``group`` that ``turned_away`` lets pass."""
    queue = board.queues.get(line.shapes[group.shape].queue)
    if queue is None or (group.alone is not None and group.alone.not_before > now):
        return group.rows[:0]
    if not queue.users:
        return group.rows
    rows = [row for row in group.rows.tolist() if line.users[row] in queue.users]
    return np.array(rows, dtype=np.int64)


def _never(job: Waiting, reason: str, remedy: str) -> Refusal:
    return Refusal(job.job, job.version, reason, {}, remedy, never=True)


def _clock(when: float) -> str:
    moment = datetime.datetime.fromtimestamp(min(when, _LAST), tz=datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
