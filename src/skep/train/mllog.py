"""A log in the format of MLPerf Training, which its compliance checker reads.

``:::MLLOG`` and a JSON object a line. The format and the order that it demands are described in
the rules of MLPerf Training and in the package ``mlperf-logging``, whose checker a test runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from skep.errors import InputError

POINT, START, STOP = "POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END"


@dataclass(frozen=True, slots=True)
class MLLog:
    """What a submission has to say and skep cannot know. ``path``: where the log is written.

    ``target``: the run succeeds when an evaluation is as low (``lower``), or as high, as this;
    None: when it ends. ``also``: further keys with their values, such as the optimizer's.
    """

    path: str
    benchmark: str
    org: str
    platform: str
    train_samples: int
    eval_samples: int
    division: str = "open"
    target: float | None = None
    lower: bool = True
    caches_cleared: bool = False
    also: Mapping[str, Any] = field(default_factory=dict)


def checked(made: MLLog | None) -> MLLog | None:
    """Raises ``InputError``."""
    if made is None:
        return None
    if made.division not in ("open", "closed"):
        raise InputError("mllog.division", made.division, "allowed: open, closed")
    for name in ("path", "benchmark", "org", "platform"):
        if not getattr(made, name):
            raise InputError(f"mllog.{name}", "", "allowed: a text")
    return made


class MLLogger:
    """Writes the events of one run at ``site``. ``clock``: Unix seconds. ``made`` None: nothing."""

    def __init__(self, made: MLLog | None, site: str, clock: Callable[[], float]) -> None:
        self._made, self._site, self._clock = made, site, clock
        self._file: TextIO | None = None
        self._reached = made is None or made.target is None
        self._blocks = 0
        if made is None:
            return
        try:
            self._file = open(made.path, "w", encoding="utf-8")  # noqa: SIM115 - kept open
        except OSError as error:
            allowed = f"allowed: a file that can be written ({error.strerror})"
            raise InputError("mllog.path", made.path, allowed) from error
        self._point("cache_clear", made.caches_cleared)
        self._write(START, "init_start", None)
        self._point("submission_benchmark", made.benchmark)
        self._point("submission_division", made.division)
        self._point("submission_org", made.org)
        self._point("submission_platform", made.platform)
        self._point("submission_status", "onprem")
        self._point("train_samples", made.train_samples)
        self._point("eval_samples", made.eval_samples)
        for key, value in made.also.items():
            self._point(key, value)

    def begin(self) -> None:
        """Training begins."""
        self._write(STOP, "init_stop", None)
        self._write(START, "run_start", None)
        self._block(0)

    def evaluated(self, value: float, samples: int) -> None:
        """An evaluation after ``samples`` tokens (or samples) of all sites gave ``value``."""
        about = self._about(samples)
        self._write(STOP, "block_stop", None, **about)
        self._write(START, "eval_start", None, **about)
        self._point("eval_accuracy", value, **about)
        self._write(STOP, "eval_stop", None, **about)
        if self._made is not None and self._made.target is not None:
            target, lower = self._made.target, self._made.lower
            self._reached = self._reached or (value <= target if lower else value >= target)
        self._block(samples)

    def end(self, samples: int, failed: bool = False) -> None:
        """Training has ended; nothing is written any more."""
        self._write(STOP, "block_stop", None, **self._about(samples))
        status = "success" if self._reached and not failed else "aborted"
        self._write(STOP, "run_stop", None, status=status, samples_count=samples)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _block(self, samples: int) -> None:
        """Between two evaluations: one block, which counts as an epoch."""
        self._blocks += 1
        self._write(START, "block_start", None, epoch_count=1, **self._about(samples))

    def _about(self, samples: int) -> dict[str, int]:
        number = self._blocks
        return {"epoch_num": number, "first_epoch_num": number, "samples_count": samples}

    def _point(self, key: str, value: Any, **metadata: Any) -> None:
        self._write(POINT, key, value, **metadata)

    def _write(self, kind: str, key: str, value: Any, **metadata: Any) -> None:
        if self._file is None:
            return
        event = {
            "namespace": self._site,
            "time_ms": int(1000 * self._clock()),
            "event_type": kind,
            "key": key,
            "value": value,
            "metadata": metadata,
        }
        try:
            self._file.write(f":::MLLOG {json.dumps(event)}\n")
            self._file.flush()
        except OSError:
            self._file = None
