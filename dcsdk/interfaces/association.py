"""SCTP associations with their data channels, and the engines that make them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dcsdk.errors import LocalProtocolError
from dcsdk.interfaces.channel import ChannelParameters
from dcsdk.interfaces.keying import DtlsParameters
from dcsdk.interfaces.paths import Address, DatagramPath
from dcsdk.interfaces.stats import AssociationStats
from dcsdk.interfaces.transports import DatagramTransport
from dcsdk.sdp.association import DtlsRole
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.security import SecurityReport

if TYPE_CHECKING:
    from dcsdk.tls.certificate import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class SctpParameters:
    """What both ends must agree on for one SCTP association (RFC 8841).

    Attributes:
        local_port: 1..65535, ``a=sctp-port``.
        remote_port: 1..65535.
        local_max_message_size: bytes we accept in one message, 0 for any size, which is as much as
            our receive window holds.
        remote_max_message_size: bytes the peer accepts in one message, 0 for any size, which is as
            much as we queue for it.
    """

    local_port: int = 5000
    remote_port: int = 5000
    local_max_message_size: int = 262_144
    remote_max_message_size: int = 65_536


class AssociationChannels(ABC):
    """What an SCTP association is for its user, whatever it runs on: its life and its channels."""

    @abstractmethod
    async def wait_established(self, timeout_s: float) -> None:
        """Wait until SCTP is up, and what it runs on.

        Raises:
            FingerprintMismatch: the peer's certificate matches none of the fingerprints.
            PeerUnreachable: the peer stopped answering.
            OperationTimeout: not established in ``timeout_s``.
        """

    @abstractmethod
    def open_channel(self, parameters: ChannelParameters) -> Any:
        """Make a channel; legal before the association is established.

        Returns:
            A :class:`dcsdk.DataChannel`.

        Raises:
            LocalProtocolError: the stream id is taken, or parameters exclude each other.
        """

    def incoming_channels(self) -> AsyncIterator[Any]:
        """Give the channels that the peer opens in band (RFC 8832), until the association ends.

        What they carry before they are taken waits, and takes room in the receive window.

        Raises:
            LocalProtocolError: the engine knows no DCEP; see :attr:`EngineFlags.dcep`.
        """
        raise LocalProtocolError("this engine knows channels agreed in SDP only")

    @abstractmethod
    async def wait_closed(self) -> Exception | None:
        """Wait for the end of the association.

        Returns:
            ``None`` when it was closed in order by SCTP's SHUTDOWN, or here by ``aclose``.
            Otherwise what ended it; data that was under way then, either way, may be lost.
        """

    @abstractmethod
    def stats(self) -> AssociationStats:
        """What the association, what it runs on, and its channels did so far."""


class ChannelAssociation(AssociationChannels):
    """One SCTP association with its data channels, on one datagram transport.

    Life: created -> ``start`` -> established, once the transport is -> closed. A transport that is
    renewed below it changes nothing here (RFC 8841 9.1).
    """

    @property
    @abstractmethod
    def report(self) -> SecurityReport:
        """What protects the association: the report of its transport."""

    @abstractmethod
    def start(self, parameters: SctpParameters) -> None:
        """Begin as soon as the transport is up.

        Raises:
            LocalProtocolError: started before.
            TransportError: closed.
        """

    @abstractmethod
    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Flush and shut SCTP down; the transport stays. Idempotent and bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsSctpParameters:
    """All it takes to open one DTLS/SCTP association on a path: both layers at once.

    Serialisable: every field is text, a number or a tuple of them.

    Attributes:
        dtls_role: ``"client"`` when our side is ``active`` (RFC 8842 5.2).
        remote_address: the peer's ``c=`` and ``m=`` address.
        remote_fingerprints: at least one; the peer's certificate must match one (RFC 8122 5).
        local_tls_id: ours, or ``None`` when the offer had none.
        remote_tls_id: the peer's, or ``None``.
        local_sctp_port: 1..65535.
        remote_sctp_port: 1..65535.
        local_max_message_size: bytes we accept in one message, 0 for any size, which is as much as
            our receive window holds.
        remote_max_message_size: bytes the peer accepts in one message, 0 for any size, which is as
            much as we queue for it.

    Source: RFC 8841, RFC 8842, TS 33.328 7.2.Y.
    """

    dtls_role: DtlsRole
    remote_address: Address
    remote_fingerprints: tuple[Fingerprint, ...]
    local_tls_id: str | None
    remote_tls_id: str | None
    local_sctp_port: int = 5000
    remote_sctp_port: int = 5000
    local_max_message_size: int = 262_144
    remote_max_message_size: int = 65_536

    @property
    def dtls(self) -> DtlsParameters:
        """The lower layer's part."""
        return DtlsParameters(
            dtls_role=self.dtls_role,
            remote_fingerprints=self.remote_fingerprints,
            local_tls_id=self.local_tls_id,
            remote_tls_id=self.remote_tls_id,
        )

    @property
    def sctp_ports(self) -> tuple[int, int]:
        """Ours and the peer's."""
        return self.local_sctp_port, self.remote_sctp_port

    @property
    def sctp(self) -> SctpParameters:
        """The upper layer's part."""
        return SctpParameters(
            local_port=self.local_sctp_port,
            remote_port=self.remote_sctp_port,
            local_max_message_size=self.local_max_message_size,
            remote_max_message_size=self.remote_max_message_size,
        )


class Association(AssociationChannels):
    """One DTLS/SCTP association with its data channels, on one path: for who brings a path.

    A session has its transports in groups, and uses :class:`ChannelAssociation`.

    Life: created (caches early datagrams) -> ``start`` -> established -> closed.
    """

    @property
    @abstractmethod
    def report(self) -> SecurityReport:
        """What protects the association. The session sets scope and reason."""

    @report.setter
    @abstractmethod
    def report(self, report: SecurityReport) -> None: ...

    @abstractmethod
    def start(self, parameters: DtlsSctpParameters) -> None:
        """Begin the handshake; datagrams that came before are taken now (RFC 8842 5.3)."""

    def restart(self, path: DatagramPath, parameters: DtlsSctpParameters) -> None:
        """Begin a new DTLS association beside the one in force (RFC 8842 3.1).

        When its peer is verified SCTP moves onto it, with channels and queued data (RFC 8841
        9.1), and the old one is closed with its path. Until then data goes the old way and
        ``report`` says what it said. When it fails, the association ends. ``wait_established``
        waits for the new one.

        Args:
            path: a new one, owned from now on even when this raises.
            parameters: of the new DTLS association; the SCTP ports are the same.

        Raises:
            LocalProtocolError: not established, or the engine cannot; see
                :attr:`EngineFlags.restart`.
            SecurityError: no usable fingerprint.
            ConfigError, TransportError: the path cannot lead there.
        """
        path.close()
        raise LocalProtocolError("this engine cannot move SCTP to a new DTLS association")

    @abstractmethod
    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Flush, shut SCTP and DTLS down and close the path. Idempotent and bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFlags:
    """What an association engine can do.

    Attributes:
        owns_dtls: brings a DTLS of its own.
        partial_reliability: messages can be given up (RFC 3758).
        interleaving: a large message holds up no other (RFC 8260).
        dcep: channels are opened in band (RFC 8832).
        restart: SCTP moves to a new DTLS association (RFC 8842 3.1).
    """

    owns_dtls: bool = False
    partial_reliability: bool = True
    interleaving: bool = False
    dcep: bool = False
    restart: bool = False


class AssociationEngine(ABC):
    """SCTP over a DTLS association, or owning both."""

    name: ClassVar[str]
    flags: ClassVar[EngineFlags]

    @abstractmethod
    async def bind_path(self, host: str, port: int = 0) -> DatagramPath:
        """Bind a path of the kind this engine runs on."""

    @abstractmethod
    def create(self, path: DatagramPath, certificate: Certificate, config: Any) -> Association:
        """Make an association on ``path``. Early datagrams are cached, bounded, until start."""

    def attach(self, transport: DatagramTransport, config: Any = None) -> ChannelAssociation:
        """Make an association on a transport that somebody else opens and closes.

        Args:
            transport: not closed by the association.
            config: an ``EngineConfig``, or ``None`` for the engine's own.

        Raises:
            LocalProtocolError: the engine brings a DTLS of its own; see :class:`EngineFlags`.
        """
        raise LocalProtocolError("this engine runs on no transport but its own")
