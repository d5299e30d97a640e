"""One association of the native engine: its life, its channels, its errors."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import AsyncIterator, Sequence

from dcsdk.datachannel.channel import DataChannel, again
from dcsdk.errors import (
    ChannelClosed,
    DcsdkError,
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    TransportError,
)
from dcsdk.interfaces import (
    Association,
    AssociationStats,
    ChannelParameters,
    DatagramPath,
    DtlsSctpParameters,
    PathStats,
)
from dcsdk.io.secure.driver import Broken, DriverEvent, DtlsSctpDriver
from dcsdk.io.secure.dtls import open_dtls
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.io.secure.handover import DtlsHandshake
from dcsdk.plugins.engines.native_channels import ChannelTable
from dcsdk.sctp.association import SctpAssociation
from dcsdk.sctp.base.events import (
    Aborted,
    AssociationState,
    Established,
    MessageAbandoned,
    MessageRefused,
    PeerUnreachableEvent,
    RawMessage,
    ResetDone,
    Restarted,
    ShutDown,
    StreamsReset,
)
from dcsdk.security import SecurityReport, SecurityScope
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import DtlsAssociation, DtlsClosed, HandshakeDone

logger = logging.getLogger(__name__)

BACKEND = "dtls_sctp"

_ALL_CONFIRMED = (AssociationState.SHUTDOWN_SENT, AssociationState.SHUTDOWN_ACK_SENT)

INIT_PATIENCE_S = 0.02
"""The DTLS server is done first (RFC 6347 4.2.4): its INIT comes right behind its Finished, and so
the client, which waits a little, need not send one too, with all that would follow from it."""


class NativeAssociation(Association):
    """One DTLS/SCTP association on one path. Made by ``NativeEngine.create``.

    Args:
        path: owned from now on.
        certificate: ours.
        context: shared by the associations of that certificate.
        config: settings.
    """

    def __init__(
        self,
        path: DatagramPath,
        certificate: Certificate,
        context: DtlsContext,
        config: EngineConfig,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._context = context
        self._config = config
        self._parameters: DtlsSctpParameters | None = None
        self._dtls: DtlsAssociation | None = None
        self._sctp: SctpAssociation | None = None
        self._driver: DtlsSctpDriver | None = None
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._handshake: DtlsHandshake | None = None
        self._is_established = self._is_closing = self._is_ended = False
        self._error: DcsdkError | None = None
        self._established: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self.messages_abandoned = self.restarts = 0
        self._channels = ChannelTable(
            config,
            SecurityReport(
                scope=SecurityScope.NONE,
                backend=BACKEND,
                local_fingerprint=str(certificate.fingerprint),
                reason="the peer is not verified yet",
            ),
        )

    @property
    def report(self) -> SecurityReport:
        """What protects the association: suite and peer once verified, scope by the session."""
        return self._channels.report

    @report.setter
    def report(self, report: SecurityReport) -> None:
        self._channels.report = report

    def start(self, parameters: DtlsSctpParameters) -> None:
        """Begin the handshake, taking datagrams that came before.

        Raises:
            LocalProtocolError: started before.
            SecurityError: no usable fingerprint.
            ConfigError: the path cannot have the remote address.
            TransportError: closed, or no route.
        """
        if self._is_ended:
            raise self._ended_error()
        if self._parameters is not None:
            raise LocalProtocolError("the association was started before")
        self._parameters = parameters
        try:
            self._start(parameters)
        except DcsdkError as exc:
            self._end(exc)
            raise

    def _start(self, parameters: DtlsSctpParameters) -> None:
        config = self._config
        settings = config.sctp_for(
            local_port=parameters.local_sctp_port,
            remote_port=parameters.remote_sctp_port,
            max_message_size=parameters.local_max_message_size,
            remote_max_message_size=parameters.remote_max_message_size,
        )
        self._dtls = open_dtls(self._context, self._path, parameters, config)
        self._sctp = SctpAssociation(settings, entropy=os.urandom)
        self._driver = DtlsSctpDriver(
            self._path,
            self._dtls,
            self._sctp,
            self._on_events,
            init_patience_s=INIT_PATIENCE_S if parameters.dtls_role == "client" else 0.0,
        )
        self._channels.connect(
            self._sctp,
            self._driver,
            role=parameters.dtls_role,
            max_message_size=parameters.remote_max_message_size,
            send_limit=config.send_limit(parameters.remote_max_message_size),
        )
        self._handshake_timer = self._loop.call_later(
            config.handshake_timeout_s, self._handshake_timed_out
        )
        self._driver.start(parameters.remote_address)

    def restart(self, path: DatagramPath, parameters: DtlsSctpParameters) -> None:
        """Begin a new DTLS association on ``path`` and move SCTP onto it when it is verified.

        Args:
            path: owned from now on.
            parameters: what was agreed anew.

        Raises:
            LocalProtocolError: not established, or the SCTP ports changed.
            SecurityError: no usable fingerprint.
            ConfigError, TransportError: the path cannot lead there; the association is over.

        Source: RFC 8842 3.1, RFC 8841 9.1.
        """
        try:
            handshake = self._new_handshake(path, parameters)
        except DcsdkError:
            path.close()
            raise
        if self._handshake is not None:
            self._handshake.stop()
        self._handshake, self._parameters = handshake, parameters
        if self._established.done():
            self._established = self._loop.create_future()
        self._stop_handshake_timer()
        self._handshake_timer = self._loop.call_later(
            self._config.handshake_timeout_s, self._handshake_timed_out
        )
        try:
            handshake.start(parameters.remote_address)
        except DcsdkError as exc:
            self._end(exc)
            raise

    def _new_handshake(self, path: DatagramPath, parameters: DtlsSctpParameters) -> DtlsHandshake:
        old = self._parameters
        if self._is_ended:
            raise self._ended_error()
        if not self._is_established or self._is_closing or old is None:
            raise LocalProtocolError("the association is not up", source="RFC 8842 3.1")
        ports = parameters.local_sctp_port, parameters.remote_sctp_port
        if ports != (old.local_sctp_port, old.remote_sctp_port):
            raise LocalProtocolError(
                "other SCTP ports mean another SCTP association", source="RFC 8841 9.3"
            )
        dtls = open_dtls(self._context, path, parameters, self._config)
        return DtlsHandshake(path, dtls, self._restarted, self._restart_failed)

    def _restarted(self, event: HandshakeDone, packets: Sequence[bytes]) -> None:
        """The peer of the new DTLS association is verified: go over to it."""
        handshake, driver, parameters = self._handshake, self._driver, self._parameters
        if handshake is None or driver is None or parameters is None:
            return
        self._handshake = None
        self._stop_handshake_timer()
        self._on_event(event)
        self._path, self._dtls = handshake.path, handshake.dtls
        self._channels.dcep.role = parameters.dtls_role
        self.restarts += 1
        if not self._established.done():
            self._established.set_result(None)
        driver.move(handshake.path, handshake.dtls, packets)

    def _restart_failed(self, error: Exception | None) -> None:
        """Fail closed: what was agreed anew did not come, so the old is not gone on with."""
        self._handshake = None
        self._end(
            error
            if isinstance(error, DcsdkError)
            else TransportError("the peer closed the new DTLS association", source="RFC 8842 3.1")
        )

    async def wait_established(self, timeout_s: float) -> None:
        """Wait until DTLS is verified and SCTP is up.

        Raises:
            FingerprintMismatch: the peer's certificate matches none of the fingerprints.
            SecurityError: the DTLS handshake failed.
            PeerUnreachable: the peer stopped answering.
            ChannelClosed: closed meanwhile.
            OperationTimeout: not established in ``timeout_s``; the association goes on trying.
        """
        _, missing = await asyncio.wait((self._established,), timeout=timeout_s)
        if missing:
            raise OperationTimeout(f"no association in {timeout_s} s")
        if self._is_ended:
            raise self._ended_error()

    def open_channel(self, parameters: ChannelParameters) -> DataChannel:
        """Make a channel; legal before the association is established, its sends wait then.

        Raises:
            LocalProtocolError: the stream id is taken, or parameters exclude each other.
            TransportError: the association is over.
        """
        if self._is_ended:
            raise self._ended_error()
        return self._channels.open(parameters)

    def incoming_channels(self) -> AsyncIterator[DataChannel]:
        """Give the channels that the peer opens by DCEP, each once, until the association ends."""
        return self._channels.dcep.incoming

    async def wait_closed(self) -> Exception | None:
        """Wait for the end of the association.

        Returns:
            ``None`` when it was closed in order by SCTP's SHUTDOWN, or here by ``aclose``.
            Otherwise what ended it; data that was under way then, either way, may be lost.
        """
        await asyncio.shield(self._ended)
        return self._error

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what is queued, shut SCTP and DTLS down and close the path.

        Args:
            timeout_s: bound, seconds; what the peer has not confirmed then is given up, which a
                warning is logged of. ``DataChannel.aclose`` raises where that must be known.
        """
        driver, sctp = self._driver, self._sctp
        try:
            if self._is_established and driver is not None and sctp is not None:
                if not self._is_ended and not self._is_closing:
                    self._is_closing = True
                    self._channels.begin_closing()
                    sctp.shutdown(now=driver.now())
                    driver.settle()
                async with asyncio.timeout(timeout_s):
                    await asyncio.shield(self._ended)
        except TimeoutError:
            is_confirmed = sctp is None or sctp.is_idle
            logger.log(
                logging.INFO if is_confirmed else logging.WARNING,
                "stream=all association not shut down in %s s, aborting; all data confirmed: %s",
                timeout_s,
                is_confirmed,
            )
        except Exception as exc:
            self._end(self._bug(exc))
        finally:
            self._end(None)

    def stats(self) -> AssociationStats:
        """What the association, its path and its channels did so far."""
        return AssociationStats(
            path=PathStats.of(self._path.stats()),
            sctp=None if self._sctp is None else self._sctp.stats(),
            channels=self._channels.stats(),
            early_dropped=self._channels.early_dropped,
            dcep_refused=self._channels.dcep.refused,
            records_dropped=0 if self._dtls is None else self._dtls.records_dropped,
            messages_abandoned=self.messages_abandoned,
            restarts=self.restarts,
        )

    def export_keying_material(
        self, label: bytes, length: int, context: bytes | None = None
    ) -> bytes:
        """Derive keys from the DTLS association (RFC 5705).

        Raises:
            LocalProtocolError: DTLS is not established.
        """
        if self._dtls is None:
            raise LocalProtocolError("the association is not started")
        return self._dtls.export_keying_material(label, length, context)

    # --- events -----------------------------------------------------------------------------------
    def _on_events(self, events: Sequence[DriverEvent | RawMessage]) -> None:
        """Take events of DTLS and SCTP; nearly all are messages, bare tuples."""
        channel_of, early = self._channels.by_id.get, self._channels.early_message
        for event in events:
            if isinstance(event, tuple):
                stream_id, ppid, data, _ = event
                channel = channel_of(stream_id)
                if channel is not None:
                    channel.deliver(ppid, data)
                else:
                    early(stream_id, ppid, data)
            else:
                self._on_event(event)

    def _on_event(self, event: DriverEvent) -> None:
        match event:
            case HandshakeDone():
                self.report = dataclasses.replace(
                    self.report,
                    suite=event.suite,
                    version=event.version,
                    peer_fingerprint=str(event.peer_fingerprint),
                )
            case Established():
                self._sctp_established(event)
            case StreamsReset():
                self._channels.streams_reset(event.stream_ids)
            case ResetDone():
                self._channels.reset_done(event.stream_ids, event.is_performed)
            case MessageRefused():
                self._channels.message_refused(event.stream_id, event.size_bytes)
            case MessageAbandoned():
                self.messages_abandoned += 1
            case ShutDown():
                self._end(None)
            case DtlsClosed() if self._handshake is not None:
                logger.debug("stream=all the old DTLS association ended before the new one is up")
            case DtlsClosed():
                self._end(self._dtls_end(event.error))
            case Aborted():
                by = "we" if event.is_local else "the peer"
                self._end(TransportError(f"{by} aborted the association: {event.reason}"))
            case PeerUnreachableEvent():
                self._end(PeerUnreachable(f"the peer stopped answering: {event.reason}"))
            case Restarted():
                self._end(TransportError("the peer restarted SCTP", source="RFC 9260 5.2.4.1"))
            case Broken():
                self._end(self._bug(event.error))
            case _:
                logger.debug("event=%r", event)

    def _dtls_end(self, error: Exception | None) -> DcsdkError | None:
        """Return what the end of DTLS means: alone it is none in order.

        A close alert says nothing of what was on its way, so it must not pass for the end of all
        data, which only SCTP's SHUTDOWN is. What of that may be missing when the alert comes is
        the last step, which carries nothing.

        Source: RFC 9260 9.2.
        """
        if isinstance(error, DcsdkError):
            return error
        if self._sctp is not None and self._sctp.state in _ALL_CONFIRMED:
            return None
        return TransportError("the peer closed DTLS without ending SCTP", source="RFC 9260 9.2")

    def _sctp_established(self, event: Established) -> None:
        self._is_established = True
        self._stop_handshake_timer()
        self._channels.established(min(event.outbound_streams, event.inbound_streams))
        if not self._established.done():
            self._established.set_result(None)

    def _handshake_timed_out(self) -> None:
        self._handshake_timer = None
        refused = self._path.stats().get("datagrams_refused", 0)
        hint = f"; {refused} datagrams were refused by its host" if refused else ""
        self._end(PeerUnreachable(f"no association in {self._config.handshake_timeout_s} s{hint}"))

    def _end(self, error: DcsdkError | None) -> None:
        """The association is over; wake everybody and let go of everything. Idempotent."""
        if self._is_ended:
            return
        self._is_ended = True
        self._error = error
        self._stop_handshake_timer()
        self._channels.end(error)
        for let_go in (self._stop_handshake, self._abort, self._stop_driver, self._path.close):
            try:
                let_go()
            except Exception as exc:  # what broke must not keep the rest
                self._error = self._error or self._bug(exc)
        for future in (self._established, self._ended):
            if not future.done():
                future.set_result(None)

    def _stop_handshake(self) -> None:
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.stop()

    def _abort(self) -> None:
        """Tell the peer, if SCTP has not ended itself."""
        sctp, driver = self._sctp, self._driver
        if sctp is not None and driver is not None and sctp.state is not AssociationState.CLOSED:
            is_bug = self._error is not None and self._error.__cause__ is not None
            reason = "internal error" if is_bug else str(self._error or "closed")
            sctp.abort(reason, now=driver.now())  # what exactly broke is not the peer's business

    def _stop_driver(self) -> None:
        if self._driver is not None:
            self._driver.stop()

    def _bug(self, exc: Exception) -> TransportError:
        """Report an exception that nobody raises on purpose; return what it ends us with."""
        context = {"message": "a bug ended the association", "exception": exc}
        self._loop.call_exception_handler(context)
        error = TransportError(f"a bug ended the association: {exc!r}")
        error.__cause__ = exc
        return error

    def _ended_error(self) -> DcsdkError:
        if self._error is None:
            return ChannelClosed("the association is closed")
        return again(self._error)

    def _stop_handshake_timer(self) -> None:
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
            self._handshake_timer = None
