"""The STUN messages of ICE: read totally, written signed.

Messages are read by aioice. What is added here: every malformed message is a ``ParseError``,
messages have a largest size, FINGERPRINT must be there, and attributes we would have to understand
and do not are noticed. The few kinds that we send are written here, which costs less.
"""

from __future__ import annotations

import hmac
import ipaddress
import struct
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

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
_ATTRIBUTE = struct.Struct("!HH")
_PRIORITY_AND_ROLE = struct.Struct("!HHIHHQ")
_FINGERPRINT = struct.Struct("!HHI")
_USERNAME, _MESSAGE_INTEGRITY, _ERROR_CODE, _UNKNOWN_ATTRIBUTES = 0x0006, 0x0008, 0x0009, 0x000A
_MESSAGE_INTEGRITY_SHA256, _XOR_MAPPED_ADDRESS = 0x001C, 0x0020
_PRIORITY, _USE_CANDIDATE, _FINGERPRINT_TYPE = 0x0024, 0x0025, 0x8028
_ICE_CONTROLLED, _ICE_CONTROLLING = 0x8029, 0x802A
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
        role = _ICE_CONTROLLING if self.is_controlling else _ICE_CONTROLLED
        attributes = _attribute(_USERNAME, self.username.encode()) + _PRIORITY_AND_ROLE.pack(
            *(_PRIORITY, 4, self.priority, role, 8, self.tie_breaker)
        )
        if self.use_candidate:
            attributes += _attribute(_USE_CANDIDATE, b"")
        return _message(Class.REQUEST, transaction_id, attributes, key)


def encode_success(transaction_id: bytes, source: Address, key: bytes) -> bytes:
    """Write the answer to a check that is in order (RFC 8445 7.3).

    Args:
        transaction_id: that of the request.
        source: where the request came from.
        key: our password.
    """
    host, port = source
    plain = struct.pack("!H", port) + _packed(host)
    mask = struct.pack("!HI", stun.COOKIE >> 16, stun.COOKIE) + transaction_id
    xored = int.from_bytes(plain, "big") ^ int.from_bytes(mask[: len(plain)], "big")
    family = stun.IPV4_PROTOCOL if len(plain) == 6 else stun.IPV6_PROTOCOL
    value = struct.pack("!BB", 0, family) + xored.to_bytes(len(plain), "big")
    return _message(Class.RESPONSE, transaction_id, _attribute(_XOR_MAPPED_ADDRESS, value), key)


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
    value = struct.pack("!HBB", 0, code // 100, code % 100) + _REASONS[code].encode()
    attributes = _attribute(_ERROR_CODE, value)
    if unknown:
        attributes += _attribute(_UNKNOWN_ATTRIBUTES, struct.pack(f"!{len(unknown)}H", *unknown))
    return _message(Class.ERROR, transaction_id, attributes, key)


def _message(kind: Class, transaction_id: bytes, attributes: bytes, key: bytes | None) -> bytes:
    """Put a header before attributes, and behind them what proves them (RFC 8489 14.5, 14.7)."""
    kind_and_method = kind | Method.BINDING
    size = len(attributes)
    if key is not None:
        size += stun.INTEGRITY_LENGTH
        signed = _HEADER.pack(kind_and_method, size, stun.COOKIE, transaction_id) + attributes
        attributes += _attribute(_MESSAGE_INTEGRITY, hmac.digest(key, signed, "sha1"))
    size += stun.FINGERPRINT_LENGTH
    data = _HEADER.pack(kind_and_method, size, stun.COOKIE, transaction_id) + attributes
    return data + _FINGERPRINT.pack(_FINGERPRINT_TYPE, 4, crc32(data) ^ stun.FINGERPRINT_XOR)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


@lru_cache(maxsize=256)
def _packed(host: str) -> bytes:
    return ipaddress.ip_address(host).packed
