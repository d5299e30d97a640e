"""What the HTTP machines report, and the parts both of them are made of."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import h11

from dcsdk.errors import LocalProtocolError, OperationTimeout, ParseError, RemoteProtocolError
from dcsdk.http.limits import HttpLimits

HeaderList = tuple[tuple[bytes, bytes], ...]
"""Header names (lower case when received) and values, in order."""

NO_BODY_STATUSES = frozenset({204, 304})
_CHUNK_OVERHEAD_BYTES = 16
_MAX_EMPTY_LINES = 2
_BLANK_LINE = re.compile(rb"\n\r?\n")
_HTTP_1_1 = b"1.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """A request line with its headers; the body follows."""

    method: str
    target: str
    headers: HeaderList
    expects_continue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseReceived:
    """A final status line with its headers; the body follows."""

    status: int
    reason: bytes
    headers: HeaderList


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """The next bytes of a body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class MessageEnded:
    """The message that began last is complete."""


HttpEvent = RequestReceived | ResponseReceived | BodyReceived | MessageEnded


class HeadReader:
    """Cuts a request or response head off a stream of bytes, within its limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._data = bytearray()
        self._searched = 0
        self._empty_lines = 0

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Add bytes; :meth:`take` judges them."""
        self._data += data

    def take(self) -> bytes | None:
        """Return the next head with its blank line, or ``None`` while it is not complete.

        Raises:
            ParseError: the head is larger than the limit.
        """
        # RFC 9112 2.2: an empty line or two before a request line is skipped.
        while self._empty_lines < _MAX_EMPTY_LINES and self._data[:2] == b"\r\n":
            del self._data[:2]
            self._empty_lines += 1
        match = _BLANK_LINE.search(self._data, self._searched)
        if (match.end() if match else len(self._data)) > self._limit_bytes:
            raise ParseError(f"HTTP header block larger than {self._limit_bytes} bytes")
        if match is None:
            self._searched = max(0, len(self._data) - 2)
            return None
        head = bytes(self._data[: match.end()])
        del self._data[: match.end()]
        self._searched = self._empty_lines = 0
        return head

    def take_rest(self) -> bytes:
        """Return what follows the head: it belongs to the body."""
        rest = bytes(self._data)
        self._data.clear()
        return rest


class Outbox:
    """Bytes for the peer, cut into messages."""

    def __init__(self, piece_bytes: int) -> None:
        self.piece_bytes = piece_bytes
        self._parts: deque[memoryview] = deque()

    def slices(self, body: bytes) -> Iterator[bytes]:
        """Cut a body so that each slice fits into one message with its chunk framing."""
        size, view = max(self.piece_bytes - _CHUNK_OVERHEAD_BYTES, 1), memoryview(body)
        for start in range(0, len(view), size):
            yield bytes(view[start : start + size])

    def add(self, data: bytes | None) -> None:
        """Queue bytes; empty ones leave no message."""
        if data:
            self._parts.append(memoryview(data))

    def poll(self) -> bytes | None:
        """Return the next message, or ``None``."""
        if not self._parts:
            return None
        part = self._parts.popleft()
        if len(part) > self.piece_bytes:
            self._parts.appendleft(part[self.piece_bytes :])
            part = part[: self.piece_bytes]
        return bytes(part)


class ExchangeTimer:
    """The idle and total bound of one exchange."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._started_s: float | None = None
        self._touched_s = 0.0

    @property
    def is_running(self) -> bool:
        """An exchange is under way."""
        return self._started_s is not None

    def start(self, now: float) -> None:
        """The exchange's first byte came or went."""
        self._started_s = self._touched_s = now

    def touch(self, now: float) -> None:
        """A byte came or went, or the wait for one begins."""
        self._touched_s = max(self._touched_s, now)

    def stop(self) -> None:
        """The exchange is over."""
        self._started_s = None

    def next_timer(self) -> float | None:
        """Return when the exchange is given up, or ``None`` between exchanges."""
        if self._started_s is None:
            return None
        idle = self._touched_s + self._limits.idle_s
        total_s = self._limits.total_s
        return idle if total_s is None else min(idle, self._started_s + total_s)

    def check(self, now: float) -> None:
        """Raise ``OperationTimeout`` when a bound is over."""
        deadline = self.next_timer()
        if deadline is None or now < deadline:
            return
        if now >= self._touched_s + self._limits.idle_s:
            raise OperationTimeout(f"the HTTP peer was silent for {self._limits.idle_s:g} s")
        raise OperationTimeout(f"the HTTP exchange took more than {self._limits.total_s} s")


class BodyCounter:
    """Holds a received body against its limit."""

    def __init__(self, limit_bytes: int | None) -> None:
        self._limit_bytes = limit_bytes
        self._count = 0

    def announce(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Refuse a body by its ``Content-Length``, before a byte of it comes."""
        for name, value in headers:
            if name == b"content-length":
                self._check(int(value))

    def add(self, size_bytes: int) -> None:
        """Count received bytes."""
        self._count += size_bytes
        self._check(self._count)

    def _check(self, size_bytes: int) -> None:
        if self._limit_bytes is not None and size_bytes > self._limit_bytes:
            raise ParseError(f"HTTP body larger than {self._limit_bytes} bytes")


def check_framing(event: h11.Request | h11.Response, *, may_lack_length: bool) -> None:
    """Refuse what a channel cannot carry, though RFC 9112 could.

    Args:
        event: the head of a message.
        may_lack_length: a message without length has no body (a request, or a response to HEAD).

    Raises:
        ParseError: not HTTP/1.1; both ``Content-Length`` and ``Transfer-Encoding`` (RFC 9112 6.1:
            an attack); or a body that the end of the connection would delimit.
    """
    if event.http_version != _HTTP_1_1:
        raise ParseError("only HTTP/1.1 runs on a data channel", source="RFC 9112 2.3")
    names = {name for name, _ in event.headers}
    has_length = b"content-length" in names
    if b"transfer-encoding" in names:
        if has_length:
            raise ParseError(
                "HTTP message with Content-Length and Transfer-Encoding", source="RFC 9112 6.1"
            )
    elif not has_length and not may_lack_length:
        raise ParseError("HTTP body without Content-Length on a channel", source="RFC 9112 6.3")


@contextmanager
def peer_errors() -> Iterator[None]:
    """Turn what the peer's bytes caused into ``RemoteProtocolError``."""
    try:
        yield
    except h11.RemoteProtocolError as exc:
        raise RemoteProtocolError(f"bad HTTP framing: {exc}", source="RFC 9112") from exc
    except ParseError as exc:
        raise RemoteProtocolError(str(exc)) from exc


@contextmanager
def local_errors() -> Iterator[None]:
    """Turn what the program's values caused into ``LocalProtocolError``."""
    try:
        yield
    except (h11.LocalProtocolError, UnicodeEncodeError) as exc:
        raise LocalProtocolError(f"cannot send this HTTP message: {exc}") from exc
