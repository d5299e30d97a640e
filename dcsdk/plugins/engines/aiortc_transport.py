"""aiortc's DTLS and SCTP, fitted to a datagram path and to channels of ours.

aiortc knows what carries it as an "ICE transport" with ``role``, ``_send`` and ``_recv``; that is
all that is put under it here. This module uses aiortc's private names: it has no others for this.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from aiortc.rtcdatachannel import RTCDataChannel
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsParameters, RTCDtlsTransport, State
from aiortc.rtcsctptransport import USERDATA_MAX_LENGTH, RTCSctpTransport
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from dcsdk.interfaces import DatagramPath, DatagramReceiver
from dcsdk.sctp.base.events import AssociationState
from dcsdk.sctp.stats import SctpStats
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import CIPHERS

MAX_WAITING_DATAGRAMS = 4096
"""Datagrams kept for aiortc, which takes them one by one; the rest is lost, as on a network."""

PACKET_BYTES = USERDATA_MAX_LENGTH + 28
"""Of aiortc's full packets: SCTP's and DATA's header and the most data it puts behind them."""

_DTLS1_2 = 0xFEFD


class PathTransport(DatagramReceiver):
    """A :class:`DatagramPath` in the shape aiortc wants.

    Args:
        path: attached to; closed here.
    """

    role = "controlling"

    def __init__(self, path: DatagramPath) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._waiting: deque[bytes] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._is_closed = False
        self.last_heard_s = self._loop.time()
        self.datagrams_dropped = 0
        path.attach(self)

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Keep datagrams until aiortc asks."""
        self.last_heard_s = self._loop.time()
        waiting = self._waiting
        for data, size in batch:
            for start in range(0, len(data), size):
                if len(waiting) >= MAX_WAITING_DATAGRAMS:
                    self.datagrams_dropped += 1
                else:
                    waiting.append(data[start : start + size])
        self._wake()

    def path_writable(self) -> None:
        """Nothing waits here: the path keeps what the socket does not take."""

    def close(self) -> None:
        """Close the path and end aiortc's reading."""
        self._is_closed = True
        self._path.close()
        self._wake()

    async def _send(self, data: bytes) -> None:
        self._path.send(data, len(data))

    async def _recv(self) -> bytes:
        while not self._waiting:
            if self._is_closed:
                raise ConnectionError("closed")
            self._reader = self._loop.create_future()
            await self._reader
        return self._waiting.popleft()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class PinnedCertificate(RTCCertificate):
    """Our certificate in aiortc's hands; the suites are those of the 3GPP profile."""

    def __init__(self, certificate: Certificate) -> None:
        super().__init__(certificate.key, certificate.x509)

    def _create_ssl_context(self, srtp_profiles: object) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)  # type: ignore[arg-type]
        context.set_min_proto_version(_DTLS1_2)
        context.set_options(SSL.OP_NO_RENEGOTIATION)
        context.set_cipher_list(CIPHERS)
        return context


class Dtls(RTCDtlsTransport):
    """aiortc's DTLS without the need for SRTP, and with RFC 8122's reading of fingerprints.

    Args:
        transport: below.
        certificate: ours.
        fingerprints: of which the peer's certificate must match one (RFC 8122 5).
    """

    def __init__(
        self,
        transport: PathTransport,
        certificate: Certificate,
        fingerprints: tuple[Fingerprint, ...],
    ) -> None:
        super().__init__(transport, [PinnedCertificate(certificate)])  # type: ignore[arg-type]
        self._fingerprints = fingerprints
        self.is_mismatch = False
        self.peer_fingerprint = ""

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:
        peer = self.connection.get_peer_certificate(as_cryptography=True)
        der = b"" if peer is None else peer.public_bytes(Encoding.DER)
        if any(item.matches_certificate(der) for item in self._fingerprints):
            self.peer_fingerprint = str(Fingerprint.of_certificate(der))
        else:
            self.is_mismatch = True
            self._set_state(State.FAILED)

    def _setup_srtp(self) -> None:
        """A data channel needs no SRTP; aiortc itself gives up when no profile was agreed."""

    @property
    def connection(self) -> SSL.Connection:
        """OpenSSL's end."""
        if self._ssl is None:
            raise RuntimeError("DTLS is not started")
        return self._ssl

    async def say_goodbye(self) -> None:
        """Tell the peer that the handshake led to nothing: aiortc itself is silent then."""
        with contextlib.suppress(SSL.Error, ConnectionError):
            self.connection.shutdown()
            await self._write_ssl()


class SctpOwner(Protocol):
    """Who is told what happens to the association."""

    def sctp_state_changed(
        self, state: RTCSctpTransport.State, *, was: RTCSctpTransport.State
    ) -> None:
        """The association is established, or over."""

    def message_received(self, stream_id: int, ppid: int, data: bytes) -> None:
        """A whole message came."""

    def peer_reset(self, stream_id: int) -> None:
        """The peer closed its direction of a stream."""

    def channel_released(self, stream_id: int) -> None:
        """Both directions of a stream are closed."""

    def data_acknowledged(self) -> None:
        """There may be room to send."""

    def retransmission_due(self, count: int) -> None:
        """T3 expired ``count`` times without a SACK between."""

    def window_overrun(self) -> None:
        """The peer sent more than the receive window and one message take."""


class Sctp(RTCSctpTransport):
    """aiortc's SCTP that hands messages on as they are, and whose receive window is real.

    Args:
        dtls: below.
        owner: told what happens.
        port: our SCTP port.
        window: bytes of messages kept for their readers.
        max_message_size: largest message we take, bytes.
    """

    def __init__(
        self, dtls: Dtls, owner: SctpOwner, *, port: int, window: int, max_message_size: int
    ) -> None:
        super().__init__(dtls, port)
        self._owner = owner
        self._advertised_rwnd = self._window = window
        self._max_message_size = max_message_size
        self._unread = 0
        self._timeouts = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_flushing = False
        self._told_window = window

    # --- what the association asks for ------------------------------------------------------------
    def queue(self, channel: RTCDataChannel, ppid: int, data: bytes) -> None:
        """Queue one message; it leaves in the next turn of the event loop."""
        channel._addBufferedAmount(len(data))
        self._data_channel_queue.append((channel, ppid, data))
        if not self._is_flushing:
            self._is_flushing = True
            self._run(self._flush())

    def discard(self, channel: RTCDataChannel) -> None:
        """Forget the messages of one channel that SCTP has not taken."""
        self._data_channel_queue = deque(
            item for item in self._data_channel_queue if item[0] is not channel
        )
        channel._addBufferedAmount(-channel.bufferedAmount)

    def unacknowledged(self, stream_id: int | None = None) -> int:
        """Bytes that SCTP took and the peer has not acknowledged, of one stream or of all."""
        return sum(
            len(chunk.user_data)
            for chunks in (self._sent_queue, self._outbound_queue)
            for chunk in chunks
            if stream_id is None or chunk.stream_id == stream_id
        )

    @property
    def is_drained(self) -> bool:
        """Everything was acknowledged."""
        return not (self._data_channel_queue or self._outbound_queue or self._sent_queue)

    def stats(self) -> SctpStats:
        """What aiortc knows of itself; the rest is 0."""
        return SctpStats(
            state=AssociationState[self._association_state.name],
            mtu=PACKET_BYTES,
            smoothed_rtt_s=self._srtt or 0.0,
            rto_s=self._rto,
            congestion_window=self._cwnd,
            slow_start_threshold=self._ssthresh or 0,
            in_flight_bytes=self._flight_size,
            queued_bytes=sum(len(chunk.user_data) for chunk in self._outbound_queue),
            receive_buffered_bytes=self._unread,
        )

    def consumed(self, size: int) -> None:
        """The program read ``size`` bytes: the window opens, and the peer is told of a lot."""
        self._unread -= size
        self._advertised_rwnd += size
        if (
            self._advertised_rwnd - self._told_window >= self._window // 2
            and self._association_state == self.State.ESTABLISHED
        ):
            self._run(self._send_sack())

    # --- what aiortc calls ------------------------------------------------------------------------
    async def _receive_data_chunk(self, chunk: object) -> None:
        if self._unread >= self._window:
            self._sack_needed = True  # not taken: nobody reads, and the window says so
            return
        await super()._receive_data_chunk(chunk)  # type: ignore[arg-type]
        if self._advertised_rwnd + self._window + self._max_message_size < 0:
            self._owner.window_overrun()

    async def _receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        self._unread += len(data)
        self._advertised_rwnd -= len(data)
        self._owner.message_received(stream_id, pp_id, data)

    async def _send_sack(self) -> None:
        self._told_window = max(0, self._advertised_rwnd)
        await super()._send_sack()

    async def _receive_sack_chunk(self, chunk: object) -> None:
        self._timeouts = 0
        await super()._receive_sack_chunk(chunk)  # type: ignore[arg-type]
        self._owner.data_acknowledged()

    def _t3_expired(self) -> None:
        self._timeouts += 1
        super()._t3_expired()
        self._owner.retransmission_due(self._timeouts)

    def _set_state(self, state: RTCSctpTransport.State) -> None:
        was = self._association_state
        super()._set_state(state)
        if state is not was:
            self._owner.sctp_state_changed(state, was=was)

    def _data_channel_close(self, channel: RTCDataChannel) -> None:
        stream_id = channel.id
        super()._data_channel_close(channel)
        if stream_id is not None and stream_id in self._data_channel_inbound_reset:
            self._owner.peer_reset(stream_id)

    def _data_channel_closed(self, stream_id: int) -> None:
        super()._data_channel_closed(stream_id)
        if self._association_state is not self.State.CLOSED:
            self._owner.channel_released(stream_id)

    # --- inside -----------------------------------------------------------------------------------
    async def _flush(self) -> None:
        self._is_flushing = False
        await self._data_channel_flush()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_until_disconnected(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _until_disconnected(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(ConnectionError):
        await work
