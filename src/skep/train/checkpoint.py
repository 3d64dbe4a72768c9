"""The outer state on disk: written whole or not at all, verified when read, the last two kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from skep.train.codec import from_bytes, to_bytes
from skep.train.layout import Place, places_from
from skep.train.outer import OuterState, sealed
from skep.train.parts import state_fields, state_from, state_payload
from skep.train.shelf import Ranges, ranges_from

MAGIC = b"skepckp4"
NAMES = ("outer.ckpt", "outer.previous.ckpt")
_SUM = 32


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Outer state and tokens ahead of it by fragment, this site's own parameters, the state of its
    optimizer as bytes (empty: none), the samples in what is ahead, and ``stamp``, by which the
    ranks of a site know the checkpoints that they made at one step. ``places``: where its values
    lie in the whole model, None where that is not known."""

    states: tuple[OuterState, ...]
    parameters: torch.Tensor
    pending: tuple[int, ...]
    optimizer: bytes
    used: Ranges = ()
    stamp: str = ""
    places: tuple[Place, ...] | None = None


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


def stamps(folder: str) -> list[str]:
    """Those of the checkpoints of ``folder``, the newest first; of damaged ones none."""
    found = []
    for name in NAMES:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, struct.error):
            data = (Path(folder) / name).read_bytes()
            found.append(str(_fields(_body(data))[0]["stamp"]))
    return found


def read(folder: str, stamp: str) -> Checkpoint:
    """The checkpoint with that stamp, of whatever length. Raises ``OSError`` or ``ValueError``."""
    for name in NAMES:
        with contextlib.suppress(FileNotFoundError):
            found = _unpack((Path(folder) / name).read_bytes(), None)
            if found.stamp == stamp:
                return found
    raise ValueError(f"none of {stamp} in {folder}")


def bare(state: OuterState) -> OuterState:
    """All but the vectors."""
    return replace(state, anchor=torch.empty(0), momentum=torch.empty(0))


def without_samples(made: Checkpoint) -> Checkpoint:
    """The same for a rank that has no account of samples."""
    states = tuple(replace(state, shelf=None) for state in made.states)
    return replace(made, states=states, used=())


def load(
    folder: str, lengths: Sequence[int], stamp: str | None = None
) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole and fits, and what was wrong with newer ones.

    ``lengths`` are those of the fragments; one that was cut otherwise is cut anew. With ``stamp``
    no other will do.
    """
    complaints: list[str] = []
    for name in NAMES:
        path = Path(folder) / name
        try:
            found = cut(_unpack(path.read_bytes(), sum(lengths)), lengths)
            if stamp in (None, found.stamp):
                return found, complaints
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            complaints.append(f"checkpoint {path} is not used: {error}")
    return None, complaints


def _pack(checkpoint: Checkpoint) -> bytes:
    fields = {
        "states": [state_fields(state) for state in checkpoint.states],
        "pending": list(checkpoint.pending),
        "used": list(checkpoint.used),
        "stamp": checkpoint.stamp,
        "places": None if checkpoint.places is None else [p.fields() for p in checkpoint.places],
    }
    header = json.dumps(fields).encode()
    body = b"".join(
        (
            struct.pack("!I", len(header)),
            header,
            *(state_payload(state) for state in checkpoint.states),
            to_bytes(checkpoint.parameters),
            checkpoint.optimizer,
        )
    )
    return MAGIC + body + hashlib.blake2b(body, digest_size=_SUM).digest()


def _body(data: bytes) -> memoryview:
    """What is between magic and checksum. Raises ``ValueError`` where one of them is wrong."""
    body, checksum = memoryview(data)[len(MAGIC) : -_SUM], data[-_SUM:]
    if not data.startswith(MAGIC):
        raise ValueError("it is not a checkpoint of this version of skep")
    if hashlib.blake2b(body, digest_size=_SUM).digest() != checksum:
        raise ValueError("its checksum is wrong")
    return body


def _fields(body: memoryview) -> tuple[dict[str, Any], int]:
    """The header, and where it ends."""
    (size,) = struct.unpack_from("!I", body)
    return json.loads(bytes(body[4 : 4 + size])), 4 + size


def _unpack(data: bytes, expected: int | None) -> Checkpoint:
    body = _body(data)
    fields, start = _fields(body)
    found = length = sum(int(state["length"]) for state in fields["states"])
    if expected not in (None, found):
        raise ValueError(f"it has {found} parameters; this model has {expected}")
    states = []
    for state in fields["states"]:
        stop = start + (4 if state["still"] else 8) * int(state["length"])
        states.append(state_from(state, body[start:stop], int(state["length"])))
        start = stop
    parameters = from_bytes(body[start : start + 4 * length], length)
    pending = tuple(int(count) for count in fields["pending"])
    optimizer = bytes(body[start + 4 * length :])
    used, stamp = ranges_from(fields["used"]), str(fields["stamp"])
    places = places_from(fields["places"])
    return Checkpoint(tuple(states), parameters, pending, optimizer, used, stamp, places)


def cut(found: Checkpoint, lengths: Sequence[int]) -> Checkpoint:
    """``found`` in fragments of ``lengths``; tokens and rounds are then those of the least."""
    states = found.states
    if [state.anchor.numel() for state in states] == list(lengths):
        return found
    if len({state.origin for state in states}) > 1:
        raise ValueError("it was cut into other fragments before they fitted together")
    anchors = torch.split(torch.cat([state.anchor for state in states]), list(lengths))
    momenta = torch.split(torch.cat([state.momentum for state in states]), list(lengths))
    made = tuple(
        sealed(
            anchor.clone(),
            momentum.clone(),
            round=min(state.round for state in states),
            tokens=min(state.tokens for state in states),
            origin=states[0].origin,
            shelf=states[0].shelf,
        )
        for anchor, momentum in zip(anchors, momenta, strict=True)
    )
    return replace(found, states=made, pending=(max(found.pending),) * len(made))


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
