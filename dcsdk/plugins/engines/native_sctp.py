"""SCTP of the native engine on one transport: its life, its channels, its errors."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import (
    ChannelClosed,
    DcsdkError,
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    TransportError,
    again,
)
from dcsdk.interfaces.association import ChannelAssociation, SctpParameters
from dcsdk.interfaces.channel import ChannelParameters
from dcsdk.interfaces.stats import AssociationStats
from dcsdk.interfaces.transports import DatagramTransport
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.io.secure.sctp_driver import Broken, DriverEvent, SctpDriver, TransportClosed
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
from dcsdk.security import SecurityReport

logger = logging.getLogger(__name__)

_ALL_CONFIRMED = (AssociationState.SHUTDOWN_SENT, AssociationState.SHUTDOWN_ACK_SENT)


class NativeSctp(ChannelAssociation):
    """One SCTP association on one datagram transport. Made by ``NativeEngine.attach``.

    Args:
        transport: not closed here.
        config: settings.
        on_ended: called once when the association is over.
    """

    def __init__(
        self,
        transport: DatagramTransport,
        config: EngineConfig,
        *,
        on_ended: Callable[[], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._config = config
        self._on_ended = on_ended
        self._sctp: SctpAssociation | None = None
        self._driver: SctpDriver | None = None
        self._set_up_timer: asyncio.TimerHandle | None = None
        self._is_established = self._is_closing = self._is_ended = False
        self._error: DcsdkError | None = None
        self._established: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self.messages_abandoned = 0
        self._channels = ChannelTable(config, transport)

    @property
    def report(self) -> SecurityReport:
        """What protects the association: the report of its transport."""
        return self._transport.report

    def start(self, parameters: SctpParameters) -> None:
        """Set SCTP up as soon as the transport is up.

        Raises:
            LocalProtocolError: started before.
            ConfigError: a message size that cannot be held.
            TransportError: closed.
        """
        self.check_startable()
        try:
            self._start(parameters)
        except DcsdkError as exc:
            self.end(exc)
            raise

    def check_startable(self) -> None:
        """Refuse to start what was started, or is over.

        Raises:
            LocalProtocolError, TransportError: says which.
        """
        if self._is_ended:
            raise self._ended_error()
        if self._sctp is not None:
            raise LocalProtocolError("the association was started before")

    def check_up(self) -> None:
        """Refuse what needs an association that is up.

        Raises:
            LocalProtocolError, TransportError: it is not yet, or over.
        """
        if self._is_ended:
            raise self._ended_error()
        if not self._is_established or self._is_closing:
            raise LocalProtocolError("the association is not up", source="RFC 8842 3.1")

    def _start(self, parameters: SctpParameters) -> None:
        config = self._config
        settings = config.sctp_for(
            local_port=parameters.local_port,
            remote_port=parameters.remote_port,
            max_message_size=parameters.local_max_message_size,
            remote_max_message_size=parameters.remote_max_message_size,
        )
        self._sctp = SctpAssociation(settings, entropy=os.urandom)
        self._driver = SctpDriver(self._transport, self._sctp, self._on_events)
        self._channels.connect(
            self._sctp,
            self._driver,
            max_message_size=parameters.remote_max_message_size,
            send_limit=config.send_limit(parameters.remote_max_message_size),
        )
        self._set_up_timer = self._loop.call_later(
            config.handshake_timeout_s, self._set_up_timed_out
        )
        self._transport.attach(self._driver)

    async def wait_established(self, timeout_s: float) -> None:
        """Wait until the transport is verified and SCTP is up.

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
        """Send what is queued and shut SCTP down; the transport stays.

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
            self.end(self._bug(exc))
        finally:
            self.end(None)

    def stats(self) -> AssociationStats:
        """What the association, its transport and its channels did so far."""
        transport = self._transport.stats()
        return AssociationStats(
            path=transport.path,
            sctp=None if self._sctp is None else self._sctp.stats(),
            channels=self._channels.stats(),
            early_dropped=self._channels.early_dropped,
            dcep_refused=self._channels.dcep.refused,
            records_dropped=transport.records_dropped,
            messages_abandoned=self.messages_abandoned,
            restarts=transport.restarts,
        )

    # --- events -----------------------------------------------------------------------------------
    def _on_events(self, events: Sequence[DriverEvent | RawMessage]) -> None:
        """Take events of SCTP; nearly all are messages, bare tuples."""
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
                self.end(None)
            case TransportClosed():
                self.end(self._transport_end(event.error))
            case Aborted():
                by = "we" if event.is_local else "the peer"
                self.end(TransportError(f"{by} aborted the association: {event.reason}"))
            case PeerUnreachableEvent():
                self.end(PeerUnreachable(f"the peer stopped answering: {event.reason}"))
            case Restarted():
                self.end(TransportError("the peer restarted SCTP", source="RFC 9260 5.2.4.1"))
            case Broken():
                self.end(self._bug(event.error))
            case _:
                logger.debug("event=%r", event)

    def _transport_end(self, error: Exception | None) -> DcsdkError | None:
        """Return what the end of the transport means: alone it is none in order.

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
        self._stop_set_up_timer()
        self._channels.established(min(event.outbound_streams, event.inbound_streams))
        if not self._established.done():
            self._established.set_result(None)

    def _set_up_timed_out(self) -> None:
        """Give up; while the transport is not up, its own bound and its own words hold."""
        self._set_up_timer = None
        if not self._transport.is_blocked:
            self.end(PeerUnreachable(f"no association in {self._config.handshake_timeout_s} s"))

    def end(self, error: DcsdkError | None) -> None:
        """The association is over; wake everybody and let go of everything. Idempotent."""
        if self._is_ended:
            return
        self._is_ended = True
        self._error = error
        self._stop_set_up_timer()
        self._channels.end(error)
        for let_go in (self._abort, self._stop_driver, self._tell_owner):
            try:
                let_go()
            except Exception as exc:  # what broke must not keep the rest
                self._error = self._error or self._bug(exc)
        for future in (self._established, self._ended):
            if not future.done():
                future.set_result(None)

    def _abort(self) -> None:
        """Tell the peer, if SCTP has not ended itself."""
        sctp, driver = self._sctp, self._driver
        if sctp is not None and driver is not None and sctp.state is not AssociationState.CLOSED:
            is_bug = self._error is not None and self._error.__cause__ is not None
            reason = "internal error" if is_bug else str(self._error or "closed")
            sctp.abort(reason, now=driver.now())  # what exactly broke is not the peer's business

    def _tell_owner(self) -> None:
        if self._on_ended is not None:
            self._on_ended()

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

    def _stop_set_up_timer(self) -> None:
        if self._set_up_timer is not None:
            self._set_up_timer.cancel()
            self._set_up_timer = None
