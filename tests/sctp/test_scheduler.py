"""Streams share the association by weight, and a file never starves a chat (RFC 8831 6.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.sctp.chunks import ChunkType, IData
from dcsdk.sctp.scheduler import OutboundStream, Scheduler
from tests.sctp.network import Link, Network, established


@given(weights=st.lists(st.integers(1, 2000), min_size=1, max_size=6))
def test_streams_get_octets_in_proportion_to_their_weights(weights: list[int]) -> None:
    scheduler = Scheduler()
    streams = [OutboundStream(number) for number in range(len(weights))]
    for stream, weight in zip(streams, weights, strict=True):
        stream.weight = weight
        scheduler.activate(stream)
    served = [0] * len(weights)
    for _ in range(2000):
        assert scheduler.current is not None
        served[scheduler.current.stream_id] += 1000
        scheduler.charge(1000)
    total = sum(served)
    for octets, weight in zip(served, weights, strict=True):
        share = weight / sum(weights)
        assert octets == pytest.approx(share * total, abs=1000 * (len(weights) + 1))


def test_a_stream_that_was_silent_gets_no_credit() -> None:
    scheduler = Scheduler()
    first, second = OutboundStream(1), OutboundStream(2)
    scheduler.activate(first)
    scheduler.activate(second)
    scheduler.remove(second)
    for _ in range(100):
        scheduler.charge(1000)
    scheduler.activate(second)
    served = []
    for _ in range(10):
        assert scheduler.current is not None
        served.append(scheduler.current.stream_id)
        scheduler.charge(1000)
    assert 4 <= served.count(2) <= 6


def test_streams_can_be_removed_parked_and_retired() -> None:
    scheduler = Scheduler()
    scheduler.charge(1)
    scheduler.retire(1)
    assert not scheduler.park()
    assert not scheduler
    streams = [OutboundStream(number) for number in range(3)]
    for stream in streams:
        scheduler.activate(stream)
    assert scheduler.park()
    assert scheduler.current is streams[1]
    scheduler.remove(streams[2])
    assert not scheduler.park()
    scheduler.remove(streams[0])
    scheduler.unpark()
    scheduler.retire(10)
    assert scheduler.current is None


@pytest.mark.clause("RFC 8260 1")
@pytest.mark.parametrize("interleaving", [True, False])
def test_a_large_message_delays_a_small_one_only_without_interleaving(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving, remote_max_message_size=0)
    network.set_links(Link(delay_s=0.01, bytes_per_s=500_000))
    association = network.left.association
    association.send(1, 53, bytes(250_000), now=network.now)
    network.advance(0.05)
    start = network.now
    association.send(2, 51, b"chat", priority=1024, now=network.now)
    network.run(until_s=20, until=lambda: any(m.stream_id == 2 for m in network.right.messages))
    waited = network.now - start
    assert (waited < 0.2) is interleaving
    network.run(until_s=20)
    assert len(network.right.messages) == 2


@pytest.mark.clause("RFC 8831 6.4")
@pytest.mark.parametrize("interleaving", [True, False])
def test_priorities_decide_how_fast_streams_move(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    association = network.left.association
    for _ in range(100):
        association.send(1, 53, bytes(5000), priority=128, now=network.now)
        association.send(2, 53, bytes(5000), priority=512, now=network.now)
    network.run(until_s=20, until=lambda: len(network.right.messages) >= 60)
    counts = [sum(m.stream_id == number for m in network.right.messages) for number in (1, 2)]
    assert counts[1] == pytest.approx(4 * counts[0], abs=8)


@pytest.mark.clause("RFC 8260 2.2")
def test_a_megabyte_and_ten_octets_interleave_on_the_wire() -> None:
    network = established(remote_max_message_size=0, initial_window_packets=20)
    association = network.left.association
    association.send(1, 53, bytes(200_000), now=network.now)
    network.settle()
    association.send(2, 51, b"ten octets", now=network.now)
    network.run(until_s=20)
    chunks = [c for c in network.left.sent_chunks(ChunkType.I_DATA) if isinstance(c, IData)]
    order = [chunk.stream_id for chunk in chunks]
    assert 1 in order[: order.index(2)]
    assert 1 in order[order.index(2) :]
    big = [chunk for chunk in chunks if chunk.stream_id == 1]
    assert [chunk.ppid_or_fsn for chunk in big[1:]] == list(range(1, len(big)))
    assert big[0].ppid_or_fsn == 53


@pytest.mark.clause("RFC 8260 3")
def test_messages_begun_at_once_are_bounded_by_the_window_of_the_peer() -> None:
    network: Network = established(receive_window=40_000, max_message_size=20_000)
    association = network.left.association
    for stream_id in range(30):
        association.send(stream_id, 53, bytes(15_000), now=network.now)
    network.run(until_s=60, until=lambda: len(network.right.messages) == 30)
    assert len(network.right.messages) == 30
    assert network.right.association.stats().chunks_dropped == 0
