"""Whoever trained at the same time is averaged, by tokens, however late a contribution comes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skep.train.lead import Lead, Options
from skep.train.outer import PLAIN, Outer
from skep.train.parts import Part
from skep.train.replica import beyond
from skep.train.weights import FARTHEST, reach, shares


def part(tokens, beside=0, missed=0):
    return Part(torch.zeros(1), "r", 1, 0, tokens, 1.0, beside, missed)


def test_in_a_round_in_time_weights_are_tokens():
    assert shares({"a": part(300), "b": part(100)}) == {"a": 0.75, "b": 0.25}


def test_without_tokens_all_count_alike():
    assert shares({"a": part(0), "b": part(0)}) == {"a": 0.5, "b": 0.5}


def test_a_site_that_missed_a_round_counts_as_if_it_had_not():
    """Three alike; the first round closed with b and c. Each has a third of what it did."""
    found = shares({"a": part(2, beside=2, missed=1), "b": part(1), "c": part(1)})
    assert found == {site: pytest.approx(1 / 3) for site in "abc"}


def test_who_trained_while_the_others_were_away_counts_in_full():
    """No round was held meanwhile: the newcomer has what it has done, nothing more."""
    found = shares({"a": part(1000), "b": part(10)})
    assert found == {"a": pytest.approx(1000 / 1010), "b": pytest.approx(10 / 1010)}


@given(
    st.lists(
        st.tuples(*3 * [st.integers(0, 10**9)]),
        min_size=1,
        max_size=6,
    )
)
def test_a_share_is_between_nothing_and_all(values):
    found = shares({str(n): part(*value) for n, value in enumerate(values)})
    assert all(0 <= share <= 1 for share in found.values())


def test_the_average_goes_as_far_as_the_site_of_most_tokens():
    for tokens in ([6, 6, 6], [4, 4, 1, 1], [5, 6], [0, 3], [9]):
        parts = {str(n): part(count) for n, count in enumerate(tokens)}
        weights = shares(parts)
        gone = sum(weights[name] * one.tokens for name, one in parts.items())
        assert reach(parts) * gone == pytest.approx(max(tokens))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9), st.booleans())
def test_it_is_never_shortened_nor_taken_much_farther(tokens, late):
    parts = {str(n): part(count) for n, count in enumerate(tokens)}
    assert 1.0 <= reach(parts) <= FARTHEST + 1e-9
    noise = reach(parts) ** 2 * sum((shares(parts)[n] ** 2) * p.tokens for n, p in parts.items())
    if any(tokens):
        assert noise <= max(tokens) * (1 + 1e-9)
    if late:
        parts["late"] = part(5, missed=1)
        assert reach(parts) == 1.0


def test_rounds_of_lengthened_steps_go_so_far_unless_they_are_the_last_or_as_set():
    parts = {"a": part(4), "b": part(1)}
    assert Lead(Options(lengthened=True))._outer(parts) == Outer(1.176, 0.0)
    assert Lead(Options(lengthened=True), final=True)._outer(parts) == PLAIN
    assert Lead(Options(lengthened=True, outer=PLAIN))._outer(parts) == PLAIN
    assert Lead(Options())._outer(parts) == PLAIN


def test_what_the_anchor_has_learned_as_well_is_not_added_twice():
    moved = torch.tensor([2.0, 0.0])
    assert beyond(torch.tensor([1.0, 5.0]), moved).tolist() == [0.0, 5.0]
    assert beyond(torch.tensor([3.0, 5.0]), moved).tolist() == [1.0, 5.0]  # all of the move at most
    assert beyond(torch.tensor([-3.0, 5.0]), moved).tolist() == [-3.0, 5.0]
    assert beyond(torch.tensor([3.0, 5.0]), torch.zeros(2)).tolist() == [3.0, 5.0]
