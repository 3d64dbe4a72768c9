"""The loop of a control plane: the only clock in it.

Everything runs on one asyncio event loop, so that the control plane needs no locks: requests are
short, the cycle is short, and the store commits within milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from skep.control.service import Control
from skep.errors import SkepError
from skep.stderr import say

# Looks at least so often, whatever the timers say: a net under them, not the way it works.
LONGEST_SLEEP = 5.0
STORE_RETRY = 1.0


class Clock:
    """Seconds since the epoch that never jump: the wall clock at start plus monotonic time."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()


class Loop:
    """Runs cycles when something has changed or is due, and wakes those who wait for a change."""

    def __init__(self, control: Control, clock: Callable[[], float]) -> None:
        self.control, self.clock = control, clock
        self._kicked = asyncio.Event()
        self._changed = asyncio.Condition()

    def kick(self) -> None:
        """Ask for a cycle soon."""
        self._kicked.set()

    async def run(self) -> None:
        """Cycle for ever."""
        while True:
            self._kicked.clear()
            pause = self._cycle()
            await self.announce()
            try:
                await asyncio.wait_for(self._kicked.wait(), pause)
            except TimeoutError:
                continue

    def _cycle(self) -> float:
        """One cycle; answers how long to sleep at most."""
        try:
            self.control.cycle(self.clock())
        except SkepError as error:
            say(f"cycle put off: {error}")
            return STORE_RETRY
        return min(LONGEST_SLEEP, max(0.0, self.control.next_wake() - self.clock()))

    async def announce(self) -> None:
        """Wake everyone who waits for a change."""
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Wait until something changed that makes ``until()`` true, at most ``seconds``."""
        if until() or seconds <= 0:
            return until()
        try:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(until), seconds)
        except TimeoutError:
            pass
        return until()
