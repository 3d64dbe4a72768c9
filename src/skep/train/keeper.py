"""Writes checkpoints in the background, so that a slow disk does not slow the training."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from skep.train import checkpoint
from skep.train.checkpoint import Checkpoint
from skep.train.flat import held, is_sharded, sharded_as

EVERY_S = 5.0
SHARE = 0.02  # of the time that copying for checkpoints may take


def optimizer_state(optimizer: torch.optim.Optimizer) -> Any:
    """A copy of the optimizer's state on this rank, in the memory of the host."""
    return _here(optimizer.state_dict())


def as_bytes(state: Any) -> bytes:
    """Serialised; empty when it cannot be."""
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
    except Exception:  # a user's optimizer may hold anything: training goes on without this part
        return b""
    return buffer.getvalue()


def restore_optimizer(optimizer: torch.optim.Optimizer, data: bytes) -> str:
    """Load what ``optimizer_bytes`` gave; a complaint when it does not fit."""
    if not data:
        return ""
    try:
        optimizer.load_state_dict(torch.load(io.BytesIO(data), weights_only=True))
        _spread_out(optimizer)
    except Exception as error:  # of whatever kind: the optimizer then starts afresh
        return f"the optimizer starts afresh, its checkpoint does not fit: {error}"
    return ""


def _here(value: Any) -> Any:
    """A copy with this rank's shards instead of sharded tensors."""
    if isinstance(value, dict):
        return {key: _here(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_here(item) for item in value]
    return held(value).to("cpu", copy=True) if isinstance(value, torch.Tensor) else value


def _spread_out(optimizer: torch.optim.Optimizer) -> None:
    """State of the shape of a sharded parameter's shard is sharded like it."""
    for parameter, values in optimizer.state.items():
        if not is_sharded(parameter):
            continue
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == held(parameter).shape:
                values[name] = sharded_as(value, parameter)


class Keeper:
    """Saves to ``folder`` (empty: nowhere), at most one write at a time."""

    def __init__(self, folder: str, tell: Callable[[str], None], now: float) -> None:
        self._folder, self._tell = folder, tell
        self._thread: threading.Thread | None = None
        self._last, self._took = now, 0.0

    def due(self, now: float) -> bool:
        """Not oftener than ``EVERY_S``, nor so often that copying takes more than its share."""
        busy = self._thread is not None and self._thread.is_alive()
        pause = max(EVERY_S, self._took / SHARE)
        return bool(self._folder) and not busy and now - self._last >= pause

    def save(
        self,
        made: Checkpoint,
        optimizer: torch.optim.Optimizer,
        began: float,
        clock: Callable[[], float],
    ) -> None:
        """Copy the optimizer's state and start to write; a failure is told, never raised.

        ``began``: when copying began, by ``clock``: training stands still until it is done.
        """
        if not self._folder:
            return
        self.wait()
        inner = optimizer_state(optimizer)
        self._last = clock()
        self._took = self._last - began
        self._thread = threading.Thread(target=self._write, args=(made, inner), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until the write that is under way, if any, is on the disk."""
        if self._thread is not None:
            self._thread.join()

    def _write(self, made: Checkpoint, inner: Any) -> None:
        try:
            checkpoint.save(self._folder, replace(made, optimizer=as_bytes(inner)))
        except OSError as error:
            self._tell(f"no checkpoint written to {self._folder}: {error.strerror}")
