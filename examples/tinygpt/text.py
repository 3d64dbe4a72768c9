"""The text: the source code of this machine's Python standard library, byte by byte."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

MOST_BYTES = 24_000_000
BLOCK = 4096  # bytes that belong to one shard
HELDOUT_EVERY = 20  # each 20th file is held out: no site trains on it


def sources() -> list[Path]:
    """Files in a fixed order, without installed packages and without test suites' data."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = (p for p in root.rglob("*.py") if "site-packages" not in p.parts)
    return sorted(p for p in files if "dist-packages" not in p.parts)


def load() -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out bytes (uint8), split by file, the same on every machine alike."""
    train, heldout, total = [], [], 0
    for index, path in enumerate(sources()):
        try:
            data = path.read_bytes()
        except OSError:
            continue
        (heldout if index % HELDOUT_EVERY == 7 else train).append(data)
        total += len(data)
        if total >= MOST_BYTES:
            break
    return _array(train), _array(heldout)


def _array(parts: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(parts), dtype=np.uint8)


def batches(
    text: np.ndarray, batch: int, context: int, seed: list[int], shard: int, shards: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """For ever, random windows of this shard's own blocks of the text: (x, y), int64.

    Blocks are dealt out in turn, so that all shards are of the same kind and none overlap. Ranks
    of one site share its shard and differ by ``seed``.
    """
    chance = np.random.default_rng(seed)
    count = (len(text) - context - 1) // (BLOCK * shards)
    while True:
        blocks = chance.integers(0, count, batch) * shards + shard
        starts = blocks * BLOCK + chance.integers(0, BLOCK - context, batch)
        yield _windows(text, starts, context)


def evaluation(text: np.ndarray, windows: int, context: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Evenly spread windows of the held-out text: (x, y), int64, always the same."""
    starts = np.linspace(0, len(text) - context - 2, windows).astype(np.int64)
    return _windows(text, starts, context)


def _windows(
    text: np.ndarray, starts: np.ndarray, context: int
) -> tuple[torch.Tensor, torch.Tensor]:
    rows = np.stack([text[s : s + context + 1] for s in starts]).astype(np.int64)
    both = torch.from_numpy(rows)
    return both[:, :-1].contiguous(), both[:, 1:].contiguous()
