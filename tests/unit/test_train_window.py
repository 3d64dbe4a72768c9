"""Data on its way is bounded by what the link carries; its rate is found on any link."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.window import AHEAD_S, LEAST, Window


def carry(rate, delay, seconds, chunk=1 << 15):
    """Over a link of ``rate`` bytes/s: the window, the longest queue (s), bytes carried."""
    window, now, free, arrived, longest = Window(), 0.0, 0.0, [], 0.0
    total = 0
    while now < seconds:
        while window.open:
            window.put(chunk)
            free = max(free, now) + chunk / rate
            longest = max(longest, free - now)
            total += chunk
            arrived.append((free + 2 * delay, total))
        now, count = arrived.pop(0)
        window.acknowledge(count, now)
    return window, longest, window.acknowledged


@given(st.floats(1e4, 1e8), st.sampled_from([0.0005, 0.01, 0.05, 0.15]))
@settings(max_examples=25, deadline=None)
def test_a_link_is_filled_and_no_long_queue_builds_up(rate, delay):
    window, longest, carried = carry(rate, delay, 20.0)
    assert window.rate == pytest.approx(rate, rel=0.35)
    assert carried > 0.85 * rate * (20.0 - 4.0)
    assert longest < 1.5 * AHEAD_S + 2 * LEAST / rate + 0.2


def test_small_messages_over_a_long_way_do_not_look_like_a_slow_link():
    window, now = Window(), 0.0
    for _ in range(50):
        window.put(5000)
        now += 0.3
        window.acknowledge(window.sent, now)
        now += 1.0
    assert window.rate is None  # one acknowledgement tells the delay, not the rate


def test_a_sender_that_has_little_to_send_does_not_look_like_a_slow_link():
    """Pieces that are acknowledged one by one, as late as a busy machine comes to it."""
    window, now = Window(), 0.0
    for _ in range(20):
        for _ in range(3):
            window.put(20_000)
        for piece in (2, 1, 0):
            now += 0.2
            window.acknowledge(window.sent - piece * 20_000, now)
        now += 1.0
    assert window.rate is None


def test_an_acknowledgement_of_what_was_not_sent_is_refused():
    window = Window()
    window.put(100)
    with pytest.raises(ValueError, match="101 bytes acknowledged of 100"):
        window.acknowledge(101, 1.0)
    window.acknowledge(60, 1.0)
    with pytest.raises(ValueError, match="59"):
        window.acknowledge(59, 1.0)
