"""The data of a site: batches, and how many tokens are in each."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def values_of(batch: object) -> int:
    """Values in the first tensor of a batch (a tensor, a sequence or a mapping); 0 without one."""
    if isinstance(batch, torch.Tensor):
        return batch.numel()
    items = batch.values() if isinstance(batch, dict) else batch
    if not isinstance(items, Iterable) or isinstance(items, str | bytes):
        return 0
    return next((count for count in map(values_of, items) if count), 0)
