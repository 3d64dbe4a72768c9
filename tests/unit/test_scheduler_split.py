"""How a job's chips are split over its sites."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.scheduler.split import split


def parts(
    rooms: list[int], most: int, weights: list[float] | None = None, grain: list[int] | None = None
) -> list[int] | None:
    found = split(
        np.array(rooms),
        np.array(weights or rooms, dtype=float),
        np.array(grain or [1] * len(rooms)),
        most,
    )
    return None if found is None else found.tolist()


@pytest.mark.parametrize(
    ("rooms", "most", "expected"),
    [
        ([2, 1, 1], 4, [2, 1, 1]),
        ([2, 1, 1], 3, [1, 1, 1]),
        ([8, 4], 6, [4, 2]),
        ([8, 4], 100, [8, 4]),
        ([1000, 1], 10, [9, 1]),
        ([5], 3, [3]),
        ([1, 1], 1, None),
        ([4, 0], 4, None),
    ],
)
def test_parts_follow_the_room(rooms: list[int], most: int, expected: list[int] | None) -> None:
    assert parts(rooms, most) == expected


def test_parts_follow_the_speed_up_to_the_room() -> None:
    assert parts([8, 8], 9, weights=[8.0, 16.0]) == [3, 6]
    assert parts([8, 8], 15, weights=[8.0, 80.0]) == [7, 8]


def test_whole_nodes_stay_whole() -> None:
    assert parts([16, 8], 24, grain=[8, 8]) == [16, 8]
    assert parts([32, 32], 40, grain=[8, 8]) == [24, 16]
    assert parts([16, 12], 24, grain=[8, 4]) == [16, 8]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 9)), min_size=1, max_size=9),
    st.integers(1, 400),
)
def test_all_of_it_is_given_and_no_site_gives_more_than_it_has(
    rows: list[tuple[int, float]], most: int
) -> None:
    rooms = [room for room, _ in rows]
    found = parts(rooms, most, weights=[speed * room for room, speed in rows])
    if most < len(rooms):
        assert found is None
        return
    assert found is not None
    assert sum(found) == min(most, sum(rooms))
    assert all(1 <= part <= room for part, room in zip(found, rooms, strict=True))
