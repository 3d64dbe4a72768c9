"""Groups of sites: everybody is in one, near each other in rank, and the work is spread."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from skep.train.groups import cut, gateways, payloads, slow


def names(count):
    return [f"s{index:03}" for index in range(count)]


@given(st.integers(1, 400), st.integers(0, 60), st.data())
def test_each_site_is_asked_by_exactly_one(count, turn, data):
    order = names(count)
    leader = data.draw(st.sampled_from(order))
    sites = data.draw(st.sets(st.sampled_from(order))) - {leader}
    weak = data.draw(st.sets(st.sampled_from(order)))
    found = gateways(order, leader, sites, turn, weak)
    assert Counter([*found, *(s for group in found.values() for s in group)]) == Counter(sites)
    for gateway, group in found.items():
        strong = [site for site in [gateway, *group] if site not in weak]
        assert gateway in strong or not strong  # a weak one only where all of them are


@given(st.integers(1, 400))
def test_groups_are_neighbours_of_nearly_one_size(count):
    found = cut(names(count))
    assert [site for group in found for site in group] == names(count)
    sizes = {len(group) for group in found}
    assert max(sizes) - min(sizes) <= 1
    assert len(found) <= 2 * count**0.5


def test_each_fragment_has_other_gateways_and_each_round_the_same():
    order = names(64)
    busy = Counter()
    for turn in range(8):
        found = gateways(order, order[turn], set(order) - {order[turn]}, turn)
        assert found == gateways(order, order[turn], set(order) - {order[turn]}, turn)
        busy.update(gateway for gateway, group in found.items() if group)
    assert set(busy.values()) == {1}  # of 56 sites; the other eight lead
    assert len(busy) == 56


def test_one_site_more_moves_the_borders_by_one():
    before, after = cut(names(81)), cut(names(82))
    moved = [set(one) ^ set(other) for one, other in zip(before, after, strict=True)]
    assert max(map(len, moved)) <= 3


def test_what_a_leader_carries():
    assert [payloads(sites) for sites in (1, 2, 32, 33, 64, 128, 300)] == [0, 1, 31, 10, 14, 21, 33]
    for sites in (33, 64, 128, 300):
        order = names(sites)
        assert len(gateways(order, order[0], set(order[1:]), 0)) <= payloads(sites)


def test_slow_links_are_told_from_usual_ones():
    assert slow({}) == set()
    assert slow({"a": 100.0, "b": 90.0, "c": 30.0}) == {"c"}
