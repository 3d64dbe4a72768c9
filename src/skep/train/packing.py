"""Entropy coding: zlib's Huffman coder alone, without its search for repeats.

Quantised updates are small integers around zero that hardly repeat: a Huffman code takes what there
is to take, several times faster than deflate.
"""

from __future__ import annotations

import zlib

import numpy as np

_LEVEL, _WINDOW, _MEMORY = 1, -15, 9  # raw deflate stream: the frames carry checksums


def squeeze(data: np.ndarray) -> bytes:
    """``data`` (uint8), Huffman coded."""
    coder = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(np.ascontiguousarray(data).tobytes()) + coder.flush()


def expand(data: bytes | memoryview, size: int) -> np.ndarray:
    """The ``size`` bytes that were squeezed. Raises ``ValueError`` when it is not that many.

    Never makes more than ``size`` bytes, whatever the sender claims.
    """
    decoder = zlib.decompressobj(_WINDOW)
    try:
        plain = decoder.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"an update that cannot be expanded: {error}") from error
    if len(plain) != size or not decoder.eof or decoder.unused_data:
        raise ValueError(f"an update that does not expand to {size} bytes")
    return np.frombuffer(plain, dtype=np.uint8)
