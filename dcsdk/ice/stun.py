"""The STUN messages of ICE: read totally, written signed.

The codec is aioice's. What is added here: every malformed message is a ``ParseError``, messages
have a largest size, FINGERPRINT must be there, and attributes we would have to understand and do
not are noticed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from aioice import stun
from aioice.stun import Class, Message, Method

from dcsdk.errors import ParseError
from dcsdk.ice.candidate import Address

MAX_STUN_BYTES = 1500
"""Larger ones would be fragmented; nobody's checks are."""

TRANSACTION_ID_BYTES = 12
BAD_REQUEST, UNAUTHENTICATED, UNKNOWN_ATTRIBUTE, ROLE_CONFLICT = 400, 401, 420, 487

_REASONS = {
    BAD_REQUEST: "Bad Request",
    UNAUTHENTICATED: "Unauthenticated",
    UNKNOWN_ATTRIBUTE: "Unknown Attribute",
    ROLE_CONFLICT: "Role Conflict",
}
_HEADER = struct.Struct("!HHI12s")
_MESSAGE_INTEGRITY = 0x0008
_UNKNOWN_ATTRIBUTES = 0x000A
_MESSAGE_INTEGRITY_SHA256 = 0x001C
_OPTIONAL = 0x8000
_MAX_UNKNOWN = 8


def is_stun(datagram: bytes) -> bool:
    """Tell whether a datagram looks like STUN (RFC 7983 7, RFC 8489 5)."""
    return (
        len(datagram) >= stun.HEADER_LENGTH
        and datagram[0] < 4
        and datagram[4:8] == b"\x21\x12\xa4\x42"
    )


def decode(datagram: bytes) -> Message:
    """Read one message and check its FINGERPRINT; its integrity is checked by who has the key.

    Raises:
        ParseError: it is no STUN message, malformed, or without FINGERPRINT (RFC 8445 7.1).
    """
    if not is_stun(datagram):
        raise ParseError("expected a STUN header", source="RFC 8489 5")
    if len(datagram) > MAX_STUN_BYTES:
        raise ParseError("the STUN message is too long", source="RFC 8489 6.1")
    try:
        message = stun.parse_message(datagram)
    except (ValueError, struct.error) as exc:
        raise ParseError(f"malformed STUN message: {exc}", source="RFC 8489") from exc
    if "FINGERPRINT" not in message.attributes:
        raise ParseError("the STUN message has no FINGERPRINT", source="RFC 8445 7.1")
    return message


def unknown_attributes(datagram: bytes) -> tuple[int, ...]:
    """Return the signed attributes that must be understood and are not (RFC 8489 6.3.1).

    Args:
        datagram: one that ``decode`` took.
    """
    unknown: list[int] = []
    position = stun.HEADER_LENGTH
    while position <= len(datagram) - 4 and len(unknown) < _MAX_UNKNOWN:
        kind, length = struct.unpack_from("!HH", datagram, position)
        if kind == _MESSAGE_INTEGRITY:
            break
        if (
            kind < _OPTIONAL
            and kind not in stun.ATTRIBUTES_BY_TYPE
            and kind != _MESSAGE_INTEGRITY_SHA256
        ):
            unknown.append(kind)
        position += 4 + length + stun.padding_length(length)
    return tuple(unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """A connectivity check, or a consent check, to be written.

    Source: RFC 8445 7.1, RFC 7675 5.1.
    """

    username: str
    priority: int
    is_controlling: bool
    tie_breaker: int
    use_candidate: bool = False

    def encode(self, transaction_id: bytes, key: bytes) -> bytes:
        """Write the request, signed with the peer's password."""
        attributes: dict[str, object] = {
            "USERNAME": self.username,
            "PRIORITY": self.priority,
            "ICE-CONTROLLING" if self.is_controlling else "ICE-CONTROLLED": self.tie_breaker,
        }
        if self.use_candidate:
            attributes["USE-CANDIDATE"] = None
        message = Message(Method.BINDING, Class.REQUEST, transaction_id, attributes)
        message.add_message_integrity(key)
        return bytes(message)


def encode_success(transaction_id: bytes, source: Address, key: bytes) -> bytes:
    """Write the answer to a check that is in order (RFC 8445 7.3).

    Args:
        transaction_id: that of the request.
        source: where the request came from.
        key: our password.
    """
    message = Message(
        Method.BINDING, Class.RESPONSE, transaction_id, {"XOR-MAPPED-ADDRESS": source}
    )
    message.add_message_integrity(key)
    return bytes(message)


def encode_error(
    transaction_id: bytes, code: int, *, key: bytes | None = None, unknown: tuple[int, ...] = ()
) -> bytes:
    """Write the answer that refuses a check.

    Args:
        transaction_id: that of the request.
        code: one of the constants above.
        key: our password; ``None`` for 400 and 401, which are not signed (RFC 8489 9.1.3).
        unknown: the attributes of code 420.
    """
    message = Message(
        Method.BINDING, Class.ERROR, transaction_id, {"ERROR-CODE": (code, _REASONS[code])}
    )
    if unknown:
        return _with_unknown(bytes(message), unknown, key or b"")
    if key is None:
        message.add_fingerprint()
    else:
        message.add_message_integrity(key)
    return bytes(message)


def _with_unknown(data: bytes, unknown: tuple[int, ...], key: bytes) -> bytes:
    """Add UNKNOWN-ATTRIBUTES, which aioice's codec does not have, and sign."""
    value = struct.pack(f"!{len(unknown)}H", *unknown)
    padding = bytes(stun.padding_length(len(value)))
    data += struct.pack("!HH", _UNKNOWN_ATTRIBUTES, len(value)) + value + padding
    integrity = stun.message_integrity(data, key)
    data += struct.pack("!HH", _MESSAGE_INTEGRITY, len(integrity)) + integrity
    fingerprint = stun.message_fingerprint(data)
    data += struct.pack("!HHI", 0x8028, 4, fingerprint)
    return stun.set_body_length(data, len(data) - stun.HEADER_LENGTH)
