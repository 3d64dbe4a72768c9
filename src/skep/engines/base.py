"""What an engine does. One contract suite runs over every implementation.

An engine executes runs at one site. Everything is idempotent by run id: a run is started at most
once, however often it is ordered and whoever dies in between; once stopped or ended it never
starts again, also after it was forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from skep.model.message import LogChunk, Order, ProgressChunk, RunReport


@dataclass(frozen=True, slots=True)
class Material:
    """What a run needs besides its order: the packed workdir and the exchange token."""

    bundle: Path | None = None
    token: str = ""


class Engine(Protocol):
    """Errors of a single run are told in its report (phase ``failed``, a reason), not raised.

    An engine that binds runs to nodes names in the report of a failed run the nodes on which it
    failed (at most 16, and only if it can keep later runs off them), and keeps a run off the nodes
    of ``order.share.avoid`` where it can give the chips without them, never longer: the run then
    starts on them all the same. One whose site is a single machine names none: the control plane
    then avoids the site.
    """

    def prepare(self, order: Order, material: Material) -> None:
        """Take the run on: unpack, run its setup. Reported as preparing, then ready or failed."""
        ...

    def go(self, order: Order) -> None:
        """Start the processes of a run that is ready; nothing where it has started or ended."""
        ...

    def stop(self, run: str, grace: float, reason: str) -> None:
        """Ask the run to end, kill it after ``grace`` seconds. Reported as stopped when it has."""
        ...

    def forget(self, run: str) -> None:
        """Drop an ended run's working files (not its checkpoint); its id stays known as used."""
        ...

    def poll(self) -> tuple[RunReport, ...]:
        """Every run that the engine holds and has not forgotten."""
        ...

    def logs(self, run: str, after: Mapping[str, int], limit: int) -> tuple[LogChunk, ...]:
        """Log text of each process from byte ``after[process]`` on, at most ``limit`` bytes."""
        ...

    def progress(self, run: str, after: int, limit: int) -> ProgressChunk | None:
        """At most ``limit`` progress lines from line ``after`` on; None where there are none."""
        ...

    def close(self) -> None:
        """Let go of what the engine holds in this process; runs go on."""
        ...


@runtime_checkable
class Fenced(Protocol):
    """An engine whose runs outlive its agent, and which ends them itself when the lease runs out.

    Without it a dead agent could not keep the promise that a run is never alive twice.
    """

    def hold_lease(self, until: float) -> None:
        """Note until when the site's lease runs, on the machine's boot clock in seconds."""
        ...
