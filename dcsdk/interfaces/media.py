"""Media types: which m-lines they are, how they read and write them, and what runs on them.

The session knows no medium. It asks the :class:`LineMedia` of a line for its part of every
description, and hands back, once, what the medium made of the other side's: to ``commit`` when
offer and answer are through, or to ``forget``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from dcsdk.interfaces.paths import Address
from dcsdk.interfaces.transports import SecureTransport
from dcsdk.interfaces.values import Attributes
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.sdp.lines import Bandwidth
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SecurityScope

if TYPE_CHECKING:
    from dcsdk.config import ClientConfig
    from dcsdk.interfaces.applications import ListProvider
    from dcsdk.interfaces.association import AssociationEngine
    from dcsdk.interfaces.capabilities import Capabilities
    from dcsdk.interfaces.carriers import AppProtocol

RequestId = int | str
"""Names one thing that an offered line asks for: a data channel by its stream id, say."""

Change = TypeVar("Change")
Shared = TypeVar("Shared")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaIntent:
    """What a program wants of one media line. Each medium has a subclass with fields of its own.

    Attributes:
        kind: name of the medium.
        scope: between whom the line shall be protected; ``None`` follows policy and registration.
        security: name of the backend; ``None`` leaves the choice to policy.
        pinned_fingerprint: the peer's fingerprint known beforehand; proves ``E2E``.
        attributes: further media-level attributes, written as they are.
    """

    kind: ClassVar[str]
    scope: SecurityScope | None = None
    security: str | None = None
    pinned_fingerprint: Fingerprint | None = None
    attributes: Attributes = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathNeeds:
    """What paths a line runs on.

    Attributes:
        is_stream: TCP instead of UDP.
        has_rtcp: RTCP needs a path of its own unless rtcp-mux is agreed (RFC 5761).
        is_ice_able: ICE may choose the path.
    """

    is_stream: bool = False
    has_rtcp: bool = False
    is_ice_able: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBase:
    """What the session writes of a line, for a medium whose attributes depend on it.

    Attributes:
        address: ours in ``c=`` and ``m=``.
        is_offer: the description is an offer.
        offered: the description that is answered; ``None`` in an offer.
    """

    address: Address
    is_offer: bool
    offered: MediaDescription | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaBody:
    """A medium's part of an ``m=`` section: all but port, ``c=``, proto, keys and ICE.

    Attributes:
        media: ``"audio"``, ``"application"``, ...
        proto: what the backend makes the ``m=`` proto of: ``"RTP/AVPF"``, ``"SCTP"``, ...
        formats: at least one.
        attributes: the medium's own, its direction included.
        bandwidths: ``b=`` lines.
    """

    media: str
    proto: str
    formats: tuple[str, ...]
    attributes: Attributes = ()
    bandwidths: tuple[Bandwidth, ...] = ()


class OfferedRequest(Protocol):
    """One thing that an offered line asks for, as the program sees it and decides on it."""

    @property
    def decision(self) -> asyncio.Future[bool]:
        """Done once the program has decided, with whether it accepted."""

    @property
    def is_waiting(self) -> bool:
        """Nobody has decided it yet, and it has not been given up."""

    @property
    def is_accepted(self) -> bool:
        """The program accepted it in time."""

    def refuse(self) -> None:
        """Leave it out of the answer."""

    def opened(self) -> None:
        """It is up."""

    def fail(self, error: Exception) -> None:
        """It did not come up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What an offered line asks for.

    Attributes:
        requests: what the program decides on, by id, in the order of the offer.
        granted: ids of those that need no question.
        refusals: what is refused without asking, and why, for the log.
        is_refused: the whole line is: it is answered with port 0.
        value: what the medium read, for its :meth:`LineMedia.choose`.
    """

    requests: dict[RequestId, OfferedRequest] = field(default_factory=dict)
    granted: frozenset[RequestId] = frozenset()
    refusals: tuple[str, ...] = ()
    is_refused: bool = False
    value: Any = None


class LineServices(Protocol):
    """What a medium may ask of its line and of the session around it."""

    async def change(self, make: Callable[[], Awaitable[Any]]) -> None:
        """Make a re-offer of our own: a hold, a new channel, another codec.

        Args:
            make: makes the change when nothing else is being negotiated; called once for each
                time that the offer is made, which glare may repeat. Each change is committed or
                forgotten.

        Raises:
            CallRejected: the re-offer was refused; everything is as it was.
            SecurityError: the answer means less security than was asked for.
            TransportError, OperationTimeout: the session ended, or nothing came up in time.
        """

    async def replace(self, intent: MediaIntent) -> LineMedia[Any]:
        """Offer another medium on the same m-line, audio to fax say (RFC 3264 8.3.3).

        Raises:
            As ``change``; and ``UnsupportedByPeer`` when the line is refused, which ends it.
        """

    def shared(self, factory: Callable[[], Shared]) -> Shared:
        """Return what the lines of one session share: made by the first that asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaParts:
    """The parts of a client that a medium may use.

    Attributes:
        config: of the client.
        settings: of transports and engines: an ``EngineConfig``.
        protocols: one object of each application protocol, by subprotocol.
        engines: classes of association engines, by name.
        list_providers: classes of readers of application lists, by name.
    """

    config: ClientConfig
    settings: Any
    protocols: Mapping[str, AppProtocol[Any]]
    engines: Mapping[str, type[AssociationEngine]]
    list_providers: Mapping[str, type[ListProvider]]


class MediaType(ABC):
    """A medium: which m-lines it is, and what its lines are made of. One object a client.

    Attributes:
        name: ``"data_channel"``, ``"audio"``, ``"text"``, ``"message"``, ``"floor"``, ``"fax"``
            or a third party's.
        needs: the paths of its lines.

    Args:
        parts: of the client.
    """

    name: ClassVar[str]
    needs: ClassVar[PathNeeds] = PathNeeds()

    def __init__(self, parts: MediaParts) -> None:
        self.parts = parts

    @abstractmethod
    def matches(self, media: MediaDescription) -> bool:
        """Tell whether an m-line is of this medium."""

    @abstractmethod
    def intent_for(self, offer: MediaDescription, wanted: MediaIntent | None) -> MediaIntent:
        """Return what our side wants of an offered line.

        Args:
            offer: the line.
            wanted: what the program said of lines of this medium, or ``None``.
        """

    @abstractmethod
    def create(self, intent: MediaIntent, services: LineServices) -> LineMedia[Any]:
        """Make the medium's half of a line.

        Raises:
            ConfigError: ``intent`` cannot be.
        """

    def contact_features(self, capabilities: Capabilities | None) -> Mapping[str, str | None]:
        """Return the feature tags of our Contact for this medium (RFC 3840).

        Args:
            capabilities: of the registration in force; ``None`` for a REGISTER.
        """
        return {}

    def check_offerable(  # noqa: B027 - most media can always be offered
        self, capabilities: Capabilities
    ) -> None:
        """Refuse to offer what configuration or network do not have.

        Raises:
            ConfigError, UnsupportedByNetwork: says which.
        """

    def check_offer(  # noqa: B027 - most media have no such rule
        self, offer: SessionDescription
    ) -> None:
        """Check a whole first offer before it is sent.

        Raises:
            ConfigError: it breaks a rule of this medium.
        """


class LineMedia(ABC, Generic[Change]):
    """The medium's half of one line.

    Attributes:
        kind: name of the medium.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def app(self) -> Any:
        """What the program gets: an audio stream, the channels of the line, ..."""

    @abstractmethod
    def review(self, offer: MediaDescription, session: SessionDescription) -> Review:
        """Read an offered description of the line. Changes nothing.

        Raises:
            RemoteProtocolError: the line breaks a rule; it is answered with port 0.
        """

    @abstractmethod
    async def choose(self, review: Review, taken: Collection[RequestId], base: LineBase) -> Change:
        """Return what answering so would change. Changes nothing that the peer or a program sees.

        Args:
            review: of the offered line.
            taken: ids of the requests that are accepted.
            base: what the session writes around the answer.

        Raises:
            NegotiationError: the peer wants what we cannot do; the whole offer is refused.
        """

    @abstractmethod
    def describe(self, base: LineBase, change: Change | None) -> MediaBody:
        """Write the medium's part of a description.

        Args:
            base: what the session writes around it.
            change: what differs from the line as it stands; ``None`` for nothing.
        """

    @abstractmethod
    def accept(
        self,
        offer: MediaDescription,
        answer: MediaDescription,
        session: SessionDescription,
        change: Change | None,
    ) -> Change:
        """Check the answer to an offer of ours and return what it changes. Changes nothing.

        Args:
            offer: the line as offered.
            answer: the peer's.
            session: the answer it stands in.
            change: what the offer was described with; the result takes its place.

        Raises:
            RemoteProtocolError, NegotiationError: the answer cannot be.
        """

    @abstractmethod
    def commit(self, change: Change, transport: SecureTransport | None) -> None:
        """Let a change take effect: offer and answer are through. Cannot refuse.

        Args:
            change: of ``choose`` or ``accept``.
            transport: what the line runs on from now on, perhaps the same as before; ``None``
                when it is held without one.
        """

    @abstractmethod
    def forget(self, change: Change) -> None:
        """Drop a change that does not come about."""

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until what runs on the transport is up as well.

        Raises:
            TransportError, OperationTimeout: it did not come up.
        """

    async def wait_closed(self, transport: SecureTransport) -> Exception | None:
        """Wait until the line is over, by its transport unless the medium can tell more.

        Returns:
            ``None`` for an end in order, otherwise what ended it.
        """
        return await transport.wait_closed()

    @abstractmethod
    def stats(self) -> Any:
        """What the medium did so far."""

    @abstractmethod
    async def aclose(self, timeout_s: float = 2.0) -> None:
        """End what runs on the line. Its transport is closed afterwards. Idempotent, bounded."""
