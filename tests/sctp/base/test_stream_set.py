"""What every stream of an association takes when a peer uses them all."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.sctp.base.config import MAX_STREAMS
from dcsdk.sctp.base.events import AssociationEvent, RawMessage
from dcsdk.sctp.base.stream_set import StreamSet
from dcsdk.sctp.receiving.streams import MID_MASK, InboundStreams
from tests.sctp.network import established

IDS = st.integers(0, 65_535)


@given(st.sets(IDS, max_size=30), st.lists(IDS, max_size=30))
def test_a_stream_set_is_a_set(members: set[int], others: list[int]) -> None:
    ids = StreamSet()
    for stream_id in members:
        ids.add(stream_id)
    assert [i in ids for i in (*members, *others)] == [i in members for i in (*members, *others)]


@pytest.mark.clause("RFC 8831 6.2")
def test_a_peer_that_uses_every_stream_takes_no_more_than_a_window() -> None:
    events: list[AssociationEvent | RawMessage] = []
    streams = InboundStreams(events, MID_MASK)
    tracemalloc.start()
    try:
        for stream_id in range(MAX_STREAMS):
            streams.deliver(stream_id, 0, 51, b"x", 0)
            streams.skip(stream_id, 7)
            events.clear()
        taken, _ = tracemalloc.get_traced_memory()
        assert taken < 100 * MAX_STREAMS
        streams.reset(tuple(range(MAX_STREAMS)))
        events.clear()
        streams.deliver(9, 0, 51, b"x", 0)
    finally:
        tracemalloc.stop()
    assert events == [(9, 51, b"x", False)]
    assert len(streams._next) == 1


@pytest.mark.clause("RFC 6525 5.2.7")
def test_an_outgoing_stream_that_was_reset_takes_nothing() -> None:
    network = established()
    association = network.left.association
    assert association.sender is not None
    for _ in range(2):
        association.send(7, 51, b"x", now=network.now)
        network.run(until_s=1)
        association.reset_streams((7,), now=network.now)
        network.run(until_s=1)
        assert not association.sender.packetizer.streams
    assert [message.data for message in network.right.messages] == [b"x", b"x"]
