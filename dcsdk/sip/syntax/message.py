"""SIP requests and responses.

Source: RFC 3261 7, 8.2.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from dcsdk.errors import LocalProtocolError, ParseError
from dcsdk.sip.syntax.grammar import is_token, split_list
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.uri import CSeq, NameAddr, Uri, Via

T = TypeVar("T")

REASON_PHRASES = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    424: "Bad Location Information",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}
"""Status codes of the IANA registry that this package meets."""

_CLASS_PHRASES = {1: "Trying", 2: "OK", 3: "Redirection", 4: "Client Error", 5: "Server Error"}
_FORBIDDEN = re.compile(r"[\r\n\x00]")


def reason_phrase(status: int) -> str:
    """Return the usual phrase of a status (100..699), or that of its class."""
    return REASON_PHRASES.get(status) or _CLASS_PHRASES.get(status // 100, "Global Failure")


class _Message:
    """What requests and responses share: headers, body and the values read from headers.

    A value is read at its first use and kept for as long as its header text stays the same.
    """

    __slots__ = ("_cache",)

    headers: Headers
    body: bytes
    _cache: dict[str, tuple[object, object]]

    def _read(self, name: str, parse: Callable[[str], T]) -> T:
        text = self.headers.get(name)
        cached = self._cache.get(name)
        if cached is not None and cached[0] == text:
            return cached[1]  # type: ignore[return-value]
        if text is None:
            raise ParseError(f"no {name} header", source="RFC 3261 8.1.1")
        value = parse(text)
        self._cache[name] = (text, value)
        return value

    def _read_list(self, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        lines = self.headers.get_all(name)
        key = name + "*"
        cached = self._cache.get(key)
        if cached is not None and cached[0] == lines:
            return cached[1]  # type: ignore[return-value]
        values = tuple(parse(element) for element in self.headers.get_list(name))
        self._cache[key] = (lines, values)
        return values

    @property
    def call_id(self) -> str:
        """The Call-ID.

        Raises:
            ParseError: absent or malformed.
        """
        return self._read("Call-ID", _parse_call_id)

    @property
    def cseq(self) -> CSeq:
        """The CSeq.

        Raises:
            ParseError: absent or malformed.
        """
        return self._read("CSeq", CSeq.parse)

    @property
    def from_(self) -> NameAddr:
        """The From header.

        Raises:
            ParseError: absent or malformed.
        """
        return self._read("From", NameAddr.parse)

    @property
    def to(self) -> NameAddr:
        """The To header.

        Raises:
            ParseError: absent or malformed.
        """
        return self._read("To", NameAddr.parse)

    @property
    def top_via(self) -> Via:
        """The first Via element; cheaper than ``vias[0]``.

        Raises:
            ParseError: absent or malformed.
        """
        return self._read("Via", _parse_first_via)

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Via elements, topmost first.

        Raises:
            ParseError: one of them is malformed.
        """
        return self._read_list("Via", Via.parse)

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """All Contact elements; empty for none and for ``*`` (see ``is_contact_star``).

        Raises:
            ParseError: one of them is malformed.
        """
        if self.is_contact_star:
            return ()
        return self._read_list("Contact", NameAddr.parse)

    @property
    def is_contact_star(self) -> bool:
        """Whether the Contact is ``*``: all bindings (RFC 3261 10.2.2)."""
        return self.headers.get("Contact") == "*"

    def name_addrs(self, name: str) -> tuple[NameAddr, ...]:
        """Return all elements of a header made of name-addrs: Route, Record-Route, Path ...

        Raises:
            ParseError: one of them is malformed.
        """
        return self._read_list(name, NameAddr.parse)

    @property
    def content_type(self) -> str | None:
        """Media type in lower case without parameters, ``None`` without Content-Type."""
        value = self.headers.get("Content-Type")
        return None if value is None else value.partition(";")[0].strip().lower()

    def _encode(self, start_line: str) -> bytes:
        if _FORBIDDEN.search(start_line) is not None:
            raise LocalProtocolError("CR, LF or NUL in a start line", source="RFC 3261 7.1")
        lines = [start_line]
        lines += [f"{n}: {v}" for n, v in self.headers if n != "Content-Length"]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        try:
            return "\r\n".join(lines).encode() + self.body
        except UnicodeEncodeError as exc:
            raise LocalProtocolError("text that UTF-8 cannot hold", source="RFC 3261 7") from exc


@dataclass(slots=True)
class Request(_Message):
    """A SIP request; its headers may be changed.

    Attributes:
        method: a token, case-sensitive.
        uri: the Request-URI.
        headers: without Content-Length, which ``encode`` writes.
        body: bytes of the body.
    """

    method: str
    uri: Uri
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    _cache: dict[str, tuple[object, object]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def encode(self) -> bytes:
        """Write the message for the wire.

        Raises:
            LocalProtocolError: the method is no token, or CR, LF, NUL or a space in the URI.
        """
        target = str(self.uri)
        if not is_token(self.method) or " " in target:
            raise LocalProtocolError("bad method or Request-URI", source="RFC 3261 7.1")
        return self._encode(f"{self.method} {target} SIP/2.0")

    def copy(self) -> Request:
        """Return a request whose headers change independently."""
        return Request(self.method, self.uri, self.headers.copy(), self.body)

    def response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Headers | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Response:
        """Make a response to this request (RFC 3261 8.2.6).

        Via, From, To, Call-ID and CSeq are copied, Record-Route into 101..299 (12.1.1) and
        Timestamp into 100.

        Args:
            status: 100..699.
            reason: the phrase; the usual one by default.
            to_tag: set in To when the request had no tag there and the status is over 100.
            headers: further headers.
            body: the body; needs ``content_type``.
            content_type: of the body.

        Raises:
            LocalProtocolError: a bad status, header or phrase, or a body without type.
        """
        answer = Headers()
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            for value in self.headers.get_all(name):
                if name == "To" and to_tag is not None and status > 100:
                    value = _with_tag(value, to_tag)
                answer.add(name, value)
        copied = "Timestamp" if status == 100 else "Record-Route" if status < 300 else None
        if copied is not None:
            for value in self.headers.get_all(copied):
                answer.add(copied, value)
        answer.extend(headers)
        if content_type is not None:
            answer.set("Content-Type", content_type)
        if body and "Content-Type" not in answer:
            raise LocalProtocolError("a body needs a Content-Type", source="RFC 3261 20.15")
        phrase = reason_phrase(status) if reason is None else reason
        return Response(status, phrase, answer, body)


@dataclass(slots=True)
class Response(_Message):
    """A SIP response; its headers may be changed.

    Attributes:
        status: 100..699.
        reason: the phrase, for people.
        headers: without Content-Length, which ``encode`` writes.
        body: bytes of the body.

    Raises:
        LocalProtocolError: the status is outside 100..699.
    """

    status: int
    reason: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    _cache: dict[str, tuple[object, object]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not 100 <= self.status <= 699:
            raise LocalProtocolError(f"status {self.status} is outside 100..699")

    @property
    def is_success(self) -> bool:
        """Whether this is a 2xx."""
        return 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        """Whether no other response follows in the transaction."""
        return self.status >= 200

    def encode(self) -> bytes:
        """Write the message for the wire.

        Raises:
            LocalProtocolError: CR, LF or NUL in the phrase.
        """
        return self._encode(f"SIP/2.0 {self.status} {self.reason}")

    def copy(self) -> Response:
        """Return a response whose headers change independently."""
        return Response(self.status, self.reason, self.headers.copy(), self.body)


Message = Request | Response


def _parse_call_id(text: str) -> str:
    if not text or " " in text or "\t" in text:
        raise ParseError("bad Call-ID", source="RFC 3261 20.8")
    return text


def _parse_first_via(text: str) -> Via:
    if "," not in text:
        return Via.parse(text)
    elements = split_list(text)
    if not elements:
        raise ParseError("empty Via", source="RFC 3261 20.42")
    return Via.parse(elements[0])


def _with_tag(value: str, tag: str) -> str:
    """Add a tag to a To value that has none; one that cannot be read stays as it is."""
    try:
        has_tag = NameAddr.parse(value).tag is not None
    except ParseError:
        return value
    return value if has_tag else f"{value};tag={tag}"
