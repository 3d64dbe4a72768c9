"""Which contributions are absurd: against what was merged before, or the median of three."""

import torch

from skep.train.guard import Guard
from skep.train.parts import Part


def part(size, tokens=100):
    return Part(torch.full((8,), float(size)), "r", 1, 0, tokens, 1.0)


def test_ordinary_growth_is_not_absurd():
    guard = Guard()
    for size in (0.001, 0.01, 0.05, 0.2, 0.1):
        assert guard.absurd({"a": part(size), "b": part(size)}) == {}


def test_an_explosion_is():
    guard = Guard()
    guard.absurd({"a": part(0.1), "b": part(0.1)})
    found = guard.absurd({"a": part(0.1), "b": part(50)})
    assert set(found) == {"b"}
    assert "50 where 0.1 is usual" in found["b"]
    assert guard.absurd({"b": part(50)})  # it has not become usual


def test_long_absence_may_bring_much():
    guard = Guard()
    guard.absurd({"a": part(0.1), "b": part(0.1)})
    assert guard.absurd({"b": part(50, tokens=10_000)}) == {}


def test_the_first_round_of_three_has_a_median():
    assert set(Guard().absurd({"a": part(0.1), "b": part(9), "c": part(0.2)})) == {"b"}
    assert Guard().absurd({"a": part(0.1), "b": part(9)}) == {}  # of two nobody knows which


def test_what_most_bring_is_the_new_usual():
    guard = Guard()
    guard.absurd({"a": part(0.1), "b": part(0.1), "c": part(0.1)})
    assert guard.absurd({"a": part(9), "b": part(9), "c": part(0.1)}) == {}
    guard = Guard()
    guard.absurd({"a": part(0.1), "b": part(0.1)})
    assert guard.absurd({"a": part(9), "b": part(8)}) == {}
