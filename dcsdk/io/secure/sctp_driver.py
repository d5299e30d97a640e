"""Runs SCTP over a datagram transport: one input, then all output, then one timer.

Nothing here waits and nothing is made per packet but the packets themselves. What a batch causes is
sent before the reader callback that brought it ends. Sends of the program are flushed together,
once per turn of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dcsdk.interfaces.transports import DatagramTransport, PacketReceiver
from dcsdk.io.clock import LazyTimer
from dcsdk.sctp.association import SctpAssociation
from dcsdk.sctp.base.events import AssociationEvent, RawMessage

INIT_PATIENCE_S = 0.02
"""The DTLS server is done first (RFC 6347 4.2.4): its INIT comes right behind its Finished, and so
the client, which waits a little, need not send one too, with all that would follow from it."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The machine cannot go on, which is a bug; nothing it says can be relied on any more."""

    error: Exception


@dataclass(frozen=True, slots=True)
class TransportClosed:
    """The transport below is over.

    Attributes:
        error: what ended it; ``None`` when the peer closed it, or we did.
    """

    error: Exception | None


DriverEvent = AssociationEvent | Broken | TransportClosed
"""What happens seldom; messages come as bare tuples."""


class SctpDriver(PacketReceiver):
    """Feeds the machine of one association and empties it.

    Args:
        transport: carries the packets; not closed here.
        sctp: not yet connected.
        on_events: gets the events of the machine, in order; it may call the machine.

    Attributes:
        now: returns the time the machine runs by, seconds.
        is_flush_due: a flush was requested and has not happened yet.
        on_settled: called, when set, after the packets of each turn: there may be room again.
    """

    def __init__(
        self,
        transport: DatagramTransport,
        sctp: SctpAssociation,
        on_events: Callable[[Sequence[DriverEvent | RawMessage]], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._sctp = sctp
        self._on_events = on_events
        self._timer = LazyTimer(self._loop, self._timer_fired)
        self.is_flush_due = self._is_settle_due = False
        self.now = self._loop.time
        self._is_stopped = False
        self.on_settled: Callable[[], None] | None = None

    def stop(self) -> None:
        """Send what is ready and take part in nothing more. Idempotent."""
        if self._is_stopped:
            return
        try:
            self._transmit()
        finally:
            self._is_stopped = True
            self._timer.cancel()

    # --- what the transport tells ----------------------------------------------------------------
    def transport_established(self) -> None:
        """The peer is verified: set SCTP up."""
        patience_s = INIT_PATIENCE_S if self._transport.is_client else 0.0
        self._run(lambda now: self._sctp.connect(now=now, patience_s=patience_s))

    def transport_rekeyed(self) -> None:
        """SCTP stays what it is; the peer is told something, so that it sees that we have moved."""
        self._run(lambda now: self._sctp.request_heartbeat(now=now))

    def transport_writable(self) -> None:
        """Go on after the path was full."""
        self._run(None)

    def transport_closed(self, error: Exception | None) -> None:
        """Nothing more will come."""
        if not self._is_stopped:
            self._on_events((TransportClosed(error),))

    def packets_received(self, packets: Sequence[bytes]) -> None:
        """Take a batch; what it causes is sent now."""
        if self._is_stopped:
            return
        try:
            now = self._loop.time()
            self._sctp.receive(packets, now=now)
            self._settle(now)
        except Exception as exc:
            self._break(exc)

    def _run(self, change: Callable[[float], None] | None) -> None:
        """Make a change that is not of the hot path, then take everything that it causes."""
        if self._is_stopped:
            return
        try:
            now = self._loop.time()
            if change is not None:
                change(now)
            self._settle(now)
        except Exception as exc:
            self._break(exc)

    # --- what the association wants --------------------------------------------------------------
    def message_queued(self) -> None:
        """Send the first message of this turn of the loop now, and the others together.

        One message alone must not wait, many must share packets and calls. To be called only when
        ``is_flush_due`` is false.
        """
        if self._is_stopped:
            return
        try:
            self._transmit()
            self.is_flush_due = True
            self._loop.call_soon(self._flush)
            self._timer.set(self._sctp.next_timer())
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
        self._run(lambda at: self._sctp.handle_timer(now=at))

    def _break(self, error: Exception) -> None:
        """End what would raise the same each time, and send nothing, while it looks alive."""
        self._on_events((Broken(error),))

    # --- output ----------------------------------------------------------------------------------
    def _settle(self, now: float) -> None:
        """Take all events, send all packets, set the timer."""
        self._is_settle_due = False
        while events := self._sctp.poll_batch():
            self._on_events(events)
        self._transmit()
        if self._is_stopped:
            return
        if self.on_settled is not None:
            self.on_settled()
        self._timer.set(self._sctp.next_timer())

    def _transmit(self) -> None:
        transport = self._transport
        if not self._is_stopped and not transport.is_blocked:
            packets = self._sctp.poll_packets()
            if packets:
                transport.send(packets)
