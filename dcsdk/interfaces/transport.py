"""Paths, associations and the engines that make them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dcsdk.errors import LocalProtocolError
from dcsdk.interfaces.stats import AssociationStats
from dcsdk.sdp.association import DtlsRole
from dcsdk.security import SecurityReport

if TYPE_CHECKING:
    from dcsdk.sdp.fingerprint import Fingerprint
    from dcsdk.tls.certificate import Certificate

Address = tuple[str, int]
"""An IP address as text (IPv6 without brackets) and a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelParameters:
    """What both ends must agree on for one data channel.

    Attributes:
        stream_id: 0..65534 (RFC 8832 3), or ``None`` to let the association choose.
        label: need not be unique.
        subprotocol: RFC 8864 name, ``""`` for raw text and binary.
        is_ordered: messages arrive in the order sent.
        max_retr: give a message up after this many retransmissions, ``None`` for never.
        max_time_ms: give a message up after this time, ``None`` for never; excludes ``max_retr``.
        priority: RFC 8831 6.4, 256 is normal.
        is_negotiated: agreed in SDP (dcmap), so no DCEP OPEN is sent.

    Source: RFC 8832 5.1, RFC 8864 5.1.
    """

    stream_id: int | None = None
    label: str = ""
    subprotocol: str = ""
    is_ordered: bool = True
    max_retr: int | None = None
    max_time_ms: int | None = None
    priority: int = 256
    is_negotiated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsSctpParameters:
    """The keying parameters of one DTLS/SCTP association: all it takes to open it.

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


class DatagramReceiver(ABC):
    """Who takes the datagrams of a path. All calls come from the event loop, one at a time."""

    @abstractmethod
    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Take a batch, in the order it came.

        Args:
            batch: pairs of data and segment size: datagrams of that size glued together, of which
                the last may be shorter (as UDP GRO hands them over).
        """

    @abstractmethod
    def path_writable(self) -> None:
        """The path takes datagrams again after ``is_blocked`` was true."""


class DatagramPath(ABC):
    """A way for datagrams to one remote end: a UDP socket now, an ICE pair later.

    Received datagrams reach the one attached receiver in batches, in the event loop's reader
    callback; nothing is queued per packet. What comes before ``set_remote`` is cached, bounded.
    """

    @property
    @abstractmethod
    def local_address(self) -> Address:
        """Where we receive; goes into ``c=`` and ``m=``."""

    @property
    @abstractmethod
    def is_blocked(self) -> bool:
        """The kernel takes no more now; hold back until ``path_writable``."""

    @abstractmethod
    def attach(self, receiver: DatagramReceiver) -> None:
        """Say who takes what comes from the remote end, before ``set_remote``.

        A path has one receiver; a receiver that shares the path among several fans out itself.
        """

    @abstractmethod
    def set_remote(self, address: Address) -> None:
        """Fix where datagrams go and whom they are accepted from.

        Cached datagrams of that remote end go to the receiver now.
        """

    @abstractmethod
    def send(self, data: bytes, segment_size: int) -> None:
        """Send datagrams of ``segment_size`` bytes glued together; the last may be shorter.

        Never raises for what a network does: a datagram that cannot be sent is lost.
        """

    def sibling(self) -> DatagramPath:
        """Make a path on the same local address that will lead to another remote end.

        Raises:
            LocalProtocolError: paths of this kind cannot.
            TransportError: the system does not allow it.
        """
        raise LocalProtocolError("this kind of path shares its address with no other")

    @abstractmethod
    def stats(self) -> Mapping[str, int]:
        """Counters of the path."""

    @abstractmethod
    def close(self) -> None:
        """Close the path. Closing twice is no error."""


class Association(ABC):
    """One DTLS/SCTP association with its data channels, on one path.

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
    async def wait_established(self, timeout_s: float) -> None:
        """Wait until DTLS is verified and SCTP is up.

        Raises:
            FingerprintMismatch: the peer's certificate matches none of the fingerprints.
            PeerUnreachable: the peer stopped answering.
            OperationTimeout: not established in ``timeout_s``.
        """

    @abstractmethod
    def open_channel(self, parameters: ChannelParameters) -> Any:
        """Make a channel; legal before the association is established.

        Returns:
            A :class:`dcsdk.datachannel.channel.DataChannel`.

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
    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Flush, shut SCTP and DTLS down and close the path. Idempotent and bounded."""

    @abstractmethod
    def stats(self) -> AssociationStats:
        """What the association, its path and its channels did so far."""


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
