"""The figures of a run as event files for TensorBoard, where ``skep[tensorboard]`` is installed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

from skep.errors import InputError

FLUSH_S = 5


class Scalars:
    """Writes to a folder named after the site in ``folder`` (empty: nowhere).

    Raises ``InputError`` where TensorBoard's library is missing or the folder cannot be written.
    """

    def __init__(self, folder: str, site: str) -> None:
        self._writer: Any = None
        if not folder:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter  # slow to import
        except ImportError as error:
            allowed = "allowed: a folder, with skep[tensorboard] installed"
            raise InputError("tensorboard", folder, allowed) from error
        try:
            self._writer = SummaryWriter(os.path.join(folder, site), flush_secs=FLUSH_S)
        except OSError as error:
            allowed = f"allowed: a folder that can be written ({error.strerror})"
            raise InputError("tensorboard", folder, allowed) from error

    def write(self, values: Mapping[str, Any], tokens: int) -> None:
        """One point of each number, at ``tokens`` of all sites: the same place at all of them."""
        if self._writer is not None:
            for name, value in _flat(values):
                self._writer.add_scalar(f"skep/{name}", value, tokens)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The finite numbers, those of a mapping under its name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat({f"{name}/{key}": item for key, item in value.items()})
        elif isinstance(value, int | float) and math.isfinite(value):
            yield name, float(value)
