"""A peer that breaks the rules costs at most its own association."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsdk.sctp import SctpAssociation, SctpConfig
from dcsdk.sctp.base.events import Aborted, AssociationState
from dcsdk.sctp.base.tsn import MASK
from dcsdk.sctp.control.control_chunks import MAX_REPORTED_CHUNK
from dcsdk.sctp.wire.chunks import (
    CauseChunk,
    ChunkType,
    Data,
    ForwardTsn,
    IData,
    IForwardTsn,
    Init,
    PlainChunk,
    Sack,
)
from dcsdk.sctp.wire.packet import Packet, Seal
from dcsdk.sctp.wire.parameters import CauseCode, Tlv
from tests.sctp.network import Network, Peer, established, make_entropy
from tests.sctp.wire.test_codec import CHUNKS

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


# --- any bytes -----------------------------------------------------------------------------------
BODIES = st.one_of(
    st.binary(max_size=120),
    st.lists(CHUNKS, max_size=4).map(lambda chunks: b"".join(c.encode() for c in chunks)),
    st.builds(
        lambda kind, flags, size, rest: bytes([kind, flags]) + size.to_bytes(2, "big") + rest,
        st.one_of(st.sampled_from(sorted(ChunkType)), st.integers(0, 255)),
        st.integers(0, 255),
        st.integers(0, 80),
        st.binary(max_size=80),
    ),
)


@settings(max_examples=300)
@given(
    bodies=st.lists(BODIES, min_size=1, max_size=4),
    tag_choice=st.integers(0, 2),
    interleaving=st.booleans(),
    state=st.integers(0, 3),
)
def test_no_bytes_of_a_peer_raise(
    bodies: list[bytes], tag_choice: int, interleaving: bool, state: int
) -> None:
    config = SctpConfig(is_interleaving_offered=interleaving)
    network = Network(config)
    if state:
        network.connect()
    if state == 2:
        network.left.association.send(1, 51, bytes(5000), now=network.now)
    if state == 3:
        network.left.association.shutdown(now=network.now)
    peer = network.left
    tag = (peer.tag, 0, network.right.tag)[tag_choice]
    packets = [Seal(5000, 5000, tag).close(body) for body in bodies]
    peer.association.receive(packets, now=network.now)
    peer.drain_events()
    peer.association.poll_packets()
    peer.association.handle_timer(now=network.now + 100)
    peer.association.poll_packets()
    assert peer.association.stats().receive_buffered_bytes <= 100_000


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_no_datagram_raises(packets: list[bytes]) -> None:
    association = SctpAssociation(SctpConfig(), entropy=make_entropy(1))
    association.connect(now=0.0)
    association.receive(packets, now=0.0)
    assert association.stats().packets_dropped == len(packets)


# --- rules of packets ----------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 8.5")
def test_packets_with_a_wrong_tag_are_dropped() -> None:
    network = established()
    for chunk in (
        CauseChunk(kind=ChunkType.ABORT),
        PlainChunk(kind=ChunkType.SHUTDOWN_COMPLETE),
        PlainChunk(kind=ChunkType.SHUTDOWN_ACK),
        Sack(cumulative_tsn=1, a_rwnd=0),
    ):
        network.forge(network.right, chunk, tag=network.right.tag ^ 1)
    assert network.right.association.stats().packets_dropped == 4
    assert network.is_established()


@pytest.mark.clause("RFC 9260 6.10")
def test_init_init_ack_and_shutdown_complete_must_be_alone() -> None:
    network = Network()
    init = Init(initiate_tag=7, a_rwnd=9000, outbound_streams=1, inbound_streams=1, initial_tsn=1)
    network.forge(network.right, init, PlainChunk(kind=ChunkType.COOKIE_ACK), tag=0)
    network.forge(network.right, init, tag=3)
    assert not network.right.association.poll_packets()
    network.connect()
    network.left.sent_packets.clear()
    pad = PlainChunk(kind=ChunkType.PAD)
    network.forge(network.right, PlainChunk(kind=ChunkType.SHUTDOWN_COMPLETE), pad)
    network.forge(network.right, init)
    ack = Init(
        initiate_tag=7,
        a_rwnd=9000,
        outbound_streams=1,
        inbound_streams=1,
        initial_tsn=1,
        is_ack=True,
    )
    network.forge(network.right, ack, pad)
    network.forge(network.right, pad, PlainChunk(kind=ChunkType.COOKIE_ECHO, value=b"x"))
    assert network.right.association.stats().packets_dropped == 6


@pytest.mark.clause("RFC 9260 3.2")
@pytest.mark.parametrize(
    ("kind", "goes_on", "is_reported"),
    [(0x3F, False, False), (0x7F, False, True), (0xBF, True, False), (0xFF, True, True)],
)
def test_unknown_chunks_are_treated_by_their_high_bits(
    kind: int, goes_on: bool, is_reported: bool
) -> None:
    network = established()
    unknown = PlainChunk(kind=kind, value=bytes(500))
    heartbeat = PlainChunk(kind=ChunkType.HEARTBEAT, value=b"info")
    network.forge(network.right, unknown, heartbeat)
    network.settle()
    assert bool(network.right.sent_chunks(ChunkType.HEARTBEAT_ACK)) is goes_on
    errors = network.right.sent_chunks(ChunkType.ERROR)
    assert bool(errors) is is_reported
    if is_reported:
        (error,) = errors
        assert isinstance(error, CauseChunk)
        (cause,) = error.items
        assert cause.kind == CauseCode.UNRECOGNIZED_CHUNK_TYPE
        assert cause.value == unknown.encode()[:MAX_REPORTED_CHUNK]


@pytest.mark.clause("RFC 9260 3.2")
@pytest.mark.parametrize("interleaving", [True, False])
def test_chunks_that_do_not_fit_their_packet_are_dropped(interleaving: bool) -> None:
    network = established(is_interleaving_offered=interleaving)
    tsn = next_tsn(network, network.left)
    good = (
        IData(tsn=tsn, stream_id=1, message_id=0, ppid_or_fsn=51, data=b"abcd")
        if interleaving
        else Data(tsn=tsn, stream_id=1, stream_sequence=0, ppid=51, data=b"abcd")
    ).encode()
    for size in (0, 3, 8, 200):
        network.forge(network.right, good[:2] + size.to_bytes(2, "big") + good[4:])
    for cut in (2, 10, len(good) - 1):
        network.forge(network.right, good[:cut])
    assert network.right.association.stats().packets_dropped == 7
    assert network.is_established()
    network.forge(network.right, good)
    assert [m.data for m in network.right.messages] == [b"abcd"]


# --- set-up --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 3.3.2")
@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"initiate_tag": 0}, []),
        ({"outbound_streams": 0}, [ChunkType.ABORT]),
        ({"inbound_streams": 0}, [ChunkType.ABORT]),
        ({"a_rwnd": 1499}, [ChunkType.ABORT]),
        ({}, [ChunkType.INIT_ACK]),
    ],
)
def test_an_init_that_cannot_work_is_refused(
    changes: dict[str, int], answer: list[ChunkType]
) -> None:
    fields = {
        "initiate_tag": 7,
        "a_rwnd": 1500,
        "outbound_streams": 1,
        "inbound_streams": 1,
        "initial_tsn": 1,
    }
    network = Network()
    network.forge(network.right, Init(**fields | changes), tag=0)  # type: ignore[arg-type]
    network.settle()
    assert [packet[12] for packet in network.right.sent_packets] == answer
    assert network.right.association.state is AssociationState.CLOSED


@pytest.mark.clause("RFC 9260 5.1.3")
def test_a_flood_of_inits_leaves_no_state() -> None:
    network = established()
    before = len(network.right.association.poll_packets())
    for tag in range(1, 500):
        init = Init(
            initiate_tag=tag, a_rwnd=9000, outbound_streams=9, inbound_streams=9, initial_tsn=tag
        )
        network.forge(network.right, init, tag=0)
        assert len(network.right.association.poll_packets()) == 1
    assert before == 0
    network.left.association.send(1, 51, b"alive", now=network.now)
    network.run(until_s=1)
    assert [m.data for m in network.right.messages] == [b"alive"]


@pytest.mark.clause("RFC 9260 3.3.3")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"outbound_streams": 0}, CauseCode.INVALID_MANDATORY_PARAMETER),
        ({}, CauseCode.MISSING_MANDATORY_PARAMETER),
    ],
)
def test_an_init_ack_that_cannot_work_ends_set_up(changes: dict[str, int], code: int) -> None:
    network = Network()
    network.left.association.connect(now=network.now)
    (packet,) = network.left.association.poll_packets()
    (init,) = Packet.decode(packet).chunks
    assert isinstance(init, Init)
    fields = {
        "initiate_tag": 7,
        "a_rwnd": 1500,
        "outbound_streams": 1,
        "inbound_streams": 1,
        "initial_tsn": 1,
    }
    ack = Init(**fields | changes, is_ack=True)  # type: ignore[arg-type]
    network.forge(network.left, ack, tag=init.initiate_tag)
    (event,) = network.left.of(Aborted)
    assert isinstance(event, Aborted)
    assert event.code == code


@pytest.mark.clause("RFC 9260 5.2.3")
def test_an_unexpected_init_ack_is_ignored() -> None:
    network = established()
    ack = Init(
        initiate_tag=7,
        a_rwnd=1500,
        outbound_streams=1,
        inbound_streams=1,
        initial_tsn=1,
        is_ack=True,
    )
    network.forge(network.left, ack)
    network.forge(network.left, PlainChunk(kind=ChunkType.COOKIE_ACK))
    network.settle()
    assert network.is_established()
    assert not network.left.events


def test_data_and_sacks_before_set_up_do_nothing() -> None:
    network = Network()
    network.left.association.connect(now=network.now)
    network.settle()
    (init,) = network.left.sent_chunks(ChunkType.INIT)
    assert isinstance(init, Init)
    for chunk in (
        Data(tsn=1, stream_id=1, stream_sequence=0, ppid=51, data=b"x"),
        Sack(cumulative_tsn=1, a_rwnd=0),
        ForwardTsn(new_cumulative_tsn=9),
        IForwardTsn(new_cumulative_tsn=9),
        PlainChunk(kind=ChunkType.SHUTDOWN, value=bytes(4)),
        PlainChunk(kind=ChunkType.HEARTBEAT, value=b"x"),
        CauseChunk(kind=ChunkType.RE_CONFIG, items=(Tlv(16, bytes(8)),)),
        CauseChunk(kind=ChunkType.ERROR, items=(Tlv(1, bytes(4)),)),
        PlainChunk(kind=ChunkType.SHUTDOWN_ACK),
    ):
        network.forge(network.left, chunk, tag=init.initiate_tag)
    assert network.left.association.state is AssociationState.COOKIE_WAIT
    assert not network.left.events


# --- answers are bounded -------------------------------------------------------------------------
def test_a_flood_of_heartbeats_in_one_batch_is_answered_within_bounds() -> None:
    network = established()
    seal = Seal(5000, 5000, network.right.tag)
    heartbeat = PlainChunk(kind=ChunkType.HEARTBEAT, value=bytes(1000)).encode()
    network.right.association.receive([seal.close(heartbeat)] * 1000, now=network.now)
    assert len(network.right.association.poll_packets()) <= 64
