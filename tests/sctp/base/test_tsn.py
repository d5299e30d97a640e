"""Serial numbers and range sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.sctp.base.events import AssociationEvent, RawMessage
from dcsdk.sctp.base.tsn import MASK, WRAP, SerialOrder, TsnRanges, unwrap
from dcsdk.sctp.receiving.streams import MESSAGE_OVERHEAD, SSN_MASK, InboundStreams


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


@pytest.mark.clause("RFC 1982 3.2")
@given(
    first=st.integers(0, MASK),
    additions=st.lists(st.integers(0, 1000), unique=True, max_size=30),
    removed=st.integers(0, 10),
    through=st.integers(0, 1000),
)
def test_serial_numbers_are_in_order_across_the_wrap(
    first: int, additions: list[int], removed: int, through: int
) -> None:
    order = SerialOrder(MASK)
    handles = {offset: order.add((first + offset) & MASK) for offset in additions}
    for offset in additions[:removed]:
        order.remove(handles[offset])
    rest = sorted(additions[removed:])
    if rest:
        taken = order.take_through((first + through) & MASK)
        assert taken == [(first + offset) & MASK for offset in rest if offset <= through]


@pytest.mark.clause("RFC 3758 3.6")
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("message"), st.integers(-3, 12)),
            st.tuples(st.just("skip"), st.integers(-3, 12)),
        ),
        max_size=40,
    ),
    st.integers(0, SSN_MASK),
)
def test_a_stream_delivers_what_is_not_skipped_once_and_in_order(
    inputs: list[tuple[str, int]], first: int
) -> None:
    events: list[AssociationEvent | RawMessage] = []
    streams = InboundStreams(events, SSN_MASK)
    streams._next[1] = first
    turn, waiting, expected = 0, set[int](), list[int]()
    for kind, offset in inputs:
        number = turn + offset
        if kind == "message":
            streams.deliver(1, (first + number) & SSN_MASK, number & MASK, b"x", 0)
            if number >= turn:
                waiting.add(number)
        else:
            streams.skip(1, (first + number) & SSN_MASK)
            expected += sorted(early for early in waiting if early <= number)
            waiting = {later for later in waiting if later > number}
            turn = max(turn, number + 1)
        while turn in waiting:
            waiting.discard(turn)
            expected.append(turn)
            turn += 1
    assert events == [(1, number & MASK, b"x", False) for number in expected]
    assert streams.held == len(waiting) * (1 + MESSAGE_OVERHEAD)
    streams.reset((1,))
    assert streams.held == 0
    assert not streams._next
    assert not streams._waiting
