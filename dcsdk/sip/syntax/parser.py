"""From bytes to one SIP message.

``parse_message`` is strict about what decides where a message ends and to which transaction it
belongs (line ends, Content-Length, Via, CSeq, Call-ID, From, To), and leaves every other header
as text until somebody asks for it.

Source: RFC 3261 7, 8.1.1, 18.3, 25.1; RFC 4475 for what must be taken and what refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dcsdk.errors import ConfigError, LocalProtocolError, ParseError
from dcsdk.sip.syntax.grammar import TOKEN_TEXT, is_token
from dcsdk.sip.syntax.headers import Headers, canonical_name
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import OpaqueUri, Uri, parse_uri


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserLimits:
    """Bounds of one message.

    Attributes:
        max_header_bytes: start line and headers together, with the empty line.
        max_headers: number of header lines.
        max_line_bytes: one line, folded continuation included.
        max_body_bytes: the body.
    """

    max_header_bytes: int = 65_536
    max_headers: int = 256
    max_line_bytes: int = 16_384
    max_body_bytes: int = 1_048_576

    def __post_init__(self) -> None:
        for name in ("max_header_bytes", "max_headers", "max_line_bytes", "max_body_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1")


DEFAULT_LIMITS = ParserLimits()

NOWHERE = OpaqueUri(scheme="invalid", rest="unreadable")
"""Stands for the Request-URI that could not be read, in ``MessageError.request``."""

_FOLD = re.compile(rb"\r\n[ \t]+")
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2}) ([^\r\n\x00]*)", re.IGNORECASE)
_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{1,9}")
_BAD_BYTE = re.compile(rb"[\r\n\x00]")
_HEADER_LINE = re.compile(rf"({TOKEN_TEXT})[ \t]*:(.*)", re.DOTALL)
_TRANSACTION_HEADERS = ("Via", "From", "To", "Call-ID", "CSeq")
_SINGLE_HEADERS = ("From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Type")


class MessageError(ParseError):
    """Bytes that are not an acceptable SIP message.

    Attributes:
        status: the status that answers such a request: 400, 505 or 513.
        request: as much of the request as could be read, or ``None`` for a response or noise.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        status: int = 400,
        request: Request | None = None,
    ) -> None:
        super().__init__(message, source=source)
        self.status = status
        self.request = request

    def response(self, *, to_tag: str | None = None) -> Response | None:
        """Make the answer to the malformed request.

        Returns:
            ``None`` when there is nothing to answer: a response, an ACK, noise, or a request
            without a readable Via or without one of the headers an answer copies.
        """
        request = self.request
        if request is None or request.method == "ACK":
            return None
        if any(request.headers.get(name) is None for name in _TRANSACTION_HEADERS):
            return None
        try:
            _ = request.top_via
            return request.response(self.status, to_tag=to_tag)
        except (ParseError, LocalProtocolError):
            return None


def parse_message(data: bytes, limits: ParserLimits = DEFAULT_LIMITS) -> Request | Response:
    """Read one whole message, a datagram for example.

    CRLFs before the start line are skipped, bytes beyond Content-Length dropped; without
    Content-Length the body is the rest (RFC 3261 7.5, 18.3). In what is returned, the top Via,
    From, To, Call-ID and CSeq are known to be readable; reading other headers may still raise
    :class:`~dcsdk.errors.ParseError`.

    Args:
        data: the bytes.
        limits: bounds of the sizes.

    Raises:
        MessageError: not a message; it carries what an answer needs.
    """
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        raise MessageError("no empty line ends the headers", source="RFC 3261 7")
    body = data[end + 4 :]
    message = parse_head(data[start : end + 4], limits)
    length = take_content_length(message)
    if length is not None:
        if length > len(body):
            raise _refuse(message, f"Content-Length {length} but {len(body)} bytes came")
        body = body[:length]
    if len(body) > limits.max_body_bytes:
        raise _refuse(message, "body too large", status=513)
    message.body = body
    return message


def parse_head(head: bytes, limits: ParserLimits = DEFAULT_LIMITS) -> Request | Response:
    """Read start line and headers, up to and with the empty line; the body stays empty.

    Raises:
        MessageError: not a message; it carries what an answer needs.
    """
    is_too_large = len(head) > limits.max_header_bytes
    if b"\r\n " in head or b"\r\n\t" in head:
        head = _FOLD.sub(b" ", head)
    lines = head[:-4].split(b"\r\n")
    items, problem = _parse_lines(lines, limits)
    message = _parse_start_line(lines[0], Headers.from_parsed(items), limits)
    if is_too_large:
        problem = MessageError("headers too large", status=513)
    if problem is not None:
        raise _refuse(message, str(problem), status=problem.status)
    _check(message)
    return message


def take_content_length(message: Request | Response) -> int | None:
    """Remove the Content-Length header and return what it said, ``None`` when there is none.

    A message in memory has no Content-Length: its body has a length, and ``encode`` writes it.

    Raises:
        MessageError: not a number, or two different ones.
    """
    values = message.headers.get_all("Content-Length")
    if not values:
        return None
    if any(_DIGITS.fullmatch(v) is None for v in values) or len({int(v) for v in values}) != 1:
        raise _refuse(message, "bad Content-Length", source="RFC 3261 20.14")
    message.headers.remove("Content-Length")
    return int(values[0])


def _decode(line: bytes, limits: ParserLimits) -> str:
    if len(line) > limits.max_line_bytes:
        raise MessageError("a line is too long", status=513)
    if _BAD_BYTE.search(line) is not None:
        raise MessageError("CR, LF or NUL within a line", source="RFC 3261 25.1")
    try:
        return line.decode()
    except UnicodeDecodeError as exc:
        raise MessageError("a header is not UTF-8", source="RFC 3261 7.3.1") from exc


def _parse_lines(
    lines: list[bytes], limits: ParserLimits
) -> tuple[list[tuple[str, str]], MessageError | None]:
    """Read what follows the start line: what can be read, and the first thing that cannot."""
    problem: MessageError | None = None
    if len(lines) - 1 > limits.max_headers:
        problem = MessageError(f"more than {limits.max_headers} headers", status=513)
        lines = lines[: limits.max_headers + 1]
    items: list[tuple[str, str]] = []
    for line in lines[1:]:
        try:
            match = _HEADER_LINE.fullmatch(_decode(line, limits))
            if match is None:
                raise MessageError("not a header line", source="RFC 3261 7.3.1")
        except MessageError as exc:
            problem = problem or exc
            continue
        name, value = match.groups()
        items.append((canonical_name(name), value.strip(" \t")))
    return items, problem


def _parse_start_line(data: bytes, headers: Headers, limits: ParserLimits) -> Request | Response:
    try:
        line = _decode(data, limits)
    except MessageError as exc:
        method = data.partition(b" ")[0].decode("latin-1")
        if is_token(method):  # the sender can still be answered
            exc.request = Request(method, NOWHERE, headers)
        raise
    status_line = _STATUS_LINE.fullmatch(line)
    if status_line is not None:
        return Response(int(status_line[1]), status_line[2], headers)
    if line[:4].upper() == "SIP/":
        raise MessageError("bad status line", source="RFC 3261 7.2")
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not is_token(method):
        raise MessageError("bad request line", source="RFC 3261 7.1")
    unreadable = Request(method, NOWHERE, headers)
    if version.upper() != "SIP/2.0":
        if target and _VERSION.fullmatch(version) is not None:
            raise _refuse(unreadable, f"version {version!r}", status=505, source="RFC 3261 21.5.6")
        raise _refuse(unreadable, "bad request line", source="RFC 3261 7.1")
    try:
        uri: Uri = parse_uri(target)
    except ParseError as exc:
        raise _refuse(unreadable, str(exc)) from exc
    return Request(method, uri, headers)


def _check(message: Request | Response) -> None:
    """Refuse a message whose transaction or dialog cannot be told for certain."""
    headers = message.headers
    for name in _SINGLE_HEADERS:
        if headers.count(name) > 1:
            raise _refuse(message, f"{name} more than once", source="RFC 3261 7.3.1")
    try:
        _ = message.top_via, message.from_, message.to, message.call_id
        cseq = message.cseq
    except ParseError as exc:
        raise _refuse(message, str(exc)) from exc
    if isinstance(message, Request):
        if cseq.method != message.method:
            raise _refuse(message, "CSeq names another method", source="RFC 3261 8.1.1.5")
        hops = headers.get("Max-Forwards")
        if hops is not None and (_DIGITS.fullmatch(hops) is None or int(hops) > 255):
            raise _refuse(message, "bad Max-Forwards", source="RFC 3261 20.22")


def _refuse(
    message: Request | Response, text: str, *, status: int = 400, source: str | None = None
) -> MessageError:
    request = message if isinstance(message, Request) else None
    return MessageError(text, source=source, status=status, request=request)
