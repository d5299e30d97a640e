"""One TLS connection, without I/O (RFC 5246, RFC 8446, RFC 8122).

OpenSSL does the protocol over memory buffers. Both ends present a certificate, and the peer is
known by the fingerprint of its own and by nothing else. Which end opened the TCP connection does
not matter here: client or server is agreed on apart from that (RFC 8122 6.2, RFC 8856 8).

In TLS 1.3 a client ends its handshake before the server has looked at the client's certificate. A
refusal then comes as an alert where the first data is expected; it is reported as what it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from OpenSSL import SSL

from dcsdk.errors import LocalProtocolError, SecurityError, TransportError
from dcsdk.sdp.association import DtlsRole
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import (
    PeerCheck,
    fingerprint_mismatch,
    handshake_error,
    reason_of,
    set_up,
)
from dcsdk.tls.dtls import HandshakeDone

_RECORD_MAX = 1 << 14
_BIO_READ = 1 << 17


class TlsContext:
    """What all TLS connections of one certificate share: an OpenSSL context is expensive to create.

    TLS 1.2 and 1.3 with the suites of the 3GPP profile; no renegotiation, compression, resumption
    or early data.

    Args:
        certificate: ours.
        keylog: gets each line of an NSS key log. Whoever reads them can read the traffic.

    Attributes:
        certificate: ours.
        ssl: the OpenSSL context.

    Source: TS 33.210 6.2.
    """

    def __init__(
        self, certificate: Certificate, *, keylog: Callable[[bytes], None] | None = None
    ) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(SSL.TLS1_3_VERSION)
        set_up(context, certificate, keylog)
        self.ssl = context
        self.certificate = certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsClosed:
    """The connection is over; ``error`` is ``None`` after a close alert of either side."""

    error: Exception | None


TlsEvent = HandshakeDone | TlsClosed


class _Phase(Enum):
    IDLE, HANDSHAKING, ESTABLISHED, CLOSED = auto(), auto(), auto(), auto()


class TlsConnection:
    """One end of a TLS connection. Performs no I/O; see ``dcsdk.io.secure.tls``.

    Args:
        context: shared by the connections of one certificate.
        role: ours in TLS, whoever opened the TCP connection.
        fingerprints: the peer's certificate must match one of them; at least one.

    Raises:
        SecurityError: no fingerprint is given (never an unverified peer).
    """

    def __init__(
        self, context: TlsContext, *, role: DtlsRole, fingerprints: Sequence[Fingerprint]
    ) -> None:
        self._peer = PeerCheck(fingerprints)
        self._role = role
        self._phase = _Phase.IDLE
        self._is_heard = False
        self._received: list[bytes] = []
        self._output: list[bytes] = []
        self._events: list[TlsEvent] = []
        connection = SSL.Connection(context.ssl)
        connection.set_app_data(self._peer)
        if role == "client":
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        self._ssl: SSL.Connection | None = connection

    @property
    def is_established(self) -> bool:
        """The peer is verified and data may flow."""
        return self._phase is _Phase.ESTABLISHED

    def start(self) -> None:
        """Begin the handshake: the client sends its first flight, the server listens.

        Raises:
            LocalProtocolError: started before.
        """
        if self._phase is not _Phase.IDLE:
            raise LocalProtocolError("the TLS connection was started before")
        self._phase = _Phase.HANDSHAKING
        self._go_on()

    # --- from the network -------------------------------------------------------------------------
    def receive(self, data: bytes) -> None:
        """Take bytes of the TCP stream, in the order they came; after the end they are dropped."""
        if self._ssl is None or not data:
            return
        self._ssl.bio_write(data)
        self._go_on()

    def receive_eof(self) -> None:
        """The TCP stream ended: before a close alert that is no end in order (RFC 8446 6.1)."""
        if self._phase is _Phase.HANDSHAKING:
            self._end(SecurityError("the peer closed during the TLS handshake"))
        elif self._phase is _Phase.ESTABLISHED:
            self._end(
                TransportError(
                    "the connection ended without a close alert: data may be missing",
                    source="RFC 8446 6.1",
                )
            )

    def take_data(self) -> bytes:
        """Take what was received and decrypted; ``b""`` for nothing."""
        received, self._received = self._received, []
        return b"".join(received)

    # --- to the network ---------------------------------------------------------------------------
    def send(self, data: bytes | memoryview) -> None:
        """Encrypt data.

        Args:
            data: kept encrypted until ``poll_transmit`` takes it.

        Raises:
            LocalProtocolError: not established.
        """
        if self._phase is not _Phase.ESTABLISHED or self._ssl is None:
            raise LocalProtocolError("application data outside of an established TLS connection")
        try:
            self._ssl.sendall(data)
        except SSL.Error as exc:
            self._drain(self._ssl)
            self._end(TransportError(f"TLS cannot send: {reason_of(exc)}"))
            return
        self._drain(self._ssl)

    def close(self) -> None:
        """Send the close alert, if there is a peer to get it, and be closed. Idempotent."""
        if self._phase is _Phase.ESTABLISHED and self._ssl is not None:
            with contextlib.suppress(SSL.Error):  # without the alert we close all the same
                self._ssl.shutdown()
            self._drain(self._ssl)
        self._end(None)

    def poll_transmit(self) -> bytes | None:
        """Take the bytes to send."""
        if not self._output:
            return None
        output, self._output = self._output, []
        return b"".join(output)

    def poll_event(self) -> TlsEvent | None:
        """Take the next event."""
        return self._events.pop(0) if self._events else None

    # --- inside -----------------------------------------------------------------------------------
    def _go_on(self) -> None:
        if self._phase is _Phase.HANDSHAKING and self._ssl is not None:
            self._shake_hands(self._ssl)
        if self._phase is _Phase.ESTABLISHED and self._ssl is not None:
            self._read(self._ssl)

    def _shake_hands(self, connection: SSL.Connection) -> None:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self._drain(connection)
            return
        except SSL.Error as exc:
            self._drain(connection)
            self._end(handshake_error(exc, self._peer, "TLS"))
            return
        self._drain(connection)
        der = self._peer.certificate_of(connection)
        if der is None:
            self._end(fingerprint_mismatch())
            return
        self._phase = _Phase.ESTABLISHED
        self._events.append(
            HandshakeDone(
                suite=connection.get_cipher_name() or "",
                version=connection.get_protocol_version_name(),
                peer_certificate=der,
                peer_fingerprint=Fingerprint.of_certificate(der),
            )
        )

    def _read(self, connection: SSL.Connection) -> None:
        """Take every record OpenSSL has, and what it answers to those that are not data."""
        try:
            while True:
                self._received.append(connection.recv(_RECORD_MAX))
                self._is_heard = True
        except SSL.WantReadError:
            self._drain(connection)
        except SSL.ZeroReturnError:
            self.close()
        except SSL.Error as exc:
            self._drain(connection)
            self._end(self._read_error(connection, reason_of(exc)))

    def _read_error(self, connection: SSL.Connection, reason: str) -> Exception:
        is_unjudged = (
            self._role == "client"
            and not self._is_heard
            and connection.get_protocol_version() == SSL.TLS1_3_VERSION
        )
        if is_unjudged and "alert" in reason:
            return SecurityError(
                f"the peer ended the TLS handshake: {reason}", source="RFC 8446 4.4.2.4"
            )
        return TransportError(f"the TLS connection ended: {reason}")

    def _drain(self, connection: SSL.Connection) -> None:
        """Take what OpenSSL wrote."""
        try:
            while True:
                self._output.append(connection.bio_read(_BIO_READ))
        except SSL.Error:
            return  # nothing left to read

    def _end(self, error: Exception | None) -> None:
        if self._phase is _Phase.CLOSED:
            return
        self._phase = _Phase.CLOSED
        self._ssl = None
        self._events.append(TlsClosed(error=error))
