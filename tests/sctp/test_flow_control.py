"""The receive window is real: it shrinks when nobody reads, and opens when somebody does."""

from __future__ import annotations

import pytest

from dcsdk.sctp import SctpConfig
from dcsdk.sctp.wire.chunks import ChunkType, Sack
from tests.sctp.network import Link, Network, established

SMALL = SctpConfig(receive_window=50_000, max_message_size=10_000)


def windows(network: Network) -> list[int]:
    """Return every a_rwnd the right peer told."""
    sacks = network.right.sent_chunks(ChunkType.SACK)
    return [sack.a_rwnd for sack in sacks if isinstance(sack, Sack)]


@pytest.mark.clause("RFC 9260 6.2")
@pytest.mark.parametrize("interleaving", [True, False])
@pytest.mark.parametrize("size", [100, 1000, 9000])
def test_a_program_that_does_not_read_stops_the_sender(interleaving: bool, size: int) -> None:
    network = established(SMALL, is_interleaving_offered=interleaving)
    network.right.is_reading = False
    count = 200_000 // size
    for _ in range(count):
        network.left.association.send(1, 53, bytes(size), now=network.now)
    network.run(until_s=30)
    stats = network.right.association.stats()
    assert 40_000 < stats.receive_buffered_bytes <= 60_000
    assert min(windows(network)) < 1160
    assert network.left.association.total_queued_bytes > 100_000
    network.right.read_all()
    network.run(until_s=60, until=lambda: len(network.right.messages) == count)
    assert len(network.right.messages) == count
    assert network.right.association.stats().receive_buffered_bytes == 0
    assert network.left.association.stats().losses <= 5


@pytest.mark.clause("RFC 9260 6.1 A")
def test_a_closed_window_is_probed_and_never_ends_the_association() -> None:
    network = established(SMALL, max_retrans=3, rto_max_s=2.0)
    network.right.is_reading = False
    for _ in range(100):
        network.left.association.send(1, 53, bytes(1000), now=network.now)
    network.run(until_s=10)
    network.left.sent_packets.clear()
    network.run(until_s=300)
    assert network.is_established()
    assert 100 < len(network.left.sent_chunks(ChunkType.I_DATA)) < 1000
    network.right.read_all()
    network.run(until_s=60)
    assert len(network.right.messages) == 100


@pytest.mark.clause("RFC 9260 6.1 A")
def test_a_lost_window_update_is_made_up_for_by_the_probe() -> None:
    network = established(SMALL)
    network.right.is_reading = False
    for _ in range(100):
        network.left.association.send(1, 53, bytes(1000), now=network.now)
    network.run(until_s=5)
    network.right.link = Link(loss=1.0)
    network.right.read_all()
    network.settle()
    network.right.link = Link()
    network.run(until_s=60)
    assert len(network.right.messages) == 100


@pytest.mark.clause("RFC 9260 6.2.1")
def test_reading_a_little_is_not_worth_a_window_update() -> None:
    network = established(SMALL)
    network.right.is_reading = False
    for _ in range(40):
        network.left.association.send(1, 53, bytes(1000), now=network.now)
    network.run(until_s=5)
    network.right.sent_packets.clear()
    network.right.association.consumed(1, 1000)
    assert not network.right.association.poll_packets()
    network.right.association.consumed(1, 39_000, 39)
    assert len(network.right.association.poll_packets()) == 1


def test_window_comes_back_when_messages_are_reported_together() -> None:
    network = established(SMALL)
    network.right.is_reading = False
    for _ in range(300):
        network.left.association.send(1, 53, bytes(100), now=network.now)
    network.run(until_s=5)
    network.right.association.consumed(1, 30_000, 300)
    assert network.right.association.stats().receive_buffered_bytes == 0


def test_many_streams_interleaved_never_block_each_other_for_good() -> None:
    network = established(SMALL, send_buffer=1 << 22)
    for stream_id in range(100):
        network.left.association.send(stream_id, 53, bytes(9000), now=network.now)
    network.run(until_s=120, until=lambda: len(network.right.messages) == 100)
    assert len(network.right.messages) == 100


def test_what_waits_on_a_stream_is_told_until_it_was_sent() -> None:
    network = established()
    association = network.left.association
    association.send(1, 53, bytes(60_000), now=network.now)
    assert association.queued_bytes(1) == 60_000
    assert association.queued_bytes(2) == 0
    network.run(until_s=5)
    assert association.queued_bytes(1) == 0
