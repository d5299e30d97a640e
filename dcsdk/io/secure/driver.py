"""Runs DTLS and SCTP over a datagram path: one input, then all output, then one timer.

Nothing here waits and nothing is made per packet but the packets themselves. A batch goes through
DTLS and SCTP in the reader callback that drained the socket; what it causes is sent before that
callback ends. Sends of the program are flushed together, once per turn of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dcsdk.interfaces import Address, DatagramPath, DatagramReceiver
from dcsdk.io.clock import LazyTimer
from dcsdk.io.secure.handover import RetiredDtls
from dcsdk.sctp.association import SctpAssociation
from dcsdk.sctp.base.events import AssociationEvent, RawMessage
from dcsdk.tls.dtls import DtlsAssociation, DtlsClosed, HandshakeDone


@dataclass(frozen=True, slots=True)
class Broken:
    """The machines cannot go on, which is a bug; nothing they say can be relied on any more."""

    error: Exception


DriverEvent = HandshakeDone | DtlsClosed | AssociationEvent | Broken
"""What happens seldom; messages come as bare tuples."""


RETIRED_S = 2.0
"""How long an association that was replaced is listened to at most."""


class DtlsSctpDriver(DatagramReceiver):
    """Feeds the two machines of one association and empties them.

    Args:
        path: where datagrams come from and go to; not closed here.
        dtls: not yet started.
        sctp: not yet connected.
        on_events: gets the events of both machines, in order; it may call the machines.
        init_patience_s: how long the peer's INIT is waited for before ours is sent.

    Attributes:
        now: returns the time the machines run by, seconds.
        is_flush_due: a flush was requested and has not happened yet.
        on_settled: called, when set, after the packets of each turn: there may be room again.
    """

    def __init__(
        self,
        path: DatagramPath,
        dtls: DtlsAssociation,
        sctp: SctpAssociation,
        on_events: Callable[[Sequence[DriverEvent | RawMessage]], None],
        *,
        init_patience_s: float = 0.0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._dtls = dtls
        self._sctp = sctp
        self._on_events = on_events
        self._init_patience_s = init_patience_s
        self._timer = LazyTimer(self._loop, self._timer_fired)
        self.is_flush_due = self._is_settle_due = False
        self.now = self._loop.time
        self._is_connected = self._is_stopped = False
        self.on_settled: Callable[[], None] | None = None
        self._retired: RetiredDtls | None = None
        self._retired_timer: asyncio.TimerHandle | None = None

    def start(self, remote_address: Address) -> None:
        """Begin the DTLS handshake; SCTP follows when the peer is verified.

        Args:
            remote_address: where the path leads from now on.

        Raises:
            ConfigError: the path cannot have that address.
            TransportError: there is no route.
        """
        now = self._loop.time()
        self._dtls.start(now=now)
        self._path.attach(self)
        self._path.set_remote(remote_address)
        self._settle(now)

    def stop(self) -> None:
        """Send what is ready, close DTLS and take part in nothing more. Idempotent.

        The path stays open.
        """
        if self._is_stopped:
            return
        try:
            self._transmit()
            self._dtls.close()
            self._transmit()
        finally:
            self._is_stopped = True
            self._end_retired()
            self._timer.cancel()

    def move(self, path: DatagramPath, dtls: DtlsAssociation, packets: Sequence[bytes]) -> None:
        """Go on over another path and DTLS association; SCTP above stays what it is.

        What the peer still sends over the old ones is taken until it has moved as well; then they
        are closed, path included.

        Args:
            path: leads to the peer.
            dtls: established, its peer verified.
            packets: that came over it already.

        Source: RFC 8842 3.1, RFC 8841 9.1.
        """
        if self._is_stopped:
            return
        self._end_retired()
        self._retired = RetiredDtls(self._path, self._dtls, self._late_packets)
        self._retired_timer = self._loop.call_later(RETIRED_S, self._end_retired)
        self._path, self._dtls = path, dtls
        path.attach(self)
        now = self._loop.time()
        self._sctp.request_heartbeat(now=now)  # something to tell the peer that we have moved
        if packets:
            self._sctp.receive(packets, now=now)
        self._settle(now)

    def _late_packets(self, packets: Sequence[bytes]) -> None:
        """Take what came over the association before this one."""
        now = self._loop.time()
        self._sctp.receive(packets, now=now)
        self._settle(now)

    def _end_retired(self) -> None:
        if self._retired_timer is not None:
            self._retired_timer.cancel()
            self._retired_timer = None
        retired, self._retired = self._retired, None
        if retired is not None:
            retired.close()

    # --- inputs -----------------------------------------------------------------------------------
    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Take what the path received in this turn of the loop."""
        if self._is_stopped:
            return
        try:
            now = self._loop.time()
            packets = self._dtls.receive(batch, now=now)
            if packets:
                if not self._is_connected:
                    self._take_dtls_events(now)  # the end of the handshake comes before its data
                if self._retired is not None:
                    self._end_retired()  # the peer has moved too
                self._sctp.receive(packets, now=now)
            self._settle(now)
        except Exception as exc:
            self._break(exc)

    def path_writable(self) -> None:
        """Go on after the path was full."""
        try:
            self.settle()
        except Exception as exc:
            self._break(exc)

    def message_queued(self) -> None:
        """Send the first message of this turn of the loop now, and the others together.

        One message alone must not wait, many must share packets and calls. To be called only when
        ``is_flush_due`` is false.
        """
        if self._is_stopped:
            return
        try:
            self._transmit()
            if not self._dtls.is_established:
                self._is_settle_due = True  # it failed just now
            self.is_flush_due = True
            self._loop.call_soon(self._flush)
            self._timer.set(self._next_timer())
        except Exception as exc:
            self._break(exc)

    def request_flush(self) -> None:
        """Have everything taken out and sent, once, in the next turn of the loop."""
        self._is_settle_due = True
        if not self.is_flush_due and not self._is_stopped:
            self.is_flush_due = True
            self._loop.call_soon(self._flush)

    def settle(self) -> None:
        """Take all output and events now; for changes made outside of the hot path."""
        if not self._is_stopped:
            self._settle(self._loop.time())

    def _flush(self) -> None:
        self.is_flush_due = False
        if self._is_stopped:
            return
        if self._is_settle_due or self._sctp.total_queued_bytes or self.on_settled is not None:
            try:
                self._settle(self._loop.time())
            except Exception as exc:
                self._break(exc)

    def _timer_fired(self, now: float) -> None:
        try:
            self._dtls.handle_timer(now=now)
            self._sctp.handle_timer(now=now)
            self._settle(now)
        except Exception as exc:
            self._break(exc)

    def _break(self, error: Exception) -> None:
        """End what would raise the same each time, and send nothing, while it looks alive."""
        self._on_events((Broken(error),))

    # --- output -----------------------------------------------------------------------------------
    def _settle(self, now: float) -> None:
        """Take all events, send all packets, set the timer.

        What SCTP says comes first: the packets of a batch precede the alert that ends DTLS.
        """
        self._is_settle_due = False
        while events := self._sctp.poll_batch():
            self._on_events(events)
        self._take_dtls_events(now)
        self._transmit()
        self._take_dtls_events(now)
        if self._is_stopped:
            return
        if self.on_settled is not None:
            self.on_settled()
        self._timer.set(self._next_timer())

    def _take_dtls_events(self, now: float) -> None:
        while (event := self._dtls.poll_event()) is not None:
            if isinstance(event, HandshakeDone):
                self._is_connected = True
                self._sctp.connect(now=now, patience_s=self._init_patience_s)
            self._on_events((event,))

    def _transmit(self) -> None:
        if self._is_stopped:
            return
        path, dtls = self._path, self._dtls
        send, poll = path.send, dtls.poll_transmit
        if dtls.is_established and not path.is_blocked:
            packets = self._sctp.poll_packets()
            count, start = len(packets), 0
            while start < count:
                start = dtls.send(packets, start)
                if (transmit := poll()) is not None:
                    send(*transmit)
        while (transmit := poll()) is not None:
            send(*transmit)

    def _next_timer(self) -> float | None:
        earliest, timer = self._sctp.next_timer(), self._dtls.next_timer()
        if timer is not None and (earliest is None or timer < earliest):
            return timer
        return earliest
