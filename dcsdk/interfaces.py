"""The abstract base classes that plug-ins implement, and the values that cross them.

Nothing here does I/O. A plug-in hands over *classes*; the client makes one object of each per
client. See ``dcsdk.hookspecs`` for how they are found.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dcsdk.security import SecurityReport, SecurityScope, SignallingSecurity

if TYPE_CHECKING:
    from dcsdk.config import ClientConfig
    from dcsdk.ims.feature_tags import FeatureCaps
    from dcsdk.ims.mediasec import SecurityMechanism
    from dcsdk.ims.profile import ImsProfile
    from dcsdk.sdp.data_channel import LinePolicy
    from dcsdk.sdp.dcmap import Dcmap
    from dcsdk.sdp.fingerprint import Fingerprint
    from dcsdk.sdp.media import MediaDescription
    from dcsdk.sdp.session import SessionDescription
    from dcsdk.tls.certificate import Certificate

Address = tuple[str, int]
"""An IP address as text (IPv6 without brackets) and a port."""

DtlsRole = Literal["client", "server"]


# --- data channels -------------------------------------------------------------------------------
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
        local_max_message_size: bytes we accept in one message, 0 for any size.
        remote_max_message_size: bytes the peer accepts in one message, 0 for any size.

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
            A :class:`dcsdk.channel.DataChannel`.

        Raises:
            LocalProtocolError: the stream id is taken, or parameters exclude each other.
        """

    @abstractmethod
    async def wait_closed(self) -> Exception | None:
        """Wait for the end of the association; ``None`` when it was closed on purpose."""

    @abstractmethod
    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Flush, shut SCTP and DTLS down and close the path. Idempotent and bounded."""

    @abstractmethod
    def stats(self) -> Mapping[str, Any]:
        """Counters of the association and its path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFlags:
    """What an association engine can do."""

    owns_dtls: bool = False
    partial_reliability: bool = True
    interleaving: bool = False
    dcep: bool = False


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


# --- security backends ---------------------------------------------------------------------------
MediaKind = Literal["rtp_sdes", "rtp_dtls", "msrp", "bfcp", "t38", "dc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaIntent:
    """What the program wants of one media line, before anything is negotiated.

    Attributes:
        kind: the media kind.
        scope: the scope asked for; ``NETWORK_DECIDES`` leaves it to policy and registration.
        dcmaps: the channels wanted on a data channel line.
        attributes: further media-level attributes as (name, value) pairs, written as they are.
        pinned_fingerprint: the peer's fingerprint known beforehand; proves ``E2E``.
    """

    kind: MediaKind
    scope: SecurityScope = SecurityScope.NETWORK_DECIDES
    dcmaps: tuple[Dcmap, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    pinned_fingerprint: Fingerprint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityContext:
    """What a backend may know when it makes or checks SDP for one media line.

    Attributes:
        certificate: ours.
        local_address: of the path that will carry the media.
        is_e2dce_registered: UE and network both registered e2DCe (TS 33.328 7.1.X).
        signalling: how signalling is protected.
        policy: what we take from a peer where the standards leave room.
        max_message_size: bytes we accept in one message.
        profile: the choices the standards leave open.
    """

    certificate: Certificate
    local_address: Address
    is_e2dce_registered: bool
    signalling: SignallingSecurity
    policy: LinePolicy
    profile: ImsProfile
    max_message_size: int = 262_144


Attributes = tuple[tuple[str, str | None], ...]
"""SDP attributes as (name, value); a property attribute has the value ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What offer and answer of one media line led to.

    Attributes:
        parameters: open the keyed transport.
        scope: between whom the media is protected, as far as the UE can know.
        reason: why ``scope`` is what it is, in one sentence.
    """

    parameters: DtlsSctpParameters
    scope: SecurityScope
    reason: str


class PendingOffer(ABC):
    """An offer of one media line that has no answer yet."""

    attributes: Attributes

    @abstractmethod
    async def agree(
        self, offer: MediaDescription, answer: MediaDescription, session: SessionDescription
    ) -> Agreement:
        """Check one answer's media description, once per forked dialog.

        Args:
            offer: the media description as it was sent.
            answer: the media description that answers the line.
            session: the answer it stands in.

        Raises:
            RemoteProtocolError: the answer breaks a rule (``actpass``, missing ``setup``...).
            SecurityError: no usable fingerprint, or less security than asked for.
        """


class SecurityBackend(ABC):
    """Protects one kind of media by one mechanism of TS 33.328."""

    name: ClassVar[str]
    media_kinds: ClassVar[frozenset[MediaKind]]
    scopes: ClassVar[frozenset[SecurityScope]]

    @abstractmethod
    def registration_indications(self, profile: ImsProfile) -> Sequence[SecurityMechanism]:
        """The ``mediasec`` entries this backend adds to ``Security-Client`` (24.229 7.2A.7).

        Args:
            profile: names of what is not standardised; asked only when the configuration wants
                such indications sent.
        """

    @abstractmethod
    async def offer(self, intent: MediaIntent, context: SecurityContext) -> PendingOffer:
        """Make the attributes of an offer.

        Raises:
            ConfigError: the intent needs a registration that did not happen.
        """

    @abstractmethod
    async def answer(
        self,
        offer: MediaDescription,
        session: SessionDescription,
        intent: MediaIntent,
        context: SecurityContext,
    ) -> tuple[Attributes, Agreement]:
        """Check an offered media description and make the answer's attributes.

        Args:
            offer: the media description to answer.
            session: the offer it stands in.
            intent: what our side wants of the line.
            context: what is known here.

        Raises:
            RemoteProtocolError: the offer breaks a rule.
            SecurityError: the offer carries no usable fingerprint.
        """


# --- application protocols -----------------------------------------------------------------------
class AppProtocol(ABC):
    """A protocol that runs on a data channel, found by its RFC 8864 subprotocol name."""

    subprotocol: ClassVar[str]

    @classmethod
    def dcmap_defaults(cls) -> ChannelParameters:
        """Ordered, reliable, priority 256 unless a protocol says otherwise."""
        return ChannelParameters(subprotocol=cls.subprotocol)

    @abstractmethod
    def start(self, carrier: Any, *, is_opener: bool) -> Any:
        """Run the protocol on an open channel.

        Args:
            carrier: the :class:`dcsdk.channel.DataChannel`.
            is_opener: our side asked for the channel.

        Returns:
            What the program gets from ``session.open`` or ``request.accept``; it has ``aclose``
            and ``security``.
        """


# --- signalling ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationRequest:
    """What the client puts into its registration.

    Attributes:
        security_client: ``mediasec`` entries for ``Security-Client``.
        contact_features: feature parameters for Contact, name to value (``None`` for none), for
            example ``{"+sip.app-subtype": "webrtc-datachannel"}``.
        expires_s: lifetime to ask for.
    """

    security_client: tuple[SecurityMechanism, ...] = ()
    contact_features: Mapping[str, str | None] = field(default_factory=dict)
    expires_s: int = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationGrant:
    """What the network granted.

    Attributes:
        expires_s: granted lifetime of this contact.
        security_server: the network's ``mediasec`` entries.
        feature_caps: what ``Feature-Caps`` of the 200 said.
        associated_uris: ``P-Associated-URI``, the first is the default public identity.
        service_route: as it came.
        signalling: how the connection to the P-CSCF is protected.
    """

    expires_s: int
    security_server: tuple[SecurityMechanism, ...]
    feature_caps: FeatureCaps
    associated_uris: tuple[str, ...]
    service_route: tuple[str, ...]
    signalling: SignallingSecurity


class Reoffer(ABC):
    """A re-offer (re-INVITE) from the peer that waits for its answer."""

    offer: SessionDescription

    @abstractmethod
    async def accept(self, answer: SessionDescription) -> None:
        """Answer 200 with the SDP answer."""

    @abstractmethod
    async def reject(self, status: int, reason: str | None = None) -> None:
        """Refuse; the session stays as it was (RFC 3261 14.1)."""


class SignallingDialog(ABC):
    """One confirmed dialog of a call."""

    call_id: str
    remote_uri: str
    asserted_identity: str | None

    @abstractmethod
    async def reoffer(self, offer: SessionDescription, *, timeout_s: float) -> SessionDescription:
        """Send a re-offer and wait for the answer; glare (491) is retried inside.

        Raises:
            CallRejected: refused, with ``.status``; the session stays as it was.
            OperationTimeout: no final answer in time.
        """

    @abstractmethod
    def reoffers(self) -> AsyncIterator[Reoffer]:
        """Re-offers of the peer, until the dialog ends."""

    @abstractmethod
    async def bye(self) -> None:
        """End the dialog. Idempotent and bounded."""

    @abstractmethod
    async def wait_ended(self) -> str:
        """Wait for the end of the dialog; returns why, in words."""


class OutgoingInvitation(ABC):
    """An INVITE we sent."""

    @abstractmethod
    async def answered(self) -> tuple[SignallingDialog, SessionDescription]:
        """Wait for the first 2xx; later forks are ended with BYE.

        A cancelled wait sends CANCEL.

        Raises:
            CallRejected: a final refusal, with ``.status``.
            OperationTimeout: nobody answered in time.
        """

    @property
    @abstractmethod
    def progress(self) -> Sequence[int]:
        """The provisional statuses so far."""


class IncomingInvitation(ABC):
    """An INVITE that waits for our answer."""

    offer: SessionDescription | None
    call_id: str
    remote_uri: str
    asserted_identity: str | None

    @abstractmethod
    async def ring(self) -> None:
        """Send 180."""

    @abstractmethod
    async def accept(self, answer: SessionDescription) -> SignallingDialog:
        """Send 200 with the answer and wait for the ACK.

        Raises:
            CallRejected: the caller cancelled before.
            OperationTimeout: no ACK came in 64*T1; the dialog is ended.
        """

    @abstractmethod
    async def reject(self, status: int, reason: str | None = None) -> None:
        """Refuse the call."""


class Signalling(ABC):
    """How the client reaches the network: SIP, or whatever a WIC's provider uses (N.2.2)."""

    name: ClassVar[str]

    @abstractmethod
    def __init__(self, config: ClientConfig) -> None: ...

    @property
    @abstractmethod
    def security(self) -> SignallingSecurity:
        """How the connection is protected."""

    @property
    @abstractmethod
    def local_host(self) -> str:
        """The local address by which the network is reached; media is bound there."""

    @abstractmethod
    async def start(self) -> None:
        """Connect to the P-CSCF."""

    @abstractmethod
    async def register(
        self,
        request: RegistrationRequest,
        *,
        on_refreshed: Callable[[RegistrationGrant], None] | None = None,
        on_lost: Callable[[Exception], None] | None = None,
    ) -> RegistrationGrant:
        """Register and keep refreshing until ``deregister`` or ``aclose``.

        Raises:
            RegistrationFailed: refused, with ``.status``.
            OperationTimeout: no answer in time.
        """

    @abstractmethod
    async def deregister(self) -> None:
        """Remove the binding. Idempotent and bounded."""

    @abstractmethod
    def invite(
        self, target: str, offer: SessionDescription, *, contact_features: Mapping[str, str | None]
    ) -> OutgoingInvitation:
        """Send an INVITE."""

    @abstractmethod
    def invitations(self) -> AsyncIterator[IncomingInvitation]:
        """Calls that come in, until ``aclose``."""

    @abstractmethod
    async def aclose(self) -> None:
        """End every dialog and close the connections. Idempotent and bounded."""


# --- application lists ---------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class AppEntry:
    """One mini-app of an application list.

    Attributes:
        app_id: what ``a=3gpp-req-app`` names.
        name: for people.
        url: request target on the bootstrap channel that fetches it.
        icon_url: or ``None``.
        etag: of the stored package, or ``None``.
        phase: ``"PRECALL"``, ``"INCALL"`` or ``None``.
        needs_peer_dc: works only when the peer has data channels too.
        qos_hint: text of ``a=3gpp-qos-hint``, or ``None``.

    Source: not standardised in Rel-18; the fields are those seen in the field.
    """

    app_id: str
    name: str
    url: str
    icon_url: str | None = None
    etag: str | None = None
    phase: str | None = None
    needs_peer_dc: bool = False
    qos_hint: str | None = None


class ListProvider(ABC):
    """Reads one flavour of application list (not standardised, TS 23.228 AC.7.1)."""

    name: ClassVar[str]

    @abstractmethod
    def list_target(self) -> str:
        """The request target that gives the list, ``"/"`` by TS 23.228 AC.7.1."""

    @abstractmethod
    def parse(self, status: int, content_type: str, body: bytes) -> list[AppEntry]:
        """Read an application list.

        Raises:
            ParseError: not a list of this flavour.
        """
