"""Secure transports: paths with keys, made by a security backend.

A transport sends nothing of its user before its peer is verified.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from dcsdk.errors import LocalProtocolError
from dcsdk.interfaces.keying import KeyingParameters
from dcsdk.interfaces.paths import Paths
from dcsdk.interfaces.stats import TransportStats
from dcsdk.security import SecurityReport


class PacketReceiver(ABC):
    """Who takes the packets of a datagram transport. All calls come from the event loop."""

    @abstractmethod
    def packets_received(self, packets: Sequence[bytes]) -> None:
        """Take what one batch of datagrams held, in the order it came."""

    @abstractmethod
    def transport_established(self) -> None:
        """The peer is verified: packets may be sent. Comes before the first packet."""

    @abstractmethod
    def transport_writable(self) -> None:
        """The transport takes packets again after ``send`` took fewer than it was given."""

    def transport_rekeyed(self) -> None:  # noqa: B027 - most receivers need not know
        """Another association took the place of the one before (RFC 8842 3.1)."""

    @abstractmethod
    def transport_closed(self, error: Exception | None) -> None:
        """Nothing more will come.

        Args:
            error: what ended it; ``None`` when the peer closed it in order.
        """


class SecureTransport(ABC):
    """Path and keys.

    Life: made by :meth:`SecurityBackend.open`, ``start`` once its paths lead to the peer,
    established, closed. Errors reach whoever waits in ``wait_established`` and ``wait_closed``;
    none leaves a reader callback.
    """

    @property
    @abstractmethod
    def report(self) -> SecurityReport:
        """What protects the media: suite and peer once verified. The session sets the scope."""

    @report.setter
    @abstractmethod
    def report(self, report: SecurityReport) -> None: ...

    @abstractmethod
    def start(self) -> None:
        """Begin what was made or renewed; what came before is taken now (RFC 8842 5.3)."""

    @property
    def is_renewable(self) -> bool:
        """Another association can take the place of this one (RFC 8842 3.1)."""
        return False

    def renew(self, parameters: KeyingParameters, paths: Paths) -> None:
        """Prepare another association beside the one in force; ``start`` begins it.

        When its peer is verified the user moves onto it, and the old one is closed with its paths.
        Until then packets go the old way and ``report`` says what it said. When it fails, the
        transport ends. ``wait_established`` waits for the new one.

        Args:
            parameters: as agreed anew.
            paths: owned from now on, even when this raises.

        Raises:
            LocalProtocolError: see :attr:`is_renewable`.
            SecurityError: no usable fingerprint.
        """
        raise LocalProtocolError("this kind of transport cannot be renewed", source="RFC 8842 3.1")

    @abstractmethod
    async def wait_established(self, timeout_s: float) -> None:
        """Wait until the peer is verified.

        Raises:
            FingerprintMismatch: the peer's certificate matches none of the fingerprints.
            SecurityError: the handshake failed.
            PeerUnreachable: the peer stopped answering, or never came.
            OperationTimeout: not established in ``timeout_s``.
        """

    @abstractmethod
    async def wait_closed(self) -> Exception | None:
        """Wait for the end; returns what ended it, ``None`` for an end in order."""

    @abstractmethod
    def stats(self) -> TransportStats:
        """What transport and path did so far."""

    @abstractmethod
    async def aclose(self, timeout_s: float = 2.0) -> None:
        """End it, telling the peer, and close its paths. Idempotent and bounded."""


class DatagramTransport(SecureTransport):
    """Packets in batches. Nothing is queued here and nothing is made per packet."""

    @property
    def is_client(self) -> bool:
        """Our side began the handshake; it decides who gives which ids (RFC 8832 6)."""
        return False

    @property
    @abstractmethod
    def max_packet_size(self) -> int:
        """Bytes of the largest packet."""

    @property
    @abstractmethod
    def is_blocked(self) -> bool:
        """Nothing would be taken now; hold back until ``transport_writable``."""

    @abstractmethod
    def attach(self, receiver: PacketReceiver) -> None:
        """Say who takes the packets, before ``start``. A transport has one receiver."""

    @abstractmethod
    def send(self, packets: Sequence[bytes]) -> int:
        """Protect and send packets in order; return how many were taken.

        Fewer are taken while the path is full: ``transport_writable`` follows. None is taken
        before the peer is verified and after the end.
        """

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        """Derive keys from the handshake (RFC 5705).

        Raises:
            LocalProtocolError: no peer is verified yet, or this kind of transport has no exporter.
        """
        raise LocalProtocolError("this kind of transport has no exporter", source="RFC 5705")


class StreamTransport(SecureTransport):
    """Bytes in order."""

    @abstractmethod
    async def read(self, max_bytes: int = 65_536) -> bytes:
        """Take what came, waiting for it; ``b""`` when the peer closed in order.

        Raises:
            TransportError: the connection broke, ended early or is closed.
            SecurityError: the peer did not take us for the one it expected (RFC 8446 4.4.2.4).
        """

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send, waiting while too much is queued.

        Raises:
            LocalProtocolError: the peer is not verified yet.
            TransportError: the connection broke or is closed.
            SecurityError: as for :meth:`read`.
        """
