from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from skep.sim.nodes import Nodes


def test_whole_nodes_first_and_the_rest_where_it_fits_best() -> None:
    nodes = Nodes(4, 8)
    assert nodes.bind("a", 11)
    assert sorted(chips for _, chips in nodes.parts["a"]) == [3, 8]
    assert nodes.bind("b", 5)
    assert sorted(nodes.free) == [0, 0, 8, 8]
    nodes.release("a")
    assert nodes.broken_up() == (3, 27)


def test_what_fits_no_one_node_is_scattered_and_counted() -> None:
    nodes = Nodes(2, 4)
    assert nodes.bind("a", 3)
    assert nodes.bind("b", 3)
    assert nodes.bind("c", 2)
    assert nodes.scattered == 1
    assert nodes.free == [0, 0]
    assert not nodes.bind("d", 1)


def test_broken_chips_are_not_given_and_come_back() -> None:
    nodes = Nodes(2, 4)
    node = 0
    assert nodes.break_chips(node, 4) == 4
    assert not nodes.bind("a", 5)
    assert nodes.bind("b", 4)
    nodes.mend(node, 4)
    assert nodes.bind("c", 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=40))
def test_no_chip_is_given_twice(steps: list[tuple[bool, int]]) -> None:
    nodes, live = Nodes(3, 4), []
    for number, (start, chips) in enumerate(steps):
        if start or not live:
            free = sum(nodes.free)
            assert nodes.bind(str(number), chips) == (chips <= free)
            live += [str(number)] if chips <= free else []
        else:
            nodes.release(live.pop(chips % len(live)))
        held = [0] * 3
        for name in live:
            for node, part in nodes.parts[name]:
                held[node] += part
        assert [h + f for h, f in zip(held, nodes.free, strict=True)] == [4, 4, 4]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("bbr"), st.integers(1, 9)), max_size=20),
    st.integers(1, 16),
    st.sets(st.integers(0, 3)),
)
def test_avoided_nodes_are_taken_only_where_the_others_have_too_few(
    steps: list[tuple[str, int]], chips: int, avoid: set[int]
) -> None:
    nodes, live = Nodes(4, 4), []
    for number, (what, count) in enumerate(steps):
        if what == "b" and nodes.bind(str(number), count):
            live.append(str(number))
        elif what == "r" and live:
            nodes.release(live.pop(count % len(live)))
    free = list(nodes.free)
    others = sum(some for node, some in enumerate(free) if node not in avoid)
    assert nodes.bind("last", chips, avoid) == (chips <= sum(free))
    if chips <= others:
        assert avoid.isdisjoint(node for node, _ in nodes.parts["last"])
    given_away = sum(part for _, part in nodes.parts.get("last", ()))
    assert sum(nodes.free) == sum(free) - given_away
