"""Ways around links that are cut or slow: one wherever there is one, no loops, no flapping."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.train.routes import (
    DOWN_AGAIN_S,
    DOWN_S,
    FASTER,
    HOLD_S,
    SLOW_AGAIN_S,
    Routes,
    Way,
)

MBIT = 125_000.0


def routes(me="a", **told):
    made = Routes(me)
    for site, sees in told.items():
        made.hear(site, sees)
    return made


def looked(made, direct, around=None, until=100.0, since=0.0):
    """What is first changed, and when; looked at twice a second."""
    now = since
    while now <= until:
        found = made.look(now, direct, around or {})
        if found:
            return found, now
        now += 0.5
    return {}, now


def test_who_has_no_connection_is_reached_by_way_of_one_who_sees_both():
    made = routes(c={"a": 0.0, "b": 0.0})
    found, when = looked(made, {"c": 0.0})
    assert found == {"b": Way("c", "the direct link is down")}
    assert when == DOWN_S


def test_a_way_that_is_lost_is_replaced_at_once():
    made = routes(c={"b": 0.0}, d={"b": 0.0})
    assert looked(made, {"c": 0.0, "d": 0.0})[0]["b"].via == "c"
    made.routed("b", DOWN_S, slow=False)
    assert made.look(10.0, {"c": 0.0, "d": 0.0}, {"b": 0.0}) == {}
    made.forget("c")
    assert made.look(10.5, {"d": 0.0}, {})["b"].via == "d"
    assert made.look(11.0, {"d": 0.0}, {}) == {}  # it is being opened
    assert made.look(10.5 + DOWN_S, {"d": 0.0}, {})["b"].via == "d"  # it could not be


def test_of_two_sites_the_first_by_name_opens_the_way():
    assert looked(routes("b", c={"a": 0.0, "b": 0.0}), {"c": 0.0}) == ({}, 100.5)


def test_the_widest_way_is_taken():
    made = routes(c={"b": 5.0}, d={"b": 9.0}, e={"b": 70.0})
    found, _ = looked(made, {"c": 10.0, "d": 10.0, "e": 6.0})
    assert found["b"].via == "d"


def test_a_much_faster_way_is_taken_after_a_while_and_says_why():
    made = routes(b={"a": 0.3 * MBIT, "c": 50 * MBIT}, c={"a": 45 * MBIT, "b": 40 * MBIT})
    found, when = looked(made, {"b": 0.5 * MBIT, "c": 50 * MBIT})
    assert found == {"b": Way("c", "the direct link carries 0.3 against 40 Mbit/s")}
    assert when == HOLD_S


@pytest.mark.parametrize(
    ("direct", "told"),
    [
        ({"b": 0.0, "c": 50.0}, {"b": 50.0}),  # the direct link was never full
        ({"b": 1.0, "c": 0.0}, {"b": 50.0}),  # that to the one between was not
        ({"b": 1.0, "c": 50.0}, {"b": 0.0}),
        ({"b": 1.0, "c": 50.0}, {"b": 50.0, "a": 1.0}),  # slow on the way back
        ({"b": 1.0, "c": 50.0}, {"b": FASTER - 0.1}),
        ({"b": 1.0, "c": 50.0}, {}),  # that one does not see it
    ],
)
def test_a_way_of_which_less_is_known_is_not_taken(direct, told):
    assert looked(routes(c=told), direct)[0] == {}


def test_what_holds_for_a_moment_changes_nothing():
    made = routes(c={"b": 50.0})
    for turn in range(100):
        slow = turn % 10 != 0
        found, _ = looked(
            made, {"b": 10.0 if slow else 40.0, "c": 50.0}, until=2 * turn + 1.5, since=2.0 * turn
        )
        assert found == {}


def test_a_way_that_does_not_keep_its_promise_is_left_and_not_taken_again_soon():
    made = routes(c={"b": 50.0})
    _, when = looked(made, {"b": 10.0, "c": 50.0})
    made.routed("b", when, slow=True)
    assert made.look(when + 1, {"c": 50.0}, {"b": 0.0}) == {}  # not measured yet
    assert made.look(when + 2, {"c": 50.0}, {"b": 11.0}) == {}  # less than promised, but better
    left = made.look(when + 3, {"c": 50.0}, {"b": 9.0})
    assert left["b"].via == ""
    assert "the direct link" in left["b"].why
    made.returned("b", when + 3)
    _, again = looked(made, {"b": 10.0, "c": 50.0}, until=9999.0, since=when + 3)
    assert again - when >= 2 * SLOW_AGAIN_S


def test_a_link_that_comes_and_goes_is_tried_ever_more_seldom():
    made, now, pauses = routes(c={"b": 0.0}), 0.0, []
    for _ in range(5):
        made.routed("b", now, slow=False)
        back = now
        while not made.again("b", back):
            back += 1.0
        pauses.append(back - now)
        made.returned("b", back)
        now = back + 9.0  # it is lost again
    assert pauses == [DOWN_AGAIN_S * 2**turn for turn in range(5)]
    made.returned("b", now)
    made.routed("b", now + 1000.0, slow=False)  # it had been there for long
    assert made.again("b", now + 1000.0 + DOWN_AGAIN_S)


def test_who_is_gone_sees_nobody():
    made = routes(c={"b": 0.0})
    made.forget("c")
    assert looked(made, {"c": 0.0})[0] == {}


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf"), "fast", None])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises((ValueError, TypeError)):
        Routes("a").hear("c", {"b": rate})


def test_who_tells_of_too_many_is_refused():
    with pytest.raises(ValueError, match="allowed"):
        Routes("a").hear("c", {f"s{number}": 0.0 for number in range(1025)})


SITES = "abcdef"
PAIRS = [(one, other) for one in SITES for other in SITES if one < other]
GRAPHS = st.dictionaries(st.sampled_from(PAIRS), st.sampled_from([0.0, 1.0, 5.0, 20.0, 100.0]))


def neighbours(graph, site):
    return {next(s for s in pair if s != site): r for pair, r in graph.items() if site in pair}


@given(GRAPHS)
def test_there_is_a_way_wherever_a_third_site_sees_both_and_it_has_no_loops(graph):
    for me in SITES:
        direct = neighbours(graph, me)
        made = routes(me, **{site: neighbours(graph, site) for site in direct})
        assert made.look(0.0, direct, {}) == {}
        found = made.look(DOWN_S, direct, {})
        reached = {
            site
            for site in SITES
            if me < site and site not in direct and neighbours(graph, site).keys() & direct.keys()
        }
        assert found.keys() == reached  # nothing is changed yet for a link that is slow
        for site, way in found.items():
            assert way.via in direct.keys() & neighbours(graph, site).keys()
            assert way.via not in (me, site)


@settings(max_examples=40)
@given(st.floats(1.0, 1000.0), st.floats(1.0, 1000.0), st.integers(0, 1 << 30))
def test_noise_does_not_make_ways_come_and_go(straight, round_about, seed):
    """An hour with rates that jump by half of themselves each way, every ten seconds."""
    made, around, changes, now = Routes("a"), {}, 0, 0.0
    chance = random.Random(seed)
    direct = {"b": straight, "c": round_about}
    while now < 3600.0:
        noisy = {site: rate * chance.uniform(0.5, 1.5) for site, rate in direct.items()}
        made.hear("c", {"b": round_about * chance.uniform(0.5, 1.5)})
        for _ in range(4):
            now += 2.5
            seen = {site: rate for site, rate in noisy.items() if site not in around}
            for site, way in made.look(now, seen, around).items():
                changes += 1
                around = {site: noisy["c"]} if way.via else {}
                if way.via:
                    made.routed(site, now, slow=True)
                else:
                    made.returned(site, now)
            if around and made.again("b", now):
                around, changes = {}, changes + 1
                made.returned("b", now)
    assert changes <= 9  # of 1440 looks; each change doubles the time to the next
