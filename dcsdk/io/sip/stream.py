"""SIP over one TCP or TLS connection.

Source: RFC 3261 18, RFC 5626 3.5.1, 4.4.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import cast

from dcsdk.errors import TransportError
from dcsdk.interfaces import Address
from dcsdk.io.sip.flow import Flow, FlowCallbacks, TransportLimits, TransportName, to_address
from dcsdk.sip.syntax.framing import PONG, FramingError, KeepAlive, Malformed, StreamFramer
from dcsdk.sip.syntax.parser import MessageError

MAX_PONGS = 16
"""Pings that came at once and are answered; a peer waits for an answer before it asks again."""


class StreamFlow(Flow, asyncio.Protocol):
    """One TCP or TLS connection. It is its own asyncio protocol, so it needs no task.

    Args:
        transport_name: ``"tcp"`` or ``"tls"``.
        callbacks: whom to tell.
        limits: bounds.
        on_gone: told once, before ``on_closed``, when the connection is over.

    Attributes:
        is_made: it was a connection once, so ``on_gone`` is told for certain.
    """

    __slots__ = (
        "_callbacks",
        "_deadline",
        "_error",
        "_framer",
        "_is_ending",
        "_limits",
        "_on_gone",
        "_stream",
        "is_made",
        "local",
        "remote",
        "transport",
    )

    def __init__(
        self,
        transport_name: TransportName,
        callbacks: FlowCallbacks,
        limits: TransportLimits,
        on_gone: Callable[[StreamFlow], None],
    ) -> None:
        self.transport = transport_name
        self.is_made = False
        self.local: Address = ("", 0)
        self.remote: Address = ("", 0)
        self._callbacks = callbacks
        self._limits = limits
        self._on_gone = on_gone
        tap = None if callbacks.trace is None else self._trace_in
        self._framer = StreamFramer(limits.message, tap=tap)
        self._stream: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._is_ending = False
        self._deadline: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"StreamFlow({self.transport} {self.local} -> {self.remote})"

    @property
    def is_closed(self) -> bool:
        return self._stream is None or self._stream.is_closing()

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS object (version, cipher, peer certificate), ``None`` on TCP or when closed."""
        return None if self._stream is None else self._stream.get_extra_info("ssl_object")

    def send(self, data: bytes) -> None:
        stream = self._stream
        if stream is None or stream.is_closing():
            raise TransportError(f"the connection to {self.remote} is closed")
        if self._callbacks.trace is not None:
            self._callbacks.run(self._callbacks.trace, "out", self, data)
        self._write(stream, data)

    def close(self) -> None:
        self._is_ending = True
        if self._stream is not None:
            self._stream.close()

    def abort(self, error: Exception | None = None) -> None:
        """Close at once; what was not sent is lost. ``on_closed`` gets the error."""
        self._error = self._error or error
        self._is_ending = True
        if self._stream is not None:
            self._stream.abort()

    # --- asyncio.Protocol ------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.is_made = True
        self._stream = cast("asyncio.Transport", transport)
        self.local = to_address(transport.get_extra_info("sockname"))
        self.remote = to_address(transport.get_extra_info("peername") or ("", 0))

    def data_received(self, data: bytes) -> None:
        callbacks = self._callbacks
        error: FramingError | None = None
        try:
            events = self._framer.receive(data)
        except FramingError as exc:
            error, events = exc, exc.completed
        if pings := events.count(KeepAlive.PING):
            self._answer_pings(pings)
        for event in events:
            if event is KeepAlive.PING:
                continue
            if isinstance(event, Malformed):
                callbacks.run(callbacks.on_malformed, event.error, self)
            else:
                callbacks.run(callbacks.on_message, event, self)
        if error is not None:
            self._give_up(error)
        else:
            self._watch_message(has_progress=bool(events))

    def connection_lost(self, exc: Exception | None) -> None:
        error = self._error
        if error is None and not self._is_ending:
            if exc is not None:
                error = TransportError(f"the connection to {self.remote} broke: {exc}")
            elif not self._framer.is_idle:
                error = TransportError(f"{self.remote} closed the connection inside a message")
        self._stream = None
        if self._deadline is not None:
            self._deadline.cancel()
        self._on_gone(self)
        self._callbacks.run(self._callbacks.on_closed, self, error)

    # --- inside ----------------------------------------------------------------------------------
    def _write(self, stream: asyncio.Transport, data: bytes) -> None:
        if stream.get_write_buffer_size() > self._limits.max_write_buffer_bytes:
            error = TransportError(f"{self.remote} reads too slowly; connection given up")
            self.abort(error)
            raise error
        stream.write(data)

    def _answer_pings(self, count: int) -> None:
        """Answer what came at once with one write (RFC 5626 3.5.1)."""
        if self._stream is not None and not self._stream.is_closing():
            with contextlib.suppress(TransportError):  # on_closed gets the error
                self._write(self._stream, PONG * min(count, MAX_PONGS))

    def _give_up(self, error: FramingError) -> None:
        """End a stream whose next message cannot be found, after a last word about this one."""
        self._error = self._error or error
        refused = error.error or MessageError(str(error), source=error.source)
        self._callbacks.run(self._callbacks.on_malformed, refused, self)
        self.close()

    def _watch_message(self, *, has_progress: bool) -> None:
        """Bound the time that a message begun may take."""
        is_idle = self._framer.is_idle
        if self._deadline is not None and (is_idle or has_progress):
            self._deadline.cancel()
            self._deadline = None
        if not is_idle and self._deadline is None and self._stream is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._limits.message_timeout_s, self._message_is_late)

    def _message_is_late(self) -> None:
        self.abort(TransportError(f"{self.remote} did not finish its message in time"))

    def _trace_in(self, data: bytes) -> None:
        self._callbacks.run(self._callbacks.trace, "in", self, data)
