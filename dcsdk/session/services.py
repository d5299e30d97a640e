"""What a session needs from its client, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcsdk.errors import DowngradeRefused
from dcsdk.interfaces import (
    AppProtocol,
    AssociationEngine,
    ListProvider,
    MediaIntent,
    SecurityBackend,
    SecurityContext,
)
from dcsdk.security import SecurityScope, SignallingSecurity
from dcsdk.session.line import LineRole, LineServices, MediaLine

if TYPE_CHECKING:
    from dcsdk.config import ClientConfig
    from dcsdk.datachannel.channel import DataChannel
    from dcsdk.events import Event
    from dcsdk.interfaces.capabilities import Capabilities
    from dcsdk.io.secure.engine_config import EngineConfig
    from dcsdk.registry import Registry
    from dcsdk.sdp.ims_attributes import ReqApp
    from dcsdk.tls.certificate import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionServices:
    """The client's parts that one session uses.

    Attributes:
        config: of the client.
        registry: the plug-ins.
        engine: makes paths and associations.
        engine_config: for the engine.
        backends: one object of each security backend.
        protocols: one object of each application protocol, by subprotocol.
        provider: reads the application list.
        certificate: of this session.
        signalling: how signalling is protected.
        local_host: where media paths are bound.
        capabilities: those of the current registration.
        on_event: hands an event to the program.
    """

    config: ClientConfig
    registry: Registry
    engine: AssociationEngine
    engine_config: EngineConfig
    backends: list[SecurityBackend]
    protocols: dict[str, AppProtocol]
    provider: ListProvider
    certificate: Certificate
    signalling: SignallingSecurity
    local_host: str
    capabilities: Callable[[], Capabilities]
    on_event: Callable[[Event], None]

    @property
    def http(self) -> AppProtocol:
        """The protocol of bootstrap channels (TS 26.114 6.2.10.1)."""
        return self.protocols["http"]

    def dc_allowed(self) -> bool:
        """Data channels may be answered: configured so, and the network can (TS 23.228 AC)."""
        return self.config.dc_allowed and self.capabilities().data_channel.is_network

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

    async def create_line(
        self, role: LineRole, intent: MediaIntent, *, req_app: ReqApp | None = None
    ) -> MediaLine:
        """Make a media line of our own; nothing is sent."""
        context = SecurityContext(
            certificate=self.certificate,
            local_address=(self.local_host, 0),
            is_e2dce_registered=self.capabilities().is_agreed("dc", SecurityScope.E2DCE),
            signalling=self.signalling,
            policy=self.config.profile.line_policy(
                accept_missing_tls_id=self.config.accept_missing_tls_id
            ),
            profile=self.config.profile,
            max_message_size=self.config.profile.max_message_size,
        )
        services = LineServices(
            engine=self.engine,
            engine_config=self.engine_config,
            backend=self.registry.select_security(intent, self.backends),
            context=context,
            ice=self.config.ice,
            capture=self.engine_config.capture,
        )
        return await MediaLine.create(role=role, intent=intent, services=services, req_app=req_app)

    def start_protocol(self, channel: DataChannel, *, is_opener: bool) -> Any:
        """Run the application protocol of a channel, or return the bare channel."""
        protocol = self.protocols.get(channel.subprotocol)
        return channel if protocol is None else protocol.start(channel, is_opener=is_opener)
