"""Security backends: who protects a media line, and how it is agreed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dcsdk.interfaces.keying import KeyingParameters
from dcsdk.interfaces.media import MediaIntent
from dcsdk.interfaces.paths import Address, Paths
from dcsdk.interfaces.transports import SecureTransport
from dcsdk.interfaces.values import Attributes
from dcsdk.security import SignallingSecurity

if TYPE_CHECKING:
    from dcsdk.ims.mediasec import SecurityMechanism
    from dcsdk.ims.profile import ImsProfile
    from dcsdk.sdp.dtls import FingerprintPolicy
    from dcsdk.sdp.media import MediaDescription
    from dcsdk.sdp.session import SessionDescription
    from dcsdk.tls.certificate import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityContext:
    """What a backend may know of the line it protects.

    Attributes:
        certificate: ours.
        local_address: of the path that will carry the media.
        registered: names of the mechanisms that UE and network both registered.
        signalling: how signalling is protected.
        policy: which fingerprints and tls-ids we take from a peer.
        profile: the choices the standards leave open.
        settings: of transports: an ``EngineConfig``.
    """

    certificate: Certificate
    local_address: Address
    registered: frozenset[str]
    signalling: SignallingSecurity
    policy: FingerprintPolicy
    profile: ImsProfile
    settings: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What offer and answer of one media line led to.

    Attributes:
        parameters: open the secure transport.
        proof: what ties the peer to the line beside its keys, in words: a pinned fingerprint, the
            identity of a ticket; ``""`` for nothing.
        remote: what the peer signalled, for the backend's next comparison.
        renewal: why the transport in force does not serve any more, or ``None``: it goes on.
    """

    parameters: KeyingParameters
    proof: str = ""
    remote: Any = None
    renewal: str | None = None


class PendingOffer(ABC):
    """The backend's half of an offered line. Ends in ``rollback``, or is agreed on.

    One offer may be agreed on several times, once per forked dialog.
    """

    @property
    @abstractmethod
    def attributes(self) -> Attributes:
        """What the offer says."""

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

    async def rollback(self) -> None:  # noqa: B027 - most offers hold nothing
        """The offer came to nothing: release what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityAnswer:
    """The backend's half of an answered line.

    Attributes:
        attributes: what the answer says.
        agreement: what it leads to.
    """

    attributes: Attributes
    agreement: Agreement

    async def rollback(self) -> None:
        """The answer was not sent: release what it holds."""


class SecurityBackend(ABC):
    """Protects media by one mechanism of TS 33.328.

    Attributes:
        name: in configuration and reports.
        media_kinds: names of the media it protects; ``None`` for any.
    """

    name: ClassVar[str]
    media_kinds: ClassVar[frozenset[str] | None] = None

    @abstractmethod
    def recognises(self, offer: MediaDescription, session: SessionDescription) -> bool:
        """Tell whether an offered line asks for this mechanism."""

    def registration_indications(self, profile: ImsProfile) -> Sequence[SecurityMechanism]:
        """The ``mediasec`` entries this backend adds to ``Security-Client`` (24.229 7.2A.7).

        Those that are experimental are left out unless ``profile`` switches them on.
        """
        return ()

    @abstractmethod
    def proto(self, base: str) -> str:
        """Return the ``m=`` proto: ``"RTP/AVPF"`` becomes ``"UDP/TLS/RTP/SAVPF"``, say."""

    @abstractmethod
    async def offer(
        self, intent: MediaIntent, context: SecurityContext, current: Agreement | None
    ) -> PendingOffer:
        """Make the attributes of an offer.

        Args:
            intent: what our side wants of the line.
            context: what is known here.
            current: what is in force; keys and tls-id are repeated. ``None`` asks for new ones.

        Raises:
            ConfigError: the intent needs a registration that did not happen.
        """

    @abstractmethod
    def review(
        self, offer: MediaDescription, session: SessionDescription, context: SecurityContext
    ) -> Any:
        """Read the backend's attributes of an offered line, once. Changes nothing.

        Args:
            offer: the media description.
            session: the offer it stands in.
            context: what is known here.

        Returns:
            What ``renewal`` and ``answer`` want to know of it.

        Raises:
            RemoteProtocolError: it breaks a rule; the line is answered with port 0.
            SecurityError: it carries no usable fingerprint or key; likewise.
        """

    def renewal(self, offered: Any, current: Agreement) -> str | None:
        """Say why an offered line needs a new transport, hence new paths, or ``None``.

        Args:
            offered: of ``review``.
            current: what is in force.

        Raises:
            NegotiationError: it needs what cannot be had.
        """
        return None

    @abstractmethod
    async def answer(
        self,
        offered: Any,
        intent: MediaIntent,
        context: SecurityContext,
        current: Agreement | None,
    ) -> SecurityAnswer:
        """Make the answer's attributes.

        Args:
            offered: of ``review``.
            intent: what our side wants of the line.
            context: what is known here.
            current: what stays in force; ``None`` for a first or a new transport.

        Raises:
            SecurityError: the peer is not the one that ``intent`` wants.
        """

    @abstractmethod
    def open(
        self, parameters: KeyingParameters, paths: Paths, context: SecurityContext
    ) -> SecureTransport:
        """Make the transport of a group of lines, which owns the paths from now on.

        Nothing is sent before its ``start``.
        """

    def attach(self, parameters: KeyingParameters, shared: SecureTransport) -> SecureTransport:
        """Return what one line of a group runs on (RFC 9143): the transport itself, or a part."""
        return shared
