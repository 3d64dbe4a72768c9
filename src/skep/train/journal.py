"""All that a run at one site tells: progress file, trace, TensorBoard, MLPerf's log, events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from skep.train.mllog import MLLogger
from skep.train.progress import Progress
from skep.train.scalars import Scalars
from skep.train.settings import Settings
from skep.train.tally import Tally
from skep.train.trace import Trace


class Journal:
    """``first``: of rank 0 of a site, which alone writes files. ``clock``: Unix seconds."""

    def __init__(
        self, chosen: Settings, first: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self._on_event = chosen.on_event
        self._progress = Progress(chosen.progress_file if first else "")
        self._scalars = Scalars(chosen.tensorboard if first else "", chosen.site)
        self.trace = Trace(chosen.trace if first else "", chosen.site)
        self.mllog = MLLogger(chosen.mllog if first else None, chosen.site, clock)
        self.tally = Tally()

    def event(self, text: str) -> None:
        self._progress.write("event", text=text)
        if self._on_event is not None:
            self._on_event(text)

    def log(self, values: Mapping[str, Any]) -> None:
        """What the user's loop logs."""
        self._progress.write("log", **values)

    def step(self, line: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        """About once a second; ``more`` goes to TensorBoard only."""
        self._progress.write("step", **line)
        self._scalars.write({**line, **more}, int(line["global_tokens"]))

    def rounds(self, records: Iterable[dict[str, Any]]) -> None:
        """Rounds that were applied."""
        for record in records:
            self.tally.take(record)
            times = record.pop("called_at"), record.pop("applied_at")
            self._progress.write("round", **record)
            self.trace.round(record["fragment"], *times, record)

    def final(self, values: Mapping[str, Any]) -> None:
        """The last line."""
        self._progress.write("final", **values)
        self._scalars.write(values, int(values["global_tokens"]))

    def close(self, samples: int, failed: bool) -> None:
        """Nothing is written any more. ``samples``: of all sites."""
        self.trace.close()
        self._scalars.close()
        self.mllog.end(samples, failed)
