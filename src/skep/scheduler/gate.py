"""What turns a job away before any site is looked at: its time, its queue, its user, its quota."""

from __future__ import annotations

import datetime
import math

from skep.model.policy import Queue
from skep.model.snapshot import Refusal, Shape, Waiting
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger

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


def quota_left(board: Board, ledger: Ledger, queue: str) -> float:
    """Chips that the queue may still take; inf without a quota."""
    found = board.queues.get(queue)
    return math.inf if found is None else left_in(found, ledger)


def left_in(queue: Queue, ledger: Ledger) -> float:
    """Chips that ``queue`` may still take under its quota; inf without one."""
    if queue.max_chips is None:
        return math.inf
    return max(0, queue.max_chips - ledger.held.get(queue.name, 0))


def _never(job: Waiting, reason: str, remedy: str) -> Refusal:
    return Refusal(job.job, job.version, reason, {}, remedy, never=True)


def _clock(when: float) -> str:
    moment = datetime.datetime.fromtimestamp(min(when, _LAST), tz=datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
