"""The client's side of HTTP/1.1 on a data channel (RFC 9112 on an ordered, reliable stream)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

import h11

from dcsdk.errors import LocalProtocolError, ParseError, RemoteProtocolError
from dcsdk.http.limits import (
    BOOTSTRAP_LIMITS,
    DEFAULT_PEER_MESSAGE_SIZE,
    HttpLimits,
    piece_size,
)
from dcsdk.http.messages import (
    NO_BODY_STATUSES,
    BodyCounter,
    BodyReceived,
    ExchangeTimer,
    HeadReader,
    HttpEvent,
    MessageEnded,
    Outbox,
    ResponseReceived,
    check_framing,
    local_errors,
    peer_errors,
)

MAX_INFORMATIONAL_RESPONSES = 16


class _ResponseReading(Enum):
    IDLE, HEAD, BODY, DONE, FAILED = auto(), auto(), auto(), auto(), auto()


class HttpClientFraming:
    """Writes requests and reads responses, one at a time. Performs no I/O.

    The user messages of a channel are one byte stream; their borders mean nothing.
    ``Connection: close`` does not end the channel. After an error the machine is dead, and its
    channel must be reset.

    Args:
        limits: what is taken from the peer.
        max_message_size: bytes the peer accepts in one message, 0 for any.
    """

    def __init__(
        self,
        *,
        limits: HttpLimits = BOOTSTRAP_LIMITS,
        max_message_size: int = DEFAULT_PEER_MESSAGE_SIZE,
    ) -> None:
        self._limits = limits
        self._outbox = Outbox(piece_size(max_message_size))
        self._timer = ExchangeTimer(limits)
        self._events: deque[HttpEvent] = deque()
        self._reading = _ResponseReading.IDLE
        self._is_request_sent = True
        self._connection = h11.Connection(h11.CLIENT)
        self._head = HeadReader(limits.header_bytes)
        self._body = BodyCounter(limits.body_bytes)
        self._informational = 0
        self._method = b""

    @property
    def is_idle(self) -> bool:
        """Request sent and response read to their ends: the next request may start."""
        return (
            self._reading in (_ResponseReading.IDLE, _ResponseReading.DONE)
            and self._is_request_sent
        )

    def start_request(
        self,
        method: str | bytes,
        target: str | bytes,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        now: float,
    ) -> None:
        """Begin a request; its body follows by :meth:`send_body` and :meth:`end_request`.

        Args:
            method: any but ``CONNECT``.
            target: the request target, in ASCII.
            headers: ``Host`` included; ``Content-Length`` or ``Transfer-Encoding: chunked`` when
                there is a body.
            now: monotonic time, seconds.

        Raises:
            LocalProtocolError: a request is outstanding, or the values cannot be sent.
        """
        if not self.is_idle:
            raise LocalProtocolError("one HTTP request at a time runs on a data channel")
        connection = h11.Connection(h11.CLIENT, self._limits.header_bytes)
        with local_errors():
            request = h11.Request(method=method, target=target, headers=list(headers))
            if request.method == b"CONNECT":
                raise LocalProtocolError("CONNECT has no meaning on a data channel")
            head = connection.send(request)
        self._connection = connection
        self._outbox.add(head)
        self._method = request.method
        self._reading, self._is_request_sent = _ResponseReading.HEAD, False
        self._body = BodyCounter(self._limits.body_bytes)
        self._informational = 0
        self._timer.start(now)

    def send_body(self, data: bytes, *, now: float) -> None:
        """Send the next bytes of the request's body.

        Raises:
            LocalProtocolError: more than ``Content-Length`` said.
        """
        self._timer.touch(now)
        with local_errors():
            for piece in self._outbox.slices(data):
                self._outbox.add(self._connection.send(h11.Data(data=piece)))

    def end_request(self, *, now: float) -> None:
        """The request is complete.

        Raises:
            LocalProtocolError: less than ``Content-Length`` said.
        """
        self._timer.touch(now)
        with local_errors():
            self._outbox.add(self._connection.send(h11.EndOfMessage()))
        self._is_request_sent = True
        self._finish_if_done()

    def receive(self, data: bytes, *, now: float) -> None:
        """Read bytes of the response.

        Raises:
            RemoteProtocolError: bad framing, a limit exceeded, or bytes nobody asked for.
        """
        self._timer.touch(now)
        if not data:  # an empty message adds nothing; to h11 it would be the end
            return
        try:
            with peer_errors():
                self._receive(data)
        except RemoteProtocolError:
            self._reading = _ResponseReading.FAILED
            raise

    def touch(self, *, now: float) -> None:
        """The wait for the peer begins."""
        self._timer.touch(now)

    def handle_timer(self, *, now: float) -> None:
        """Check the bounds of time.

        Raises:
            OperationTimeout: one is over.
        """
        self._timer.check(now)

    def next_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        return self._timer.next_timer()

    def poll_transmit(self) -> bytes | None:
        """Return the next message to send on the channel."""
        return self._outbox.poll()

    def poll_event(self) -> HttpEvent | None:
        """Return what was received next."""
        return self._events.popleft() if self._events else None

    def _receive(self, data: bytes) -> None:
        if self._reads(_ResponseReading.FAILED):
            raise ParseError("HTTP bytes after an error")
        if self._reads(_ResponseReading.BODY):
            self._connection.receive_data(data)
            self._read_events()
            return
        if not self._reads(_ResponseReading.HEAD):
            raise ParseError("HTTP response without a request", source="RFC 9112 9.2")
        self._head.feed(data)
        while self._reads(_ResponseReading.HEAD) and (head := self._head.take()) is not None:
            self._connection.receive_data(head)
            self._read_events()
        if self._reads(_ResponseReading.BODY) and self._head:
            self._connection.receive_data(self._head.take_rest())
            self._read_events()
        elif self._reads(_ResponseReading.DONE) and self._head:
            raise ParseError("HTTP bytes after the response", source="RFC 9112 9.2")

    def _reads(self, reading: _ResponseReading) -> bool:
        return self._reading is reading

    def _read_events(self) -> None:
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.InformationalResponse):
                self._informational += 1
                if event.status_code == 101 or self._informational > MAX_INFORMATIONAL_RESPONSES:
                    raise ParseError(f"unexpected HTTP {event.status_code}", source="RFC 9110 15.2")
            elif isinstance(event, h11.Response):
                bodyless = self._method == b"HEAD" or event.status_code in NO_BODY_STATUSES
                check_framing(event, may_lack_length=bodyless)
                if not bodyless:
                    self._body.announce(event.headers)
                self._reading = _ResponseReading.BODY
                self._events.append(
                    ResponseReceived(
                        status=event.status_code,
                        reason=bytes(event.reason),
                        headers=tuple(event.headers),
                    )
                )
            elif isinstance(event, h11.Data):
                self._body.add(len(event.data))
                self._events.append(BodyReceived(bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                if self._connection.trailing_data[0]:
                    raise ParseError("HTTP bytes after the response", source="RFC 9112 9.2")
                self._reading = _ResponseReading.DONE
                self._events.append(MessageEnded())
                self._finish_if_done()
                return
            else:  # NEED_DATA
                return

    def _finish_if_done(self) -> None:
        if self.is_idle:
            self._timer.stop()
