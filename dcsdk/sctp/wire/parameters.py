"""Parameters and error causes: the type-length-value items inside chunks (RFC 9260 3.2.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from dcsdk.errors import ParseError, RemoteProtocolError

_TLV = struct.Struct("!HH")
_OUTGOING_RESET = struct.Struct("!HHLLL")
_INCOMING_RESET = struct.Struct("!HHL")
_RESPONSE = struct.Struct("!HHLL")

MAX_TLV_ITEMS = 64
"""Items read from one chunk; no honest chunk comes near."""


class ParameterType(IntEnum):
    """Chunk parameter types that have a meaning here."""

    HEARTBEAT_INFO = 1
    STATE_COOKIE = 7
    UNRECOGNIZED = 8
    COOKIE_PRESERVATIVE = 9
    OUTGOING_RESET_REQUEST = 13
    INCOMING_RESET_REQUEST = 14
    TSN_RESET_REQUEST = 15
    RECONFIG_RESPONSE = 16
    ADD_OUTGOING_STREAMS = 17
    ADD_INCOMING_STREAMS = 18
    ZERO_CHECKSUM_ACCEPTABLE = 0x8001
    SUPPORTED_EXTENSIONS = 0x8008
    FORWARD_TSN_SUPPORTED = 0xC000


class CauseCode(IntEnum):
    """Error causes (RFC 9260 3.3.10)."""

    INVALID_STREAM_ID = 1
    MISSING_MANDATORY_PARAMETER = 2
    STALE_COOKIE = 3
    OUT_OF_RESOURCE = 4
    UNRESOLVABLE_ADDRESS = 5
    UNRECOGNIZED_CHUNK_TYPE = 6
    INVALID_MANDATORY_PARAMETER = 7
    UNRECOGNIZED_PARAMETERS = 8
    NO_USER_DATA = 9
    COOKIE_WHILE_SHUTTING_DOWN = 10
    RESTART_WITH_NEW_ADDRESSES = 11
    USER_INITIATED_ABORT = 12
    PROTOCOL_VIOLATION = 13


class ReconfigResult(IntEnum):
    """Answers to a RE-CONFIG request (RFC 6525 4.4)."""

    NOTHING_TO_DO = 0
    PERFORMED = 1
    DENIED = 2
    WRONG_SSN = 3
    REQUEST_ALREADY_IN_PROGRESS = 4
    BAD_SEQUENCE_NUMBER = 5
    IN_PROGRESS = 6


@dataclass(frozen=True, slots=True)
class Tlv:
    """One parameter or error cause as it came: a type (or code) and its value."""

    kind: int
    value: bytes

    def encode(self) -> bytes:
        """Return the item with its length, padded to four bytes."""
        size = 4 + len(self.value)
        return _TLV.pack(self.kind, size) + self.value + bytes(-size % 4)


def encode_tlvs(items: tuple[Tlv, ...]) -> bytes:
    """Join items; the padding of the last is left to the chunk (RFC 9260 3.2)."""
    if not items:
        return b""
    last = items[-1]
    data = b"".join(item.encode() for item in items)
    return data[: len(data) - -len(last.value) % 4]


def iterate_tlvs(data: bytes) -> Iterator[Tlv]:
    """Walk the items in ``data``.

    Raises:
        ParseError: an item is longer than what is left, or there are more than
            :data:`MAX_TLV_ITEMS`.
    """
    position, end, count = 0, len(data), 0
    while position + 4 <= end:
        kind, size = _TLV.unpack_from(data, position)
        if size < 4 or position + size > end:
            raise ParseError(
                f"item of {size} bytes does not fit its chunk", source="RFC 9260 3.2.1"
            )
        count += 1
        if count > MAX_TLV_ITEMS:
            raise ParseError(f"more than {MAX_TLV_ITEMS} items in a chunk")
        yield Tlv(kind, data[position + 4 : position + size])
        position += (size + 3) & ~3
    if position < end:
        raise ParseError("bytes left after the last item of a chunk", source="RFC 9260 3.2.1")


def decode_tlvs(data: bytes) -> tuple[Tlv, ...]:
    """Return all items in ``data``; see :func:`iterate_tlvs`."""
    return tuple(iterate_tlvs(data))


# --- RE-CONFIG parameters (RFC 6525 4) -----------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingResetRequest:
    """*Outgoing SSN Reset Request*: the sender's outgoing streams start anew (RFC 6525 4.1).

    Attributes:
        request_sequence: of this request.
        response_sequence: of the incoming request it answers, else the last one seen.
        last_tsn: the reset happens after everything up to this TSN.
        stream_ids: ``()`` means every stream.
    """

    request_sequence: int
    response_sequence: int
    last_tsn: int
    stream_ids: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return the parameter."""
        count = len(self.stream_ids)
        size = 16 + 2 * count
        head = _OUTGOING_RESET.pack(
            ParameterType.OUTGOING_RESET_REQUEST,
            size,
            self.request_sequence,
            self.response_sequence,
            self.last_tsn,
        )
        return head + struct.pack(f"!{count}H", *self.stream_ids) + bytes(-size % 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingResetRequest:
    """*Incoming SSN Reset Request*: please reset your outgoing streams (RFC 6525 4.2)."""

    request_sequence: int
    stream_ids: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return the parameter."""
        count = len(self.stream_ids)
        size = 8 + 2 * count
        head = _INCOMING_RESET.pack(
            ParameterType.INCOMING_RESET_REQUEST, size, self.request_sequence
        )
        return head + struct.pack(f"!{count}H", *self.stream_ids) + bytes(-size % 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconfigResponse:
    """*Re-configuration Response* (RFC 6525 4.4)."""

    response_sequence: int
    result: int

    def encode(self) -> bytes:
        """Return the parameter."""
        return _RESPONSE.pack(
            ParameterType.RECONFIG_RESPONSE, 12, self.response_sequence, self.result
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRequest:
    """A request we only ever deny: SSN/TSN reset, add streams (RFC 6525 4.3, 4.5, 4.6)."""

    kind: int
    request_sequence: int
    rest: bytes = b""

    def encode(self) -> bytes:
        """Return the parameter."""
        return Tlv(self.kind, self.request_sequence.to_bytes(4, "big") + self.rest).encode()


ReconfigParameter = OutgoingResetRequest | IncomingResetRequest | ReconfigResponse | OtherRequest

_OTHER_REQUESTS = frozenset(
    {
        ParameterType.TSN_RESET_REQUEST,
        ParameterType.ADD_OUTGOING_STREAMS,
        ParameterType.ADD_INCOMING_STREAMS,
    }
)


def decode_reconfig(item: Tlv) -> ReconfigParameter | None:
    """Read one RE-CONFIG parameter; ``None`` for a type RFC 6525 does not define.

    Raises:
        ParseError: the value is too short, or its stream list is cut in the middle of an id.
    """
    value = item.value
    if item.kind == ParameterType.OUTGOING_RESET_REQUEST:
        if len(value) < 12 or len(value) % 2:
            raise ParseError("bad length of an Outgoing SSN Reset Request", source="RFC 6525 4.1")
        return OutgoingResetRequest(
            request_sequence=int.from_bytes(value[:4], "big"),
            response_sequence=int.from_bytes(value[4:8], "big"),
            last_tsn=int.from_bytes(value[8:12], "big"),
            stream_ids=struct.unpack(f"!{(len(value) - 12) // 2}H", value[12:]),
        )
    if item.kind == ParameterType.INCOMING_RESET_REQUEST:
        if len(value) < 4 or len(value) % 2:
            raise ParseError("bad length of an Incoming SSN Reset Request", source="RFC 6525 4.2")
        return IncomingResetRequest(
            request_sequence=int.from_bytes(value[:4], "big"),
            stream_ids=struct.unpack(f"!{(len(value) - 4) // 2}H", value[4:]),
        )
    if item.kind == ParameterType.RECONFIG_RESPONSE:
        if len(value) not in (8, 16):
            raise ParseError("bad length of a Re-configuration Response", source="RFC 6525 4.4")
        return ReconfigResponse(
            response_sequence=int.from_bytes(value[:4], "big"),
            result=int.from_bytes(value[4:8], "big"),
        )
    if item.kind in _OTHER_REQUESTS:
        if len(value) < 4:
            raise ParseError("RE-CONFIG request without a sequence number", source="RFC 6525 4")
        return OtherRequest(
            kind=item.kind, request_sequence=int.from_bytes(value[:4], "big"), rest=value[4:]
        )
    return None


class PeerViolation(RemoteProtocolError):
    """The peer did what ends an association; the text goes out in the ABORT (RFC 9260 3.3.10).

    Args:
        message: what was expected and what came.
        code: the cause of the ABORT.
        source: the clause.
    """

    def __init__(
        self,
        message: str,
        *,
        code: CauseCode = CauseCode.PROTOCOL_VIOLATION,
        source: str | None = None,
    ) -> None:
        super().__init__(message, source=source)
        self.code = code
