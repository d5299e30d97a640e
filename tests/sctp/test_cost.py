"""What a peer sends costs what it says, whatever else is under way.

Steps are counted, not time: see :func:`tests.sctp.steps.steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.sctp.base.events import AssociationEvent, RawMessage
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.receiving.streams import MID_MASK, InboundStreams
from dcsdk.sctp.sending.outstanding import Outstanding
from dcsdk.sctp.sending.recovery import RoundTrip
from dcsdk.sctp.sending.sender import MAX_RESENT_AT_ONCE
from dcsdk.sctp.wire.chunks import FLAG_BEGIN, FLAG_END, FLAG_UNORDERED, ForwardTsn, IForwardTsn
from dcsdk.sctp.wire.parameters import PeerViolation
from tests.sctp.network import established
from tests.sctp.steps import steps

FEW, MANY = 20, 4000
WINDOW = 64 << 20


def receiver(*, is_interleaving: bool = True) -> Receiver:
    """Make the receiving half of an association whose first TSN is 0."""
    return Receiver(
        initial_tsn=0,
        window=WINDOW,
        max_message_size=1 << 20,
        stream_count=65_535,
        is_interleaving=is_interleaving,
        events=[],
    )


def assert_alike(cost_with: Callable[[int], int]) -> None:
    """What is under way must not matter: a search in it is all that may be more."""
    few, many = cost_with(FEW), cost_with(MANY)
    assert many <= few + 200, (few, many)


def begin_messages(half: Receiver, count: int, *, flags: int = 0) -> None:
    """Begin messages 1000, 1001 and so on, on stream 1."""
    for message_id in range(1000, 1000 + count):
        half.i_data_assembler.take(FLAG_BEGIN | flags, 1 << 48 | message_id, 51, b"x")


@pytest.mark.clause("RFC 8260 2.3.1")
@pytest.mark.parametrize("flags", [0, FLAG_UNORDERED])
@pytest.mark.parametrize("stream_id", [1, 2])
def test_a_skip_costs_the_same_however_many_messages_are_begun(flags: int, stream_id: int) -> None:
    def cost(count: int) -> int:
        half = receiver()
        begin_messages(half, count, flags=flags)
        skipped = tuple((stream_id, int(bool(flags)), mid) for mid in range(100))
        chunk = IForwardTsn(new_cumulative_tsn=5, skipped=skipped)
        return steps(lambda: half.i_forward_tsn(chunk))

    assert_alike(cost)


@pytest.mark.clause("RFC 6525 5.2.2")
def test_a_reset_of_other_streams_costs_the_same_however_many_messages_are_begun() -> None:
    def cost(count: int) -> int:
        half = receiver()
        begin_messages(half, count)
        return steps(lambda: half.reset_streams(tuple(range(2, 500))))

    assert_alike(cost)


@pytest.mark.clause("RFC 3758 3.6")
@pytest.mark.parametrize("sequence", [0, 1, 900])
def test_a_skip_costs_the_same_however_many_messages_wait_for_their_turn(sequence: int) -> None:
    def cost(count: int) -> int:
        half = receiver(is_interleaving=False)
        for later in range(1000, 1000 + count):
            half.streams.deliver(1, later, 51, b"x", 0)
        chunk = ForwardTsn(new_cumulative_tsn=5, skipped=((1, sequence),))
        return steps(lambda: half.forward_tsn(chunk))

    assert_alike(cost)


@pytest.mark.clause("RFC 3758 3.6")
def test_a_skip_of_one_tsn_costs_the_same_however_many_runs_of_fragments_there_are() -> None:
    def cost(count: int) -> int:
        half = receiver(is_interleaving=False)
        for tsn in range(1000, 1000 + 3 * count, 3):
            half.data_assembler.take_early(tsn, FLAG_BEGIN, 1 << 48, b"x")
        return steps(lambda: half.forward_tsn(ForwardTsn(new_cumulative_tsn=0, skipped=())))

    assert_alike(cost)


@pytest.mark.clause("RFC 3758 3.6")
def test_a_skip_of_many_tsns_costs_as_much_as_there_are_runs() -> None:
    half = receiver(is_interleaving=False)
    half.data_assembler.take_early(60_000, FLAG_BEGIN, 1 << 48, b"x")
    chunk = ForwardTsn(new_cumulative_tsn=50_000, skipped=())
    assert steps(lambda: half.forward_tsn(chunk)) < 1000
    assert half.data_assembler.held


@pytest.mark.clause("RFC 9260 6.2.1")
def test_a_gap_costs_the_same_however_many_packets_were_sent_again() -> None:
    def cost(count: int) -> int:
        queue, round_trip = Outstanding(0), RoundTrip(1.0, 0.1, 10.0)
        queue.ends, queue.totals = list(range(count)), list(range(1, count + 1))
        queue.times, queue.packets = [0.0] * count, [b"x"] * count
        queue.in_flight = count
        queue.lose_all(queue.acknowledged)
        while queue.lost:
            queue.resend(1.0)

        def sack() -> None:
            queue.acknowledge(-1, [(3, 3)], 1.1, round_trip)
            queue.find_losses(1.1, round_trip, is_recovering=True)

        return steps(sack)

    assert_alike(cost)


@pytest.mark.clause("RFC 9260 6.3.3")
def test_small_packets_that_were_lost_are_not_all_sent_again_at_once() -> None:
    network = established()
    sender = network.left.association
    assert sender.sender is not None
    for _ in range(400):
        sender.send(1, 51, b"x", now=network.now)
        sender.poll_packets()  # each alone in its packet
    sender.sender.outstanding.lose_all(sender.sender.outstanding.acknowledged)
    assert len(sender.poll_packets()) == MAX_RESENT_AT_ONCE
    assert sender.sender.outstanding.lost


# --- and means the same --------------------------------------------------------------------------
def test_messages_up_to_a_skipped_one_are_gone_and_the_others_are_completed() -> None:
    events: list[AssociationEvent | RawMessage] = []
    half = receiver()
    half.i_data_assembler._streams = streams = InboundStreams(events, MID_MASK)
    begin_messages(half, 10)
    half.i_data_assembler.skip_message(1, 1004, False)
    streams.skip(1, 1004)
    held = half.i_data_assembler.held
    for message_id in range(1000, 1010):
        half.i_data_assembler.take(FLAG_END, 1 << 48 | message_id, 1, b"y")
    assert held > 0 == half.i_data_assembler.held
    assert events == [(1, 51, b"xy", False)] * 5


@pytest.mark.clause("RFC 8260 2.3.1")
def test_a_late_fragment_of_a_skipped_message_is_not_kept() -> None:
    half = receiver()
    for flags, is_unordered in ((0, 0), (FLAG_UNORDERED, 1)):
        half.i_forward_tsn(
            IForwardTsn(new_cumulative_tsn=10 + is_unordered, skipped=((1, is_unordered, 7),))
        )
        half.i_data_assembler.take(flags, 1 << 48 | 7, 3, b"late")
        assert half.i_data_assembler.held == 0
        half.i_data_assembler.take(flags, 1 << 48 | 8, 3, b"new")
        assert half.i_data_assembler.held
        half.reset_streams((1,))
    assert half.i_data_assembler.held == 0


OPERATIONS = st.one_of(
    st.tuples(
        st.just("take"),
        st.integers(1, 3),
        st.sampled_from([0, 1, 2, MID_MASK, MID_MASK >> 1]),
        st.integers(0, 4),
        st.sampled_from([0, FLAG_BEGIN, FLAG_END, FLAG_BEGIN | FLAG_END]),
        st.booleans(),
        st.sampled_from([1, 30]),
    ),
    st.tuples(
        st.just("skip"), st.integers(1, 3), st.sampled_from([0, 1, 2, MID_MASK]), st.booleans()
    ),
    st.tuples(st.just("reset"), st.lists(st.integers(1, 3), max_size=2)),
)


@given(st.lists(OPERATIONS, max_size=60))
def test_whatever_comes_the_window_counts_what_is_kept(operations: list[tuple[Any, ...]]) -> None:
    half = Receiver(
        initial_tsn=0,
        window=WINDOW,
        max_message_size=50,
        stream_count=65_535,
        is_interleaving=True,
        events=[],
    )
    kept = half.i_data_assembler
    for kind, *arguments in operations:
        try:
            if kind == "take":
                stream_id, message_id, number, flags, is_unordered, size = arguments
                key, unordered = stream_id << 48 | message_id, FLAG_UNORDERED * is_unordered
                kept.take(flags | unordered, key, number, bytes(size))
            elif kind == "skip":
                stream_id, message_id, is_unordered = arguments
                kept.skip_message(stream_id, message_id, is_unordered)
                if not is_unordered:
                    half.streams.skip(stream_id, message_id)
            else:
                half.reset_streams(tuple(arguments[0]))
        except PeerViolation:
            pass  # the association would end here; what is counted must hold all the same
        messages = [message for lane in kept._lanes.values() for message in lane.messages.values()]
        assert kept.held == sum(message.cost for message in messages)
        for lane in kept._lanes.values():
            assert lane.messages
            assert lane.order._numbers == sorted(m.number for m in lane.messages.values())
    half.reset_streams(())
    assert kept.held == half.streams.held == 0
    assert not kept._lanes
