"""The outer state on disk: written whole or not at all, verified when read, the last two kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import torch

from skep.train.codec import from_bytes, to_bytes
from skep.train.outer import OuterState
from skep.train.parts import state_fields, state_from, state_payload

MAGIC = b"skepckp1"
NAMES = ("outer.ckpt", "outer.previous.ckpt")
_SUM = 32


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Outer state, this site's own parameters (ahead of the anchor by ``pending`` tokens), and
    the state of its optimizer as bytes (empty: none)."""

    state: OuterState
    parameters: torch.Tensor
    pending: int
    optimizer: bytes


def save(folder: str, checkpoint: Checkpoint) -> None:
    """Replace the newest checkpoint of ``folder``, keeping it as the previous. ``OSError``."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    temporary = path / f".{NAMES[0]}.{os.getpid()}"
    try:
        _write(temporary, _pack(checkpoint))
        with contextlib.suppress(FileNotFoundError):
            os.replace(path / NAMES[0], path / NAMES[1])
        os.replace(temporary, path / NAMES[0])
        _sync_folder(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def load(folder: str, length: int) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole and fits, and what was wrong with newer ones."""
    complaints: list[str] = []
    for name in NAMES:
        path = Path(folder) / name
        try:
            return _unpack(path.read_bytes(), length), complaints
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            complaints.append(f"checkpoint {path} is not used: {error}")
    return None, complaints


def _pack(checkpoint: Checkpoint) -> bytes:
    fields = state_fields(checkpoint.state) | {"pending": checkpoint.pending}
    header = json.dumps(fields).encode()
    body = b"".join(
        (
            struct.pack("!I", len(header)),
            header,
            state_payload(checkpoint.state),
            to_bytes(checkpoint.parameters),
            checkpoint.optimizer,
        )
    )
    return MAGIC + body + hashlib.blake2b(body, digest_size=_SUM).digest()


def _unpack(data: bytes, length: int) -> Checkpoint:
    body, checksum = data[len(MAGIC) : -_SUM], data[-_SUM:]
    if not data.startswith(MAGIC):
        raise ValueError("it is not a checkpoint of skep")
    if hashlib.blake2b(body, digest_size=_SUM).digest() != checksum:
        raise ValueError("its checksum is wrong")
    (size,) = struct.unpack_from("!I", body)
    fields = json.loads(body[4 : 4 + size])
    start = 4 + size
    state = state_from(fields, body[start : start + 8 * length], length)
    own = start + 8 * length
    parameters = from_bytes(body[own : own + 4 * length], length)
    return Checkpoint(state, parameters, int(fields["pending"]), body[own + 4 * length :])


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
