"""The life of an association: data, acknowledgements, shutdown, abort, silence."""

from __future__ import annotations

import pytest

from dcsdk.errors import ConfigError, LocalProtocolError, MessageTooLarge
from dcsdk.sctp import SctpConfig, SendBufferFull
from dcsdk.sctp.base.events import (
    Aborted,
    AssociationState,
    MessageReceived,
    PeerError,
    PeerUnreachableEvent,
    ShutDown,
)
from dcsdk.sctp.wire.chunks import CauseChunk, ChunkType, Init, PlainChunk, Sack
from dcsdk.sctp.wire.packet import Seal, iterate_chunks
from dcsdk.sctp.wire.parameters import CauseCode, ParameterType, Tlv
from tests.sctp.network import Link, Network, Peer, established


def first_types(peer: Peer) -> list[int]:
    """Return the type of the first chunk of every packet a peer sent."""
    return [packet[12] for packet in peer.sent_packets]


# --- sending -------------------------------------------------------------------------------------
def test_what_cannot_be_sent_is_refused_at_once() -> None:
    network = established(remote_max_message_size=1000, send_buffer=2000)
    association = network.left.association
    with pytest.raises(LocalProtocolError, match="empty"):
        association.send(1, 51, b"", now=network.now)
    with pytest.raises(MessageTooLarge):
        association.send(1, 51, bytes(1001), now=network.now)
    with pytest.raises(LocalProtocolError, match="priority"):
        association.send(1, 51, b"x", priority=0, now=network.now)
    with pytest.raises(LocalProtocolError, match="stream"):
        association.send(65_535, 51, b"x", now=network.now)
    association.send(1, 51, bytes(1000), now=network.now)
    association.send(1, 51, bytes(1000), now=network.now)
    with pytest.raises(SendBufferFull):
        association.send(1, 51, b"x", now=network.now)


@pytest.mark.clause("RFC 9260 6.9")
@pytest.mark.parametrize("interleaving", [True, False])
def test_full_packets_have_equal_size(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving, initial_window_packets=60)
    network.left.association.send(1, 53, bytes(16_384), now=network.now)
    network.left.association.send(1, 53, bytes(16_384), now=network.now)
    packets = network.left.association.poll_packets()
    assert {len(packet) for packet in packets[:-1]} == {1160}
    assert len(packets[-1]) <= 1160


def test_small_messages_share_packets() -> None:
    network = established()
    for _ in range(30):
        network.left.association.send(1, 53, bytes(99), now=network.now)
    packets = network.left.association.poll_packets()
    assert [len(list(iterate_chunks(packet))) for packet in packets] == [9, 9, 9, 3]


@pytest.mark.clause("RFC 9260 6.6")
@pytest.mark.parametrize("interleaving", [True, False])
def test_unordered_messages_do_not_wait(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    lost: list[bytes] = []

    def lose_first(sender: Peer, packet: bytes) -> bytes | None:
        if not lost and sender is network.left:
            lost.append(packet)
            return None
        return packet

    network.on_packet = lose_first
    network.left.association.send(1, 51, bytes(1100), now=network.now)
    network.left.association.send(1, 51, b"ordered", now=network.now)
    network.left.association.send(1, 51, b"u" * 1100, is_ordered=False, now=network.now)
    network.left.association.send(1, 51, b"v" * 3000, is_ordered=False, now=network.now)
    network.run(until_s=10)
    order = [(len(m.data), m.is_unordered) for m in network.right.messages]
    assert order == [(1100, True), (3000, True), (1100, False), (7, False)]


# --- shutdown and abort --------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 9.2")
def test_both_ends_may_shut_down_at_once() -> None:
    network = established()
    network.left.association.send(1, 51, bytes(20_000), now=network.now)
    network.right.association.send(1, 51, bytes(30_000), now=network.now)
    network.left.association.shutdown(now=network.now)
    network.right.association.shutdown(now=network.now)
    network.run(until_s=60)
    for peer in (network.left, network.right):
        assert peer.events[-1] == ShutDown()
        assert peer.association.state is AssociationState.CLOSED
        assert peer.association.next_timer() is None
    assert [len(m.data) for m in network.right.messages] == [20_000]
    assert [len(m.data) for m in network.left.messages] == [30_000]
    with pytest.raises(LocalProtocolError):
        network.left.association.send(1, 51, b"x", now=network.now)


@pytest.mark.clause("RFC 9260 9.2")
@pytest.mark.parametrize("dropped", range(4))
def test_any_lost_packet_of_a_shutdown_is_repeated(dropped: int) -> None:
    network = established()
    count = 0

    def drop_one(sender: Peer, packet: bytes) -> bytes | None:
        nonlocal count
        if packet[12] not in (7, 8, 14):
            return packet
        count += 1
        return None if count - 1 == dropped else packet

    network.on_packet = drop_one
    network.left.association.shutdown(now=network.now)
    network.run(until_s=60)
    for peer in (network.left, network.right):
        assert peer.events[-1] == ShutDown()


@pytest.mark.clause("RFC 9260 9.2")
def test_data_that_comes_after_shutdown_is_still_taken() -> None:
    network = established()
    network.left.association.shutdown(now=network.now)
    network.right.association.send(1, 51, bytes(50_000), now=network.now)
    network.run(until_s=60)
    assert [len(m.data) for m in network.left.messages] == [50_000]
    assert network.left.events[-1] == ShutDown()


@pytest.mark.clause("RFC 9260 9.2")
def test_a_shutdown_that_nobody_answers_ends_in_bounded_time() -> None:
    network = established(max_retrans=4)
    network.set_links(Link(loss=1.0))
    network.left.association.shutdown(now=network.now)
    network.run(until_s=1000)
    assert isinstance(network.left.events[-1], PeerUnreachableEvent)


def test_shutdown_before_set_up_just_ends() -> None:
    network = Network()
    network.left.association.connect(now=network.now)
    network.left.association.shutdown(now=network.now)
    network.left.drain_events()
    assert isinstance(network.left.events[-1], Aborted)
    assert network.left.association.next_timer() is None


@pytest.mark.clause("RFC 9260 9.1")
def test_an_abort_tells_the_peer_why() -> None:
    network = established()
    network.left.association.send(1, 51, bytes(60_000), now=network.now)
    network.left.association.abort("enough", now=network.now)
    network.left.association.abort("again", now=network.now)
    network.run(until_s=5)
    assert network.left.events == [Aborted(CauseCode.USER_INITIATED_ABORT, "enough", True)]
    assert network.right.events == [Aborted(CauseCode.USER_INITIATED_ABORT, "enough", False)]
    assert not network.left.association.poll_packets()
    assert network.left.association.next_timer() is None


@pytest.mark.clause("RFC 9260 8.5.1 B")
def test_an_abort_with_a_reflected_tag_counts_only_with_the_t_bit() -> None:
    network = established()
    right_tag, left_tag = network.right.tag, network.left.tag
    assert right_tag != left_tag
    network.forge(network.right, CauseChunk(kind=ChunkType.ABORT), tag=left_tag)
    assert network.right.association.state is AssociationState.ESTABLISHED
    network.forge(network.right, CauseChunk(kind=ChunkType.ABORT, flags=1), tag=left_tag)
    assert network.right.events == [Aborted(0, "", False)]


@pytest.mark.clause("RFC 9260 8.4")
def test_after_the_end_an_init_is_refused_and_a_shutdown_ack_is_answered() -> None:
    network = established()
    network.right.association.abort(now=network.now)
    network.settle()
    network.right.sent_packets.clear()
    init = Init(initiate_tag=5, a_rwnd=5000, outbound_streams=9, inbound_streams=9, initial_tsn=1)
    network.forge(network.right, init, tag=0)
    network.forge(network.right, PlainChunk(kind=ChunkType.SHUTDOWN_ACK), tag=9)
    network.settle()
    assert first_types(network.right) == [ChunkType.ABORT, ChunkType.SHUTDOWN_COMPLETE]
    complete = network.right.sent_packets[1]
    assert complete[13] == 1
    assert complete[4:8] == (9).to_bytes(4, "big")


@pytest.mark.clause("RFC 9260 9.2")
def test_an_init_during_the_last_step_of_a_shutdown_repeats_it() -> None:
    network = established()
    network.forge(network.right, PlainChunk(kind=ChunkType.SHUTDOWN, value=bytes(4)))
    assert network.right.association.state is AssociationState.SHUTDOWN_ACK_SENT
    network.settle()
    network.right.sent_packets.clear()
    init = Init(initiate_tag=5, a_rwnd=5000, outbound_streams=9, inbound_streams=9, initial_tsn=1)
    network.forge(network.right, init, tag=0)
    network.settle()
    assert first_types(network.right) == [ChunkType.SHUTDOWN_ACK]


@pytest.mark.clause("RFC 9260 8.5.1 C")
def test_a_shutdown_complete_with_a_reflected_tag_ends_the_association() -> None:
    network = established()
    network.forge(network.right, PlainChunk(kind=ChunkType.SHUTDOWN, value=bytes(4)))
    complete = PlainChunk(kind=ChunkType.SHUTDOWN_COMPLETE, flags=1)
    network.forge(network.right, complete, tag=network.left.tag)
    assert network.right.events == [ShutDown()]


# --- is the peer there ---------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 8.3")
def test_an_idle_association_sends_heartbeats_and_measures_with_them() -> None:
    network = established(hb_slowdown=1)
    network.advance(100)
    beats = {len(p.sent_chunks(ChunkType.HEARTBEAT)): p for p in (network.left, network.right)}
    assert set(beats) == {0, 3}  # who is asked need not ask
    assert beats[3].association.stats().smoothed_rtt_s == pytest.approx(0.02, rel=0.2)


@pytest.mark.clause("RFC 9260 8.3")
def test_acknowledged_data_makes_heartbeats_needless() -> None:
    network = established()
    for _ in range(50):
        network.left.association.send(1, 51, b"busy", now=network.now)
        network.advance(2)
    assert not network.left.sent_chunks(ChunkType.HEARTBEAT)


@pytest.mark.clause("RFC 9260 8.1")
@pytest.mark.parametrize("with_data", [True, False])
def test_a_peer_that_vanishes_is_noticed(with_data: bool) -> None:
    network = established(max_retrans=5, rto_max_s=2.0)
    network.set_links(Link(loss=1.0))
    if with_data:
        network.left.association.send(1, 51, b"anybody?", now=network.now)
    network.run(until_s=200)
    assert isinstance(network.left.events[-1], PeerUnreachableEvent)
    assert network.left.association.stats().error_count == 6


def test_heartbeats_can_be_switched_off() -> None:
    network = established(hb_interval_s=0)
    network.advance(1000)
    assert not network.left.sent_packets


@pytest.mark.clause("RFC 9260 8.3")
def test_a_forged_heartbeat_ack_is_no_sign_of_life() -> None:
    network = established(max_retrans=2, rto_max_s=1.0)
    network.set_links(Link(loss=1.0))
    for _ in range(100):
        network.advance(1)
        value = Tlv(ParameterType.HEARTBEAT_INFO, bytes(16)).encode()
        network.forge(network.left, PlainChunk(kind=ChunkType.HEARTBEAT_ACK, value=value))
        network.forge(network.left, PlainChunk(kind=ChunkType.HEARTBEAT_ACK, value=b""))
        if network.left.events:
            break
    assert isinstance(network.left.events[-1], PeerUnreachableEvent)


@pytest.mark.clause("RFC 9260 3.3.6")
def test_a_heartbeat_is_answered_with_its_content() -> None:
    network = established()
    network.forge(network.right, PlainChunk(kind=ChunkType.HEARTBEAT, value=b"\0\1\0\x08opaq"))
    network.settle()
    (ack,) = network.right.sent_chunks(ChunkType.HEARTBEAT_ACK)
    assert isinstance(ack, PlainChunk)
    assert ack.value == b"\0\1\0\x08opaq"


@pytest.mark.clause("RFC 9260 3.3.10")
def test_an_error_of_the_peer_is_an_event() -> None:
    network = established()
    error = CauseChunk(kind=ChunkType.ERROR, items=(Tlv(CauseCode.INVALID_STREAM_ID, b"\0\5\0\0"),))
    network.forge(network.left, error)
    assert network.left.events == [PeerError(CauseCode.INVALID_STREAM_ID, b"\0\5\0\0")]


# --- acknowledgements ----------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 6.2")
def test_one_packet_is_acknowledged_late_and_two_at_once() -> None:
    network = established()
    network.left.association.send(1, 51, b"one", now=network.now)
    network.run(until_s=0.015)
    assert not network.right.sent_packets
    network.run(until_s=0.05)
    assert len(network.right.sent_chunks(ChunkType.SACK)) == 1
    network.right.sent_packets.clear()
    network.left.association.send(1, 51, bytes(1500), now=network.now)
    network.run(until_s=0.0105)
    assert len(network.right.sent_chunks(ChunkType.SACK)) == 1


@pytest.mark.clause("RFC 9260 6.2")
def test_an_answer_carries_the_acknowledgement() -> None:
    network = established()
    network.left.association.send(1, 51, b"ping", now=network.now)
    network.run(until=lambda: bool(network.right.messages))
    network.right.association.send(1, 51, b"pong", now=network.now)
    network.run(until_s=0.001)
    (packet,) = network.right.sent_packets
    assert [kind for kind, _, _ in iterate_chunks(packet)] == [ChunkType.SACK, ChunkType.I_DATA]


@pytest.mark.clause("RFC 9260 3.3.1")
def test_the_i_bit_asks_for_an_acknowledgement_at_once() -> None:
    network = established(is_interleaving_offered=False)
    network.left.association.send(1, 51, b"x", now=network.now)
    (packet,) = network.left.association.poll_packets()
    chunk = bytearray(packet[12:])
    chunk[1] |= 0x08
    network.forge(network.right, bytes(chunk))
    network.settle()
    assert len(network.right.sent_chunks(ChunkType.SACK)) == 1
    assert [m.data for m in network.right.messages] == [b"x"]


@pytest.mark.clause("RFC 9260 6.7")
def test_a_gap_is_reported_at_once_with_its_duplicates() -> None:
    network = established()
    association = network.left.association
    packets: list[bytes] = []
    for number in range(4):
        association.send(1, 51, b"%d" % number, now=network.now)
        packets += association.poll_packets()
    network.inject(network.right, packets[3])
    network.inject(network.right, packets[1])
    network.inject(network.right, packets[1])
    network.settle()
    (sack,) = network.right.sent_chunks(ChunkType.SACK)
    assert isinstance(sack, Sack)
    assert sack.gaps == ((2, 2), (4, 4))
    assert len(sack.duplicates) == 1
    network.inject(network.right, packets[0])
    network.inject(network.right, packets[2])
    assert [m.data for m in network.right.messages] == [b"0", b"1", b"2", b"3"]


# --- configuration -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {"mtu": 100},
        {"mtu": 1161, "max_mtu": 2000},
        {"local_port": 0},
        {"sack_delay_s": 0.6},
        {"max_message_size": 10_000_000},
        {"rto_min_s": 2.0},
        {"max_mtu": 600},
        {"outbound_streams": 0},
    ],
)
def test_numbers_that_cannot_work_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SctpConfig(**changes)  # type: ignore[arg-type]


def test_a_snapshot_tells_what_happens() -> None:
    network = Network()
    assert network.left.association.stats().state is AssociationState.CLOSED
    network.connect()
    network.left.association.send(1, 51, bytes(60_000), now=network.now)
    network.settle()
    stats = network.left.association.stats()
    assert stats.state is AssociationState.ESTABLISHED
    assert stats.mtu == 1160
    assert 0 < stats.in_flight_bytes <= stats.congestion_window + 1160
    assert stats.in_flight_bytes + stats.queued_bytes == 60_000
    network.run(until_s=10)
    stats = network.left.association.stats()
    assert (stats.in_flight_bytes, stats.queued_bytes, stats.losses) == (0, 0, 0)
    assert stats.smoothed_rtt_s > 0.019
    assert stats.packets_sent > 50
    assert network.right.association.stats().receive_buffered_bytes == 0


def test_single_events_are_named_tuples_and_batches_bare() -> None:
    network = established()
    for _ in range(2):
        network.left.association.send(3, 51, b"x", now=network.now)
    (packet,) = network.left.association.poll_packets()
    association = network.right.association
    association.receive([packet], now=network.now)
    assert association.poll_event() == MessageReceived(3, 51, b"x", False)
    assert association.poll_batch() == [(3, 51, b"x", False)]
    assert association.poll_event() is None


def test_a_packet_for_other_ports_is_dropped() -> None:
    network = established()
    packet = Seal(1, 2, network.right.tag).close(CauseChunk(kind=ChunkType.ABORT).encode())
    network.inject(network.right, packet)
    assert network.right.association.stats().packets_dropped == 1
    assert network.is_established()
