"""A client: it registers, calls and answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from types import TracebackType
from typing import Self

from dcsdk.config import ClientConfig, from_mapping
from dcsdk.datachannel.line import DataChannels
from dcsdk.errors import (
    CallRejected,
    ConfigError,
    DcsdkError,
    LocalProtocolError,
    NegotiationError,
    OperationTimeout,
)
from dcsdk.events import Event, RegistrationChanged, RegistrationLost
from dcsdk.ims.security_policy import SecurityPolicy
from dcsdk.interfaces import (
    IncomingInvitation,
    RegistrationGrant,
    RegistrationRequest,
    Signalling,
)
from dcsdk.interfaces.capabilities import Capabilities
from dcsdk.interfaces.media import MediaIntent, MediaParts
from dcsdk.io.capture import Capture
from dcsdk.io.deadline import Deadline
from dcsdk.io.keylog import KeyLog
from dcsdk.io.secure.engine_config import SCTP_DECIDED_BY, EngineConfig
from dcsdk.io.tasks import finish_all
from dcsdk.registry import Registry
from dcsdk.sdp.session import SessionDescription
from dcsdk.session.services import SessionServices
from dcsdk.session.session import Session
from dcsdk.session.stream import OfferedMedia
from dcsdk.tls.certificate import Certificate

logger = logging.getLogger(__name__)


class Registration:
    """A public identity that is registered.

    Attributes:
        capabilities: what UE and network both support, per media kind; follows refreshes.
        grant: what the network granted last.
    """

    def __init__(
        self, client: Client, grant: RegistrationGrant, capabilities: Capabilities
    ) -> None:
        self._client = client
        self.grant = grant
        self.capabilities = capabilities

    @property
    def expires_s(self) -> int:
        """The lifetime the network granted, in seconds."""
        return self.grant.expires_s

    @property
    def public_identities(self) -> tuple[str, ...]:
        """The identities the network associates (``P-Associated-URI``)."""
        return self.grant.associated_uris

    async def deregister(self) -> None:
        """Remove the binding. Idempotent and bounded."""
        await self._client.deregister()


class IncomingCall:
    """A call that waits to be accepted or rejected."""

    def __init__(self, client: Client, invitation: IncomingInvitation) -> None:
        self._client = client
        self._invitation = invitation

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        return self._invitation.call_id

    @property
    def remote_uri(self) -> str:
        """Whom the caller says it is."""
        return self._invitation.remote_uri

    @property
    def asserted_identity(self) -> str | None:
        """Who the network says the caller is (``P-Asserted-Identity``), or ``None``."""
        return self._invitation.asserted_identity

    async def ring(self) -> None:
        """Tell the caller that the user is being alerted (180)."""
        await self._invitation.ring()

    async def reject(self, status: int = 486, reason: str | None = None) -> None:
        """Refuse the call.

        Args:
            status: 400..699; 486 is "busy here".
            reason: the phrase, by default that of the status.
        """
        await self._invitation.reject(status, reason)

    async def wait_ended(self) -> str:
        """Wait until the call is over; returns why, in words.

        A call that was not answered is over when the caller gives up or when it is rejected.
        """
        return await self._invitation.wait_ended()

    @property
    def media(self) -> tuple[OfferedMedia, ...]:
        """What each offered line is."""
        return self._client.offered_media(self._invitation.offer)

    async def accept(self, media: Sequence[MediaIntent] = ()) -> Session:
        """Answer the call and bring up its media.

        The bootstrap channels that the network offers are taken in any case; what is neither
        that nor asked for here is answered with port 0.

        Args:
            media: what is taken beside them, with all that it asks for.

        Raises:
            NegotiationError: nothing of the offer can be taken; the caller got 488.
            SecurityError: it could not be taken safely; the caller got 488.
            CallRejected: the caller hung up before.
            TransportError, OperationTimeout: a line did not come up.
        """
        return await self._client.answer(self._invitation, media)


class Client:
    """One UE: registers one public identity, calls and is called.

    Use it as ``async with Client(config) as client``.

    Args:
        config: see :class:`dcsdk.ClientConfig`.
        registry: the plug-ins; by default all that are installed.
        on_event: called with each :data:`dcsdk.events.Event`; what it raises is logged.

    Raises:
        ConfigError: a plug-in that the config names is not loaded, or ``transport`` cannot be.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        registry: Registry | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.config = config
        self._registry = registry or Registry.load()
        self._on_event = on_event
        pick = self._registry.pick
        plugins = self._registry
        signalling_class = pick("signalling", plugins.signallings, config.signalling)
        provider_class = pick("list provider", plugins.list_providers, config.list_provider)
        self._resources = ExitStack()
        transport = _transport_settings(config)
        keylog, capture = self._open_logs()
        self._settings = replace(transport, keylog=keylog, capture=capture)
        self._signalling: Signalling = signalling_class(config)
        if capture is not None:
            self._signalling.trace(capture.message)
        self._provider = provider_class()
        self._backends = [backend() for backend in plugins.security_backends.values()]
        self._protocols = {name: cls() for name, cls in plugins.app_protocols.items()}
        parts = MediaParts(
            config=config,
            settings=self._settings,
            protocols=self._protocols,
            engines=plugins.engines,
            list_providers=plugins.list_providers,
        )
        self._media_types = {name: cls(parts) for name, cls in plugins.media_types.items()}
        self._policy = SecurityPolicy(config.profile)
        self._certificate = Certificate.generate()
        self._registration: Registration | None = None
        self._sessions: set[Session] = set()
        self._is_closed = False

    def _open_logs(self) -> tuple[KeyLog | None, Capture | None]:
        """Open what the configuration names, or nothing.

        Raises:
            ConfigError: a file cannot be opened.
        """
        keylog, capture = self.config.keylog, self.config.capture
        with ExitStack() as stack:
            opened = (
                None if keylog is None else stack.enter_context(closing(KeyLog(keylog))),
                None if capture is None else stack.enter_context(closing(Capture(capture))),
            )
            self._resources.push(stack.pop_all())
        return opened

    # --- life ----------------------------------------------------------------------------------
    async def start(self) -> None:
        """Connect to the P-CSCF.

        Raises:
            TransportError: it cannot be reached, or its certificate is not trusted.
        """
        await self._signalling.start()

    async def aclose(self) -> None:
        """Hang up every call, deregister and close the connections. Idempotent.

        All of it is bounded by ``close_timeout_s`` of the configuration, whatever the network
        does: hanging up takes at most half of it, deregistering half of what is left then. No step
        is left out because one before it failed.
        """
        if self._is_closed:
            return
        self._is_closed = True
        deadline = Deadline(self.config.close_timeout_s)
        with self._resources:
            try:
                await self._closing(self._hang_up(deadline.left_s / 2))
                # TS 24.229 5.1.1.6: after the calls
                await self._closing(self._deregister(deadline.left_s / 2))
            finally:
                await self._signalling.aclose(deadline.left_s)

    async def _closing(self, step: Awaitable[None]) -> None:
        try:
            await step
        except DcsdkError as exc:
            logger.warning("closing client=%s: %s", self.config.public_identity, exc)
        except Exception:
            logger.exception("closing client=%s", self.config.public_identity)

    async def _hang_up(self, timeout_s: float) -> None:
        await finish_all(session.aclose(timeout_s) for session in list(self._sessions))

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _emit(self, event: Event) -> None:
        """Tell the program; what its callback raises is logged and ends nothing here."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            logger.exception("on_event failed event=%s", type(event).__name__)

    # --- registration --------------------------------------------------------------------------
    @property
    def registration(self) -> Registration | None:
        """The registration in force, or ``None``."""
        return self._registration

    async def register(self) -> Registration:
        """Register and keep the registration refreshed until ``deregister`` or ``aclose``.

        Raises:
            RegistrationFailed: refused, with ``.status``.
            TransportError, OperationTimeout: the network does not answer.
        """
        config = self.config
        profile = replace(config.profile, is_e2dce_indicated=True)
        if not config.e2dce_tokens:
            profile = config.profile
        indications = [
            entry
            for backend in self._backends
            for entry in backend.registration_indications(profile)
        ]
        request = RegistrationRequest(
            security_client=tuple(indications),
            contact_features=self._contact_features(None),
            expires_s=config.register_expires_s,
        )

        def capabilities_of(grant: RegistrationGrant) -> Capabilities:
            return Capabilities.from_registration(
                request.security_client,
                grant.security_server,
                grant.feature_caps,
                request.contact_features,
                config.profile,
            )

        def refreshed(grant: RegistrationGrant) -> None:
            if self._registration is not None:
                self._registration.grant = grant
                self._registration.capabilities = capabilities_of(grant)
                self._emit(
                    RegistrationChanged(
                        capabilities=self._registration.capabilities, expires_s=grant.expires_s
                    )
                )

        def lost(error: Exception) -> None:
            self._registration = None
            self._emit(RegistrationLost(error=error))

        grant = await self._signalling.register(request, on_refreshed=refreshed, on_lost=lost)
        self._registration = Registration(self, grant, capabilities_of(grant))
        self._emit(
            RegistrationChanged(
                capabilities=self._registration.capabilities, expires_s=grant.expires_s
            )
        )
        return self._registration

    async def deregister(self) -> None:
        """Remove the binding. Idempotent, and bounded by ``close_timeout_s``."""
        await self._deregister(self.config.close_timeout_s)

    async def _deregister(self, timeout_s: float) -> None:
        if self._registration is not None:
            self._registration = None
            await self._signalling.deregister(timeout_s)

    def _capabilities(self) -> Capabilities:
        if self._registration is None:
            raise LocalProtocolError("the client is not registered", source="TS 24.229 5.1.2A.1")
        return self._registration.capabilities

    def _contact_features(self, capabilities: Capabilities | None) -> dict[str, str | None]:
        features: dict[str, str | None] = {}
        for medium in self._media_types.values():
            features |= medium.contact_features(capabilities)
        return features

    # --- calls ---------------------------------------------------------------------------------
    async def call(self, target: str, media: Sequence[MediaIntent] = (DataChannels(),)) -> Session:
        """Place a call and wait until it is answered and its media is up.

        Args:
            target: for example ``"sip:bob@ims.example"``.
            media: what to offer, one line each.

        Raises:
            UnsupportedByNetwork: the network has no such medium (TS 23.228 AC).
            ConfigError: what is asked for cannot be offered.
            DowngradeRefused: signalling is unprotected and the config does not allow that.
            ParseError, LocalProtocolError: the target is no URI, or asks for more than a call.
            CallRejected: refused, with ``.status``.
            RemoteProtocolError, SecurityError: the answer was wrong; the call is ended and
                nothing was sent on media.
            TransportError, OperationTimeout: nobody answered, or a line did not come up.
        """
        capabilities = self._capabilities()
        services = self._services()
        if media:
            for kind in {intent.kind for intent in media} & self._media_types.keys():
                self._media_types[kind].check_offerable(capabilities)
            services.check_signalling()
        session = self._new_session(services)
        try:
            await self._place(session, target, media)
        except BaseException:
            await session.aclose()
            raise
        return session

    async def _place(self, session: Session, target: str, media: Sequence[MediaIntent]) -> None:
        exchange = await session.first_offer(media)
        try:
            invitation = self._signalling.invite(
                target,
                exchange.sent(),
                contact_features=self._contact_features(self._capabilities()),
            )
            async with asyncio.timeout(self.config.call_timeout_s):
                dialog, answer = await invitation.answered()
        except BaseException as exc:
            await exchange.rollback()
            if isinstance(exc, TimeoutError) and not isinstance(exc, DcsdkError):
                raise OperationTimeout(
                    f"{target} did not answer within {self.config.call_timeout_s:g} s"
                ) from exc
            raise
        await session.take_first_answer(exchange, dialog, answer)

    def incoming(self) -> AsyncIterator[IncomingCall]:
        """Yield the calls that come in, until the client closes."""
        return self._incoming()

    async def _incoming(self) -> AsyncIterator[IncomingCall]:
        async for invitation in self._signalling.invitations():
            yield IncomingCall(self, invitation)

    def offered_media(self, offer: SessionDescription | None) -> tuple[OfferedMedia, ...]:
        """Say what each line of an offer is."""
        return tuple(
            OfferedMedia(
                index=index,
                kind=next(
                    (name for name, item in self._media_types.items() if item.matches(media)), None
                ),
                media=media.media,
                proto=media.proto,
            )
            for index, media in enumerate(() if offer is None else offer.media)
        )

    async def answer(
        self, invitation: IncomingInvitation, media: Sequence[MediaIntent] = ()
    ) -> Session:
        """Answer an invitation; see :meth:`IncomingCall.accept`."""
        services = self._services()
        session = self._new_session(services)
        try:
            if invitation.offer is None:
                raise NegotiationError("the INVITE has no offer", source="RFC 3264 4")
            services.check_signalling()
            await session.answer_first(invitation.offer, media, invitation.accept)
        except BaseException as exc:
            if isinstance(exc, DcsdkError) and not session.call_id:
                await self._reject(invitation, exc)
            await session.aclose()
            raise
        return session

    @staticmethod
    async def _reject(invitation: IncomingInvitation, error: DcsdkError) -> None:
        if isinstance(error, CallRejected):
            return
        try:
            await invitation.reject(488)
        except DcsdkError as exc:
            logger.warning("call=%s 488 not sent: %s", invitation.call_id, exc)

    def _services(self) -> SessionServices:
        per_session = self.config.certificates == "per_session"
        return SessionServices(
            config=self.config,
            registry=self._registry,
            settings=self._settings,
            media_types=self._media_types,
            backends=self._backends,
            protocols=self._protocols,
            provider=self._provider,
            policy=self._policy,
            certificate=Certificate.generate() if per_session else self._certificate,
            signalling=self._signalling.security,
            local_host=self._signalling.local_host,
            capabilities=self._capabilities,
            on_event=self._emit,
        )

    def _new_session(self, services: SessionServices) -> Session:
        session = Session(services, on_finished=self._sessions.discard)
        self._sessions.add(session)
        return session


def _transport_settings(config: ClientConfig) -> EngineConfig:
    """Return what the association engine is told, all but the logs.

    Raises:
        ConfigError: a setting that does not exist, cannot be, or stands elsewhere.
    """
    for name in ("keylog", "capture", "is_dcep_accepted"):
        if name in config.transport:
            raise ConfigError(f"transport.{name} cannot be set: the client decides it")
    sctp = config.transport.get("sctp")
    for name in sctp if isinstance(sctp, Mapping) else ():
        if (decider := SCTP_DECIDED_BY.get(name)) is not None:
            where = decider if decider.startswith("a=") else f"transport.{decider}"
            raise ConfigError(f"transport.sctp.{name} is not used: {where} decides it")
    settings = {
        "handshake_timeout_s": config.media_timeout_s,
        "max_channels": config.profile.max_channels,
        "is_dcep_accepted": False,  # calls agree on channels in SDP (TS 33.328 N.3.2 NOTE 3)
        **config.transport,
    }
    return from_mapping(EngineConfig, settings, where="transport.")
