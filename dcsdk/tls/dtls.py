"""One DTLS 1.2 association, without I/O, in batches (RFC 6347, TS 33.328 Annexes M and O).

OpenSSL does the protocol over memory buffers; it keeps its own clock and randomness. The peer is
known by the fingerprint of its certificate and by nothing else (RFC 8122 6.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, NamedTuple

from OpenSSL import SSL

from dcsdk.errors import LocalProtocolError, PeerUnreachable, TransportError
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.context import (
    DtlsContext,
    PeerCheck,
    fingerprint_mismatch,
    handshake_error,
    reason_of,
)
from dcsdk.tls.protection import RecordProtection
from dcsdk.tls.records import (
    APPLICATION_DATA,
    GCM_OVERHEAD,
    handshake_records,
    is_data_run,
    is_dtls,
    split_records,
)

DEFAULT_MTU = 1200
"""Bytes of UDP payload that every path carries (RFC 8831 5)."""

MAX_SEGMENTS = 60
"""Datagrams in one :class:`Transmit`; the kernel's limit for one segmented send is 64."""

MAX_TRANSMIT_BYTES = 64_000
"""Bytes in one :class:`Transmit`; the kernel's limit is 65,535 with headers."""

MAX_RESTARTS = 8
"""Times a passive association forgets a nonsensical first flight and listens on."""

# OpenSSL reads up to about 16.6 KB at a time and drops a record cut by that border.
_MAX_WRITE = 16_000
_BIO_READ = 1 << 17
_RECORD_MAX = 1 << 14
_MIN_TIMER_S = 0.001
# OpenSSL's words for a first flight that is well-formed and cannot be served.
_REFUSALS = ("no shared", "version", "unsupported protocol")


class Transmit(NamedTuple):
    """Bytes for one send call: datagrams of equal size, of which the last may be shorter."""

    data: bytes
    segment_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeDone:
    """Both sides proved their certificates; application data may flow.

    Attributes:
        suite: as OpenSSL names it.
        version: ``"DTLSv1.2"``.
        peer_certificate: in DER.
        peer_fingerprint: its SHA-256 fingerprint.
    """

    suite: str
    version: str
    peer_certificate: bytes
    peer_fingerprint: Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsClosed:
    """The association is over; ``error`` is ``None`` after a close alert of either side."""

    error: Exception | None


DtlsEvent = HandshakeDone | DtlsClosed


class _State(Enum):
    IDLE, HANDSHAKING, ESTABLISHED, CLOSED = auto(), auto(), auto(), auto()


class DtlsAssociation:
    """One end of a DTLS association. Performs no I/O; see ``dcsdk.io.secure.dtls_transport``.

    Args:
        context: shared by the associations of one certificate.
        role: ``"client"`` when our side is ``active``.
        fingerprints: the peer's certificate must match one of them; at least one.
        mtu: bytes of the largest datagram we send, 256..16000.

    Raises:
        SecurityError: no fingerprint is given (never an unverified peer).
    """

    def __init__(
        self,
        context: DtlsContext,
        *,
        role: Literal["client", "server"],
        fingerprints: Sequence[Fingerprint],
        mtu: int = DEFAULT_MTU,
    ) -> None:
        self._context = context
        self._role = role
        self._peer = PeerCheck(fingerprints)
        self._mtu = mtu
        self._state = _State.IDLE
        self._has_answered = False
        self._restarts = 0
        self._deadline: float | None = None
        # Lists: they are short, and an empty one costs an idle association less than a deque.
        self._transmits: list[Transmit] = []
        self._events: list[DtlsEvent] = []
        self.records_dropped = 0
        self._ssl: SSL.Connection | None = None
        self._protection: RecordProtection | None = None  # as long as records flow

    @property
    def is_established(self) -> bool:
        """The peer is verified and records flow."""
        return self._state is _State.ESTABLISHED

    # --- the five verbs ---------------------------------------------------------------------------
    def start(self, *, now: float) -> None:
        """Begin the handshake: the client sends its first flight, the server listens."""
        if self._state is not _State.IDLE:
            raise LocalProtocolError("the DTLS association was started before")
        self._state = _State.HANDSHAKING
        self._new_connection()
        self._handshake(now)

    def receive(self, batch: Sequence[tuple[bytes, int]], *, now: float) -> list[bytes]:
        """Take datagrams, in the order they came.

        Args:
            batch: pairs of data and segment size: datagrams of that size glued together, of which
                the last may be shorter.
            now: monotonic, seconds.

        Returns:
            The plaintext of each application record.
        """
        packets: list[bytes] = []
        for data, segment_size in batch:
            protection = self._protection
            if protection is not None and is_data_run(data, segment_size):
                self._decrypt_run(protection, data, segment_size, packets)
                continue
            for start in range(0, len(data), segment_size):
                self._receive_one(data[start : start + segment_size], packets, now)
        return packets

    def send(self, packets: Sequence[bytes], start: int = 0) -> int:
        """Encrypt packets, each into a record and a datagram of its own, as one ``Transmit``.

        Args:
            packets: each ``GCM_OVERHEAD`` bytes or more smaller than the mtu; runs of one size
                cost least.
            start: index of the first to take.

        Returns:
            The index of the first packet that was not taken; take the output and go on there.

        Raises:
            LocalProtocolError: not established.
        """
        protection = self._protection
        if protection is None:
            raise LocalProtocolError("application data before the DTLS handshake is done")
        size = len(packets[start])
        record = size + GCM_OVERHEAD
        end = start + 1
        if end < len(packets):
            limit = min(len(packets), start + MAX_SEGMENTS, start + MAX_TRANSMIT_BYTES // record)
            while end < limit and len(packets[end]) == size:
                end += 1
            if end < limit and len(packets[end]) < size:
                end += 1
        run = packets[start:end]
        try:
            data = protection.protect(run)
        except SSL.Error as exc:
            self._end(TransportError(f"DTLS cannot send: {reason_of(exc)}"))
            return len(packets)
        if len(data) == record * (len(run) - 1) + len(run[-1]) + GCM_OVERHEAD:
            self._transmits.append(Transmit(data, record))
        else:
            self._transmits.extend(
                Transmit(datagram, len(datagram)) for datagram in split_records(data, 1)
            )
        return end

    def handle_timer(self, *, now: float) -> None:
        """Retransmit the last flight when it is due (RFC 6347 4.2.4)."""
        if self._deadline is None or now < self._deadline or self._ssl is None:
            return
        try:
            self._ssl.DTLSv1_handle_timeout()
        except SSL.Error as exc:
            self._drain()
            self._end(PeerUnreachable(f"no answer in the DTLS handshake: {reason_of(exc)}"))
            return
        self._drain()
        self._set_deadline(now)

    def next_timer(self) -> float | None:
        """Tell when ``handle_timer`` wants to be called."""
        return self._deadline

    @property
    def is_output_due(self) -> bool:
        """There is something to take: bytes to send, or an event."""
        return bool(self._transmits or self._events)

    def poll_transmit(self) -> Transmit | None:
        """Take the next bytes to send."""
        return self._transmits.pop(0) if self._transmits else None

    def poll_event(self) -> DtlsEvent | None:
        """Take the next event."""
        return self._events.pop(0) if self._events else None

    # --- the rest of the interface ----------------------------------------------------------------
    def close(self) -> None:
        """Send the close alert, if there is a peer to get it, and be closed. Idempotent."""
        if self._state is _State.ESTABLISHED and self._ssl is not None:
            try:
                self._ssl.shutdown()
            except SSL.Error:
                self.records_dropped += 1  # the alert could not be written; we close all the same
            self._drain()
        self._end(None)

    def export_keying_material(
        self, label: bytes, length: int, context: bytes | None = None
    ) -> bytes:
        """Derive keys for another protocol (RFC 5705).

        Args:
            label: for example ``b"EXTRACTOR-dtls_srtp"``.
            length: bytes wanted.
            context: ``None`` for none, which is not the same as empty.

        Raises:
            LocalProtocolError: not established.
        """
        if self._state is not _State.ESTABLISHED or self._ssl is None:
            raise LocalProtocolError("no keys before the DTLS handshake is done", source="RFC 5705")
        return self._ssl.export_keying_material(label, length, context)

    # --- handshake --------------------------------------------------------------------------------
    def _new_connection(self) -> None:
        connection = SSL.Connection(self._context.ssl)
        connection.set_app_data(self._peer)
        connection.set_ciphertext_mtu(self._mtu)
        if self._role == "client":
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        self._ssl = connection

    def _handshake(self, now: float) -> None:
        connection = self._ssl
        if connection is None:
            return
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self._drain()
            self._set_deadline(now)
            return
        except SSL.Error as exc:
            self._handshake_failed(exc)
            return
        self._drain()
        self._set_deadline(now)
        der = self._peer.certificate_of(connection)
        if der is None:
            self._end(fingerprint_mismatch())
            return
        self._state = _State.ESTABLISHED
        self._protection = self._context.protection(connection)
        self._events.append(
            HandshakeDone(
                suite=connection.get_cipher_name() or "",
                version=connection.get_protocol_version_name(),
                peer_certificate=der,
                peer_fingerprint=Fingerprint.of_certificate(der),
            )
        )

    def _handshake_failed(self, exc: SSL.Error) -> None:
        reason = reason_of(exc)
        if (
            self._role == "server"
            and not self._has_answered
            and self._restarts < MAX_RESTARTS
            and not any(word in reason for word in _REFUSALS)
        ):
            # Somebody sent nonsense before the peer's first flight; that is not the peer's fault.
            self._restarts += 1
            self.records_dropped += 1
            self._new_connection()
            return
        self._drain()
        self._end(handshake_error(exc, self._peer, "DTLS"))

    def _set_deadline(self, now: float) -> None:
        timeout = None if self._ssl is None else self._ssl.DTLSv1_get_timeout()
        self._deadline = None if timeout is None else now + max(timeout, _MIN_TIMER_S)

    # --- records ----------------------------------------------------------------------------------
    def _receive_one(self, datagram: bytes, packets: list[bytes], now: float) -> None:
        """Take one datagram by the careful way."""
        if self._state not in (_State.HANDSHAKING, _State.ESTABLISHED) or not is_dtls(datagram):
            self.records_dropped += 1
            return
        connection = self._ssl
        records = handshake_records(datagram)
        if not records or connection is None:
            self.records_dropped += 1
            return
        connection.bio_write(records)
        if self._state is _State.HANDSHAKING:
            self._handshake(now)
        if self._state is _State.ESTABLISHED and self._ssl is connection:
            self._read(connection, packets)
            if records[0] != APPLICATION_DATA:
                self._drain()
                self._set_deadline(now)

    def _read(self, connection: SSL.Connection, packets: list[bytes]) -> None:
        """Take every record OpenSSL has."""
        try:
            while True:
                packets.append(connection.recv(_RECORD_MAX))
        except SSL.WantReadError:
            return
        except SSL.Error as exc:
            self._read_failed(exc)

    def _decrypt_run(
        self, protection: RecordProtection, data: bytes, segment_size: int, packets: list[bytes]
    ) -> None:
        """Decrypt datagrams that hold one application record each."""
        size = len(data)
        if size <= segment_size:
            self._decrypt(protection, data, 1, segment_size, packets)
            return
        view = memoryview(data)
        at_once = max(1, _MAX_WRITE // segment_size) * segment_size
        for first in range(0, size, at_once):
            part = view[first : first + at_once]
            self._decrypt(protection, part, -(-len(part) // segment_size), segment_size, packets)

    def _decrypt(
        self,
        protection: RecordProtection,
        data: bytes | memoryview,
        count: int,
        size: int,
        packets: list[bytes],
    ) -> None:
        """Decrypt some glued records, unless an earlier one ended the association."""
        if self._protection is None:
            return
        try:
            protection.unprotect(data, count, size, packets)
        except SSL.WantReadError:
            self.records_dropped += 1  # a replayed or forged record: OpenSSL skipped it
        except SSL.Error as exc:
            self._read_failed(exc)

    def _read_failed(self, exc: SSL.Error) -> None:
        if isinstance(exc, SSL.ZeroReturnError):
            self.close()
            return
        self._drain()
        self._end(TransportError(f"the DTLS association ended: {reason_of(exc)}"))

    def _drain(self) -> None:
        """Take what OpenSSL wrote on its own: flights and alerts."""
        if self._ssl is None:
            return
        try:
            while True:
                for datagram in split_records(self._ssl.bio_read(_BIO_READ), self._mtu):
                    self._has_answered = True
                    self._transmits.append(Transmit(datagram, len(datagram)))
        except SSL.Error:
            return  # nothing left to read

    def _end(self, error: Exception | None) -> None:
        if self._state is _State.CLOSED:
            return
        self._state = _State.CLOSED
        self._deadline = None
        self._ssl = self._protection = None
        self._events.append(DtlsClosed(error=error))
