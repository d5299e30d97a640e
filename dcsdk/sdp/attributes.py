"""SDP attributes: the line itself, and readers and writers of the values data channels need."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dcsdk.errors import LocalProtocolError, ParseError

DEFAULT_MAX_MESSAGE_SIZE = 65_536
"""What an absent ``a=max-message-size`` means (RFC 8841 6.1)."""

LARGEST_MESSAGE_SIZE = 2**63 - 1
"""Larger values in ``a=max-message-size`` are read as this one: nobody sends such a message."""

TLS_ID_OCTETS = 16
"""Random octets in our tls-id: 128 bits, at least 120 are due (RFC 8842 4)."""

_TLS_ID = re.compile(r"[A-Za-z0-9+/_-]{20,255}")
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")
_SIZE = re.compile(r"0|[1-9][0-9]*")
_LINE_BREAKERS = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One ``a=`` line.

    Attributes:
        name: for example ``"setup"``; case matters (RFC 8866 5.13).
        value: the text after the colon, ``None`` for a property attribute such as ``a=ice-lite``.
    """

    name: str
    value: str | None = None

    def __post_init__(self) -> None:
        if ":" in self.name or _LINE_BREAKERS.search(f"{self.name}{self.value or ''}"):
            raise LocalProtocolError(
                "a colon stands in an SDP attribute name, or a line break in its value",
                source="RFC 8866 5.13",
            )

    @classmethod
    def parse(cls, text: str) -> Attribute:
        """Read the text after ``a=``.

        Raises:
            ParseError: the text holds CR, LF or NUL.
        """
        if _LINE_BREAKERS.search(text):
            raise ParseError("a line break stands in an SDP attribute", source="RFC 8866 5.13")
        name, colon, value = text.partition(":")
        return cls(name, value if colon else None)

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


class Setup(StrEnum):
    """The value of ``a=setup`` (RFC 4145 4); ``active`` is the DTLS client (RFC 8842 5.2)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"
    HOLDCONN = "holdconn"
    """Parsed so that it can be refused by name: forbidden with DTLS (RFC 8842 5.1)."""


def parse_setup(value: str) -> Setup:
    """Read the text after ``a=setup:``.

    Raises:
        ParseError: none of the four values.
    """
    try:
        return Setup(value.strip(" ").lower())
    except ValueError as exc:
        raise ParseError(f"unknown a=setup value {value[:16]!r}", source="RFC 4145 4") from exc


def parse_tls_id(value: str) -> str:
    """Read the text after ``a=tls-id:``; blanks around it are taken, as TS 26.114 A.17 has one.

    Raises:
        ParseError: not 20 to 255 of letters, digits and ``+ / - _``.
    """
    tls_id = value.strip(" ")
    if _TLS_ID.fullmatch(tls_id) is None:
        raise ParseError(
            "expected 20 to 255 letters, digits, + / - _ in a=tls-id", source="RFC 8842 4"
        )
    return tls_id


def new_tls_id(entropy: Callable[[int], bytes]) -> str:
    """Make a tls-id: 32 hex digits, valid for RFC 8842 and for the pattern of TS 29.571 alike.

    Args:
        entropy: returns the number of strong random octets asked for, like ``os.urandom``.
    """
    return entropy(TLS_ID_OCTETS).hex()


def parse_sctp_port(value: str) -> int:
    """Read the text after ``a=sctp-port:``; 0 means "close the association".

    Raises:
        ParseError: no number, a leading zero, or above 65535.
    """
    text = value.strip(" ")
    if _PORT.fullmatch(text) is None or int(text) > 65_535:
        raise ParseError(f"bad a=sctp-port {value[:16]!r}", source="RFC 8841 5.1")
    return int(text)


def parse_max_message_size(value: str) -> int:
    """Read the text after ``a=max-message-size:``; 0 means "any size".

    Returns:
        Octets; values above ``LARGEST_MESSAGE_SIZE`` are read as that.

    Raises:
        ParseError: no number, or a leading zero.
    """
    text = value.strip(" ")
    if _SIZE.fullmatch(text) is None:
        raise ParseError(f"bad a=max-message-size {value[:16]!r}", source="RFC 8841 6.1")
    return LARGEST_MESSAGE_SIZE if len(text) > 18 else int(text)
