"""Security backends: who protects a media line, and how it is agreed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from dcsdk.interfaces.association import DtlsSctpParameters
from dcsdk.interfaces.paths import Address
from dcsdk.security import SecurityScope, SignallingSecurity

if TYPE_CHECKING:
    from dcsdk.ims.mediasec import SecurityMechanism
    from dcsdk.ims.profile import ImsProfile
    from dcsdk.sdp.data_channel import LinePolicy
    from dcsdk.sdp.dcmap import Dcmap
    from dcsdk.sdp.fingerprint import Fingerprint
    from dcsdk.sdp.media import MediaDescription
    from dcsdk.sdp.session import SessionDescription
    from dcsdk.tls.certificate import Certificate

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
