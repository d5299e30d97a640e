"""Messages with a limit are given up, all others are not (RFC 3758, RFC 7496)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError
from dcsdk.sctp import SctpConfig
from dcsdk.sctp.base.events import MessageAbandoned
from dcsdk.sctp.wire.chunks import ChunkType, ForwardTsn, IForwardTsn
from tests.sctp.network import Link, Network, Peer, established

BOTH = pytest.mark.parametrize("interleaving", [True, False])


def lose(network: Network, *numbers: int) -> None:
    """Lose those of the left peer's packets with data, counted from 0."""
    count = 0

    def choose(sender: Peer, packet: bytes) -> bytes | None:
        nonlocal count
        if sender is not network.left or packet[12] not in (ChunkType.DATA, ChunkType.I_DATA):
            return packet
        count += 1
        return None if count - 1 in numbers else packet

    network.on_packet = choose


@pytest.mark.clause("RFC 7496 3.1")
@pytest.mark.clause("RFC 3758 3.5")
@BOTH
def test_a_message_without_retransmissions_is_given_up_when_lost(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    lose(network, 1)
    for number in range(6):
        network.left.association.send(1, 51, b"%d" % number * 1000, max_retr=0, now=network.now)
    network.run(until_s=20)
    assert [m.data[:1] for m in network.right.messages] == [b"0", b"2", b"3", b"4", b"5"]
    assert network.left.of(MessageAbandoned) == [MessageAbandoned(1, True)]
    assert network.left.association.is_idle
    kind = ChunkType.I_FORWARD_TSN if interleaving else ChunkType.FORWARD_TSN
    chunk = network.left.sent_chunks(kind)[0]
    if interleaving:
        assert isinstance(chunk, IForwardTsn)
        assert chunk.skipped == ((1, 0, 1),)
    else:
        assert isinstance(chunk, ForwardTsn)
        assert chunk.skipped == ((1, 1),)
    assert network.left.association.stats().messages_abandoned == 1


@pytest.mark.clause("RFC 7496 3.1")
@BOTH
@pytest.mark.parametrize("allowed", [1, 2])
def test_a_message_is_sent_again_as_often_as_allowed(interleaving: bool, allowed: int) -> None:
    network = established(is_interleaving_offered=interleaving, hb_interval_s=0)
    network.left.link = Link(loss=1.0)
    network.left.association.send(1, 51, b"x", max_retr=allowed, now=network.now)
    network.run(until_s=60, until=lambda: bool(network.left.events))
    kind = ChunkType.I_DATA if interleaving else ChunkType.DATA
    assert len(network.left.sent_chunks(kind)) == 1 + allowed
    network.left.link = Link()
    network.left.association.send(1, 51, b"later", now=network.now)
    network.run(until_s=60)
    assert [m.data for m in network.right.messages] == [b"later"]


@pytest.mark.clause("RFC 3758 4.1")
@BOTH
def test_a_message_is_given_up_when_its_time_is_over(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    network.left.link = Link(loss=1.0)
    network.left.association.send(1, 51, b"old news", max_time_ms=500, now=network.now)
    network.left.association.send(1, 51, b"must come", now=network.now)
    network.run(until_s=2)
    network.left.link = Link()
    network.run(until_s=60)
    assert [m.data for m in network.right.messages] == [b"must come"]
    assert network.left.of(MessageAbandoned) == [MessageAbandoned(1, True)]


@pytest.mark.clause("RFC 3758 4.1")
@BOTH
def test_a_message_that_waited_too_long_is_never_sent(interleaving: bool) -> None:
    network = established(
        is_interleaving_offered=interleaving, initial_window_packets=1, hb_interval_s=0
    )
    network.left.link = Link(delay_s=1.0)
    network.left.association.send(1, 51, bytes(1132), now=network.now)
    network.left.association.send(1, 51, b"too late", max_time_ms=100, now=network.now)
    network.left.association.send(2, 51, bytes(3000), max_time_ms=100, now=network.now)
    network.left.association.send(1, 51, b"patient", max_time_ms=60_000, now=network.now)
    network.run(until_s=60)
    assert [len(m.data) for m in network.right.messages] == [1132, 7]
    assert set(network.left.of(MessageAbandoned)) == {
        MessageAbandoned(1, False),
        MessageAbandoned(2, False),
    }
    assert network.left.association.is_idle


@pytest.mark.clause("RFC 3758 3.5 A3")
@BOTH
@pytest.mark.parametrize("lost", [0, 4, 9, 13, 14])
def test_all_fragments_are_given_up_together(interleaving: bool, lost: int) -> None:
    network = established(is_interleaving_offered=interleaving, initial_window_packets=60)
    lose(network, lost)
    network.left.association.send(1, 51, bytes(16_384), max_retr=0, now=network.now)
    network.left.association.send(1, 51, b"after", now=network.now)
    network.run(until_s=20)
    assert [len(m.data) for m in network.right.messages] == [5]
    assert network.left.of(MessageAbandoned) == [MessageAbandoned(1, True)]
    assert network.right.association.stats().receive_buffered_bytes == 0


@pytest.mark.clause("RFC 3758 3.5")
@BOTH
def test_the_unsent_rest_of_a_message_is_given_up_with_it(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving, initial_window_packets=4)
    lose(network, 2)
    network.left.association.send(1, 51, bytes(60_000), max_retr=0, now=network.now)
    network.left.association.send(1, 51, b"after", now=network.now)
    network.left.association.send(2, 51, b"other", now=network.now)
    network.run(until_s=20)
    assert sorted(len(m.data) for m in network.right.messages) == [5, 5]
    assert network.left.association.stats().packets_sent < 40
    assert network.right.association.stats().receive_buffered_bytes == 0
    assert network.left.association.is_idle


@BOTH
def test_unordered_messages_are_given_up_too(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving, initial_window_packets=60)
    lose(network, 0, 3)
    for number in range(3):
        network.left.association.send(
            1, 51, bytes([number]) * 3000, is_ordered=False, max_retr=0, now=network.now
        )
    network.left.association.send(1, 51, b"ordered", now=network.now)
    network.run(until_s=20)
    assert [m.data[:1] for m in network.right.messages] == [b"\x02", b"o"]
    assert network.right.association.stats().receive_buffered_bytes == 0


@BOTH
def test_a_lost_forward_tsn_is_repeated(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving, hb_interval_s=0)
    kinds = (ChunkType.FORWARD_TSN, ChunkType.I_FORWARD_TSN)
    dropped = 0

    def choose(sender: Peer, packet: bytes) -> bytes | None:
        nonlocal dropped
        is_data = packet[12] in (ChunkType.DATA, ChunkType.I_DATA)
        if sender is network.left and (is_data or packet[12] in kinds) and dropped < 3:
            dropped += 1
            return None
        return packet

    network.on_packet = choose
    network.left.association.send(1, 51, b"gone", max_retr=0, now=network.now)
    network.run(until_s=60)
    assert dropped == 3
    assert network.left.association.is_idle


@BOTH
def test_many_skipped_streams_need_several_chunks(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving, initial_window_packets=100)
    network.left.link = Link(loss=1.0)
    for stream_id in range(400):
        network.left.association.send(stream_id, 51, b"x", max_retr=0, now=network.now)
    network.run(until_s=3)
    network.left.link = Link()
    for stream_id in range(400):
        network.left.association.send(stream_id, 51, b"y", now=network.now)
    network.run(until_s=60)
    assert [m.data for m in network.right.messages] == [b"y"] * 400
    for packet in network.left.sent_packets:
        assert len(packet) <= 1160


def test_without_the_extension_every_message_is_reliable() -> None:
    network = established(is_partial_reliability_offered=False)
    lose(network, 0)
    network.left.association.send(1, 51, b"x", max_retr=0, max_time_ms=1, now=network.now)
    network.run(until_s=20)
    assert [m.data for m in network.right.messages] == [b"x"]


def test_limits_out_of_range_are_refused() -> None:
    network = established()
    with pytest.raises(LocalProtocolError):
        network.left.association.send(1, 51, b"x", max_retr=-1, now=network.now)
    with pytest.raises(LocalProtocolError):
        network.left.association.send(1, 51, b"x", max_time_ms=-1, now=network.now)


@BOTH
def test_a_message_ready_behind_a_skipped_one_is_delivered_in_order(interleaving: bool) -> None:
    """The receiver holds 2 and 3, then learns that 1 is gone, while 0 is still missing."""
    network = established(is_interleaving_offered=interleaving)
    lose(network, 0, 1, 4)
    association = network.left.association
    for number, limit in enumerate((None, 0, None, None)):
        association.send(1, 51, b"%d" % number * 1000, max_retr=limit, now=network.now)
    network.run(until_s=30)
    assert [m.data[:1] for m in network.right.messages] == [b"0", b"2", b"3"]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1 << 16),
    loss=st.sampled_from([0.02, 0.1, 0.3]),
    jitter=st.sampled_from([0.0, 0.05]),
    interleaving=st.booleans(),
    sizes=st.lists(st.sampled_from([10, 1000, 1132, 5000, 30_000]), min_size=5, max_size=30),
)
def test_limited_messages_come_whole_or_not_at_all_on_random_networks(
    seed: int, loss: float, jitter: float, interleaving: bool, sizes: list[int]
) -> None:
    config = SctpConfig(
        is_interleaving_offered=interleaving, max_retrans=100, max_init_retrans=100, rto_max_s=3.0
    )
    network = Network(config, link=Link(loss=loss, jitter_s=jitter, duplication=0.05), seed=seed)
    network.connect(until_s=500)
    choose = random.Random(seed)
    sent: list[tuple[int, bool, bool, bytes]] = []
    for number, size in enumerate(sizes):
        limits: dict[str, int] = choose.choice(
            [{}, {"max_retr": 0}, {"max_retr": 2}, {"max_time_ms": 50}, {"max_time_ms": 500}]
        )
        stream_id, is_ordered = choose.randrange(3), choose.random() < 0.7
        data = number.to_bytes(2, "big") + choose.randbytes(size)
        sent.append((stream_id, is_ordered, not limits, data))
        network.left.association.send(
            stream_id,
            51,
            data,
            is_ordered=is_ordered,
            max_retr=limits.get("max_retr"),
            max_time_ms=limits.get("max_time_ms"),
            now=network.now,
        )
        if choose.random() < 0.3:
            network.advance(0.05)
    network.run(until_s=2000, until=lambda: network.left.association.is_idle)
    network.run(until_s=1)
    received = [m.data for m in network.right.messages]
    assert len(received) == len(set(received))
    by_content = {data: (stream_id, ordered) for stream_id, ordered, _, data in sent}
    assert set(received) <= set(by_content)
    assert {data for _, _, reliable, data in sent if reliable} <= set(received)
    for stream_id in range(3):
        ordered = [data for data in received if by_content[data] == (stream_id, True)]
        assert ordered == sorted(ordered, key=lambda data: data[:2])
    assert network.right.association.stats().receive_buffered_bytes == 0
