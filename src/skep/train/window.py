"""How much data may be on its way to a peer, and how fast it goes out.

On its way: half a second of what the link was measured to carry. The peer acknowledges data as it
arrives, so no queue builds up in the network that calls and beats would have to wait in, whatever
the link, and the rate of the link is known. How fast: a little below that rate, so that the queue
in front of a slow link stays empty and others who use it are not kept waiting; from time to time,
for a moment, as fast as the window allows, since what is never filled cannot be measured.

Pure; times are arguments (seconds).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

LEAST = 1 << 16  # bytes that may always be on their way
AHEAD_S = 0.5
MEMORY_S = 30.0  # for which the best rate is remembered
PACE = 0.9  # of what the link carried on average while the window was full
BLOCK_S = 1.0  # of which an average is made
SURELY = 0.75  # of its best rate the link carries, whatever losses took from an average
BLOCKS = 3  # of which the median is taken: losses make one too small and the next too large
GROWTH = 1.25  # an average that is so much above the last is not the link's yet
BURST_S = 0.02  # that sending may catch up when it comes late
PROBE_S = 5.0  # for which data is not paced at most, in order to measure anew
AGAIN_S = 30.0  # from one measurement to the next


@dataclass(slots=True)
class _Flight:
    """A piece of data on its way, and what was acknowledged when it was sent."""

    end: int  # bytes sent, with it
    sent_at: float
    before: int  # bytes acknowledged
    before_at: float  # when they were; as ``sent_at`` if nothing was on its way
    before_sent: float  # when the last of them were sent; likewise
    full: bool = False  # what was to follow it had to wait

    def rate(self, total: int, now: float) -> float | None:
        """Bytes/s by which data was delivered meanwhile: the slower of its sending and its arrival,
        as acknowledgements may come in bunches (as BBR does: IETF draft on delivery rates)."""
        span = max(now - self.before_at, self.sent_at - self.before_sent)
        return (total - self.before) / span if self.full and span > 0 else None


@dataclass(slots=True)
class Window:
    """Of one direction of one connection."""

    sent: int = 0
    acknowledged: int = 0
    rate: float | None = None  # bytes/s that the link has carried at its best of late, when full
    stuck: bool = False  # the system takes no more data just now
    round_trip: float | None = None  # the shortest from sending data to its acknowledgement (s)
    _slack: bool = True  # more could have been sent since the last acknowledgement
    _mean: float = 0.0  # the last average; data is paced below it
    _span: float = 0.0  # seconds and bytes of the average that is being made
    _moved: int = 0
    _steady: bool = False  # it does not grow any more
    _measured: float = 0.0  # when the last average was made
    _probe: float = 0.0  # until when data is not paced, unless it is steady before
    _again: bool = False  # to be measured with the next data
    _rushed: bool = False  # data was not paced just before
    _due: float = 0.0  # when the next data may go out
    _blocks: deque[float] = field(default_factory=lambda: deque(maxlen=BLOCKS))
    _jumped: bool = False  # the last average was much above those before
    _last: float | None = None  # the acknowledgement before, if sending was held back since then
    _since: float = 0.0  # the acknowledgement before, or when sending began after a rest
    _sent_at: float = 0.0  # when what it told of was sent
    _flight: deque[_Flight] = field(default_factory=deque)
    _best: deque[tuple[float, float]] = field(default_factory=deque)

    @property
    def open(self) -> bool:
        """Whether more data may be sent now."""
        limit = LEAST + AHEAD_S * (self.rate or 0.0)
        return self.sent - self.acknowledged < limit

    @property
    def mean(self) -> float | None:
        """Bytes/s that the link carried on average when it was full; None: not known yet."""
        return self._mean or None

    @property
    def carries(self) -> float | None:
        """Bytes/s to plan with; None: not known yet. The best rate is that of a moment, and late
        acknowledgements make it too high: where there is an average it counts, but no less than
        ``SURELY`` of the best rate, as a link that became faster has no new average at once."""
        if not self.rate or not self._mean:
            return self.rate
        return min(self.rate, max(self._mean, SURELY * self.rate))

    @property
    def average(self) -> float | None:
        """The same as it was last measured, without what its best rate adds; None: not finished."""
        return median(self._blocks) if len(self._blocks) >= BLOCKS else None

    def anew(self) -> None:
        """The link is measured with the next data."""
        self._blocks.clear()
        self._again = True

    def pause(self, now: float) -> float:
        """Seconds until data may go out, if the window is open then."""
        self._slack = self._slack or now < self._due
        return max(0.0, self._due - now)

    def rest(self) -> None:
        """There is no data to send, though the window is open."""
        self._slack = True

    def put(self, count: int, now: float) -> None:
        """``count`` bytes of data go out."""
        if self.sent == self.acknowledged:
            self._last, self._since, self._sent_at = None, now, now  # it was idle
        self.sent += count
        before = (self.acknowledged, self._since, self._sent_at)
        self._flight.append(_Flight(self.sent, now, *before))
        if not self.open:
            self._held_back()
        if not self._paced(now):
            self._rushed = True
        elif self._rushed:  # the queue that measuring made is let go
            self._rushed, self._due = False, now + (self.sent - self.acknowledged) / self._mean
        else:
            self._due = max(self._due, now - BURST_S) + count / (PACE * self._mean)

    def _held_back(self) -> None:
        if self._slack:
            self._slack, self._last = False, None  # averages from the next acknowledgement on
        if self._flight:
            self._flight[-1].full = True

    def _paced(self, now: float) -> bool:
        if not self._mean:
            return False
        if self._again or now - self._measured > AGAIN_S:
            self._measured, self._probe, self._steady = now, now + PROBE_S, False
            self._again = False
            self._span, self._moved = 0.0, 0
            self._blocks.clear()
        return self._steady or now >= self._probe

    def acknowledge(self, total: int, now: float) -> None:
        """The peer has ``total`` bytes of data so far. Raises ``ValueError`` when it cannot."""
        if not self.acknowledged <= total <= self.sent:
            raise ValueError(f"{total} bytes acknowledged of {self.sent}")
        if self.stuck:
            self._held_back()
        if self._slack:
            self._last = None  # more could have been sent: that tells of the sender, not the link
        if self._last is not None:
            self._average(now - self._last, total - self.acknowledged, now)
        self.acknowledged, self._last, self._since = total, now, now
        while self._flight and self._flight[0].end <= total:
            arrived = self._flight.popleft()
            self._sent_at, took = arrived.sent_at, now - arrived.sent_at
            self.round_trip = took if self.round_trip is None else min(took, self.round_trip)
            if (rate := arrived.rate(total, now)) is not None:
                self._note(rate, now)

    def _note(self, rate: float, now: float) -> None:
        while self._best and now - self._best[0][0] > MEMORY_S:
            self._best.popleft()
        while self._best and self._best[-1][1] <= rate:
            self._best.pop()
        self._best.append((now, rate))
        self.rate = self._best[0][1]

    def _average(self, seconds: float, count: int, now: float) -> None:
        self._span, self._moved = self._span + seconds, self._moved + count
        if self._span >= BLOCK_S:
            mean = self._moved / self._span
            jumped = mean >= GROWTH * max(self._blocks, default=0.0)
            if jumped and (self._jumped or not self._blocks):
                self._blocks.clear()
                self._probe = now + PROBE_S
            self._jumped = jumped and bool(self._blocks)  # once: what a loss had held up came
            self._blocks.append(mean)
            self._steady = len(self._blocks) >= BLOCKS
            self._mean = max(median(self._blocks), SURELY * (self.rate or 0.0))
            self._measured = now
            self._span, self._moved = 0.0, 0
