"""How long a site that has ended its training waits for the common last round. Pure.

Nobody has to guess it. Others that still train call a round at least once an interval, in which
this site's last progress is merged: after that it may leave. Where all have ended, what is under
way and the last exchange itself have to cross the slowest link, at the rate that it was measured
to carry; and while data moves, it is waited for.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST_S = 20.0  # for others that are about to end as well
ROUNDS = 3.0  # the one under way, the last, and room for a link that is shared


@dataclass(slots=True)
class Ending:
    """Since ``began``; ``wait_s`` is what the user has set (None: nothing). Monotonic seconds."""

    began: float
    wait_s: float | None = None
    _together: float | None = None  # since when all have ended

    def over(self, now: float, all_end: bool, moving: bool, round_s: float) -> bool:
        """Whether to go without (or without more of) the others.

        ``round_s``: an interval and an exchange after it; ``moving``: data is under way.
        """
        if self.wait_s is not None:
            return now - self.began >= self.wait_s
        if not all_end:
            self._together = None
            return now - self.began >= max(LEAST_S, round_s)
        if self._together is None:
            self._together = now
        return not moving and now - self._together >= max(LEAST_S, ROUNDS * round_s)
