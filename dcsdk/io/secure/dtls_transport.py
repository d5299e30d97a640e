"""DTLS on a datagram path, as one transport for SCTP, SRTP and UDPTL alike.

A batch of datagrams goes through DTLS and to the receiver in the reader callback that drained the
socket; nothing is queued and nothing is made per packet. When signalling agrees on a new
association (RFC 8842 3.1), it shakes hands on a path of its own while packets go the old way; then
they go over the new one, and what the peer still sends over the old one is taken until it has moved
as well.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Sequence

from dcsdk.errors import (
    DcsdkError,
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    TransportError,
    again,
)
from dcsdk.interfaces.keying import DtlsParameters, KeyingParameters
from dcsdk.interfaces.paths import DatagramPath, DatagramReceiver, Paths
from dcsdk.interfaces.stats import PathStats, TransportStats
from dcsdk.interfaces.transports import DatagramTransport, PacketReceiver
from dcsdk.io.clock import LazyTimer
from dcsdk.io.secure.dtls import open_dtls
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.io.secure.handover import DtlsHandshake, RetiredDtls, send_all
from dcsdk.security import SecurityReport, SecurityScope
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import DtlsAssociation, DtlsClosed, HandshakeDone
from dcsdk.tls.records import GCM_OVERHEAD

logger = logging.getLogger(__name__)

RETIRED_S = 2.0
"""How long an association that was replaced is listened to at most."""


class DtlsTransport(DatagramTransport, DatagramReceiver):
    """One DTLS association after the other, between the same two ends.

    Life: made, ``prepare``, its path is led to the peer, ``start``, established, closed.

    Args:
        path: owned from now on.
        context: of our certificate.
        settings: of transports.
        backend: name of the security backend, for the report.
    """

    def __init__(
        self,
        path: DatagramPath,
        context: DtlsContext,
        settings: EngineConfig,
        *,
        backend: str,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._parameters: DtlsParameters | None = None
        self._path = path
        self._context = context
        self._settings = settings
        self._dtls: DtlsAssociation | None = None
        self._receiver: PacketReceiver | None = None
        self._timer = LazyTimer(self._loop, self._timer_fired)
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._handshake: DtlsHandshake | None = None
        self._retired: RetiredDtls | None = None
        self._retired_timer: asyncio.TimerHandle | None = None
        self._is_started = self._is_established = False
        self._is_ending = self._is_ended = False
        self._error: DcsdkError | None = None
        self._established: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._restarts = self._late_dropped = 0
        self._report = SecurityReport(
            scope=SecurityScope.NONE,
            backend=backend,
            local_fingerprint=str(context.local_fingerprint),
            reason="the peer is not verified yet",
        )

    # --- what stands -----------------------------------------------------------------------------
    @property
    def report(self) -> SecurityReport:
        """What protects the packets: suite and peer once verified, scope by the session."""
        return self._report

    @report.setter
    def report(self, report: SecurityReport) -> None:
        self._report = report

    @property
    def is_client(self) -> bool:
        """Our side began the handshake."""
        return self._parameters is not None and self._parameters.dtls_role == "client"

    @property
    def max_packet_size(self) -> int:
        """Bytes of the largest packet: what fits into a datagram with its record around it."""
        return (self._settings.mtu - GCM_OVERHEAD) // 4 * 4

    @property
    def is_established(self) -> bool:
        """The peer is verified and records flow."""
        return self._dtls is not None and self._dtls.is_established

    @property
    def is_blocked(self) -> bool:
        """Nothing would be taken now."""
        return self._dtls is None or not self._dtls.is_established or self._path.is_blocked

    def stats(self) -> TransportStats:
        """What DTLS and the path in use did so far."""
        return TransportStats(
            path=PathStats.of(self._path.stats()),
            records_dropped=0 if self._dtls is None else self._dtls.records_dropped,
            restarts=self._restarts,
        )

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        """Derive keys from the association in force (RFC 5705).

        Raises:
            LocalProtocolError: it is not established.
        """
        if self._dtls is None:
            raise LocalProtocolError("no keys before the DTLS handshake is done", source="RFC 5705")
        return self._dtls.export_keying_material(label, length)

    # --- life ------------------------------------------------------------------------------------
    def attach(self, receiver: PacketReceiver) -> None:
        """Say who takes the packets."""
        self._receiver = receiver
        if self._is_established:
            receiver.transport_established()
        if self._is_ended:
            receiver.transport_closed(self._error)

    def prepare(self, parameters: DtlsParameters) -> None:
        """Take what was agreed.

        Raises:
            SecurityError: no usable fingerprint.
        """
        self._dtls = open_dtls(self._context, self._path, parameters, self._settings)
        self._parameters = parameters

    def start(self) -> None:
        """Begin the handshake of the first association, or of the one that ``renew`` made.

        Raises:
            TransportError: the transport has ended.
        """
        if self._is_ended:
            raise self._ended_error()
        self._stop_handshake_timer()
        self._handshake_timer = self._loop.call_later(
            self._settings.handshake_timeout_s, self._handshake_timed_out
        )
        try:
            if self._handshake is not None:
                self._handshake.start()
            elif not self._is_started and self._dtls is not None:
                self._is_started = True
                now = self._loop.time()
                self._dtls.start(now=now)
                self._path.attach(self)
                self._settle(now)
        except DcsdkError as exc:
            self._end(exc)
            raise

    @property
    def is_renewable(self) -> bool:
        """Another association can take the place of this one: it is up."""
        return self._is_established and not self._is_ended

    def renew(self, parameters: KeyingParameters, paths: Paths) -> None:
        """Prepare a new association beside the one in force; ``start`` begins it.

        Args:
            parameters: as agreed anew.
            paths: owned from now on, even when this raises.

        Raises:
            LocalProtocolError: the association in force is not up.
            SecurityError: no usable fingerprint.

        Source: RFC 8842 3.1, RFC 8841 9.1.
        """
        path = paths.rtp
        if path is None or not isinstance(parameters, DtlsParameters):
            raise LocalProtocolError("DTLS runs on a datagram path, with parameters of its own")
        try:
            if self._is_ended:
                raise self._ended_error()
            if not self._is_established:
                raise LocalProtocolError("the association is not up", source="RFC 8842 3.1")
            dtls = open_dtls(self._context, path, parameters, self._settings)
        except DcsdkError:
            path.close()
            raise
        if self._handshake is not None:
            self._handshake.stop()
        self._handshake = DtlsHandshake(path, dtls, self._renewed, self._renewal_failed)
        self._parameters = parameters
        if self._established.done():
            self._established = self._loop.create_future()

    def _renewed(self, event: HandshakeDone, packets: Sequence[bytes]) -> None:
        """The peer of the new association is verified: go over to it."""
        handshake, self._handshake = self._handshake, None
        if handshake is None or self._is_ended:
            return
        self._stop_handshake_timer()
        self._end_retired()
        if self._dtls is not None:
            self._retired = RetiredDtls(self._path, self._dtls, self._late_packets)
        self._retired_timer = self._loop.call_later(RETIRED_S, self._end_retired)
        self._path, self._dtls = handshake.path, handshake.dtls
        self._restarts += 1
        self._verified(event)
        self._path.attach(self)
        receiver = self._receiver
        if receiver is not None:
            receiver.transport_rekeyed()
            if packets:
                receiver.packets_received(packets)
        self._settle(self._loop.time())

    def _renewal_failed(self, error: Exception | None) -> None:
        """Fail closed: what was agreed anew did not come, so the old is not gone on with."""
        self._handshake = None
        self._end(
            error
            if isinstance(error, DcsdkError)
            else TransportError("the peer closed the new DTLS association", source="RFC 8842 3.1")
        )

    def _late_packets(self, packets: Sequence[bytes]) -> None:
        """Take what came over the association before this one."""
        if self._receiver is not None and not self._is_ended:
            self._receiver.packets_received(packets)

    def _end_retired(self) -> None:
        if self._retired_timer is not None:
            self._retired_timer.cancel()
            self._retired_timer = None
        retired, self._retired = self._retired, None
        if retired is not None:
            retired.close()

    async def wait_established(self, timeout_s: float) -> None:
        """Wait until the peer is verified.

        Raises:
            FingerprintMismatch: the peer's certificate matches none of the fingerprints.
            SecurityError: the DTLS handshake failed.
            PeerUnreachable: the peer stopped answering.
            OperationTimeout: not established in ``timeout_s``; the transport goes on trying.
        """
        _, missing = await asyncio.wait((self._established,), timeout=timeout_s)
        if missing:
            raise OperationTimeout(f"no DTLS association in {timeout_s} s")
        if self._is_ended:
            raise self._ended_error()

    async def wait_closed(self) -> Exception | None:
        """Wait for the end; returns what ended it, ``None`` for a close alert or our own close."""
        await asyncio.shield(self._ended)
        return self._error

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send the close alert and close the path. Takes no time; idempotent."""
        self.close()

    def close(self) -> None:
        """Send the close alert and close the path. Idempotent."""
        self._end(None)

    # --- the hot path ----------------------------------------------------------------------------
    def send(self, packets: Sequence[bytes]) -> int:
        """Protect and send packets in order; takes all of them, or none while it is blocked."""
        path, dtls = self._path, self._dtls
        if dtls is None or not dtls.is_established or path.is_blocked:
            return 0
        count, start = len(packets), 0
        while start < count:
            start = dtls.send(packets, start)
            if (transmit := dtls.poll_transmit()) is not None:
                path.send(*transmit)
        if dtls.is_output_due:
            self._settle(self._loop.time())
        return count

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Take what the path received in this turn of the loop."""
        dtls = self._dtls
        if self._is_ended or dtls is None:
            return
        try:
            now = self._loop.time()
            packets = dtls.receive(batch, now=now)
            if packets:
                if not self._is_established:
                    self._settle(now)  # the end of the handshake comes before its data
                if self._retired is not None:
                    self._end_retired()  # the peer has moved too
                if self._receiver is not None:
                    self._receiver.packets_received(packets)
                    if not dtls.is_output_due:
                        return
            self._settle(now)
        except Exception as exc:
            self._break(exc)

    def path_writable(self) -> None:
        """Go on after the path was full."""
        if self._receiver is not None and self._is_established and not self._is_ended:
            self._receiver.transport_writable()

    def _timer_fired(self, now: float) -> None:
        if self._dtls is None:
            return
        try:
            self._dtls.handle_timer(now=now)
            self._settle(now)
        except Exception as exc:
            self._break(exc)

    def _settle(self, now: float) -> None:
        """Send what DTLS wants sent, act on its events, set its timer."""
        dtls = self._dtls
        if dtls is None:
            return
        send_all(self._path, dtls)
        while (event := dtls.poll_event()) is not None:
            if isinstance(event, HandshakeDone):
                self._verified(event)
                self._is_established = True
                self._stop_handshake_timer()
                if self._receiver is not None:
                    self._receiver.transport_established()
            else:
                self._closed(event)
        send_all(self._path, dtls)
        if not self._is_ended:
            self._timer.set(dtls.next_timer())

    def _verified(self, event: HandshakeDone) -> None:
        self._report = dataclasses.replace(
            self._report,
            suite=event.suite,
            version=event.version,
            peer_fingerprint=str(event.peer_fingerprint),
        )
        if not self._established.done():
            self._established.set_result(None)

    def _closed(self, event: DtlsClosed) -> None:
        if self._handshake is not None:
            logger.debug("the old DTLS association ended before the new one is up")
            return
        error = event.error
        if error is not None and not isinstance(error, DcsdkError):
            error = TransportError(str(error))
        if not self._is_established and error is None:
            error = TransportError("the peer closed DTLS before it was verified")
        self._end(error)

    # --- the end ---------------------------------------------------------------------------------
    def _handshake_timed_out(self) -> None:
        self._handshake_timer = None
        path = self._path if self._handshake is None else self._handshake.path
        refused = path.stats().get("datagrams_refused", 0)
        hint = f"; {refused} datagrams were refused by its host" if refused else ""
        timeout_s = self._settings.handshake_timeout_s
        self._end(PeerUnreachable(f"no association in {timeout_s} s{hint}"))

    def _stop_handshake_timer(self) -> None:
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
            self._handshake_timer = None

    def _break(self, exc: Exception) -> None:
        """End what would raise the same each time: a bug."""
        self._loop.call_exception_handler(
            {"message": "a bug ended the transport", "exception": exc}
        )
        error = TransportError(f"a bug ended the transport: {exc!r}")
        error.__cause__ = exc
        self._end(error)

    def _end(self, error: DcsdkError | None) -> None:
        """The transport is over; wake everybody and let go of everything. Idempotent."""
        if self._is_ending:
            return
        self._is_ending = True
        self._error = error
        receiver = self._receiver
        if receiver is not None:
            receiver.transport_closed(error)  # what it still has to say goes out before the alert
        self._is_ended = True
        self._stop_handshake_timer()
        self._timer.cancel()
        self._end_retired()
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.stop()
        if self._dtls is not None:
            self._dtls.close()
            send_all(self._path, self._dtls)
        self._path.close()
        for future in (self._established, self._ended):
            if not future.done():
                future.set_result(None)

    def _ended_error(self) -> DcsdkError:
        if self._error is None:
            return TransportError("the transport is closed")
        return again(self._error)
