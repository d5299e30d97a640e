"""SIP messages and keep-alives out of a byte stream (TCP, TLS).

Source: RFC 3261 18.3, RFC 5626 3.5.1, 4.4.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from dcsdk.errors import RemoteProtocolError
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.parser import (
    DEFAULT_LIMITS,
    MessageError,
    ParserLimits,
    parse_head,
    take_content_length,
)

PING = b"\r\n\r\n"
"""Keep-alive that a client sends between messages."""
PONG = b"\r\n"
"""Answer to a ping."""
MAX_SKIPPED_BODY_BYTES = 16_777_216
"""A refused message with a longer body ends the stream instead of being read past."""
MAX_SKIPPED_HEADER_BYTES = 1_048_576
"""A request with longer headers ends the stream; with headers only beyond the limit of a message
it is refused and read past (RFC 3261 21.5.14)."""

_LENGTH_LINE = re.compile(
    rb"\r\n(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n)", re.IGNORECASE
)
_ANY_LENGTH_LINE = re.compile(rb"\r\n(?:content-length|l)[ \t]*:", re.IGNORECASE)
_REQUEST_START = re.compile(rb"[A-Za-z]{1,64} [^ \r\n]")
_FOLD = re.compile(rb"\r\n[ \t]+")
_PINGS = re.compile(rb"(?:\r\n\r\n)++")


class KeepAlive(Enum):
    """A keep-alive that came."""

    PING = "ping"
    """Answer with ``PONG``."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that was refused and read past; the stream goes on."""

    error: MessageError


class FramingError(RemoteProtocolError):
    """Where the next message starts cannot be known: this connection is over, nothing else.

    Attributes:
        completed: what came whole before, still to be handled.
        error: the refused message, or ``None``; it may still be answered before closing.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        completed: list[StreamEvent],
        error: MessageError | None = None,
    ) -> None:
        super().__init__(message, source=source, sip_status_hint=400)
        self.completed = completed
        self.error = error


StreamEvent = Request | Response | KeepAlive | Malformed


class StreamFramer:
    """Cuts one direction of a stream into messages. Performs no I/O.

    It never holds more than one message's headers and body beyond what was last received.

    Args:
        limits: bounds of one message.
        tap: called with the exact bytes of each message, before it is returned; of a refused
            message, with its headers.
    """

    def __init__(
        self,
        limits: ParserLimits = DEFAULT_LIMITS,
        *,
        tap: Callable[[bytes], None] | None = None,
    ) -> None:
        self._limits = limits
        self._tap = tap
        self._head = b""
        self._buffer = bytearray()
        self._scanned = 0
        self._message: Request | Response | None = None
        self._missing_body = 0
        self._to_skip = 0
        self._is_broken = False

    @property
    def is_idle(self) -> bool:
        """Whether the stream stands between two messages."""
        return not self._buffer and self._message is None and self._to_skip == 0

    def receive(self, data: bytes) -> list[StreamEvent]:
        """Take bytes and return what they complete, in order.

        Raises:
            FramingError: the stream cannot go on; see its ``completed``.
        """
        events: list[StreamEvent] = []
        if self._is_broken:
            raise FramingError("the stream has already failed", completed=events)
        self._buffer += data
        try:
            while self._step(events):
                pass
        except FramingError:
            self._is_broken = True
            self._buffer.clear()
            raise
        return events

    def _step(self, events: list[StreamEvent]) -> bool:
        """Take one thing from the buffer; tell whether there may be more."""
        buffer = self._buffer
        if self._to_skip:
            count = min(self._to_skip, len(buffer))
            del buffer[:count]
            self._to_skip -= count
            return self._to_skip == 0
        if self._message is not None:
            if len(buffer) < self._missing_body:
                return False
            self._message.body = bytes(buffer[: self._missing_body])
            del buffer[: self._missing_body]
            if self._tap is not None:
                self._tap(self._head + self._message.body)
                self._head = b""
            events.append(self._message)
            self._message = None
            return True
        if not buffer:
            return False
        if buffer[0] == 0x0D:
            return self._take_keep_alive(events)
        return self._take_head(events)

    def _take_keep_alive(self, events: list[StreamEvent]) -> bool:
        buffer = self._buffer
        if len(buffer) > 1 and buffer[1] != 0x0A:
            raise FramingError("CR without LF between messages", completed=events)
        pings = _PINGS.match(buffer)
        if pings is not None:  # as many as there are: a flood of them costs one step
            events.extend([KeepAlive.PING] * (pings.end() // len(PING)))
            del buffer[: pings.end()]
            return True
        if len(buffer) < 3 or (len(buffer) == 3 and buffer[2] == 0x0D):
            return False
        del buffer[:2]  # a CRLF before a start line is skipped (RFC 3261 7.5)
        return True

    def _take_head(self, events: list[StreamEvent]) -> bool:
        buffer, limit = self._buffer, self._limits.max_header_bytes
        longest = max(limit, MAX_SKIPPED_HEADER_BYTES) if _REQUEST_START.match(buffer) else limit
        end = buffer.find(PING, max(0, self._scanned - 3), longest)
        if end < 0:
            self._scanned = len(buffer)
            if len(buffer) >= longest:
                raise FramingError("headers without an end", completed=events)
            return False
        self._scanned = 0
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        try:
            message = parse_head(head, self._limits)
            length = take_content_length(message)
            if length is not None and length > self._limits.max_body_bytes:
                request = message if isinstance(message, Request) else None
                raise MessageError("body too large", status=513, request=request)
        except MessageError as exc:
            if self._tap is not None:
                self._tap(head)
            self._skip(head, exc, events)
            return True
        if length is None:
            request = message if isinstance(message, Request) else None
            error = MessageError("no Content-Length", source="RFC 3261 18.3", request=request)
            raise FramingError(str(error), completed=events, error=error)
        self._message, self._missing_body = message, length
        if self._tap is not None:
            self._head = head
        return True

    def _skip(self, head: bytes, error: MessageError, events: list[StreamEvent]) -> None:
        """Read past a refused message, if its own Content-Length tells how far that is."""
        unfolded = _FOLD.sub(b" ", head)
        lengths = {int(digits) for digits in _LENGTH_LINE.findall(unfolded)}
        is_certain = len(_LENGTH_LINE.findall(unfolded)) == len(_ANY_LENGTH_LINE.findall(unfolded))
        if len(lengths) != 1 or not is_certain or max(lengths) > MAX_SKIPPED_BODY_BYTES:
            raise FramingError(
                f"message that cannot be read past: {error}", completed=events, error=error
            )
        self._to_skip = lengths.pop()
        events.append(Malformed(error))
