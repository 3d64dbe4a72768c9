"""What a run chooses for itself: the shortest interval that the link carries, and the codec."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.choice import BITS, DELAY_SHARE, Known, busy_s, choose, needed_s
from skep.train.codec import CODECS

TOY = Known(870_656, fragments=4, sites=2, step_s=0.4)
MBIT = 125_000.0


@given(
    st.floats(1e3, 1e9),
    st.floats(0.001, 30),
    st.integers(2, 300),
    st.floats(1e4, 1e11),
    st.integers(1, 48),
)
@settings(max_examples=200, deadline=None)
def test_a_link_keeps_up_or_the_interval_is_at_its_bound(rate, step, sites, parameters, fragments):
    known = Known(int(parameters), fragments, sites, step, rate)
    chosen = choose(known)
    load = busy_s(known, chosen.codec)
    assert load <= DELAY_SHARE * chosen.interval_s * 1.0001 or chosen.interval_s == chosen.longest_s
    assert chosen.interval_s >= min(known.bounds.least_steps * step, chosen.longest_s) * 0.9999


def test_a_fast_link_has_the_least_interval_and_four_bits():
    chosen = choose(replace(TOY, rate=100 * MBIT))
    assert chosen.codec == "int4"
    assert chosen.interval_s == pytest.approx(6 * 0.4)
    assert "6 local steps" in chosen.told()
    assert "100 Mbit/s" in chosen.told()


def test_a_slower_link_has_longer_intervals_then_fewer_bits():
    intervals, codecs = [], []
    for mbit in (100, 10, 1, 0.3, 0.1, 0.01):
        chosen = choose(replace(TOY, rate=mbit * MBIT))
        intervals.append(chosen.interval_s)
        codecs.append(chosen.codec)
    assert codecs[0] == "int4"
    assert codecs[-1] == "sparse"
    order = [("int4", "int2", "sparse").index(name) for name in codecs]
    assert order == sorted(order)
    assert "as int4 would need" in choose(replace(TOY, rate=0.1 * MBIT)).told()


def test_before_anything_is_measured():
    chosen = choose(Known(1000))
    assert chosen.codec == "int4"
    assert "to be measured" in chosen.told()


def test_what_is_set_is_kept():
    slow = replace(TOY, rate=0.1 * MBIT)
    assert choose(replace(slow, codec="int8")).codec == "int8"
    fixed = choose(replace(slow, interval_s=8.0))
    assert fixed.interval_s == 8.0
    assert fixed.codec == "sparse"  # the finest that the link carries in that time
    assert "8 s (20 local steps), as set" in fixed.told()
    assert choose(replace(TOY, rate=MBIT, interval_s=8.0)).codec == "int4"


def test_a_codec_does_not_flap_at_its_limit():
    known, before, changes = TOY, None, 0
    limit = next(r for r in range(1, 10**7, 100) if choose(replace(TOY, rate=r)).codec == "int4")
    for number in range(50):
        known = replace(TOY, rate=limit * (1.1 if number % 2 else 0.9))
        chosen = choose(known, before)
        changes += before is not None and chosen.codec != before.codec
        before = chosen
    assert changes == 0
    assert choose(replace(TOY, rate=2 * limit), before).codec == "int4"


def test_the_delay_is_half_of_the_interval_at_most():
    known = Known(10**8, fragments=1, sites=4, step_s=0.5, rate=1e8)
    for codec in ("int8", "int4", "int2"):
        once = known.parameters * BITS[codec] / 8 / known.rate  # one payload over the link
        delay = 2 * (known.sites - 1) * once  # all parts to the leader, the result to all
        assert delay <= DELAY_SHARE * needed_s(known, codec) * 1.001


def test_only_what_is_news_is_told():
    one = choose(replace(TOY, rate=MBIT))
    assert one.differs(None)
    assert not choose(replace(TOY, rate=1.1 * MBIT)).differs(one)
    assert choose(replace(TOY, rate=10 * MBIT)).differs(one)


def test_the_bits_of_each_codec_are_known():
    assert set(BITS) == set(CODECS)


def test_with_two_levels_many_sites_are_exchanged_with_more_often():
    known = Known(10**8, fragments=8, sites=64, step_s=0.5, rate=1e8)
    one = replace(known, one_level=64)
    assert needed_s(known, "int4") < 0.25 * needed_s(one, "int4")
    assert busy_s(known, "int4") == busy_s(one, "int4")  # of an average link
