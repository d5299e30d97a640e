"""Data Channel Establishment Protocol: the OPEN and ACK messages of PPID 50 (RFC 8832 5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from dcsdk.errors import LocalProtocolError, ParseError

_OPEN = struct.Struct("!BBHLHH")
_UNORDERED = 0x80
_MAX_TEXT_BYTES = 65_535

DCEP_ACK = b"\x02"
"""DATA_CHANNEL_ACK (RFC 8832 5.2)."""


class Reliability(IntEnum):
    """Channel type without the order bit (RFC 8832 5.1)."""

    RELIABLE = 0
    LIMITED_RETRANSMISSIONS = 1
    LIMITED_LIFETIME = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DcepOpen:
    """DATA_CHANNEL_OPEN (RFC 8832 5.1).

    Attributes:
        label: up to 65535 octets of UTF-8; need not be unique.
        subprotocol: up to 65535 octets of UTF-8; ``""`` for none.
        is_ordered: messages arrive in the order sent.
        reliability: which limit there is.
        limit: retransmissions or milliseconds, 0..2^32-1; 0 for a reliable channel.
        priority: 0..65535, 256 is normal (RFC 8831 6.4).
    """

    label: str = ""
    subprotocol: str = ""
    is_ordered: bool = True
    reliability: Reliability = Reliability.RELIABLE
    limit: int = 0
    priority: int = 256

    @property
    def max_retr(self) -> int | None:
        """Most retransmissions of a message, or ``None``."""
        is_it = self.reliability is Reliability.LIMITED_RETRANSMISSIONS
        return self.limit if is_it else None

    @property
    def max_time_ms(self) -> int | None:
        """Lifetime of a message in milliseconds, or ``None``."""
        return self.limit if self.reliability is Reliability.LIMITED_LIFETIME else None

    @classmethod
    def decode(cls, data: bytes) -> DcepOpen:
        """Read a DATA_CHANNEL_OPEN.

        Raises:
            ParseError: another message type, a reserved channel type, lengths that do not match
                the message, or text that is not UTF-8. The channel is then closed (RFC 8832 6).
        """
        if len(data) < _OPEN.size:
            raise ParseError("DATA_CHANNEL_OPEN is cut short", source="RFC 8832 5.1")
        kind, channel, priority, limit, label_size, subprotocol_size = _OPEN.unpack_from(data)
        if kind != 3:
            raise ParseError(f"DCEP message type {kind}, 3 expected", source="RFC 8832 8.2.1")
        if channel & ~_UNORDERED > Reliability.LIMITED_LIFETIME:
            raise ParseError(f"reserved channel type {channel:#x}", source="RFC 8832 8.2.2")
        if len(data) != _OPEN.size + label_size + subprotocol_size:
            raise ParseError("DATA_CHANNEL_OPEN has wrong lengths", source="RFC 8832 5.1")
        middle = _OPEN.size + label_size
        try:
            label = data[_OPEN.size : middle].decode()
            subprotocol = data[middle:].decode()
        except UnicodeDecodeError as exc:
            raise ParseError("label or protocol is not UTF-8", source="RFC 8832 5.1") from exc
        reliability = Reliability(channel & ~_UNORDERED)
        return cls(
            label=label,
            subprotocol=subprotocol,
            is_ordered=not channel & _UNORDERED,
            reliability=reliability,
            limit=0 if reliability is Reliability.RELIABLE else limit,
            priority=priority,
        )

    def encode(self) -> bytes:
        """Return the message.

        Raises:
            LocalProtocolError: a text is longer than 65535 octets, or a number out of range.
        """
        label, subprotocol = self.label.encode(), self.subprotocol.encode()
        if max(len(label), len(subprotocol)) > _MAX_TEXT_BYTES:
            raise LocalProtocolError(
                "label and subprotocol are limited to 65535 octets", source="RFC 8832 5.1"
            )
        if not 0 <= self.priority <= 0xFFFF or not 0 <= self.limit <= 0xFFFFFFFF:
            raise LocalProtocolError("priority or limit is out of range", source="RFC 8832 5.1")
        channel = self.reliability | (0 if self.is_ordered else _UNORDERED)
        head = _OPEN.pack(3, channel, self.priority, self.limit, len(label), len(subprotocol))
        return head + label + subprotocol
