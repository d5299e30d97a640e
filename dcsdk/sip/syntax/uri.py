"""SIP URIs and the header values built from them: name-addr, Via and CSeq.

Source: RFC 3261 19.1, 20.10, 20.16, 20.42, 25.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import unquote_to_bytes

from dcsdk.errors import ParseError
from dcsdk.sip.syntax.grammar import (
    QUOTED_TEXT,
    TOKEN_TEXT,
    Parameters,
    canonical_host,
    format_host,
    format_parameters,
    get_parameter,
    parse_host,
    parse_parameters,
    parse_port,
    remove_parameter,
    set_parameter,
    unquote,
)

MAX_CSEQ = 2**31 - 1
"""Largest sequence number (RFC 3261 8.1.1.5)."""

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)"
_SIP_URI = re.compile(
    r"([sS][iI][pP][sS]?):"
    r"(?:([A-Za-z0-9\-_.!~*'()%&=+$,;?/#]++)(?::([A-Za-z0-9\-_.!~*'()%&=+$,]*+))?@)?"
    rf"{_HOST}(?::([0-9]{{1,5}}))?"
    r"(;[A-Za-z0-9\-_.!~*'()%\[\]/:&+$;=]*+)?"
    r"(?:\?([A-Za-z0-9\-_.!~*'()%\[\]/?:+$&=]++))?"
)
_OPAQUE_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):([!#-;=?-~]++)")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME_ADDR = re.compile(rf'(?:({QUOTED_TEXT})[ \t]*|([^<"]*+))<([^<>"]*+)>[ \t]*(.*)', re.DOTALL)
_DISPLAY_WORD = re.compile(r"[A-Za-z0-9\-.!%*_+`'~\x80-\U0010ffff]+")
_VIA = re.compile(
    rf"[sS][iI][pP][ \t]*/[ \t]*2\.0[ \t]*/[ \t]*({TOKEN_TEXT})[ \t]+"
    rf"{_HOST}(?:[ \t]*:[ \t]*([0-9]{{1,5}}))?[ \t]*(;.*)?",
    re.DOTALL,
)
_CSEQ = re.compile(rf"([0-9]{{1,10}})[ \t]+({TOKEN_TEXT})")

_COMPARED_WHEN_IN_ONE = frozenset({"user", "ttl", "method", "maddr", "transport"})


def _unescape(text: str | None) -> bytes | None:
    """Undo %-escapes for a comparison."""
    return None if text is None else unquote_to_bytes(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SipUri:
    """A ``sip:`` or ``sips:`` URI. Text is kept as it is spelt, escapes included.

    Attributes:
        scheme: ``"sip"`` or ``"sips"``.
        user: escaped user part, or ``None``.
        password: escaped password; nobody should use one (RFC 3261 19.1.1).
        host: name or address, IPv6 without brackets.
        port: 0..65535, or ``None`` when it is not written.
        parameters: (name, value or ``None``) in order.
        headers: (name, value) in order, escaped.

    Source: RFC 3261 19.1.
    """

    scheme: Literal["sip", "sips"] = "sip"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str
    port: int | None = None
    parameters: Parameters = ()
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Read a URI without angle brackets.

        Raises:
            ParseError: not a SIP or SIPS URI.
        """
        match = _SIP_URI.fullmatch(text)
        if match is None:
            raise ParseError("not a SIP URI", source="RFC 3261 19.1.1")
        if "%" in text and _BAD_ESCAPE.search(text) is not None:
            raise ParseError("bad %-escape in a SIP URI", source="RFC 3261 19.1.2")
        scheme, user, password, host, port, parameters, headers = match.groups()
        return cls(
            scheme="sips" if len(scheme) == 4 else "sip",
            user=user,
            password=password,
            host=parse_host(host),
            port=None if port is None else parse_port(port),
            parameters=() if parameters is None else parse_parameters(parameters),
            headers=() if headers is None else _parse_uri_headers(headers),
        )

    def __str__(self) -> str:
        parts = [self.scheme, ":"]
        if self.user is not None:
            parts.append(self.user)
            if self.password is not None:
                parts += (":", self.password)
            parts.append("@")
        parts.append(format_host(self.host))
        if self.port is not None:
            parts.append(f":{self.port}")
        if self.parameters:
            parts.append(format_parameters(self.parameters))
        if self.headers:
            parts.append("?" + "&".join(f"{n}={v}" for n, v in self.headers))
        return "".join(parts)

    def param(self, name: str) -> str | None:
        """Return a parameter, ``""`` when it has no value (``lr``), ``None`` when absent."""
        return get_parameter(self.parameters, name)

    def with_param(self, name: str, value: str | None = None) -> SipUri:
        """Return a copy with one parameter set; ``None`` writes the name alone."""
        return replace(self, parameters=set_parameter(self.parameters, name, value))

    def without_param(self, name: str) -> SipUri:
        """Return a copy without one parameter."""
        return replace(self, parameters=remove_parameter(self.parameters, name))

    def equivalent(self, other: SipUri | OpaqueUri) -> bool:
        """Compare by the rules of RFC 3261 19.1.4, not letter by letter."""
        if not isinstance(other, SipUri):
            return False
        if self == other:
            return True
        return (
            self.scheme == other.scheme
            and self.port == other.port
            and canonical_host(self.host) == canonical_host(other.host)
            and _unescape(self.user) == _unescape(other.user)
            and _unescape(self.password) == _unescape(other.password)
            and _same_parameters(self.parameters, other.parameters)
            and _comparable_headers(self) == _comparable_headers(other)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueUri:
    """A URI of another scheme (``tel:``, ``urn:`` ...), which is carried and not read."""

    scheme: str
    rest: str

    @classmethod
    def parse(cls, text: str) -> OpaqueUri:
        """Read a URI of any scheme.

        Raises:
            ParseError: no scheme, or a character no URI has.
        """
        match = _OPAQUE_URI.fullmatch(text)
        if match is None:
            raise ParseError("not a URI", source="RFC 3986 3")
        return cls(scheme=match[1].lower(), rest=match[2])

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"

    def equivalent(self, other: SipUri | OpaqueUri) -> bool:
        """Compare letter by letter, but for the scheme."""
        return self == other


Uri = SipUri | OpaqueUri


def parse_uri(text: str) -> Uri:
    """Read a URI of any scheme; only ``sip`` and ``sips`` are taken apart.

    Raises:
        ParseError: not a URI.
    """
    if text[:4].lower() == "sip:" or text[:5].lower() == "sips:":
        return SipUri.parse(text)
    return OpaqueUri.parse(text)


def _parse_uri_headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read what follows the ``?`` of a SIP URI."""
    headers = []
    for item in text.split("&"):
        name, equals, value = item.partition("=")
        if not name or not equals or "=" in value:
            raise ParseError("bad header in a SIP URI", source="RFC 3261 19.1.1")
        headers.append((name, value))
    return tuple(headers)


def _same_parameters(ours: Parameters, theirs: Parameters) -> bool:
    """Compare URI parameters (RFC 3261 19.1.4)."""
    left = {n.lower(): _unescape((v or "").lower()) for n, v in ours}
    right = {n.lower(): _unescape((v or "").lower()) for n, v in theirs}
    if any(left[name] != right[name] for name in left.keys() & right.keys()):
        return False
    return not (left.keys() ^ right.keys()) & _COMPARED_WHEN_IN_ONE


def _comparable_headers(uri: SipUri) -> list[tuple[str, bytes | None]]:
    return sorted((n.lower(), _unescape(v) or b"") for n, v in uri.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameAddr:
    """The value of From, To, Contact, Route and their like.

    Attributes:
        display_name: unquoted, or ``None``.
        uri: the address.
        parameters: those behind the address, as written (quoted values keep their quotes).

    Source: RFC 3261 20.10, 25.1.
    """

    display_name: str | None = None
    uri: Uri
    parameters: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read one element; without angle brackets, every parameter is the header's.

        Raises:
            ParseError: neither a name-addr nor an addr-spec.
        """
        match = _NAME_ADDR.fullmatch(text)
        if match is None:
            if "<" in text or '"' in text.partition(";")[0]:
                raise ParseError("not a name-addr", source="RFC 3261 20.10")
            address, semicolon, rest = text.partition(";")
            address = address.strip(" \t")
            if "?" in address or "," in address:
                raise ParseError("this URI needs angle brackets", source="RFC 3261 20.10")
            return cls(uri=parse_uri(address), parameters=parse_parameters(semicolon + rest))
        quoted, words, address, rest = match.groups()
        name = unquote(quoted) if quoted is not None else _parse_display_words(words)
        return cls(display_name=name, uri=parse_uri(address), parameters=parse_parameters(rest))

    def __str__(self) -> str:
        name = "" if self.display_name is None else _quote_name(self.display_name) + " "
        return f"{name}<{self.uri}>{format_parameters(self.parameters)}"

    @property
    def tag(self) -> str | None:
        """The ``tag`` parameter, ``None`` when absent or without value."""
        return get_parameter(self.parameters, "tag") or None

    def param(self, name: str) -> str | None:
        """Return a parameter unquoted, ``""`` when it has no value, ``None`` when absent."""
        value = get_parameter(self.parameters, name)
        return None if value is None else unquote(value)

    def with_param(self, name: str, value: str | None = None) -> NameAddr:
        """Return a copy with one parameter set.

        Text that is neither a token, a host nor a quoted string is quoted. A feature tag that the
        grammar wants quoted is given with its quotes: ``'"webrtc-datachannel"'``.
        """
        return replace(self, parameters=set_parameter(self.parameters, name, value))

    def without_param(self, name: str) -> NameAddr:
        """Return a copy without one parameter."""
        return replace(self, parameters=remove_parameter(self.parameters, name))


def _parse_display_words(text: str) -> str | None:
    """Read a display name without quotes; letters beyond ASCII are taken too."""
    words = text.split()
    if any(_DISPLAY_WORD.fullmatch(word) is None for word in words):
        raise ParseError("this display name needs quotes", source="RFC 3261 20.10")
    return " ".join(words) or None


def _quote_name(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """One Via element.

    Attributes:
        transport: upper case: ``"UDP"``, ``"TCP"``, ``"TLS"``, ``"WSS"`` ...
        host: name or address, IPv6 without brackets.
        port: 0..65535, or ``None``.
        parameters: as written.

    Source: RFC 3261 20.42, RFC 3581.
    """

    transport: str
    host: str
    port: int | None = None
    parameters: Parameters = ()

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read one element.

        Raises:
            ParseError: not a Via of SIP/2.0.
        """
        match = _VIA.fullmatch(text)
        if match is None:
            raise ParseError("not a Via of SIP/2.0", source="RFC 3261 20.42")
        transport, host, port, parameters = match.groups()
        return cls(
            transport=transport.upper(),
            host=parse_host(host),
            port=None if port is None else parse_port(port),
            parameters=() if parameters is None else parse_parameters(parameters),
        )

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        parameters = format_parameters(self.parameters)
        return f"SIP/2.0/{self.transport} {format_host(self.host)}{port}{parameters}"

    @property
    def branch(self) -> str | None:
        """The transaction's branch, ``None`` when absent or without value."""
        return get_parameter(self.parameters, "branch") or None

    @property
    def received(self) -> str | None:
        """The source address a server saw, without brackets (RFC 3261 18.2.1)."""
        value = get_parameter(self.parameters, "received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> int | None:
        """The source port a server saw; ``None`` when absent, without value, or no port."""
        value = get_parameter(self.parameters, "rport")
        if not value or not (value.isascii() and value.isdigit()) or len(value) > 5:
            return None
        port = int(value)
        return port if 0 < port <= 65_535 else None

    @property
    def asks_rport(self) -> bool:
        """Whether the client wants the source port filled in (RFC 3581 3)."""
        return get_parameter(self.parameters, "rport") == ""

    def param(self, name: str) -> str | None:
        """Return a parameter unquoted, ``""`` when it has no value, ``None`` when absent."""
        value = get_parameter(self.parameters, name)
        return None if value is None else unquote(value)

    def with_param(self, name: str, value: str | None = None) -> Via:
        """Return a copy with one parameter set; ``None`` writes the name alone."""
        return replace(self, parameters=set_parameter(self.parameters, name, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class CSeq:
    """Sequence number (0..2^31-1) and method.

    Source: RFC 3261 20.16.
    """

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Read the header value.

        Raises:
            ParseError: not a number and a method, or a number over 2^31-1.
        """
        match = _CSEQ.fullmatch(text)
        if match is None:
            raise ParseError("not a CSeq", source="RFC 3261 20.16")
        number = int(match[1])
        if number > MAX_CSEQ:
            raise ParseError("CSeq number over 2^31-1", source="RFC 3261 8.1.1.5")
        return cls(number=number, method=match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"
