"""How the client reaches the network: registrations, invitations, dialogs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from dcsdk.interfaces.paths import Address
from dcsdk.security import SignallingSecurity

if TYPE_CHECKING:
    from dcsdk.config import ClientConfig
    from dcsdk.ims.feature_tags import FeatureCaps
    from dcsdk.ims.mediasec import SecurityMechanism
    from dcsdk.sdp.session import SessionDescription


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

    @abstractmethod
    async def wait_withdrawn(self) -> None:
        """Wait until nobody wants an answer: the peer took it back, or the dialog ended."""


class SignallingDialog(ABC):
    """One confirmed dialog of a call."""

    call_id: str
    remote_uri: str
    asserted_identity: str | None

    @abstractmethod
    async def reoffer(self, offer: SessionDescription, *, timeout_s: float) -> SessionDescription:
        """Send a re-offer and wait for the answer.

        Raises:
            CallRejected: refused, with ``.status``; the session stays as it was. 491 means that
                the peer offers at the same time: take the offer back, ``wait_after_glare``, and
                make a new one of what the session is then.
            OperationTimeout: no final answer in time.
        """

    @abstractmethod
    async def wait_after_glare(self) -> None:
        """Wait until a re-offer may be tried again after 491 (RFC 3261 14.1)."""

    @abstractmethod
    def reoffers(self) -> AsyncIterator[Reoffer]:
        """Re-offers of the peer, until the dialog ends."""

    @abstractmethod
    async def bye(self) -> None:
        """End the dialog and wait, bounded, for the peer's answer. Idempotent.

        The dialog is over as soon as the BYE is sent, whether it is answered or not
        (RFC 3261 15.1.1): ``wait_ended`` returns.
        """

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

    @abstractmethod
    async def wait_ended(self) -> str:
        """Wait until the call is over, answered or not; returns why, in words."""


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

    def trace(  # noqa: B027 - not every plug-in can
        self, on_message: Callable[[Address, Address, bytes], None]
    ) -> None:
        """Have every message told in plain text, for a capture; to be called before ``start``.

        A plug-in whose messages cannot be shown tells none.

        Args:
            on_message: takes source, destination and the message.
        """

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
    async def deregister(self, timeout_s: float) -> None:
        """Remove the binding. Idempotent.

        Args:
            timeout_s: bound on all of it, seconds; the binding is left to expire then.
        """

    @abstractmethod
    def invite(
        self, target: str, offer: SessionDescription, *, contact_features: Mapping[str, str | None]
    ) -> OutgoingInvitation:
        """Send an INVITE."""

    @abstractmethod
    def invitations(self) -> AsyncIterator[IncomingInvitation]:
        """Calls that come in, until ``aclose``."""

    @abstractmethod
    async def aclose(self, timeout_s: float) -> None:
        """End every dialog and close the connections. Idempotent.

        Args:
            timeout_s: bound on all of it, seconds; 0 closes at once.
        """
