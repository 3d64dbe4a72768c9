"""Data that waits to go to one peer: this site's own, and what it passes on for others. Pure."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator

from skep.train.frames import PLACE, Kind, Message, pack_data, pack_frame

OWN = 3  # frames of its own that go first while others' wait as well


class Outgoing:
    """Two queues of frames, numbered in the order in which they leave."""

    def __init__(self) -> None:
        self._places = itertools.count()
        self._own: deque[Iterator[bytes]] = deque()
        self._others: deque[tuple[bytes, Callable[[], None]]] = deque()
        self._turn = 0
        self.carried = 0  # bytes of others that wait

    def __bool__(self) -> bool:
        return bool(self._own or self._others)

    def __len__(self) -> int:
        """Messages of its own."""
        return len(self._own)

    def put(self, message: Message) -> None:
        """A message of its own."""
        self._own.append(pack_data(message, self._places))

    def carry(self, body: bytes, gone: Callable[[], None]) -> None:
        """A VIA message for another, as one frame; ``gone`` is called when its turn has come."""
        self._others.append((body, gone))
        self.carried += len(body)

    def next(self) -> bytes | None:
        """The next frame; None when a message of its own has just ended."""
        if self._others and (not self._own or self._turn >= OWN):
            self._turn = 0
            body, gone = self._others.popleft()
            self.carried -= len(body)
            gone()
            return pack_frame(Kind.VIA, PLACE.pack(next(self._places)) + body, data=True)
        frame = next(self._own[0], None)
        if frame is None:
            self._own.popleft()
        else:
            self._turn += 1
        return frame
