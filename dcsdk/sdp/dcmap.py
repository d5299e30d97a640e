"""``a=dcmap`` and ``a=dcsa``: data channels negotiated in SDP (RFC 8864)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from dcsdk.errors import ParseError

MAX_STREAM_ID = 65_534
"""65535 is reserved (RFC 8832 3)."""

NORMAL_PRIORITY = 256
"""RFC 8831 6.4."""

_MAX_UINT32 = 2**32 - 1
_MAX_UINT16 = 2**16 - 1
_STREAM_ID = re.compile(r"[0-9]{1,5}")
_INTEGER = re.compile(r"0|[1-9][0-9]{0,9}")
_OPTION = re.compile(r' *([A-Za-z0-9-]{1,64})=(?:("[^"]*") *|([^;"]*))(?:;|\Z)')
_ESCAPE = re.compile(rb"%(.{0,2})", re.DOTALL)
_PLAIN = frozenset(range(0x20, 0x7F)) - set(b'"%')
_SOURCE = "RFC 8864 5.1"


def parse_stream_id(text: str, *, source: str) -> int:
    """Read a stream id, 0..65534.

    Args:
        text: one to five digits.
        source: the clause an error names.

    Raises:
        ParseError: not a number, or out of range.
    """
    if _STREAM_ID.fullmatch(text) is None or int(text) > MAX_STREAM_ID:
        raise ParseError(f"bad stream id {text[:16]!r}", source=source)
    return int(text)


def _parse_integer(value: str, limit: int) -> int:
    if _INTEGER.fullmatch(value) is None or int(value) > limit:
        raise ParseError(f"expected a number up to {limit}, got {value[:16]!r}", source=_SOURCE)
    return int(value)


def _parse_ordered(value: str) -> bool:
    """Any value but ``false`` is read as ``true`` (RFC 8864 5.1.7)."""
    return value.lower() != "false"


def _unescape(value: str) -> str:
    """Undo ``%HH`` in a quoted value; UTF-8 that came unescaped is taken as it is."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        raise ParseError(f"expected a quoted text, got {value[:16]!r}", source=_SOURCE)
    if any(character < " " or character == "\x7f" for character in value):
        raise ParseError("a control character stands in a quoted text", source=_SOURCE)

    def octet(match: re.Match[bytes]) -> bytes:
        if re.fullmatch(rb"[0-9A-Fa-f]{2}", match[1]) is None:
            raise ParseError("expected two hex digits after % in a quoted text", source=_SOURCE)
        return bytes((int(match[1], 16),))

    try:
        return _ESCAPE.sub(octet, value[1:-1].encode()).decode()
    except UnicodeError as exc:
        raise ParseError("a quoted text is no UTF-8", source=_SOURCE) from exc


def _escape(text: str) -> str:
    return "".join(
        chr(octet) if octet in _PLAIN else f"%{octet:02X}"
        for octet in text.encode(errors="replace")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dcmap:
    """One ``a=dcmap`` line: one data channel.

    Attributes:
        stream_id: 0..65534.
        subprotocol: of the WebSocket Subprotocol registry, ``""`` for none.
        label: need not be unique.
        is_ordered: messages arrive in the order sent.
        max_retr: 0..2^32-1 retransmissions, ``None`` for reliable.
        max_time_ms: 0..2^32-1 ms, ``None`` for reliable. With ``max_retr`` an error that
            :attr:`has_conflict` shows; it is parsed so that only this channel is refused.
        priority: 0..65535, 256 is normal.

    Source: RFC 8864 5.1.
    """

    stream_id: int
    subprotocol: str = ""
    label: str = ""
    is_ordered: bool = True
    max_retr: int | None = None
    max_time_ms: int | None = None
    priority: int = NORMAL_PRIORITY

    @property
    def has_conflict(self) -> bool:
        """Both ``max-retr`` and ``max-time`` are there, which RFC 8864 6.2 forbids."""
        return self.max_retr is not None and self.max_time_ms is not None

    @classmethod
    def parse(cls, value: str) -> Dcmap:
        """Read the text after ``a=dcmap:``.

        Unknown option names are skipped: the grammar has no place for them, and a peer of a later
        release may send them.

        Args:
            value: for example ``'0 subprotocol="http"'``.

        Raises:
            ParseError: a bad stream id, an option twice, or a value the option cannot have.
        """
        stream_id, _, options = value.strip(" ").partition(" ")
        fields: dict[str, object] = {"stream_id": parse_stream_id(stream_id, source=_SOURCE)}
        position = 0
        while position < len(options):
            match = _OPTION.match(options, position)
            if match is None:
                raise ParseError("bad options in a=dcmap", source=_SOURCE)
            position = match.end()
            option = _OPTIONS.get(match[1].lower())
            if option is None:
                continue
            name, read = option
            if name in fields:
                raise ParseError(f"{match[1]} comes twice in a=dcmap", source=_SOURCE)
            fields[name] = read(match[2] or match[3].rstrip(" "))
        return cls(**fields)  # type: ignore[arg-type]

    def __str__(self) -> str:
        options = []
        if self.subprotocol:
            options.append(f'subprotocol="{_escape(self.subprotocol)}"')
        if self.label:
            options.append(f'label="{_escape(self.label)}"')
        if not self.is_ordered:
            options.append("ordered=false")
        if self.max_retr is not None:
            options.append(f"max-retr={self.max_retr}")
        if self.max_time_ms is not None:
            options.append(f"max-time={self.max_time_ms}")
        if self.priority != NORMAL_PRIORITY:
            options.append(f"priority={self.priority}")
        return f"{self.stream_id} {';'.join(options)}" if options else str(self.stream_id)


_OPTIONS: dict[str, tuple[str, Callable[[str], object]]] = {
    "ordered": ("is_ordered", _parse_ordered),
    "subprotocol": ("subprotocol", _unescape),
    "label": ("label", _unescape),
    "max-retr": ("max_retr", lambda value: _parse_integer(value, _MAX_UINT32)),
    "max-time": ("max_time_ms", lambda value: _parse_integer(value, _MAX_UINT32)),
    "priority": ("priority", lambda value: _parse_integer(value, _MAX_UINT16)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dcsa:
    """One ``a=dcsa`` line: a media attribute scoped to one data channel.

    Attributes:
        stream_id: 0..65534.
        attribute: the text after ``a=`` of any SDP attribute.

    Source: RFC 8864 5.2.
    """

    stream_id: int
    attribute: str

    @classmethod
    def parse(cls, value: str) -> Dcsa:
        """Read the text after ``a=dcsa:``.

        Args:
            value: for example ``"110 accept-types:text/plain"``.

        Raises:
            ParseError: no attribute, or a stream id outside 0..65534.
        """
        stream_id, _, attribute = value.strip(" ").partition(" ")
        number = parse_stream_id(stream_id, source="RFC 8864 5.2")
        if not attribute.strip(" "):
            raise ParseError("a=dcsa names no attribute", source="RFC 8864 5.2")
        return cls(stream_id=number, attribute=attribute.strip(" "))

    def __str__(self) -> str:
        return f"{self.stream_id} {self.attribute}"
