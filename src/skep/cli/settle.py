"""Letting jobs come to an end before their control plane goes away."""

from __future__ import annotations

import contextlib
import time

from skep.client import Client
from skep.errors import ConflictError
from skep.model.views import JobView

HOLDING = ("starting", "running")


def holding(client: Client) -> list[JobView]:
    """Jobs that hold chips now, oldest first."""
    return [job for job in reversed(client.jobs()) if job.phase in HOLDING]


def cancel_all(url: str, token: str, seconds: float) -> list[JobView]:
    """Cancel the jobs that hold chips and wait for their end; those that still hold some."""
    with Client(url, token) as client:
        for job in holding(client):
            with contextlib.suppress(ConflictError):  # it has ended meanwhile
                client.cancel(job.id)
        until = time.monotonic() + seconds
        while (left := holding(client)) and time.monotonic() < until:
            time.sleep(0.1)
        return left
