"""One association of the aiortc engine. Import it only where aiortc is installed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcdtlstransport import RTCDtlsParameters
from aiortc.rtcsctptransport import RTCSctpCapabilities

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import (
    ChannelClosed,
    DcsdkError,
    FingerprintMismatch,
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    SecurityError,
    TransportError,
    again,
)
from dcsdk.interfaces import (
    Association,
    AssociationStats,
    ChannelParameters,
    DatagramPath,
    DtlsSctpParameters,
    PathStats,
)
from dcsdk.interfaces.channel import Submit
from dcsdk.io.secure.engine_config import MAX_MESSAGE_BYTES, EngineConfig
from dcsdk.plugins.engines.aiortc_transport import Dtls, PathTransport, Sctp
from dcsdk.plugins.engines.channel_parameters import check_channel_parameters
from dcsdk.sdp.fingerprint import preferred
from dcsdk.security import SecurityReport, SecurityScope
from dcsdk.tls.certificate import Certificate

logger = logging.getLogger(__name__)

BACKEND = "dtls_sctp"
MAX_STREAM_ID = 65_534
MAX_EARLY_STREAMS, MAX_EARLY_BYTES = 64, 256 << 10
"""What waits for channels that are not open here yet (RFC 8864 6.4); more is thrown away."""


class AiortcAssociation(Association):
    """One association on one path. Made by ``AiortcEngine.create``.

    Args:
        path: owned from now on.
        certificate: ours.
        config: settings.
    """

    def __init__(self, path: DatagramPath, certificate: Certificate, config: EngineConfig) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._certificate = certificate
        self._config = config
        self._report = SecurityReport(
            scope=SecurityScope.NONE,
            backend=BACKEND,
            local_fingerprint=str(certificate.fingerprint),
            reason="the peer is not verified yet",
        )
        self._parameters: DtlsSctpParameters | None = None
        self._transport: PathTransport | None = None
        self._dtls: Dtls | None = None
        self._sctp: Sctp | None = None
        self._set_up: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._channels: dict[int, DataChannel] = {}
        self._carried: dict[int, RTCDataChannel] = {}
        self._early: dict[int, list[tuple[int, bytes]]] = {}
        self._early_bytes = self._early_dropped = 0
        self._blocked: dict[int, DataChannel] = {}
        self._limit = config.send_limit(0)
        self._is_established = self._is_closing = self._is_ended = False
        self._error: DcsdkError | None = None
        self._established: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._drained = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None

    @property
    def report(self) -> SecurityReport:
        """What protects the association: suite and peer once verified, scope by the session."""
        return self._report

    @report.setter
    def report(self, report: SecurityReport) -> None:
        self._report = report

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
        fingerprints = preferred(parameters.remote_fingerprints, allow_sha1=True)
        if not fingerprints:
            raise SecurityError("no fingerprint of the peer is usable", source="RFC 8122 5")
        self._parameters = parameters
        config = self._config
        self._transport = PathTransport(self._path)
        self._dtls = Dtls(self._transport, self._certificate, fingerprints)
        self._dtls._set_role(parameters.dtls_role)
        self._sctp = Sctp(
            self._dtls,
            self,
            port=parameters.local_sctp_port,
            window=config.sctp.receive_window,
            max_message_size=parameters.local_max_message_size or MAX_MESSAGE_BYTES,
        )
        self._limit = config.send_limit(parameters.remote_max_message_size)
        for channel in self._channels.values():
            self._carry(channel)
        self._timer = self._loop.call_later(config.handshake_timeout_s, self._set_up_timed_out)
        try:
            self._path.set_remote(parameters.remote_address)
        except DcsdkError as exc:
            self._end(exc)
            raise
        self._set_up = self._loop.create_task(self._run_set_up(self._dtls, self._sctp, parameters))

    async def wait_established(self, timeout_s: float) -> None:
        """Wait until DTLS is verified and SCTP is up.

        Raises:
            FingerprintMismatch: the peer's certificate matches none of the fingerprints.
            SecurityError: the DTLS handshake failed.
            PeerUnreachable: the peer stopped answering.
            ChannelClosed: closed meanwhile.
            OperationTimeout: not established in ``timeout_s``; the association goes on trying.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._established)
        except TimeoutError as exc:
            raise OperationTimeout(f"no association in {timeout_s} s") from exc
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
        if not parameters.is_negotiated:
            raise LocalProtocolError("this engine opens channels agreed in SDP only")
        check_channel_parameters(parameters)
        if len(self._channels) >= self._config.max_channels:
            raise LocalProtocolError(
                f"the association has {self._config.max_channels} channels already"
            )
        stream_id = parameters.stream_id
        if stream_id is None:
            stream_id = self._free_id()
        if not 0 <= stream_id <= MAX_STREAM_ID:
            raise LocalProtocolError(f"there is no stream {stream_id}", source="RFC 8832 3")
        if stream_id in self._channels:
            raise LocalProtocolError(f"stream {stream_id} is taken", source="RFC 8864 6.1")
        channel = DataChannel(
            self,
            parameters,
            stream_id=stream_id,
            max_queued_bytes=self._config.max_queued_bytes,
        )
        self._channels[stream_id] = channel
        channel.limit(0, self._limit)
        if self._sctp is not None:
            self._carry(channel)
        if self._is_established:
            self._opened(channel)
        return channel

    async def wait_closed(self) -> Exception | None:
        """Wait for the end of the association; ``None`` when it was closed on purpose."""
        await asyncio.shield(self._ended)
        return self._error

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what is queued, abort SCTP, shut DTLS down and close the path.

        Args:
            timeout_s: bound, seconds; what the peer has not confirmed then is given up.
        """
        try:
            if self._is_established and not self._is_ended and self._sctp is not None:
                self._is_closing = True
                for channel in self._channels.values():
                    channel.closing()
                async with asyncio.timeout(timeout_s):
                    while not self._sctp.is_drained and not self._is_ended:
                        self._drained.clear()
                        await self._drained.wait()
        except TimeoutError:
            logger.info("stream=all association not flushed in %s s, aborting", timeout_s)
        finally:
            self._end(None)
            await asyncio.shield(self._ended)

    def stats(self) -> AssociationStats:
        """What the association, its path and its channels did so far.

        Of SCTP aiortc tells its state, the round trip time, the window and what is in flight.
        """
        sctp, transport = self._sctp, self._transport
        return AssociationStats(
            path=PathStats.of(self._path.stats()),
            sctp=None if sctp is None else sctp.stats(),
            channels=tuple(self._channels[key].stats() for key in sorted(self._channels)),
            early_dropped=self._early_dropped,
            records_dropped=0 if transport is None else transport.datagrams_dropped,
        )

    # --- what channels ask for --------------------------------------------------------------------
    def queued_bytes(self, stream_id: int) -> int:
        """Bytes of a stream that were accepted and are not acknowledged yet."""
        carried = self._carried.get(stream_id)
        if carried is None or self._sctp is None:
            return 0
        return carried.bufferedAmount + self._sctp.unacknowledged(stream_id)

    def is_confirmed(self) -> bool:
        """The peer has everything that was accepted, over all channels."""
        return self._sctp is None or self._sctp.is_drained

    def free_bytes(self) -> int:
        """Bytes the association takes now, over all channels."""
        return self._limit - sum(item.bufferedAmount for item in self._carried.values())

    def wake_when_low(self, channel: DataChannel) -> None:
        """Look after each acknowledgement whether the channel may go on."""
        self._blocked[channel.stream_id] = channel

    def consumed(self, stream_id: int, size: int, count: int) -> None:
        """Open the receive window by what the program read."""
        if self._sctp is not None and not self._is_ended:
            self._sctp.consumed(size)

    def reset(self, channel: DataChannel, *, is_flushed: bool) -> None:
        """Reset our direction of a channel; a channel that never worked just ends."""
        stream_id = channel.stream_id
        carried = self._carried.get(stream_id)
        if carried is not None and self._sctp is not None:
            if not is_flushed:
                self._sctp.discard(carried)
            carried.close()
        if carried is None or not self._is_established:
            self._channels.pop(stream_id, None)
            self._carried.pop(stream_id, None)
            channel.end(None)

    # --- what SCTP tells --------------------------------------------------------------------------
    def sctp_state_changed(self, state: Sctp.State, *, was: Sctp.State) -> None:
        """The association is established, or over."""
        if state is Sctp.State.ESTABLISHED and not self._is_established:
            self._is_established = True
            self._stop_timer()
            for channel in list(self._channels.values()):
                self._opened(channel)
            if not self._established.done():
                self._established.set_result(None)
        elif state is Sctp.State.CLOSED and was is Sctp.State.SHUTDOWN_ACK_SENT:
            self._end(None)
        elif state is Sctp.State.CLOSED and self._is_established:
            self._end(TransportError("the peer aborted the association"))
        elif state is Sctp.State.CLOSED:
            self._end(PeerUnreachable("the peer did not take part in SCTP's set-up"))

    def message_received(self, stream_id: int, ppid: int, data: bytes) -> None:
        """Hand a message to its channel, or keep it for one that is opened later."""
        channel = self._channels.get(stream_id)
        if channel is not None:
            channel.deliver(ppid, data)
            return
        early = self._early.get(stream_id)
        is_full = early is None and len(self._early) >= MAX_EARLY_STREAMS
        if is_full or self._early_bytes + len(data) > MAX_EARLY_BYTES:
            self._early_dropped += 1
            self.consumed(stream_id, len(data), 1)
            return
        self._early_bytes += len(data)
        self._early.setdefault(stream_id, []).append((ppid, data))

    def peer_reset(self, stream_id: int) -> None:
        """The peer closed its direction of a stream."""
        channel = self._channels.get(stream_id)
        if channel is not None:
            channel.remote_reset()

    def channel_released(self, stream_id: int) -> None:
        """Both directions of a stream are closed, or the association is."""
        channel = self._channels.get(stream_id)
        self._carried.pop(stream_id, None)
        if channel is not None and not self._is_ended and self._sctp is not None:
            channel.local_reset_done()
            if channel.is_reset_both_ways:
                del self._channels[stream_id]
                channel.end(None)

    def data_acknowledged(self) -> None:
        """Let channels go on that waited for room."""
        self._drained.set()
        if not self._blocked:
            return
        blocked, self._blocked = self._blocked, {}
        for stream_id, channel in blocked.items():
            if self.queued_bytes(stream_id) <= self._config.max_queued_bytes // 2:
                channel.room_changed()  # registers again when it still waits
            else:
                self._blocked[stream_id] = channel

    def retransmission_due(self, count: int) -> None:
        """Give the peer up in bounded time; aiortc itself never does."""
        timeout_s = self._config.peer_timeout_s
        silence_s = 0.0
        if self._transport is not None:
            silence_s = self._loop.time() - self._transport.last_heard_s
        if count > self._config.sctp.max_retrans or (timeout_s and silence_s >= timeout_s):
            self._end(PeerUnreachable(f"the peer stopped answering: {silence_s:.1f} s of silence"))

    def window_overrun(self) -> None:
        """Protect our memory from a peer that heeds no window."""
        self._end(TransportError("the peer sent more than our window takes", source="RFC 9260 6.2"))

    # --- inside -----------------------------------------------------------------------------------
    async def _run_set_up(self, dtls: Dtls, sctp: Sctp, parameters: DtlsSctpParameters) -> None:
        await dtls.start(RTCDtlsParameters(list(dtls.getLocalParameters().fingerprints)))
        if dtls.state != "connected":
            await dtls.say_goodbye()
            self._end(
                FingerprintMismatch(
                    "the peer's certificate matches no fingerprint", source="RFC 8122 5"
                )
                if dtls.is_mismatch
                else SecurityError("the DTLS handshake failed")
            )
            return
        task = dtls._task
        if task is not None:
            task.add_done_callback(self._dtls_ended)
        connection = dtls.connection
        self.report = dataclasses.replace(
            self.report,
            suite=connection.get_cipher_name() or "",
            version=connection.get_protocol_version_name(),
            peer_fingerprint=dtls.peer_fingerprint,
        )
        await sctp.start(
            RTCSctpCapabilities(parameters.remote_max_message_size), parameters.remote_sctp_port
        )

    def _carry(self, channel: DataChannel) -> None:
        """Have aiortc know the stream of a channel."""
        if self._sctp is None or self._parameters is None:
            return
        channel.limit(self._parameters.remote_max_message_size, self._limit)
        self._carried[channel.stream_id] = RTCDataChannel(
            self._sctp,
            RTCDataChannelParameters(
                label=channel.label,
                protocol=channel.subprotocol,
                id=channel.stream_id,
                negotiated=True,
                ordered=channel.is_ordered,
                maxRetransmits=channel.max_retr,
                maxPacketLifeTime=channel.max_time_ms,
            ),
        )

    def _opened(self, channel: DataChannel) -> None:
        carried = self._carried[channel.stream_id]
        channel.opened(self._submit(carried))
        for ppid, data in self._early.pop(channel.stream_id, ()):
            self._early_bytes -= len(data)
            channel.deliver(ppid, data)

    def _submit(self, carried: RTCDataChannel) -> Submit:
        sctp = self._sctp
        if sctp is None:
            raise ChannelClosed("the association is not started")
        queue = sctp.queue

        def submit(ppid: int, data: bytes) -> None:
            if self._is_ended or self._is_closing:
                raise ChannelClosed("the association is closing")
            queue(carried, ppid, data)

        return submit

    def _free_id(self) -> int:
        if self._parameters is None:
            raise LocalProtocolError(
                "a stream id can be chosen only when the DTLS role is known", source="RFC 8832 6"
            )
        first = 0 if self._parameters.dtls_role == "client" else 1
        for stream_id in range(first, MAX_STREAM_ID + 1, 2):
            if stream_id not in self._channels and stream_id not in self._early:
                return stream_id
        raise LocalProtocolError("every stream id is taken")

    def _dtls_ended(self, task: asyncio.Future[None]) -> None:
        """aiortc's reading ended: the peer closed DTLS, or its message was too much for aiortc."""
        error = None if task.cancelled() else task.exception()
        what = f": {type(error).__name__}" if error else ""
        self._end(TransportError(f"DTLS ended{what}"))

    def _set_up_timed_out(self) -> None:
        self._timer = None
        self._end(PeerUnreachable(f"no association in {self._config.handshake_timeout_s} s"))

    def _end(self, error: DcsdkError | None) -> None:
        """The association is over; wake everybody and let go of everything. Idempotent."""
        if self._is_ended:
            return
        self._is_ended = True
        self._error = error
        self._stop_timer()
        channels = list(self._channels.values())
        self._channels.clear()
        self._early.clear()
        self._blocked.clear()
        for channel in channels:
            channel.end(error)
        self._drained.set()
        if not self._established.done():
            self._established.set_result(None)
        self._stopping = self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        """Send an ABORT and a close alert as far as there is somebody to get them."""
        if self._set_up is not None:
            self._set_up.cancel()
        if self._sctp is not None and self._dtls is not None:
            await self._sctp.stop()
            await self._dtls.stop()
        if self._transport is not None:
            self._transport.close()
        self._path.close()
        self._carried.clear()
        if not self._ended.done():
            self._ended.set_result(None)

    def _ended_error(self) -> DcsdkError:
        if self._error is None:
            return ChannelClosed("the association is closed")
        return again(self._error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
