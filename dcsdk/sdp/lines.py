"""Lines of SDP and the small values in them: ``o=``, ``c=``, ``b=`` (RFC 8866 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from dcsdk.errors import ParseError

_NUMBER = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SdpLimits:
    """How large a session description may be.

    Attributes:
        max_octets: of the whole description.
        max_line_octets: of one line; a ``key-mgmt`` line with a ticket is the longest known.
        max_lines: of the whole description.
        max_media: media descriptions.
    """

    max_octets: int = 131_072
    max_line_octets: int = 16_384
    max_lines: int = 4_000
    max_media: int = 64


DEFAULT_LIMITS = SdpLimits()


class Line(NamedTuple):
    """One line, ``type=value``, kept as it came."""

    type: str
    value: str

    def __str__(self) -> str:
        return f"{self.type}={self.value}"


def decode(data: bytes) -> str:
    """Decode SDP text; octets that are no UTF-8 survive and are written back by ``encode``."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Undo :func:`decode`.

    Raises:
        ParseError: the text holds half a surrogate pair that came from no octet.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise ParseError("SDP text cannot be written as UTF-8", source="RFC 8866 5") from exc


def split_lines(data: bytes, limits: SdpLimits = DEFAULT_LIMITS) -> list[Line]:
    """Split a description into lines ended by CRLF or LF; empty lines are dropped.

    Args:
        data: the description.
        limits: sizes and counts refused above.

    Raises:
        ParseError: a line that is not ``<letter>=...``, a stray CR, a NUL, or over a limit.
    """
    if len(data) > limits.max_octets:
        raise ParseError(f"SDP larger than {limits.max_octets} octets", source="RFC 8866 5")
    lines: list[Line] = []
    for raw in data.split(b"\n"):
        octets = raw.removesuffix(b"\r")
        if not octets:
            continue
        if len(octets) > limits.max_line_octets or len(lines) >= limits.max_lines:
            raise ParseError("SDP line too long, or too many lines", source="RFC 8866 5")
        if b"\r" in octets or b"\0" in octets:
            raise ParseError("a stray CR or a NUL stands in an SDP line", source="RFC 8866 5")
        if octets[1:2] != b"=" or not octets[:1].isalpha():
            raise ParseError("expected <type>=<value> in an SDP line", source="RFC 8866 5")
        lines.append(Line(chr(octets[0]), decode(octets[2:])))
    return lines


def parse_number(text: str, limit: int, *, what: str, source: str = "RFC 8866 5") -> int:
    """Read a decimal number, 0..limit.

    Args:
        text: at most 20 digits.
        limit: the largest value taken.
        what: the field, for the error.
        source: the clause, for the error.

    Raises:
        ParseError: anything else.
    """
    if _NUMBER.fullmatch(text) is None or int(text) > limit:
        raise ParseError(f"expected a number up to {limit} as {what}", source=source)
    return int(text)


def _address_type(address: str) -> str:
    return "IP6" if ":" in address else "IP4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The ``o=`` line.

    Attributes:
        username: ``"-"`` for none.
        session_id: a number as text; some peers write more digits than 64 bits hold.
        version: 0..2^64-1, grows by one with every changed description of the session.
        net_type: ``"IN"``.
        address_type: ``"IP4"`` or ``"IP6"``.
        address: of the creator; says nothing about media.

    Source: RFC 8866 5.2, RFC 3264 5 and 8.
    """

    session_id: str
    version: int
    address: str
    username: str = "-"
    net_type: str = "IN"
    address_type: str = "IP4"

    @classmethod
    def create(cls, *, session_id: int, version: int, address: str) -> Origin:
        """Make an origin; the address type follows from the address."""
        return cls(
            session_id=str(session_id),
            version=version,
            address=address,
            address_type=_address_type(address),
        )

    @classmethod
    def parse(cls, value: str) -> Origin:
        """Read the text after ``o=``.

        Raises:
            ParseError: not six fields, or the session id or version is no number.
        """
        fields = value.split()
        if len(fields) != 6:
            raise ParseError(f"expected 6 fields in o=, got {len(fields)}", source="RFC 8866 5.2")
        username, session_id, version, net_type, address_type, address = fields
        if not (session_id.isascii() and session_id.isdecimal()):
            raise ParseError("the session id in o= is no number", source="RFC 8866 5.2")
        return cls(
            username=username,
            session_id=session_id,
            version=parse_number(version, 2**64 - 1, what="version", source="RFC 8866 5.2"),
            net_type=net_type,
            address_type=address_type,
            address=address,
        )

    def bumped(self) -> Origin:
        """Return the origin of the next, changed description (RFC 3264 8)."""
        return replace(self, version=self.version + 1)

    def __str__(self) -> str:
        return (
            f"{self.username} {self.session_id} {self.version} "
            f"{self.net_type} {self.address_type} {self.address}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A ``c=`` line.

    Attributes:
        address: an IP address or a name; a multicast address may carry ``/ttl``.
        net_type: ``"IN"``.
        address_type: ``"IP4"`` or ``"IP6"``.

    Source: RFC 8866 5.7.
    """

    address: str
    net_type: str = "IN"
    address_type: str = "IP4"

    @classmethod
    def create(cls, address: str) -> Connection:
        """Make a connection line; the address type follows from the address."""
        return cls(address=address, address_type=_address_type(address))

    @classmethod
    def parse(cls, value: str) -> Connection:
        """Read the text after ``c=``.

        Raises:
            ParseError: not three fields.
        """
        fields = value.split()
        if len(fields) != 3:
            raise ParseError(f"expected 3 fields in c=, got {len(fields)}", source="RFC 8866 5.7")
        return cls(net_type=fields[0], address_type=fields[1], address=fields[2])

    def __str__(self) -> str:
        return f"{self.net_type} {self.address_type} {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """A ``b=`` line.

    Attributes:
        type: ``"AS"`` (kbit/s), ``"RS"``, ``"RR"``, ``"TIAS"``, ...
        value: as a number.

    Source: RFC 8866 5.8.
    """

    type: str
    value: int

    @classmethod
    def parse(cls, value: str) -> Bandwidth:
        """Read the text after ``b=``.

        Raises:
            ParseError: not ``type:number``.
        """
        bandwidth_type, _, number = value.partition(":")
        if not bandwidth_type:
            raise ParseError("b= names no type", source="RFC 8866 5.8")
        return cls(
            type=bandwidth_type,
            value=parse_number(number.strip(" "), 2**64 - 1, what="b=", source="RFC 8866 5.8"),
        )

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"
