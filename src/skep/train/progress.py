"""The progress file: one JSON object a line, appended, which skep shows and keeps."""

from __future__ import annotations

import json
import math
import threading
import time
from typing import Any


class Progress:
    """Writes lines; a file that cannot be written never stops the training (told once)."""

    def __init__(self, path: str) -> None:
        self._path, self._lock, self.failure = path, threading.Lock(), ""

    def write(self, kind: str, **values: Any) -> None:
        """One line: the kind, the time (Unix seconds) and ``values``."""
        if not self._path:
            return
        record = {"t": round(time.time(), 3), "kind": kind, **values}
        line = json.dumps({name: _plain(value) for name, value in record.items()})
        with self._lock:
            try:
                with open(self._path, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
            except OSError as error:
                self.failure = f"progress file {self._path}: {error.strerror}"


def _plain(value: Any) -> Any:
    """JSON has no NaN: such numbers become null."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
