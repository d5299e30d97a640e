"""The server's side of HTTP/1.1 on a data channel (RFC 9112 on an ordered, reliable stream)."""

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
    RequestReceived,
    check_framing,
    local_errors,
    peer_errors,
)

_DEFAULT_HOST_LINE = b"Host: localhost\r\n"


class _RequestReading(Enum):
    HEAD, BODY, DONE, FAILED = auto(), auto(), auto(), auto()


class _Writing(Enum):
    IDLE, BODY, DONE = auto(), auto(), auto()


class HttpServerFraming:
    """Reads requests and writes responses, one at a time. Performs no I/O.

    A request without ``Host``, or with a target in absolute form, is taken: on a channel the host
    means nothing. ``Connection: close`` does not end the channel. After an error the machine is
    dead, and its channel must be reset.

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
        self._head = HeadReader(limits.header_bytes)
        self._begin()

    def _begin(self) -> None:
        self._connection = h11.Connection(h11.SERVER, self._limits.header_bytes)
        self._body = BodyCounter(self._limits.body_bytes)
        self._reading, self._writing = _RequestReading.HEAD, _Writing.IDLE
        self._omits_body = False
        self._method = b""

    @property
    def is_between_requests(self) -> bool:
        """No byte of the next request came yet."""
        return self._reading is _RequestReading.HEAD and not self._head

    def start_next(self, *, now: float) -> None:
        """Go on to the next request, once the response is sent and the request read.

        Raises:
            LocalProtocolError: the exchange is not over.
            RemoteProtocolError: what came early of the next request is bad.
        """
        if self._writing is not _Writing.DONE or self._reading is not _RequestReading.DONE:
            raise LocalProtocolError("the HTTP exchange before is not over")
        self._begin()
        if self._head:
            self.receive(b"", now=now)

    def receive(self, data: bytes, *, now: float) -> None:
        """Read bytes of a request.

        Raises:
            RemoteProtocolError: bad framing, or a limit exceeded.
        """
        if not self._timer.is_running and (data or self._head):
            self._timer.start(now)
        self._timer.touch(now)
        try:
            with peer_errors():
                self._receive(data)
        except RemoteProtocolError:
            self._reading = _RequestReading.FAILED
            raise
        if self.is_between_requests:  # only empty lines came
            self._timer.stop()

    def send_continue(self, *, now: float) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 10.1.1)."""
        self._timer.touch(now)
        if self._connection.they_are_waiting_for_100_continue:
            with local_errors():
                self._outbox.add(
                    self._connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                )

    def start_response(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], *, now: float
    ) -> None:
        """Begin the response; its body follows by :meth:`send_body` and :meth:`end_response`.

        Without ``Content-Length`` the body goes out chunked. The body of a response to HEAD, of
        204 and of 304 is left out.

        Args:
            status: 200..599.
            headers: names and values.
            now: monotonic time, seconds.

        Raises:
            LocalProtocolError: no request waits for a response, or the values cannot be sent.
        """
        if (
            self._reading not in (_RequestReading.BODY, _RequestReading.DONE)
            or self._writing is not _Writing.IDLE
        ):
            raise LocalProtocolError("no HTTP request waits for a response")
        if not 200 <= status <= 599:
            raise LocalProtocolError(f"a final HTTP status is needed, not {status}")
        self._timer.touch(now)
        with local_errors():
            response = h11.Response(status_code=status, headers=list(headers))
            self._outbox.add(self._connection.send(response))
        self._omits_body = self._method == b"HEAD" or status in NO_BODY_STATUSES
        self._writing = _Writing.BODY

    def send_body(self, data: bytes, *, now: float) -> None:
        """Send the next bytes of the response's body.

        Raises:
            LocalProtocolError: no response was begun, or more than ``Content-Length`` said.
        """
        self._timer.touch(now)
        if self._writing is not _Writing.BODY:
            raise LocalProtocolError("no HTTP response was begun")
        if self._omits_body:
            return
        with local_errors():
            for piece in self._outbox.slices(data):
                self._outbox.add(self._connection.send(h11.Data(data=piece)))

    def end_response(self, *, now: float) -> None:
        """The response is complete.

        Raises:
            LocalProtocolError: no response was begun, or less than ``Content-Length`` said.
        """
        self._timer.touch(now)
        if self._writing is not _Writing.BODY:
            raise LocalProtocolError("no HTTP response was begun")
        with local_errors():
            self._outbox.add(self._connection.send(h11.EndOfMessage()))
        self._writing = _Writing.DONE
        self._finish_if_done()

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
        """Return when :meth:`handle_timer` is due; ``None`` between requests."""
        return self._timer.next_timer()

    def poll_transmit(self) -> bytes | None:
        """Return the next message to send on the channel."""
        return self._outbox.poll()

    def poll_event(self) -> HttpEvent | None:
        """Return what was received next."""
        return self._events.popleft() if self._events else None

    def _receive(self, data: bytes) -> None:
        if self._reads(_RequestReading.FAILED):
            raise ParseError("HTTP bytes after an error")
        if self._reads(_RequestReading.BODY):
            if not data:  # an empty message adds nothing; to h11 it would be the end
                return
            self._connection.receive_data(data)
            self._read_events()
            return
        self._head.feed(data)
        if self._reads(_RequestReading.DONE):
            # A request that comes early waits for its turn; it is bounded like any head.
            if len(self._head) > self._limits.header_bytes:
                raise ParseError("pipelined HTTP requests", source="RFC 9112 9.3.2")
            return
        head = self._head.take()
        if head is None:
            return
        self._connection.receive_data(_with_host(head))
        self._read_events()
        if self._head and self._reads(_RequestReading.BODY):
            self._connection.receive_data(self._head.take_rest())
            self._read_events()

    def _reads(self, reading: _RequestReading) -> bool:
        return self._reading is reading

    def _read_events(self) -> None:
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.Request):
                if event.method == b"CONNECT":
                    raise ParseError("CONNECT has no meaning on a data channel")
                check_framing(event, may_lack_length=True)
                self._body.announce(event.headers)
                self._reading, self._method = _RequestReading.BODY, bytes(event.method)
                self._events.append(
                    RequestReceived(
                        method=event.method.decode("ascii"),
                        target=event.target.decode("ascii"),
                        headers=tuple(event.headers),
                        expects_continue=self._connection.they_are_waiting_for_100_continue,
                    )
                )
            elif isinstance(event, h11.Data):
                self._body.add(len(event.data))
                self._events.append(BodyReceived(bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                self._reading = _RequestReading.DONE
                self._head.feed(bytes(self._connection.trailing_data[0]))
                self._events.append(MessageEnded())
                self._finish_if_done()
                return
            else:  # NEED_DATA
                return

    def _finish_if_done(self) -> None:
        if self._reading is _RequestReading.DONE and self._writing is _Writing.DONE:
            self._timer.stop()


def _with_host(head: bytes) -> bytes:
    """Give a request that lacks it the ``Host`` line that RFC 9112 3.2 wants."""
    lines = head.split(b"\n")
    if any(line[:5].lower() == b"host:" for line in lines[1:]):
        return head
    return lines[0] + b"\n" + _DEFAULT_HOST_LINE + b"\n".join(lines[1:])
