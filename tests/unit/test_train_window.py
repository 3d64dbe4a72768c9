"""Data on its way is bounded by what the link carries; its rate is found on any link."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.lanes import Widening
from skep.train.window import AHEAD_S, LEAST, Window


def carry(rate, delay, seconds, chunk=1 << 15):
    """Over a link of ``rate`` bytes/s: the window, queues (s) over time, bytes carried."""
    window, now, free, arrived, queues = Window(), 0.0, 0.0, [], []
    total = 0
    while now < seconds:
        at = now + window.pause(now)
        if window.open and (not arrived or at <= arrived[0][0]):
            now = at
            window.put(chunk, now)
            free = max(free, now) + chunk / rate
            queues.append((now, free - now))
            total += chunk
            arrived.append((free + 2 * delay, total))
        else:
            now, count = arrived.pop(0)
            window.acknowledge(count, now)
    return window, queues, window.acknowledged


@given(st.floats(1e4, 1e8), st.sampled_from([0.0005, 0.01, 0.05, 0.15]))
@settings(max_examples=25, deadline=None)
def test_a_link_is_filled_and_no_long_queue_builds_up(rate, delay):
    window, queues, carried = carry(rate, delay, 20.0)
    assert window.rate == pytest.approx(rate, rel=0.35)
    assert carried > 0.8 * rate * (20.0 - 4.0)
    assert max(queue for _, queue in queues) < 1.5 * AHEAD_S + 2 * LEAST / rate + 0.2


@given(st.floats(1e5, 1e7), st.sampled_from([0.0005, 0.05, 0.15]))
@settings(max_examples=8, deadline=None)
def test_others_find_the_queue_empty_most_of_the_time(rate, delay):
    _, queues, _ = carry(rate, delay, 75.0)
    late = [queue for now, queue in queues if now > 12.0]
    waits = sum(queue > 2.5 * (1 << 15) / rate + 0.03 for queue in late) / len(late)
    assert waits < 0.2


def test_a_link_that_became_faster_is_found_out():
    window, now, free, arrived, total = Window(), 0.0, 0.0, [], 0
    while now < 90.0:
        rate = 1e6 if now < 30.0 else 1e7
        at = now + window.pause(now)
        if window.open and (not arrived or at <= arrived[0][0]):
            now = at
            window.put(1 << 15, now)
            free = max(free, now) + (1 << 15) / rate
            total += 1 << 15
            arrived.append((free + 0.02, total))
        else:
            now, count = arrived.pop(0)
            window.acknowledge(count, now)
    assert window.rate == pytest.approx(1e7, rel=0.35)


def test_small_messages_over_a_long_way_do_not_look_like_a_slow_link():
    window, now = Window(), 0.0
    for _ in range(50):
        window.put(5000, now)
        now += 0.3
        window.acknowledge(window.sent, now)
        now += 1.0
    assert window.rate is None  # one acknowledgement tells the delay, not the rate


def test_a_sender_that_has_little_to_send_does_not_look_like_a_slow_link():
    """Pieces that are acknowledged one by one, as late as a busy machine comes to it."""
    window, now = Window(), 0.0
    for _ in range(20):
        for _ in range(3):
            window.put(20_000, now)
        for piece in (2, 1, 0):
            now += 0.2
            window.acknowledge(window.sent - piece * 20_000, now)
        now += 1.0
    assert window.rate is None


def test_an_acknowledgement_of_what_was_not_sent_is_refused():
    window = Window()
    window.put(100, 0.0)
    with pytest.raises(ValueError, match="101 bytes acknowledged of 100"):
        window.acknowledge(101, 1.0)
    window.acknowledge(60, 1.0)
    with pytest.raises(ValueError, match="59"):
        window.acknowledge(59, 1.0)


def held_back(window, now, rate, seconds, stuck=False):
    """``seconds`` of acknowledgements from a link of ``rate`` bytes/s, the sender waiting."""
    until = now + seconds
    while now < until:
        while not stuck and window.open:
            window.put(10_000, now)
        if stuck:
            window.put(10_000, now)
        window.stuck = stuck
        now += 10_000 / rate
        window.acknowledge(window.acknowledged + 10_000, now)
    window.stuck = False
    return now


def test_data_is_paced_below_the_average():
    window, sent = Window(), 0
    now = held_back(window, 0.0, 1e6, 5.0)
    window.acknowledge(window.sent, now)
    now = began = now + window.pause(now)
    while now < began + 5.0:
        now += window.pause(now)
        window.put(10_000, now)
        window.acknowledge(window.sent, now)
        sent += 10_000
    assert sent == pytest.approx(0.9 * 1e6 * (now - began), rel=0.15)  # less the queue let go


def test_a_full_socket_holds_back_as_a_closed_window_does():
    window = Window()
    window.put(10_000, 0.0)
    now = held_back(window, 0.0, 1e6, 5.0, stuck=True)
    window.put(10_000, now)
    window.put(10_000, now)
    assert window.pause(now) > 0.0


def test_the_round_trip_is_the_shortest_that_was_seen():
    window = Window()
    for now, took in ((0.0, 0.3), (1.0, 0.08), (2.0, 0.2)):
        window.put(100, now)
        window.put(100, now + 0.01)
        window.acknowledge(window.sent, now + 0.01 + took)
    assert window.round_trip == pytest.approx(0.08)


def test_acknowledgements_that_come_in_bunches_do_not_make_a_link_look_fast():
    """Those of a busy slow link wait behind the peer's own data, some seconds, and come at once."""
    rate, window, now, free = 12_500.0, Window(), 0.0, 0.0
    for _ in range(40):
        while window.open:
            window.put(1 << 15, now)
            free = max(free, now) + (1 << 15) / rate
        now = free + 0.1
        for total in range(window.acknowledged + (1 << 15), window.sent + 1, 1 << 15):
            now += 0.001
            window.acknowledge(total, now)
            if window.open:
                window.put(1 << 15, now)
                free = max(free, now) + (1 << 15) / rate
    assert window.rate == pytest.approx(rate, rel=0.5)


def test_plans_rest_on_the_average_and_not_on_a_moment():
    rate = 500_000.0
    assert Window().carries is None
    window, _, _ = carry(rate, 0.01, 20.0)
    assert window.carries == pytest.approx(rate, rel=0.1)
    window._note(1.3 * rate, 20.0)  # an acknowledgement that was read late
    assert window.rate == pytest.approx(1.3 * rate)
    assert window.carries == pytest.approx(rate, rel=0.1)
    window._note(8.0 * rate, 20.0)  # the link became faster: there is no new average yet
    assert window.carries == pytest.approx(6.0 * rate)


def test_the_best_rate_counts_until_there_is_an_average():
    window = Window(rate=1e6)
    assert window.carries == 1e6


def test_one_jump_after_a_loss_does_not_begin_the_measurement_anew():
    window, now, rate = Window(), 0.0, 125_000.0
    for number in range(60):
        while window.open:
            window.put(1 << 15, now)
        # every 20th piece is lost once: what follows waits for it and arrives with it
        stall = 0.8 if number % 20 == 10 else 0.0
        now += (1 << 15) / rate * (0.2 if number % 20 in (11, 12, 13) else 1.0) + stall
        window.acknowledge(min(window.acknowledged + (1 << 15), window.sent), now)
    assert window._steady
    assert window._mean == pytest.approx(rate, rel=0.25)


def test_only_a_long_fat_link_is_worth_several_connections():
    for rate, trip in ((None, None), (1e6, 0.001), (125e3, 0.3)):
        assert Widening().wants(rate, trip) == 0
    assert Widening().wants(12.5e6, 0.02) == 2
    assert Widening(wished=3).wants(None, None) == 3
    assert Widening(wished=1).wants(1e9, 0.1) == 0


@pytest.mark.parametrize(("each", "ends"), [(1.3e6, 8), (12e6, 2)])
def test_connections_are_added_for_as_long_as_they_carry_more(each, ends):
    """A link of 12 MB/s and 60 ms, of which one connection carries ``each`` at most."""
    widening = Widening()
    for _ in range(20):
        rate = min(max(widening.count, 1) * each, 12e6)
        for _ in range(widening.wants(rate, 0.06)):
            widening.opened(rate)
    assert widening.count == ends


def test_the_link_is_measured_anew_when_that_is_asked_for():
    window = Window()
    now = held_back(window, 0.0, 1e6, 5.0)
    assert window.average == pytest.approx(1e6, rel=0.1)
    window.put(10_000, now)
    assert window.pause(now) > 0.0
    now += window.pause(now)
    window.anew()
    assert window.average is None
    window.put(10_000, now)
    assert window.pause(now) == 0.0  # not paced, long before it would be measured by itself
    now = held_back(window, now, 3e6, 4.0)
    assert window.average == pytest.approx(3e6, rel=0.1)
