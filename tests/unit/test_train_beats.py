"""What beats tell again, and how often they come."""

from hypothesis import given
from hypothesis import strategies as st

from skep.train.beats import BEAT_S, RATES_S, SLOWEST_S, Board, Links, pauses
from skep.train.mesh import SILENCE_S
from skep.train.routes import Routes


def test_few_sites_beat_as_ever_and_many_often_enough_to_be_missed_in_time():
    assert pauses(2) == pauses(32) == (BEAT_S, 0.0)
    assert BEAT_S < pauses(64)[0] < pauses(300)[0] == SLOWEST_S <= SILENCE_S / 4


VALUES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2))


@given(st.lists(st.tuples(VALUES, st.booleans())))
def test_who_is_told_what_has_changed_knows_all(history):
    board, known, at = Board[int](), {}, 0
    for values, tell in history:
        board.put(values)
        if tell:
            news = board.since(at)
            known = {n: v for n, v in (known | news).items() if v is not None}
            at = board.version
            assert known == values
    assert board.since(board.version) == {}


def test_one_that_is_connected_anew_is_told_everything():
    links, routes = Links(), Routes("me")
    addresses, sees = {"a": "a:1", "b": "b:1"}, {"a": 5.0, "b": 7.0}
    links.look(addresses, sees, 0.0)
    assert links.news("a") == (addresses, sees, True)
    assert links.news("a") == ({}, {}, False)
    links.look(addresses, {"b": 7.0}, 0.0)
    assert links.news("a") == ({}, {"a": None}, False)
    links.forget("a")
    told = links.news("a")
    assert told == (addresses, {"b": 7.0}, True)
    routes.hear("x", {"c": 1.0})
    routes.hear("x", *told[1:])
    assert routes._told["x"] == {"b": 7.0}
    routes.hear("x", {"b": None, "d": 2.0}, False)
    assert routes._told["x"] == {"d": 2.0}


def test_rates_are_told_again_now_and_then_and_only_if_they_have_changed():
    links = Links()
    links.look({}, {"a": 100.0, "b": 100.0}, 100.0)
    links.news("p")
    links.look({}, {"a": 300.0, "b": 110.0}, 101.0)
    assert links.news("p")[1] == {}
    links.look({}, {"a": 300.0, "b": 110.0}, 100.0 + RATES_S)
    assert links.news("p")[1] == {"a": 300.0}
