"""Chunks, parameters, packets, cookies and DCEP: round trips, vectors, and any bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sctp.wire.chunks import (
    CauseChunk,
    Chunk,
    ChunkType,
    Data,
    ForwardTsn,
    IData,
    IForwardTsn,
    Init,
    PlainChunk,
    Sack,
    decode_chunk,
)
from dcsdk.sctp.wire.cookie import PeerAbilities, StateCookie
from dcsdk.sctp.wire.dcep import DCEP_ACK, DcepOpen, Reliability
from dcsdk.sctp.wire.packet import Packet, Seal, bundle, iterate_chunks
from dcsdk.sctp.wire.parameters import (
    MAX_TLV_ITEMS,
    IncomingResetRequest,
    OtherRequest,
    OutgoingResetRequest,
    ParameterType,
    ReconfigResponse,
    Tlv,
    decode_reconfig,
    decode_tlvs,
    encode_tlvs,
)

U8, U16, U32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
TLVS = st.lists(st.builds(Tlv, U16, st.binary(max_size=20)), max_size=4).map(tuple)
OPAQUE = sorted(
    {
        ChunkType.HEARTBEAT,
        ChunkType.SHUTDOWN,
        ChunkType.COOKIE_ECHO,
        ChunkType.COOKIE_ACK,
        ChunkType.PAD,
        0x3F,
        0xFE,
    }
)
CHUNKS: st.SearchStrategy[Chunk] = st.one_of(
    st.builds(
        Data,
        tsn=U32,
        stream_id=U16,
        stream_sequence=U16,
        ppid=U32,
        data=st.binary(max_size=50),
        flags=U8,
    ),
    st.builds(
        IData,
        tsn=U32,
        stream_id=U16,
        message_id=U32,
        ppid_or_fsn=U32,
        data=st.binary(max_size=50),
        flags=U8,
    ),
    st.builds(
        Init,
        initiate_tag=U32,
        a_rwnd=U32,
        outbound_streams=U16,
        inbound_streams=U16,
        initial_tsn=U32,
        parameters=TLVS,
        is_ack=st.booleans(),
    ),
    st.builds(
        Sack,
        cumulative_tsn=U32,
        a_rwnd=U32,
        gaps=st.lists(st.tuples(U16, U16), max_size=5).map(tuple),
        duplicates=st.lists(U32, max_size=5).map(tuple),
    ),
    st.builds(
        ForwardTsn,
        new_cumulative_tsn=U32,
        skipped=st.lists(st.tuples(U16, U16), max_size=5).map(tuple),
    ),
    st.builds(
        IForwardTsn,
        new_cumulative_tsn=U32,
        skipped=st.lists(st.tuples(U16, st.integers(0, 1), U32), max_size=5).map(tuple),
    ),
    st.builds(
        CauseChunk,
        kind=st.sampled_from([ChunkType.ABORT, ChunkType.ERROR, ChunkType.RE_CONFIG]),
        items=TLVS,
        flags=U8,
    ),
    st.builds(PlainChunk, kind=st.sampled_from(OPAQUE), flags=U8, value=st.binary(max_size=30)),
)


@pytest.mark.clause("RFC 9260 3.3")
@given(chunk=CHUNKS)
def test_every_chunk_round_trips(chunk: Chunk) -> None:
    encoded = chunk.encode()
    assert len(encoded) % 4 == 0
    size = int.from_bytes(encoded[2:4], "big")
    assert decode_chunk(encoded[0], encoded[1], encoded[4:size]) == chunk


@given(kind=U8, flags=U8, value=st.binary(max_size=80))
def test_any_chunk_value_decodes_or_is_a_parse_error(kind: int, flags: int, value: bytes) -> None:
    with contextlib.suppress(ParseError):
        decode_chunk(kind, flags, value)


@pytest.mark.clause("RFC 9260 3.1")
@given(
    source=st.integers(1, 0xFFFF),
    destination=st.integers(1, 0xFFFF),
    tag=U32,
    chunks=st.lists(CHUNKS, max_size=4).map(tuple),
)
def test_packets_round_trip(source: int, destination: int, tag: int, chunks: tuple[Chunk]) -> None:
    packet = Packet(
        source_port=source, destination_port=destination, verification_tag=tag, chunks=chunks
    )
    assert Packet.decode(packet.encode()) == packet


@given(data=st.binary(max_size=100))
def test_any_bytes_are_a_packet_or_a_parse_error(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        Packet.decode(data)


@given(data=st.binary(max_size=100))
def test_any_chunks_behind_a_good_checksum_are_a_packet_or_a_parse_error(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        Packet.decode(Seal(5000, 5001, 7).close(data))


@pytest.mark.clause("RFC 9260 6.8")
def test_a_wrong_checksum_is_refused() -> None:
    packet = bytearray(Seal(5000, 5000, 1).close(PlainChunk(kind=11).encode()))
    packet[9] ^= 1
    with pytest.raises(ParseError, match="checksum"):
        Packet.decode(bytes(packet))


@pytest.mark.clause("RFC 9653 5.3")
def test_a_zero_checksum_is_taken_only_when_agreed() -> None:
    seal = Seal(5000, 5000, 1)
    seal.is_zero_checksum = True
    packet = seal.close(PlainChunk(kind=11).encode())
    assert packet[8:12] == bytes(4)
    assert seal.close_all([packet[12:]]) == [packet]
    with pytest.raises(ParseError, match="checksum"):
        Packet.decode(packet)
    decoded = Packet.decode(packet, is_zero_checksum_accepted=True)
    assert decoded.chunks == (PlainChunk(kind=11),)


@pytest.mark.clause("RFC 9260 3.1")
def test_port_zero_is_refused() -> None:
    with pytest.raises(ParseError, match="port 0"):
        Packet.decode(Seal(0, 5000, 1).close(b""))


@pytest.mark.parametrize(
    "chunks",
    [
        b"\x0b",
        b"\x0b\x00\x00\x03",
        b"\x0b\x00\x00\x05",
        b"\x00\x03\x00\x08\x00\x00\x00\x01",
        b"\x40\x03\x00\x08\x00\x00\x00\x01",
        b"\x01\x00\x00\x08\x00\x00\x00\x01",
        b"\x03\x00\x00\x10" + bytes(8) + b"\x00\x01\x00\x00",
        b"\xc0\x00\x00\x06\x00\x00\x00\x00",
        b"\xc2\x00\x00\x0c" + bytes(8),
    ],
)
@pytest.mark.clause("RFC 9260 3.2")
def test_truncated_and_overlong_chunks_are_parse_errors(chunks: bytes) -> None:
    with pytest.raises(ParseError):
        Packet.decode(Seal(1, 1, 1).close(chunks))


def test_chunks_are_bundled_into_as_few_packets_as_fit() -> None:
    chunk = PlainChunk(kind=4, value=bytes(400)).encode()
    packets = bundle([chunk] * 5, Seal(1, 1, 1), 1160)
    assert [len(list(iterate_chunks(packet))) for packet in packets] == [2, 2, 1]


# --- parameters ----------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 3.2.1")
@given(items=TLVS)
def test_parameters_round_trip(items: tuple[Tlv, ...]) -> None:
    assert decode_tlvs(encode_tlvs(items)) == items


@given(data=st.binary(max_size=80))
def test_any_bytes_are_parameters_or_a_parse_error(data: bytes) -> None:
    try:
        for item in decode_tlvs(data):
            decode_reconfig(item)
    except ParseError:
        pass


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(ParseError, match="more than"):
        decode_tlvs(Tlv(9, b"").encode() * (MAX_TLV_ITEMS + 1))


RECONFIGS = st.one_of(
    st.builds(
        OutgoingResetRequest,
        request_sequence=U32,
        response_sequence=U32,
        last_tsn=U32,
        stream_ids=st.lists(U16, max_size=7).map(tuple),
    ),
    st.builds(
        IncomingResetRequest,
        request_sequence=U32,
        stream_ids=st.lists(U16, max_size=7).map(tuple),
    ),
    st.builds(ReconfigResponse, response_sequence=U32, result=U32),
    st.builds(
        OtherRequest,
        kind=st.sampled_from([15, 17, 18]),
        request_sequence=U32,
        rest=st.binary(max_size=6),
    ),
)


@pytest.mark.clause("RFC 6525 4")
@given(parameter=RECONFIGS)
def test_reconfiguration_parameters_round_trip(
    parameter: OutgoingResetRequest | IncomingResetRequest | ReconfigResponse | OtherRequest,
) -> None:
    encoded = parameter.encode()
    assert len(encoded) % 4 == 0
    (item,) = decode_tlvs(encoded)
    assert decode_reconfig(item) == parameter


@pytest.mark.parametrize(
    ("kind", "size"), [(13, 11), (13, 13), (14, 3), (14, 5), (16, 7), (15, 3), (17, 0)]
)
def test_short_reconfiguration_parameters_are_parse_errors(kind: int, size: int) -> None:
    with pytest.raises(ParseError):
        decode_reconfig(Tlv(kind, bytes(size)))


def test_an_undefined_reconfiguration_parameter_is_nothing() -> None:
    assert decode_reconfig(Tlv(99, b"abc")) is None


# --- cookie --------------------------------------------------------------------------------------
COOKIES = st.builds(
    StateCookie,
    created_s=st.floats(0, 1e9),
    local_tag=U32,
    peer_tag=U32,
    local_initial_tsn=U32,
    peer_initial_tsn=U32,
    peer_a_rwnd=U32,
    outbound_streams=U16,
    inbound_streams=U16,
    local_tie_tag=U32,
    peer_tie_tag=U32,
    abilities=st.builds(
        PeerAbilities,
        is_interleaving=st.booleans(),
        is_partial_reliability=st.booleans(),
        is_reset_supported=st.booleans(),
        is_zero_checksum=st.booleans(),
    ),
)


@pytest.mark.clause("RFC 9260 5.1.3")
@given(cookie=COOKIES)
def test_cookies_round_trip(cookie: StateCookie) -> None:
    assert StateCookie.decode(cookie.encode(b"key"), b"key") == cookie


@pytest.mark.clause("RFC 9260 5.1.5")
@given(cookie=COOKIES, position=st.integers(0, 200), change=st.integers(1, 255))
def test_a_changed_cookie_is_refused(cookie: StateCookie, position: int, change: int) -> None:
    encoded = bytearray(cookie.encode(b"key"))
    encoded[position % len(encoded)] ^= change
    with pytest.raises(ParseError):
        StateCookie.decode(bytes(encoded), b"key")


@given(data=st.binary(max_size=120))
def test_any_bytes_are_not_a_cookie(data: bytes) -> None:
    with pytest.raises(ParseError):
        StateCookie.decode(data, b"key")


# --- DCEP ----------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8832 5.1")
def test_the_open_message_of_a_real_capture_decodes() -> None:
    vector = bytes.fromhex("03 00 0100 00000000 0004 0004 63686174 6d737270")
    message = DcepOpen(label="chat", subprotocol="msrp")
    assert DcepOpen.decode(vector) == message
    assert message.encode() == vector
    assert DCEP_ACK == b"\x02"


@pytest.mark.clause("RFC 8832 5.1")
@given(
    label=st.text(max_size=20),
    subprotocol=st.text(max_size=20),
    is_ordered=st.booleans(),
    reliability=st.sampled_from(list(Reliability)),
    limit=U32,
    priority=U16,
)
def test_open_messages_round_trip(
    label: str,
    subprotocol: str,
    is_ordered: bool,
    reliability: Reliability,
    limit: int,
    priority: int,
) -> None:
    message = DcepOpen(
        label=label,
        subprotocol=subprotocol,
        is_ordered=is_ordered,
        reliability=reliability,
        limit=0 if reliability is Reliability.RELIABLE else limit,
        priority=priority,
    )
    assert DcepOpen.decode(message.encode()) == message


@pytest.mark.clause("RFC 8832 5.1")
def test_lengths_count_octets_and_limits_are_named() -> None:
    message = DcepOpen(
        label="ü", is_ordered=False, reliability=Reliability.LIMITED_LIFETIME, limit=250
    )
    assert message.encode()[8:10] == b"\x00\x02"
    assert (message.max_time_ms, message.max_retr) == (250, None)
    retransmissions = DcepOpen(reliability=Reliability.LIMITED_RETRANSMISSIONS, limit=3)
    assert (retransmissions.max_time_ms, retransmissions.max_retr) == (None, 3)


@given(data=st.binary(max_size=60))
def test_any_bytes_are_an_open_message_or_a_parse_error(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        DcepOpen.decode(data)


@pytest.mark.clause("RFC 8832 8.2")
@pytest.mark.parametrize(
    "data",
    [
        "03",
        "02 00 0100 00000000 0000 0000",
        "03 03 0100 00000000 0000 0000",
        "03 7f 0100 00000000 0000 0000",
        "03 ff 0100 00000000 0000 0000",
        "03 00 0100 00000000 0001 0000",
        "03 00 0100 00000000 0000 0000 61",
        "03 00 0100 00000000 0001 0000 ff",
    ],
)
def test_bad_open_messages_are_parse_errors(data: str) -> None:
    with pytest.raises(ParseError):
        DcepOpen.decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    "message", [DcepOpen(label="x" * 65_536), DcepOpen(priority=65_536), DcepOpen(limit=-1)]
)
def test_an_open_message_that_does_not_fit_is_refused_locally(message: DcepOpen) -> None:
    with pytest.raises(LocalProtocolError):
        message.encode()


def test_long_labels_survive() -> None:
    message = DcepOpen(label="l" * 65_535, subprotocol="p" * 65_535)
    assert DcepOpen.decode(message.encode()) == message


def test_parameters_of_an_init_are_found_by_type() -> None:
    init = Init(
        initiate_tag=1,
        a_rwnd=1500,
        outbound_streams=1,
        inbound_streams=1,
        initial_tsn=1,
        parameters=(Tlv(ParameterType.STATE_COOKIE, b"c"),),
    )
    assert init.parameter(ParameterType.STATE_COOKIE) == b"c"
    assert init.parameter(ParameterType.UNRECOGNIZED) is None
