"""SIP signalling of a UE: one connection to the P-CSCF, a registration, and calls.

Source: TS 24.229 5.1.1 (registration), 5.1.2A, 5.1.3, 5.1.4 (calls); RFC 3261.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from dcsdk.config import ClientConfig
from dcsdk.errors import (
    ConfigError,
    DcsdkError,
    LocalProtocolError,
    ParseError,
    TransportError,
)
from dcsdk.ims.feature_tags import APP_SUBTYPE, DATACHANNEL, DC_MUX
from dcsdk.ims.mediasec import media_mechanisms
from dcsdk.interfaces import (
    Address,
    IncomingInvitation,
    OutgoingInvitation,
    RegistrationGrant,
    RegistrationRequest,
    Signalling,
)
from dcsdk.io.deadline import Deadline
from dcsdk.io.keylog import log_tls_secrets
from dcsdk.io.mailbox import Mailbox
from dcsdk.io.sip.endpoint import IncomingRequest, SipEndpoint, contact_uri
from dcsdk.io.sip.flow import Flow
from dcsdk.io.sip.invitation import IncomingInvite
from dcsdk.io.sip.registration import SipRegistration
from dcsdk.io.sip.user_agent import SipUserAgent
from dcsdk.io.tasks import TaskSet
from dcsdk.plugins.signalling.sip_calls import SipIncomingInvitation, SipOutgoingInvitation
from dcsdk.sdp.session import SessionDescription
from dcsdk.security import SignallingSecurity
from dcsdk.sip.digest import DigestClient
from dcsdk.sip.registration import RegistrationMachine
from dcsdk.sip.registration_values import Granted, RegistrationSettings
from dcsdk.sip.syntax.identifiers import new_tag
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import SipUri
from dcsdk.sip.transactions.timers import PROFILES, SipTimers

logger = logging.getLogger(__name__)

MAX_WAITING_INVITATIONS = 64
"""Calls that wait to be looked at; a call beyond gets 486."""


class SipSignalling(Signalling):
    """SIP over UDP, TCP or TLS to one configured P-CSCF.

    When the connection breaks, it is opened again at once and the registration refreshed over it;
    if that fails, ``on_lost`` is told, every call ends, and it is tried again as RFC 5626 4.5
    says, until ``on_refreshed`` tells that it worked.

    Args:
        config: of the client.
        timers: SIP timers, by default those that the configuration names.
    """

    name: ClassVar[str] = "sip"

    def __init__(self, config: ClientConfig, *, timers: SipTimers | None = None) -> None:
        self._config = config
        named = PROFILES[config.sip_timers]
        # timer C is a proxy's; how long a call of ours may ring is call_timeout_s
        ringing_s = max(named.timer_c_s, config.call_timeout_s)
        self._timers = timers or replace(named, timer_c_s=ringing_s)
        self._endpoint: SipEndpoint | None = None
        self._flow: Flow | None = None
        self._connecting = asyncio.Lock()
        self._registration: SipRegistration | None = None
        self._grant: Granted | None = None
        self._features: Mapping[str, str | None] = {}
        self._on_refreshed: Callable[[RegistrationGrant], None] | None = None
        self._on_lost: Callable[[Exception], None] | None = None
        self._trace: Callable[[Address, Address, bytes], None] | None = None
        self._is_lost = False
        self._is_closed = False
        self._waiting: Mailbox[IncomingInvitation] = Mailbox(MAX_WAITING_INVITATIONS)
        self._tasks = TaskSet("sip signalling")
        self._user = SipUri.parse(config.public_identity).user
        self._agent = SipUserAgent(
            identity=config.public_identity,
            user=self._user,
            on_call=self._call_arrived,
            user_agent=config.user_agent,
            extra_headers=self._extra_headers,
            retry_headers=self._retry_headers,
            timeout_s=config.call_timeout_s,
        )

    @property
    def security(self) -> SignallingSecurity:
        is_tls = self._config.pcscf_transport == "tls"
        return SignallingSecurity.TLS if is_tls else SignallingSecurity.NONE

    @property
    def local_host(self) -> str:
        if self._flow is None:
            raise LocalProtocolError("local_host is known after start()")
        return self._flow.local[0]

    # --- life ------------------------------------------------------------------------------------
    def trace(self, on_message: Callable[[Address, Address, bytes], None]) -> None:
        self._trace = on_message

    async def start(self) -> None:
        if self._is_closed:
            raise LocalProtocolError("the signalling is closed")
        if self._endpoint is None:
            self._endpoint = SipEndpoint(
                on_request=self._receive,
                timers=self._timers,
                is_user_agent=True,
                on_flow_closed=self._flow_closed,
                trace=None if self._trace is None else self._traced,
                name=f"ue {self._config.public_identity}",
            )
            self._agent.attach(self._endpoint)
        await self._connected()

    def _traced(self, direction: Literal["in", "out"], flow: Flow, data: bytes) -> None:
        if self._trace is not None:
            ends = (flow.local, flow.remote) if direction == "out" else (flow.remote, flow.local)
            self._trace(*ends, data)

    async def aclose(self, timeout_s: float) -> None:
        deadline = Deadline(timeout_s)
        self._is_closed = True
        self._waiting.close()
        await self._tasks.aclose()
        if self._registration is not None:
            await self._registration.aclose()
        await self._agent.aclose(deadline.left_s / 2)
        if self._endpoint is not None:
            await self._endpoint.aclose(deadline.left_s)

    # --- registration ----------------------------------------------------------------------------
    async def register(
        self,
        request: RegistrationRequest,
        *,
        on_refreshed: Callable[[RegistrationGrant], None] | None = None,
        on_lost: Callable[[Exception], None] | None = None,
    ) -> RegistrationGrant:
        if self._registration is not None:
            raise LocalProtocolError("registered already, or registering")
        self._on_refreshed, self._on_lost = on_refreshed, on_lost
        config, flow = self._config, await self._connected()
        settings = RegistrationSettings(
            public_identity=config.public_identity,
            private_identity=config.impi,
            home_domain=config.domain,
            password=config.password,
            contact=str(contact_uri(flow, self._user)),
            contact_features=request.contact_features,
            security_client=request.security_client,
            expires_s=request.expires_s,
            access_network_info=config.access_network_info if flow.is_secure else None,
            user_agent=config.user_agent,
            algorithms=config.profile.digest_algorithms,
        )
        self._features = request.contact_features
        endpoint = self._running()
        self._registration = SipRegistration(
            RegistrationMachine(settings, entropy=endpoint.entropy),
            send=self._send_register,
            on_granted=self._granted,
            on_lost=self._registration_lost,
        )
        try:
            return self._as_grant(await self._registration.register(config.register_timeout_s))
        except BaseException:
            self._registration = None
            raise

    async def deregister(self, timeout_s: float) -> None:
        if self._registration is None:
            return
        deadline = Deadline(timeout_s)
        await self._agent.end_calls(deadline.left_s / 2)  # TS 24.229 5.1.1.6
        registration, self._registration = self._registration, None
        if registration is None:
            return  # lost meanwhile
        error = await registration.deregister(deadline.left_s)
        self._forget_grant()
        if error is not None:
            logger.warning("the registration is left to expire: %s", error)

    # --- requests of the network -----------------------------------------------------------------
    async def _receive(self, incoming: IncomingRequest) -> None:
        """Hand a request to the user agent, unless it comes past the P-CSCF."""
        if self._flow is not None and incoming.flow.remote == self._flow.remote:
            await self._agent.handle(incoming)
            return
        logger.warning("%s from %s is refused", incoming.request.method, incoming.flow.remote)
        if not incoming.is_answered:
            incoming.reply(403)

    # --- calls -----------------------------------------------------------------------------------
    def invite(
        self, target: str, offer: SessionDescription, *, contact_features: Mapping[str, str | None]
    ) -> OutgoingInvitation:
        self._running()
        flow = self._flow
        if flow is None or flow.is_closed:
            raise TransportError("no connection to the P-CSCF")
        call = self._agent.invite(
            target,
            offer.encode(),
            flow,
            features=contact_features,
            headers=[("P-Preferred-Identity", f"<{self._preferred_identity()}>")],
        )
        return SipOutgoingInvitation(call, self._config.close_timeout_s)

    def invitations(self) -> AsyncIterator[IncomingInvitation]:
        return self._waiting

    def _call_arrived(self, call: IncomingInvite) -> None:
        try:
            offer = SessionDescription.parse(call.body) if call.body else None
        except ParseError as exc:
            logger.info("call=%s SDP cannot be read: %s", call.leg.dialog.call_id, exc)
            call.reject(400, "Bad SDP")
            return
        invitation = SipIncomingInvitation(call, offer, self._config.close_timeout_s)
        if not self._waiting.put(invitation):
            call.reject(486)

    # --- headers ---------------------------------------------------------------------------------
    def _preferred_identity(self) -> str:
        """RFC 3325 9.2: one of the identities the network associated with us."""
        associated = self._grant.associated_uris if self._grant is not None else ()
        return associated[0] if associated else self._config.public_identity

    def _extra_headers(self, method: str, flow: Flow) -> list[tuple[str, str]]:
        headers = []
        info = self._config.access_network_info
        if info is not None and flow.is_secure:  # RFC 7315 5.4: only where nobody else reads it
            headers.append(("P-Access-Network-Info", info))
        if self._registration is not None and method not in ("ACK", "CANCEL", "PRACK"):
            verify = self._registration.machine.security_verify
            headers += [("Security-Verify", str(mechanism)) for mechanism in verify]
        return headers

    def _retry_headers(self, request: Request, response: Response) -> list[tuple[str, str]] | None:
        """What an INVITE is sent again with: RFC 3329 2.3.1 after 494, RFC 3261 22 after 401."""
        if response.status == 494:
            offered = ", ".join(response.headers.get_all("Security-Server"))
            said = ", ".join(request.headers.get_all("Security-Verify"))
            return [("Security-Verify", offered)] if offered and offered != said else None
        is_proxy = response.status == 407
        name = "Proxy-Authorization" if is_proxy else "Authorization"
        if name in request.headers:
            return None  # the password is wrong, or the network does not say what it wants
        client = DigestClient(
            self._config.impi,
            self._config.password,
            algorithms=self._config.profile.digest_algorithms,
        )
        try:
            value = client.authorize(
                response.headers.get_all("Proxy-Authenticate" if is_proxy else "WWW-Authenticate"),
                method=request.method,
                uri=str(request.uri),
                cnonce=new_tag(self._running().entropy),
                body=request.body,
            )
        except DcsdkError as exc:
            logger.info("call=%s challenge cannot be answered: %s", request.call_id, exc)
            return None
        return [(name, value)]

    # --- what the registration tells -------------------------------------------------------------
    def _granted(self, granted: Granted) -> None:
        self._grant, self._is_lost = granted, False
        flow = self._flow
        if flow is not None:
            pcscf = SipUri(
                host=flow.remote[0],
                port=flow.remote[1],
                parameters=(
                    *(() if flow.transport == "udp" else (("transport", flow.transport),)),
                    ("lr", None),
                ),
            )
            self._agent.route = (f"<{pcscf}>", *granted.service_route)
        has_dc = granted.feature_caps.has(DATACHANNEL)
        # TS 23.228 AC: without the network's capability the tag stays out of call signalling
        self._agent.features = {
            name: value
            for name, value in self._features.items()
            if has_dc or name not in (APP_SUBTYPE, f"+{DC_MUX}")
        }
        if granted.is_refresh and self._on_refreshed is not None:
            self._on_refreshed(self._as_grant(granted))

    def _as_grant(self, granted: Granted) -> RegistrationGrant:
        return RegistrationGrant(
            expires_s=granted.expires_s,
            security_server=media_mechanisms(granted.security_server),
            feature_caps=granted.feature_caps,
            associated_uris=granted.associated_uris,
            service_route=granted.service_route,
            signalling=self.security,
        )

    def _registration_lost(self, error: DcsdkError) -> None:
        self._registration = None
        self._forget_grant()
        self._is_lost = False  # that it is gone for good is told even after it was out of reach
        self._tell_lost(error)

    def _forget_grant(self) -> None:
        self._grant = None
        self._agent.route = ()

    def _tell_lost(self, error: DcsdkError) -> None:
        if not self._is_lost:
            self._is_lost = True
            if self._on_lost is not None:
                self._on_lost(error)

    # --- the connection --------------------------------------------------------------------------
    def _running(self) -> SipEndpoint:
        if self._endpoint is None or self._is_closed:
            raise LocalProtocolError("the signalling is not running; call start() first")
        return self._endpoint

    async def _connected(self) -> Flow:
        """The flow to the P-CSCF, opened anew when it is closed."""
        endpoint = self._running()
        async with self._connecting:
            old = self._flow
            if old is not None and not old.is_closed:
                return old
            config = self._config
            is_tls = config.pcscf_transport == "tls"
            flow = await endpoint.connect(
                config.pcscf_transport,
                config.pcscf_host,
                config.pcscf_port,
                ssl_context=client_context(config) if is_tls else None,
                server_hostname=(config.pcscf_server_name or config.pcscf_host) if is_tls else None,
                local_address=(config.local_host, 0) if config.local_host else None,
            )
            self._flow = flow
            if old is not None:
                self._agent.move(old, flow)
                if self._registration is not None:
                    self._registration.machine.move_contact(str(contact_uri(flow, self._user)))
            return flow

    async def _send_register(self, request: Request) -> Response:
        try:
            flow = await self._connected()
        except DcsdkError as exc:
            self._unreachable(exc)
            raise
        contact = str(contact_uri(flow, self._user))
        if contact not in (request.headers.get("Contact") or ""):
            raise TransportError("the connection was replaced; the contact has to follow")
        return await self._running().send(request, flow).final()

    def _flow_closed(self, flow: Flow, error: Exception | None) -> None:
        if flow is not self._flow or self._is_closed:
            return
        logger.info("the connection to the P-CSCF closed: %s", error or "by the P-CSCF")
        self._tasks.start(self._recover(), name="recover the connection")

    async def _recover(self) -> None:
        try:
            await self._connected()
        except DcsdkError as exc:
            self._unreachable(exc)
        if self._registration is not None:
            self._registration.refresh()

    def _unreachable(self, error: DcsdkError) -> None:
        self._agent.end_all(f"the P-CSCF cannot be reached: {error}")
        if self._grant is not None:
            self._tell_lost(error)


def client_context(config: ClientConfig) -> ssl.SSLContext:
    """The TLS context for the connection to the P-CSCF.

    Raises:
        ConfigError: the authority's file or the key log cannot be read or written.
    """
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except OSError as exc:  # ssl.SSLError too
        raise ConfigError(f"ca_file {config.ca_file} cannot be used: {exc}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.keylog is not None:
        log_tls_secrets(context, config.keylog)
    return context
