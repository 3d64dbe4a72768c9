"""Frames and messages: bytes on a connection. No sockets here.

A frame is ``magic 4 | version 1 | kind 1 | flags 2 | length 4 | crc32 4 | body``. A message is a
JSON header and a payload, cut into frames of at most ``CHUNK`` bytes; the flag ``MORE`` is set on
all but the last. Frames with the flag ``DATA`` are of a second stream, which those of the first may
overtake; their bodies begin with their place in it (8 bytes), as they may come over several
connections. Each length is checked against a limit before a byte of the body is read, so that
a stranger cannot make a run allocate memory.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

MAGIC = b"skep"
VERSION = 7
HEAD = struct.Struct("!4sBBHII")
CHUNK = 1 << 15
PLACE = struct.Struct("!Q")
EARLY = 1 << 14  # frames of data that may be held for one that is still on its way
MORE, DATA = 1, 2
HANDSHAKE_LIMIT = 8192


class FrameError(ValueError):
    """The bytes are not a frame of this protocol: the connection is of no use any more."""


class Kind(IntEnum):
    """What a message is."""

    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    REFUSED = 4
    BEGIN = 5
    OFFER = 6
    MEET = 7
    GO = 8
    BEAT = 10
    CALL = 11
    PART = 12
    RESULT = 13
    STATE_REQUEST = 14
    STATE = 15
    LEAVE = 16
    GOT = 17
    RAILS = 18
    VIA = 19
    BUNDLE = 20


@dataclass(frozen=True, slots=True)
class Message:
    """A kind, a small header and a payload."""

    kind: Kind
    fields: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one frame, checked."""

    kind: Kind
    more: bool
    data: bool
    length: int
    crc: int


def pack_frame(kind: Kind, body: bytes, more: bool = False, data: bool = False) -> bytes:
    """One frame as bytes."""
    flags = (MORE if more else 0) | (DATA if data else 0)
    return HEAD.pack(MAGIC, VERSION, kind, flags, len(body), zlib.crc32(body)) + body


def parse_head(data: bytes, limit: int = CHUNK) -> Head:
    """The head of a frame from ``HEAD.size`` bytes. Raises ``FrameError``."""
    if len(data) != HEAD.size:
        raise FrameError("a frame was cut off")
    magic, version, kind, flags, length, crc = HEAD.unpack(data)
    if magic != MAGIC:
        raise FrameError("this is not skep's protocol")
    if version != VERSION:
        raise FrameError(f"protocol version {version}; this side speaks {VERSION}")
    if length > limit:
        raise FrameError(f"a frame of {length} bytes; allowed: at most {limit}")
    if kind not in Kind._value2member_map_:
        raise FrameError(f"unknown kind {kind}")
    return Head(Kind(kind), bool(flags & MORE), bool(flags & DATA), length, crc)


def check_body(head: Head, body: bytes) -> None:
    """Raise ``FrameError`` when the body is not the one that the head announced."""
    if len(body) != head.length or zlib.crc32(body) != head.crc:
        raise FrameError("a frame was damaged on the way")


def pack_message(message: Message) -> Iterator[bytes]:
    """The frames of a message of the first stream."""
    for chunk, more in _chunks(message):
        yield pack_frame(message.kind, chunk, more)


def pack_data(message: Message, places: Iterator[int]) -> Iterator[bytes]:
    """The frames of a message of data; each takes the next of ``places`` when it is made."""
    for chunk, more in _chunks(message):
        yield pack_frame(message.kind, PLACE.pack(next(places)) + chunk, more, data=True)


def body_of(message: Message) -> bytes:
    """A message as one body: that of its frame if it fits into one."""
    header = json.dumps(message.fields, separators=(",", ":"), allow_nan=False).encode()
    return struct.pack("!I", len(header)) + header + message.payload


def _chunks(message: Message) -> Iterator[tuple[bytes, bool]]:
    blob = memoryview(body_of(message))
    for start in range(0, len(blob), CHUNK):
        more = start + CHUNK < len(blob)
        yield bytes(blob[start : start + CHUNK]), more


def parse_message(kind: Kind, blob: bytes) -> Message:
    """A message from the joined bodies of its frames. Raises ``FrameError``."""
    if len(blob) < 4:
        raise FrameError("a message without a header")
    (size,) = struct.unpack_from("!I", blob)
    if size > len(blob) - 4:
        raise FrameError("a header longer than its message")
    try:
        fields = json.loads(blob[4 : 4 + size])
    except (ValueError, RecursionError) as error:
        raise FrameError("a header that is not JSON") from error
    if not isinstance(fields, dict):
        raise FrameError("a header that is not an object")
    return Message(kind, fields, blob[4 + size :])


class Assembler:
    """Joins the frames of one message after the other, never holding more than ``limit`` bytes.

    One for each of the two streams.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kind: Kind | None = None
        self._parts: list[bytes] = []
        self._held = 0

    @property
    def busy(self) -> bool:
        """Whether a message has come in part."""
        return self._kind is not None

    def feed(self, head: Head, body: bytes) -> Message | None:
        """Take one frame; the message when it was the last of one. Raises ``FrameError``."""
        if self._kind not in (None, head.kind):
            raise FrameError("frames of two messages are mixed")
        self._kind = head.kind
        self._held += len(body)
        if self._held > self.limit:
            raise FrameError(f"a message of more than {self.limit} bytes")
        self._parts.append(body)
        return None if head.more else self._finish(head.kind)

    def _finish(self, kind: Kind) -> Message:
        blob = b"".join(self._parts)
        self._kind, self._parts, self._held = None, [], 0
        return parse_message(kind, blob)


class Sorter:
    """Frames of data that come over several connections, in the order in which they were sent."""

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, tuple[Head, bytes]] = {}

    def feed(self, head: Head, body: bytes) -> Iterator[tuple[Head, bytes]]:
        """Those that are due now, without their places. Raises ``FrameError``."""
        if len(body) < PLACE.size:
            raise FrameError("a frame of data without its place")
        (place,) = PLACE.unpack_from(body)
        if place < self._next or place in self._early or len(self._early) >= EARLY:
            raise FrameError(f"frame {place} of data where {self._next} is due")
        self._early[place] = head, body[PLACE.size :]
        while self._next in self._early:
            yield self._early.pop(self._next)
            self._next += 1
