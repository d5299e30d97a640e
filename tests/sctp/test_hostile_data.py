"""A peer whose data and acknowledgements break the rules costs at most its own association."""

from __future__ import annotations

import pytest

from dcsdk.sctp import SctpConfig
from dcsdk.sctp.base.events import Aborted, MessageRefused, ResetDone, StreamsReset
from dcsdk.sctp.base.tsn import MASK
from dcsdk.sctp.receiving.receiver import MAX_TSN_AHEAD
from dcsdk.sctp.wire.chunks import (
    CauseChunk,
    ChunkType,
    Data,
    ForwardTsn,
    IData,
    IForwardTsn,
    Sack,
)
from dcsdk.sctp.wire.packet import Packet
from dcsdk.sctp.wire.parameters import CauseCode
from tests.sctp.network import Network, Peer, established

PLAIN = SctpConfig(is_interleaving_offered=False)


def next_tsn(network: Network, sender: Peer) -> int:
    """Return the TSN that ``sender`` would use next, by having it send one message."""
    network.other(sender).sent_packets.clear()
    sender.association.send(3, 51, b"probe", now=network.now)
    network.run(until_s=1)
    (sack, *_) = network.other(sender).sent_chunks(ChunkType.SACK)
    assert isinstance(sack, Sack)
    network.other(sender).messages.clear()
    network.other(sender).sent_packets.clear()
    return (sack.cumulative_tsn + 1) & MASK


def assert_aborted(peer: Peer, code: int = CauseCode.PROTOCOL_VIOLATION) -> None:
    """The peer ended the association itself, with that cause, and said so."""
    (event,) = peer.of(Aborted)
    assert isinstance(event, Aborted)
    assert (event.code, event.is_local) == (code, True)
    packet = peer.association.poll_packets()[-1]
    (abort,) = Packet.decode(packet).chunks
    assert isinstance(abort, CauseChunk)
    assert (abort.kind, abort.items[0].kind) == (ChunkType.ABORT, code)


# --- data ----------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 6.5")
@pytest.mark.parametrize("interleaving", [True, False])
def test_data_on_a_stream_that_does_not_exist_is_reported_and_acknowledged(
    interleaving: bool,
) -> None:
    config = SctpConfig(is_interleaving_offered=interleaving, inbound_streams=10)
    network = Network(config)
    network.connect()
    tsn = next_tsn(network, network.left)
    for offset, stream_id in enumerate((10, 65_535)):
        network.forge(
            network.right,
            IData(tsn=tsn + offset, stream_id=stream_id, message_id=0, ppid_or_fsn=51, data=b"abcd")
            if interleaving
            else Data(
                tsn=tsn + offset, stream_id=stream_id, stream_sequence=0, ppid=51, data=b"abcd"
            ),
        )
    network.settle()
    errors = network.right.sent_chunks(ChunkType.ERROR)
    causes = [item for error in errors if isinstance(error, CauseChunk) for item in error.items]
    assert [(c.kind, c.value) for c in causes] == [
        (CauseCode.INVALID_STREAM_ID, b"\x00\x0a\x00\x00"),
        (CauseCode.INVALID_STREAM_ID, b"\xff\xff\x00\x00"),
    ]
    (sack,) = network.right.sent_chunks(ChunkType.SACK)
    assert isinstance(sack, Sack)
    assert sack.cumulative_tsn == (tsn + 1) & MASK
    assert not network.right.messages


@pytest.mark.clause("RFC 9260 6.2")
@pytest.mark.parametrize("interleaving", [True, False])
def test_an_empty_data_chunk_ends_the_association(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    tsn = next_tsn(network, network.left)
    network.forge(
        network.right,
        IData(tsn=tsn, stream_id=1, message_id=0, ppid_or_fsn=51, data=b"")
        if interleaving
        else Data(tsn=tsn, stream_id=1, stream_sequence=0, ppid=51, data=b""),
    )
    assert_aborted(network.right, CauseCode.NO_USER_DATA)


@pytest.mark.clause("RFC 8260 2.2.1")
@pytest.mark.parametrize("interleaving", [True, False])
def test_the_wrong_kind_of_data_ends_the_association(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    tsn = next_tsn(network, network.left)
    network.forge(
        network.right,
        Data(tsn=tsn, stream_id=1, stream_sequence=0, ppid=51, data=b"x")
        if interleaving
        else IData(tsn=tsn, stream_id=1, message_id=0, ppid_or_fsn=51, data=b"x"),
    )
    assert_aborted(network.right)


def piece(tsn: int, flags: int, *, sequence: int = 0, stream_id: int = 1) -> Data:
    """Return a fragment."""
    return Data(
        tsn=tsn & MASK,
        stream_id=stream_id,
        stream_sequence=sequence,
        ppid=51,
        data=b"part",
        flags=flags,
    )


@pytest.mark.clause("RFC 9260 6.9")
@pytest.mark.parametrize(
    "pieces",
    [
        [(0, 0, 0)],
        [(0, 1, 0)],
        [(0, 2, 0), (1, 2, 1)],
        [(0, 2, 0), (1, 3, 1)],
        [(0, 2, 0), (1, 0, 1)],
        [(0, 2, 0), (1, 4, 0)],
        [(2, 0, 0), (1, 0, 1)],
        [(2, 0, 0), (1, 4, 0)],
        [(1, 1, 0), (2, 0, 0)],
        [(3, 2, 0), (2, 0, 0)],
        [(1, 2, 0), (2, 2, 1), (0, 3, 0)],
        [(1, 0, 0), (0, 3, 0)],
    ],
)
def test_fragments_that_make_no_message_end_the_association(
    pieces: list[tuple[int, int, int]],
) -> None:
    network = established(PLAIN)
    tsn = next_tsn(network, network.left)
    for offset, flags, sequence in pieces:
        network.forge(network.right, piece(tsn + offset, flags, sequence=sequence))
    assert_aborted(network.right)


def i_piece(tsn: int, flags: int, number: int, *, message_id: int = 0) -> IData:
    """Return a fragment of an interleaved message."""
    return IData(
        tsn=tsn & MASK,
        stream_id=1,
        message_id=message_id,
        ppid_or_fsn=number,
        data=b"part",
        flags=flags,
    )


@pytest.mark.clause("RFC 8260 2.2")
@pytest.mark.parametrize(
    "pieces",
    [
        [(0, 0, 0)],
        [(0, 2, 51), (1, 2, 51)],
        [(0, 2, 51), (1, 0, 2), (2, 0, 2)],
        [(0, 2, 51), (1, 1, 3), (2, 0, 4)],
        [(0, 2, 51), (1, 0, 5), (2, 1, 4)],
        [(0, 2, 51), (1, 1, 4), (2, 1, 5)],
    ],
)
def test_interleaved_fragments_that_make_no_message_end_the_association(
    pieces: list[tuple[int, int, int]],
) -> None:
    network = established()
    tsn = next_tsn(network, network.left)
    for offset, flags, number in pieces:
        network.forge(network.right, i_piece(tsn + offset, flags, number))
    assert_aborted(network.right)


def test_a_sequence_number_of_the_past_or_seen_twice_is_thrown_away() -> None:
    network = established(PLAIN)
    tsn = next_tsn(network, network.left)
    for offset, sequence in enumerate((0, 0, 5, 5, 1)):
        network.forge(network.right, piece(tsn + offset, 3, sequence=sequence))
    assert len(network.right.messages) == 2
    buffered = network.right.association.stats().receive_buffered_bytes
    assert 0 < buffered < 100


@pytest.mark.clause("RFC 9260 6.2")
def test_tsns_far_ahead_are_not_kept() -> None:
    network = established(PLAIN)
    tsn = next_tsn(network, network.left)
    network.forge(network.right, piece(tsn + MAX_TSN_AHEAD + 5, 3))
    network.forge(network.right, piece(tsn + (1 << 31), 3))
    stats = network.right.association.stats()
    assert stats.chunks_dropped + stats.duplicates == 2
    assert stats.receive_buffered_bytes == 0


def test_separate_gaps_are_bounded() -> None:
    network = established(PLAIN)
    tsn = next_tsn(network, network.left)
    for offset in range(2, 2 * 2100, 2):
        network.forge(network.right, piece(tsn + offset, 3, sequence=offset))
    stats = network.right.association.stats()
    assert stats.chunks_dropped == 2099 - 2048
    network.settle()
    for packet in network.right.sent_packets:
        assert len(packet) <= 1160


# --- windows -------------------------------------------------------------------------------------
@pytest.mark.parametrize("interleaving", [True, False])
def test_a_peer_that_ignores_the_window_fills_no_memory(interleaving: bool) -> None:
    config = SctpConfig(
        is_interleaving_offered=interleaving, receive_window=20_000, max_message_size=5000
    )
    network = Network(config)
    network.connect()
    tsn = next_tsn(network, network.left)
    network.right.is_reading = False
    for offset in range(200):
        network.forge(
            network.right,
            IData(
                tsn=(tsn + offset) & MASK,
                stream_id=1,
                message_id=offset,
                ppid_or_fsn=51,
                data=bytes(1000),
            )
            if interleaving
            else Data(
                tsn=(tsn + offset) & MASK,
                stream_id=1,
                stream_sequence=offset,
                ppid=51,
                data=bytes(1000),
            ),
        )
    stats = network.right.association.stats()
    assert stats.receive_buffered_bytes <= 22_000
    assert stats.chunks_dropped > 150


def test_incomplete_messages_beyond_every_window_end_the_association() -> None:
    config = SctpConfig(receive_window=20_000, max_message_size=5000)
    network = Network(config)
    network.connect()
    tsn = next_tsn(network, network.left)
    for offset in range(200):
        network.forge(network.right, i_piece(tsn + offset, 2, 51, message_id=offset))
        if network.right.of(Aborted):
            break
    assert_aborted(network.right, CauseCode.OUT_OF_RESOURCE)


def test_tiny_fragments_cost_window_too() -> None:
    network = established(PLAIN, receive_window=20_000, max_message_size=20_000)
    tsn = next_tsn(network, network.left)
    network.forge(network.right, piece(tsn, 2))
    for offset in range(2, 3000):
        network.forge(network.right, piece(tsn + offset, 0))
    assert network.right.association.stats().receive_buffered_bytes <= 21_000


@pytest.mark.clause("D9")
@pytest.mark.parametrize("interleaving", [True, False])
@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("size", [1100, 30_000])
def test_a_message_that_is_too_large_costs_only_its_stream(
    interleaving: bool, shuffled: bool, size: int
) -> None:
    network = Network(
        SctpConfig(is_interleaving_offered=interleaving, remote_max_message_size=0),
        SctpConfig(is_interleaving_offered=interleaving, max_message_size=1000),
    )
    network.connect()
    for peer in (network.left, network.right):
        peer.events.clear()
    association = network.left.association
    association.send(1, 51, bytes(size), now=network.now)
    association.send(1, 51, b"behind it", now=network.now)
    association.send(2, 51, b"other stream", now=network.now)
    if shuffled:
        packets = association.poll_packets()
        network.random.shuffle(packets)
        network.right.association.receive(packets, now=network.now)
        network.right.drain_events()
    network.run(until_s=60)
    assert [m.data for m in network.right.messages] == [b"other stream"]
    (refused,) = network.right.of(MessageRefused)
    assert isinstance(refused, MessageRefused)
    assert refused.stream_id == 1
    assert 1000 < refused.size_bytes <= size
    assert network.right.of(ResetDone) == [ResetDone((1,), True)]
    assert network.left.of(StreamsReset) == [StreamsReset((1,))]
    assert network.right.association.stats().receive_buffered_bytes == 0
    # Our stream is usable again once the peer reset its direction, too.
    association.reset_streams([1], now=network.now)
    network.run(until_s=5)
    association.send(1, 51, b"fresh", now=network.now)
    network.run(until_s=5)
    assert network.right.messages[-1].data == b"fresh"


# --- SACK ----------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 6.2.1")
@pytest.mark.parametrize("kind", ["cumulative", "gap", "empty gap"])
def test_a_sack_for_what_was_not_sent_ends_the_association(kind: str) -> None:
    network = established()
    tsn = next_tsn(network, network.left)
    network.left.association.send(1, 51, b"x", now=network.now)
    network.left.association.poll_packets()
    sacks = {
        "cumulative": Sack(cumulative_tsn=(tsn + 1) & MASK, a_rwnd=9000),
        "gap": Sack(cumulative_tsn=(tsn - 1) & MASK, a_rwnd=9000, gaps=((2, 3),)),
        "empty gap": Sack(cumulative_tsn=(tsn - 1) & MASK, a_rwnd=9000, gaps=((3, 2),)),
    }
    network.forge(network.left, sacks[kind])
    assert_aborted(network.left)


@pytest.mark.clause("RFC 9260 6.2.1")
def test_an_old_sack_is_ignored() -> None:
    network = established()
    tsn = next_tsn(network, network.left)
    network.left.association.send(1, 51, b"x", now=network.now)
    network.left.association.poll_packets()
    network.forge(network.left, Sack(cumulative_tsn=(tsn - 50) & MASK, a_rwnd=1))
    assert network.left.association.stats().peer_window > 1


def test_a_sack_whose_counts_do_not_fit_is_dropped() -> None:
    network = established()
    next_tsn(network, network.left)
    sack = Sack(cumulative_tsn=1, a_rwnd=1, gaps=((2, 2),)).encode()
    for changed in (sack[:2] + b"\x00\x10" + sack[4:], sack[:-4], sack[:14] + b"\xff" + sack[15:]):
        network.forge(network.left, changed)
    assert network.left.association.stats().packets_dropped == 3


# --- FORWARD TSN ---------------------------------------------------------------------------------
@pytest.mark.clause("RFC 3758 3.6")
@pytest.mark.parametrize("interleaving", [True, False])
def test_a_forward_tsn_far_ahead_ends_the_association(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    tsn = next_tsn(network, network.left)
    target = (tsn + MAX_TSN_AHEAD + 10) & MASK
    chunk = (
        IForwardTsn(new_cumulative_tsn=target)
        if interleaving
        else ForwardTsn(new_cumulative_tsn=target)
    )
    network.forge(network.right, chunk)
    assert_aborted(network.right)


@pytest.mark.clause("RFC 3758 3.3.1")
@pytest.mark.parametrize("interleaving", [True, False])
def test_a_forward_tsn_that_was_not_negotiated_ends_the_association(interleaving: bool) -> None:
    network = established(
        is_partial_reliability_offered=False, is_interleaving_offered=interleaving
    )
    network.forge(
        network.right,
        IForwardTsn(new_cumulative_tsn=5) if interleaving else ForwardTsn(new_cumulative_tsn=5),
    )
    assert_aborted(network.right)


@pytest.mark.clause("RFC 8260 2.3.1")
@pytest.mark.parametrize("interleaving", [True, False])
def test_the_wrong_kind_of_forward_tsn_ends_the_association(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    network.forge(
        network.right,
        ForwardTsn(new_cumulative_tsn=5) if interleaving else IForwardTsn(new_cumulative_tsn=5),
    )
    assert_aborted(network.right)


@pytest.mark.clause("RFC 3758 3.6")
@pytest.mark.parametrize("interleaving", [True, False])
def test_a_forward_tsn_of_the_past_is_answered_with_a_sack(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    tsn = next_tsn(network, network.left)
    old = (tsn - 10) & MASK
    network.forge(
        network.right,
        IForwardTsn(new_cumulative_tsn=old, skipped=((1, 0, 9),))
        if interleaving
        else ForwardTsn(new_cumulative_tsn=old, skipped=((1, 9),)),
    )
    network.settle()
    assert len(network.right.sent_chunks(ChunkType.SACK)) == 1


@pytest.mark.clause("RFC 3758 3.6")
def test_a_forward_tsn_names_streams_that_do_not_exist() -> None:
    network = Network(SctpConfig(is_interleaving_offered=False, inbound_streams=4))
    network.connect()
    tsn = next_tsn(network, network.left)
    network.forge(
        network.right, ForwardTsn(new_cumulative_tsn=tsn, skipped=((4, 3), (65_535, 3), (1, 0)))
    )
    network.forge(network.right, piece(tsn + 1, 3, sequence=1))
    assert len(network.right.messages) == 1
