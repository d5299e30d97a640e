"""Serial numbers and range sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.sctp.tsn import WRAP, TsnRanges, unwrap


@pytest.mark.clause("RFC 9260 1.6")
@given(near=st.integers(0, 1 << 40), distance=st.integers(-(1 << 31) + 1, (1 << 31) - 1))
def test_unwrapping_finds_the_nearest_number(near: int, distance: int) -> None:
    assert unwrap((near + distance) % WRAP, near) == near + distance


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=30))
def test_a_range_set_is_a_set(additions: list[tuple[int, int]]) -> None:
    ranges, model = TsnRanges(), set[int]()
    for start, extra in additions:
        covered = set(range(start, start + extra + 1))
        added = ranges.add(start, start + extra)
        numbers = [n for low, high in added for n in range(low, high + 1)]
        assert sorted(numbers) == sorted(covered - model)
        model |= covered
        assert {n for low, high in ranges for n in range(low, high + 1)} == model
        assert all(
            b + 1 < c for (_, b), (c, _) in zip(list(ranges), list(ranges)[1:], strict=False)
        )
    assert all((number in ranges) == (number in model) for number in range(80))
    assert bool(ranges) == bool(model)
    assert len(ranges) == len(list(ranges))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=10), st.integers(-1, 80))
def test_numbers_are_forgotten_up_to_a_limit(additions: list[tuple[int, int]], limit: int) -> None:
    ranges = TsnRanges()
    for start, extra in additions:
        ranges.add(start, start + extra)
    model = {n for low, high in ranges for n in range(low, high + 1) if n > limit}
    ranges.remove_through(limit)
    assert {n for low, high in ranges for n in range(low, high + 1)} == model
    ranges.clear()
    assert not ranges
