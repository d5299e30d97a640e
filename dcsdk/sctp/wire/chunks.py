"""Every chunk type as a value: ``encode()`` and :func:`decode_chunk` round-trip.

This is the cold path. DATA, I-DATA and SACK have values too, for tools and tests; an association
reads and writes those three in place, in ``receiver.py``, ``sender.py``, ``packetizer.py`` and the
``short_ways.py`` beside them.

Source: RFC 9260 3.3, RFC 3758 3.2, RFC 6525 3.1, RFC 8260 2, RFC 4820 3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from dcsdk.errors import ParseError
from dcsdk.sctp.wire.parameters import Tlv, decode_tlvs, encode_tlvs

CHUNK_HEADER = struct.Struct("!BBH")
DATA_HEADER = struct.Struct("!BBHLHHL")
I_DATA_HEADER = struct.Struct("!BBHLHHLL")
DATA_KEY_HEADER = struct.Struct("!BBHLQ")
"""Header of DATA with what tells its message, stream id, SSN and PPID, as one number."""
I_DATA_KEY_HEADER = struct.Struct("!BBHLQL")
"""Header of I-DATA with stream id, reserved field and MID as one number."""
SACK_HEADER = struct.Struct("!BBHLLHH")
_INIT = struct.Struct("!LLHHL")
_TSN = struct.Struct("!L")
_SKIPPED = struct.Struct("!HH")
_I_SKIPPED = struct.Struct("!HHL")


class ChunkType(IntEnum):
    """Chunk types this implementation knows."""

    DATA = 0
    INIT = 1
    INIT_ACK = 2
    SACK = 3
    HEARTBEAT = 4
    HEARTBEAT_ACK = 5
    ABORT = 6
    SHUTDOWN = 7
    SHUTDOWN_ACK = 8
    ERROR = 9
    COOKIE_ECHO = 10
    COOKIE_ACK = 11
    SHUTDOWN_COMPLETE = 14
    I_DATA = 64
    RE_CONFIG = 130
    PAD = 132
    FORWARD_TSN = 192
    I_FORWARD_TSN = 194


# As plain numbers, for where every packet is read and written.
DATA = int(ChunkType.DATA)
SACK = int(ChunkType.SACK)
I_DATA = int(ChunkType.I_DATA)

FLAG_END = 0x01
FLAG_BEGIN = 0x02
FLAG_UNORDERED = 0x04
FLAG_IMMEDIATE = 0x08
FLAG_T = 0x01


def encode_chunk(kind: int, flags: int, value: bytes) -> bytes:
    """Return a chunk padded to four bytes; the length field leaves the padding out."""
    size = 4 + len(value)
    return CHUNK_HEADER.pack(kind, flags, size) + value + bytes(-size % 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """DATA (RFC 9260 3.3.1)."""

    tsn: int
    stream_id: int
    stream_sequence: int
    ppid: int
    data: bytes
    flags: int = FLAG_BEGIN | FLAG_END

    def encode(self) -> bytes:
        """Return the chunk."""
        value = struct.pack("!LHHL", self.tsn, self.stream_id, self.stream_sequence, self.ppid)
        return encode_chunk(ChunkType.DATA, self.flags, value + self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class IData:
    """I-DATA (RFC 8260 2.1): ``ppid_or_fsn`` is the PPID with the B flag, else the FSN."""

    tsn: int
    stream_id: int
    message_id: int
    ppid_or_fsn: int
    data: bytes
    flags: int = FLAG_BEGIN | FLAG_END

    def encode(self) -> bytes:
        """Return the chunk."""
        value = struct.pack(
            "!LHHLL", self.tsn, self.stream_id, 0, self.message_id, self.ppid_or_fsn
        )
        return encode_chunk(ChunkType.I_DATA, self.flags, value + self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Init:
    """INIT or, with ``is_ack``, INIT ACK (RFC 9260 3.3.2, 3.3.3).

    Attributes:
        initiate_tag: what the other side must put into its packets; never 0.
        a_rwnd: bytes of receive buffer, at least 1500.
        outbound_streams: streams the sender may use, never 0.
        inbound_streams: streams the sender accepts, never 0.
        initial_tsn: first TSN the sender uses.
        parameters: optional items.
    """

    initiate_tag: int
    a_rwnd: int
    outbound_streams: int
    inbound_streams: int
    initial_tsn: int
    parameters: tuple[Tlv, ...] = ()
    is_ack: bool = False

    def encode(self) -> bytes:
        """Return the chunk."""
        fixed = _INIT.pack(
            self.initiate_tag,
            self.a_rwnd,
            self.outbound_streams,
            self.inbound_streams,
            self.initial_tsn,
        )
        kind = ChunkType.INIT_ACK if self.is_ack else ChunkType.INIT
        return encode_chunk(kind, 0, fixed + encode_tlvs(self.parameters))

    def parameter(self, kind: int) -> bytes | None:
        """Return the value of the first parameter of that type."""
        for item in self.parameters:
            if item.kind == kind:
                return item.value
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sack:
    """SACK (RFC 9260 3.3.4); gap blocks are offsets from the cumulative TSN."""

    cumulative_tsn: int
    a_rwnd: int
    gaps: tuple[tuple[int, int], ...] = ()
    duplicates: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return the chunk."""
        value = struct.pack(
            "!LLHH", self.cumulative_tsn, self.a_rwnd, len(self.gaps), len(self.duplicates)
        )
        value += b"".join(_SKIPPED.pack(*gap) for gap in self.gaps)
        value += b"".join(_TSN.pack(tsn) for tsn in self.duplicates)
        return encode_chunk(ChunkType.SACK, 0, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardTsn:
    """FORWARD TSN (RFC 3758 3.2): (stream, highest skipped SSN) pairs."""

    new_cumulative_tsn: int
    skipped: tuple[tuple[int, int], ...] = ()

    def encode(self) -> bytes:
        """Return the chunk."""
        value = _TSN.pack(self.new_cumulative_tsn)
        value += b"".join(_SKIPPED.pack(*item) for item in self.skipped)
        return encode_chunk(ChunkType.FORWARD_TSN, 0, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class IForwardTsn:
    """I-FORWARD-TSN (RFC 8260 2.3.1): (stream, 1 if unordered, highest skipped MID)."""

    new_cumulative_tsn: int
    skipped: tuple[tuple[int, int, int], ...] = ()

    def encode(self) -> bytes:
        """Return the chunk."""
        value = _TSN.pack(self.new_cumulative_tsn)
        value += b"".join(_I_SKIPPED.pack(*item) for item in self.skipped)
        return encode_chunk(ChunkType.I_FORWARD_TSN, 0, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseChunk:
    """ABORT, ERROR or RE-CONFIG: a chunk that is a list of causes or parameters."""

    kind: int
    items: tuple[Tlv, ...] = ()
    flags: int = 0

    def encode(self) -> bytes:
        """Return the chunk."""
        return encode_chunk(self.kind, self.flags, encode_tlvs(self.items))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainChunk:
    """A chunk whose value is opaque here: HEARTBEAT, COOKIE ECHO, PAD, SHUTDOWN, unknown types."""

    kind: int
    flags: int = 0
    value: bytes = b""

    def encode(self) -> bytes:
        """Return the chunk."""
        return encode_chunk(self.kind, self.flags, self.value)


Chunk = Data | IData | Init | Sack | ForwardTsn | IForwardTsn | CauseChunk | PlainChunk


def _need(value: bytes, size: int, name: str) -> None:
    if len(value) < size:
        raise ParseError(f"{name} of {len(value)} bytes, at least {size} expected")


def _decode_data(flags: int, value: bytes) -> Data:
    _need(value, 12, "DATA")
    tsn, stream_id, sequence, ppid = struct.unpack_from("!LHHL", value)
    return Data(
        flags=flags,
        tsn=tsn,
        stream_id=stream_id,
        stream_sequence=sequence,
        ppid=ppid,
        data=value[12:],
    )


def _decode_i_data(flags: int, value: bytes) -> IData:
    _need(value, 16, "I-DATA")
    tsn, stream_id, _, message_id, ppid_or_fsn = struct.unpack_from("!LHHLL", value)
    return IData(
        flags=flags,
        tsn=tsn,
        stream_id=stream_id,
        message_id=message_id,
        ppid_or_fsn=ppid_or_fsn,
        data=value[16:],
    )


def decode_init(value: bytes, *, is_ack: bool) -> Init:
    """Read the value of an INIT or INIT ACK.

    Raises:
        ParseError: too short, or a parameter does not fit.
    """
    _need(value, 16, "INIT")
    tag, a_rwnd, outbound, inbound, tsn = _INIT.unpack_from(value)
    return Init(
        initiate_tag=tag,
        a_rwnd=a_rwnd,
        outbound_streams=outbound,
        inbound_streams=inbound,
        initial_tsn=tsn,
        parameters=decode_tlvs(value[16:]),
        is_ack=is_ack,
    )


def _decode_sack(flags: int, value: bytes) -> Sack:
    _need(value, 12, "SACK")
    cumulative, a_rwnd, gap_count, duplicate_count = struct.unpack_from("!LLHH", value)
    if len(value) != 12 + 4 * (gap_count + duplicate_count):
        raise ParseError("SACK length does not match its counts", source="RFC 9260 3.3.4")
    middle = 12 + 4 * gap_count
    return Sack(
        cumulative_tsn=cumulative,
        a_rwnd=a_rwnd,
        gaps=tuple(_SKIPPED.iter_unpack(value[12:middle])),
        duplicates=tuple(item[0] for item in _TSN.iter_unpack(value[middle:])),
    )


def decode_forward_tsn(value: bytes) -> ForwardTsn:
    """Read the value of a FORWARD TSN.

    Raises:
        ParseError: wrong length.
    """
    _need(value, 4, "FORWARD TSN")
    if len(value) % 4:
        raise ParseError("FORWARD TSN is cut in the middle", source="RFC 3758 3.2")
    return ForwardTsn(
        new_cumulative_tsn=_TSN.unpack_from(value)[0],
        skipped=tuple(_SKIPPED.iter_unpack(value[4:])),
    )


def decode_i_forward_tsn(value: bytes) -> IForwardTsn:
    """Read the value of an I-FORWARD-TSN.

    Raises:
        ParseError: wrong length.
    """
    _need(value, 4, "I-FORWARD-TSN")
    if len(value) % 8 != 4:
        raise ParseError("I-FORWARD-TSN is cut in the middle", source="RFC 8260 2.3.1")
    return IForwardTsn(
        new_cumulative_tsn=_TSN.unpack_from(value)[0],
        skipped=tuple(
            (stream_id, flags & 1, message_id)
            for stream_id, flags, message_id in _I_SKIPPED.iter_unpack(value[4:])
        ),
    )


_DECODERS: dict[int, Callable[[int, bytes], Chunk]] = {
    ChunkType.DATA: _decode_data,
    ChunkType.I_DATA: _decode_i_data,
    ChunkType.INIT: lambda flags, value: decode_init(value, is_ack=False),
    ChunkType.INIT_ACK: lambda flags, value: decode_init(value, is_ack=True),
    ChunkType.SACK: _decode_sack,
    ChunkType.FORWARD_TSN: lambda flags, value: decode_forward_tsn(value),
    ChunkType.I_FORWARD_TSN: lambda flags, value: decode_i_forward_tsn(value),
}
_CAUSE_CHUNKS = frozenset({ChunkType.ABORT, ChunkType.ERROR, ChunkType.RE_CONFIG})


def decode_chunk(kind: int, flags: int, value: bytes) -> Chunk:
    """Read one chunk; unknown types come back as :class:`PlainChunk`.

    Args:
        kind: chunk type, 0..255.
        flags: chunk flags, 0..255.
        value: the content without header and padding.

    Raises:
        ParseError: the value does not follow its type.
    """
    decoder = _DECODERS.get(kind)
    if decoder is not None:
        return decoder(flags, value)
    if kind in _CAUSE_CHUNKS:
        return CauseChunk(kind=kind, items=decode_tlvs(value), flags=flags)
    return PlainChunk(kind=kind, flags=flags, value=value)
