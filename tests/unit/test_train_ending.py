"""How long a site that has ended waits for the last round: by the link, unless a user sets it."""

from hypothesis import given
from hypothesis import strategies as st

from skep.train.choice import Known, choose
from skep.train.ending import LEAST_S, ROUNDS, Ending
from skep.train.parts import Local, newer


def test_what_is_set_holds():
    ending = Ending(10.0, wait_s=3.0)
    assert not ending.over(12.9, all_end=True, moving=True, round_s=100.0)
    assert ending.over(13.0, all_end=True, moving=True, round_s=100.0)


def test_one_more_round_of_those_who_train_on_is_waited_for():
    ending = Ending(0.0)
    assert not ending.over(59.0, all_end=False, moving=False, round_s=60.0)
    assert ending.over(60.0, all_end=False, moving=True, round_s=60.0)


def test_who_ends_late_is_not_left_at_once():
    ending = Ending(0.0)
    assert not ending.over(55.0, all_end=False, moving=False, round_s=60.0)
    assert not ending.over(59.0, all_end=True, moving=False, round_s=60.0)
    assert not ending.over(59.0 + ROUNDS * 60.0 - 1.0, all_end=True, moving=False, round_s=60.0)
    assert ending.over(59.0 + ROUNDS * 60.0, all_end=True, moving=False, round_s=60.0)


@given(st.floats(0.0, 1e5), st.floats(0.0, 1e3))
def test_moving_data_is_waited_for_once_all_have_ended(later, round_s):
    ending = Ending(0.0)
    assert not ending.over(0.0, all_end=True, moving=True, round_s=round_s)
    assert not ending.over(later, all_end=True, moving=True, round_s=round_s)


@given(st.floats(1e3, 1e9), st.integers(2, 300), st.integers(1, 48))
def test_the_last_exchange_has_time_to_cross_the_slowest_link(rate, sites, fragments):
    known = Known(870_656, fragments, sites, 0.4, rate)
    chosen = choose(known)
    payload = 870_656 * 3.4 / 8
    assert chosen.last_s >= 2 * (sites - 1) / sites * payload / rate * 0.999
    assert max(LEAST_S, ROUNDS * chosen.last_s) >= 20.0


def test_a_report_that_was_overtaken_changes_nothing():
    last = newer(Local(sent=5, steps=7), Local(sent=9, steps=9, finishing=True))
    assert last.finishing
    assert newer(last, Local(sent=8)) is last
    assert newer(last, Local(sent=9)).finishing  # made before, though no byte was sent since
