"""Writes checkpoints in the background, so that a slow disk does not slow the training."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from skep.train import checkpoint
from skep.train.checkpoint import Checkpoint
from skep.train.flat import held, is_sharded, sharded_as
from skep.train.ranks import Ranks

EVERY_S = 5.0


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> bytes:
    """The optimizer's state on this rank, serialised; empty when it cannot be."""
    buffer = io.BytesIO()
    try:
        torch.save(_here(optimizer.state_dict()), buffer)
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
    """The same with this rank's shards instead of sharded tensors."""
    if isinstance(value, dict):
        return {key: _here(item) for key, item in value.items()}
    return held(value) if isinstance(value, torch.Tensor) and is_sharded(value) else value


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
        self._last = now

    def due(self, now: float) -> bool:
        busy = self._thread is not None and self._thread.is_alive()
        return bool(self._folder) and not busy and now - self._last >= EVERY_S

    def save(self, made: Checkpoint, now: float) -> None:
        """Start to write; a failure is told, never raised."""
        if not self._folder:
            return
        self.wait()
        self._last = now
        self._thread = threading.Thread(target=self._write, args=(made,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until the write that is under way, if any, is on the disk."""
        if self._thread is not None:
            self._thread.join()

    def _write(self, made: Checkpoint) -> None:
        try:
            checkpoint.save(self._folder, made)
        except OSError as error:
            self._tell(f"no checkpoint written to {self._folder}: {error.strerror}")

    def load(self, lengths: Sequence[int], stamp: str | None = None) -> Checkpoint | None:
        """The newest usable checkpoint, or that with ``stamp``; what is wrong is told."""
        if not self._folder:
            return None
        found, complaints = checkpoint.load(self._folder, lengths, stamp)
        for text in complaints:
            self._tell(text)
        return found

    def load_alike(self, lengths: Sequence[int], ranks: Ranks) -> Checkpoint | None:
        """On all ranks, of which several have checkpoints of their own: one made at one step.

        None where not all have one.
        """
        mine = checkpoint.stamps(self._folder) if self._folder else None
        told = [stamps for stamps in ranks.gathered(mine) if stamps is not None]
        if not told:
            return None
        for stamp in told[0]:
            if all(stamp in stamps for stamps in told):
                found = self.load(lengths, stamp)
                if all(ranks.gathered(found is not None or not self._folder)):
                    return found
        if any(told) and ranks.first:
            self._tell("not resumed: the ranks have no whole checkpoint of one step")
        return None
