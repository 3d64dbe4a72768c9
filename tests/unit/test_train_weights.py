"""Whoever trained at the same time is averaged, by tokens, however late a contribution comes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skep.train.parts import Part
from skep.train.replica import beyond
from skep.train.weights import shares


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


def test_what_the_anchor_has_learned_as_well_is_not_added_twice():
    moved = torch.tensor([2.0, 0.0])
    assert beyond(torch.tensor([1.0, 5.0]), moved).tolist() == [0.0, 5.0]
    assert beyond(torch.tensor([3.0, 5.0]), moved).tolist() == [1.0, 5.0]  # all of the move at most
    assert beyond(torch.tensor([-3.0, 5.0]), moved).tolist() == [-3.0, 5.0]
    assert beyond(torch.tensor([3.0, 5.0]), torch.zeros(2)).tolist() == [3.0, 5.0]
