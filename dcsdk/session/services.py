"""What a session needs from its client, in one value, and the making of lines from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dcsdk.errors import ConfigError, DowngradeRefused, NegotiationError, UnsupportedByNetwork
from dcsdk.interfaces.media import LineMedia, MediaIntent, MediaType
from dcsdk.interfaces.security import SecurityBackend, SecurityContext
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SecurityScope, SignallingSecurity
from dcsdk.session.line import MediaLine
from dcsdk.session.line_paths import LinePaths

if TYPE_CHECKING:
    from dcsdk.config import ClientConfig
    from dcsdk.events import Event
    from dcsdk.ims.security_policy import SecurityPolicy
    from dcsdk.interfaces import AppProtocol, ListProvider
    from dcsdk.interfaces.capabilities import Capabilities
    from dcsdk.io.secure.engine_config import EngineConfig
    from dcsdk.registry import Registry
    from dcsdk.tls.certificate import Certificate

Shared = TypeVar("Shared")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionServices:
    """The client's parts that one session uses.

    Attributes:
        config: of the client.
        registry: the plug-ins.
        settings: of transports.
        media_types: one object of each medium, by name.
        backends: one object of each security backend.
        protocols: one object of each application protocol, by subprotocol.
        provider: reads the application list.
        policy: decides scopes.
        certificate: of this session.
        signalling: how signalling is protected.
        local_host: where media paths are bound.
        capabilities: those of the current registration.
        on_event: hands an event to the program.
    """

    config: ClientConfig
    registry: Registry
    settings: EngineConfig
    media_types: Mapping[str, MediaType]
    backends: Sequence[SecurityBackend]
    protocols: Mapping[str, AppProtocol[Any]]
    provider: ListProvider
    policy: SecurityPolicy
    certificate: Certificate
    signalling: SignallingSecurity
    local_host: str
    capabilities: Callable[[], Capabilities]
    on_event: Callable[[Event], None]

    def check_signalling(self) -> None:
        """Refuse to trust fingerprints over unprotected signalling (TS 33.328 5.5).

        Raises:
            DowngradeRefused: signalling is unprotected and the config does not allow that.
        """
        is_unprotected = self.signalling is SignallingSecurity.NONE
        if is_unprotected and not self.config.allow_unprotected_signalling:
            raise DowngradeRefused(
                "fingerprints over unprotected SIP prove nothing; use TLS, or set "
                "allow_unprotected_signalling",
                source="RFC 8122 7",
            )


class ServicesOfLine:
    """What the medium of one line may ask for; see ``LineServices``.

    Args:
        maker: of the session.

    Attributes:
        line: whose services these are, once it is made.
    """

    def __init__(self, maker: LineMaker) -> None:
        self._maker = maker
        self.line: MediaLine | None = None

    def _require_line(self) -> MediaLine:
        if self.line is None:
            raise ConfigError("a medium asks for its line while it is being made")
        return self.line

    async def change(self, make: Callable[[], Awaitable[Any]]) -> None:
        """Make a re-offer that changes the line."""
        await self._maker.on_change(self._require_line(), make)

    async def replace(self, intent: MediaIntent) -> LineMedia[Any]:
        """Offer another medium in the place of the line."""
        return (await self._maker.on_replace(self._require_line(), intent)).media

    def shared(self, factory: Callable[[], Shared]) -> Shared:
        """Return what the lines of the session share."""
        return self._maker.shared(factory)


class LineMaker:
    """Makes the lines of one session.

    Args:
        services: of the client.
        on_change: makes a re-offer that changes a line.
        on_replace: makes one that puts another medium in a line's place.
    """

    def __init__(
        self,
        services: SessionServices,
        *,
        on_change: Callable[[MediaLine, Callable[[], Awaitable[Any]]], Awaitable[None]],
        on_replace: Callable[[MediaLine, MediaIntent], Awaitable[MediaLine]],
    ) -> None:
        self._services = services
        self.on_change = on_change
        self.on_replace = on_replace
        self._shared: dict[object, Any] = {}

    def shared(self, factory: Callable[[], Shared]) -> Shared:
        """Return what the lines of the session share: made by the first that asks."""
        if factory not in self._shared:
            self._shared[factory] = factory()
        found: Shared = self._shared[factory]
        return found

    def registered(self) -> frozenset[str]:
        """Mechanisms that UE and network both registered."""
        return self._services.capabilities().registered

    def line(self, intent: MediaIntent) -> MediaLine:
        """Make our half of a line that we offer. Nothing is sent.

        Raises:
            ConfigError: nothing that is loaded can make it, or what is asked was not registered.
            UnsupportedByNetwork: the network has no such medium.
        """
        medium = self._services.media_types.get(intent.kind)
        if medium is None:
            known = ", ".join(sorted(self._services.media_types)) or "none"
            raise ConfigError(f"no medium called {intent.kind!r} is loaded (loaded: {known})")
        medium.check_offerable(self._services.capabilities())
        wanted = self._services.policy.wanted(
            intent.kind,
            intent.scope,
            self.registered(),
            is_pinned=intent.pinned_fingerprint is not None,
        )
        return self._make(medium, intent, self._select(intent, self._services.backends), wanted)

    def line_for_offer(
        self,
        media: MediaDescription,
        session: SessionDescription,
        wanted: Iterable[MediaIntent] = (),
    ) -> MediaLine:
        """Make our half of an offered line that is new.

        Args:
            media: as offered.
            session: the offer.
            wanted: what the program said of lines it takes.

        Raises:
            NegotiationError: nothing that is loaded can take it.
        """
        medium = next(
            (item for item in self._services.media_types.values() if item.matches(media)), None
        )
        if medium is None:
            raise NegotiationError(f"no medium takes m={media.media} {media.proto[:32]}")
        asked = next((intent for intent in wanted if intent.kind == medium.name), None)
        try:
            medium.check_offerable(self._services.capabilities())
            intent = medium.intent_for(media, asked)
            backend = self._select(
                intent,
                [item for item in self._services.backends if item.recognises(media, session)],
            )
        except (ConfigError, UnsupportedByNetwork) as exc:
            raise NegotiationError(str(exc), source=exc.source) from exc
        return self._make(medium, intent, backend, SecurityScope.NETWORK_DECIDES)

    def _select(
        self, intent: MediaIntent, candidates: Iterable[SecurityBackend]
    ) -> SecurityBackend:
        able = [item for item in candidates if intent.security in (None, item.name)]
        return self._services.registry.select_security(intent, able)

    def _make(
        self,
        medium: MediaType,
        intent: MediaIntent,
        backend: SecurityBackend,
        wanted: SecurityScope,
    ) -> MediaLine:
        services = self._services
        context = SecurityContext(
            certificate=services.certificate,
            local_address=(services.local_host, 0),
            registered=self.registered(),
            signalling=services.signalling,
            policy=services.config.profile.line_policy(
                accept_missing_tls_id=services.config.accept_missing_tls_id
            ),
            profile=services.config.profile,
            settings=services.settings,
        )
        asking = ServicesOfLine(self)
        line = MediaLine(intent, medium, medium.create(intent, asking), backend, context, wanted)
        asking.line = line
        return line

    def bind(self, line: MediaLine) -> LinePaths:
        """Bind the paths of a line. Nothing is sent.

        Raises:
            TransportError: an address cannot be bound.
        """
        services = self._services
        return LinePaths.bind(
            line.medium.needs, services.local_host, services.config.ice, services.settings
        )
