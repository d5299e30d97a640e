"""The P-CSCF: the UE's first hop, and the only one it talks to.

Toward UEs it listens on UDP, TCP and TLS; toward the core on TCP. A UE is reached over the flow it
registered on and no other way; the flow is named by a token in our Path and Record-Route URIs.

Source: TS 24.229 5.2; RFC 3261 16, RFC 3327, RFC 3608, RFC 5626 5; TS 33.328 7.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl

from dcsdk.emulator.access.access_sdp import AccessSdp
from dcsdk.emulator.access.bindings import AccessBinding, BindingTable
from dcsdk.emulator.access.registration import AccessRegistrar, RegistrationRefused
from dcsdk.emulator.core.sip_node import SipNode
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.errors import LocalProtocolError, RemoteProtocolError
from dcsdk.ims.mediasec import SecurityMechanism
from dcsdk.ims.profile import DEFAULT_PROFILE, ImsProfile
from dcsdk.interfaces import Address
from dcsdk.io.sip.endpoint import IncomingRequest
from dcsdk.io.sip.proxy import relay
from dcsdk.io.sip.transport import Flow, TransportName
from dcsdk.sip.proxying import with_fewer_hops, with_record_route, without_own_route
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import NameAddr, SipUri
from dcsdk.sip.transactions.timers import RFC3261_TIMERS, SipTimers

logger = logging.getLogger(__name__)

_FROM_UE_ONLY = ("P-Preferred-Identity", "P-Asserted-Identity", "P-Served-User")
"""Headers a UE has no right to send on (RFC 3325 5); what is true of them is added anew."""

_RECORD_ROUTED = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
"""Initial requests that make a dialog."""


class Pcscf:
    """The P-CSCF.

    Args:
        bus: where messages are shown.
        registrar: SIP URI of the S-CSCF, where REGISTER goes.
        is_e2dce_supported: offer e2DCe at registration and act on its indications.
        profile: names of the e2DCe tokens.
        visited_network: text of ``P-Visited-Network-ID``.
        timers: SIP timer values.
        faults: the faults that are on.
    """

    def __init__(
        self,
        bus: TraceBus,
        *,
        registrar: SipUri,
        is_e2dce_supported: bool = False,
        profile: ImsProfile = DEFAULT_PROFILE,
        visited_network: str = "ims.example",
        timers: SipTimers = RFC3261_TIMERS,
        faults: frozenset[str] = frozenset(),
    ) -> None:
        self._registrar = registrar
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self.bindings = BindingTable()
        self._sdp = AccessSdp(is_e2dce_supported=is_e2dce_supported, profile=profile, faults=faults)
        self._access = AccessRegistrar(
            self.bindings,
            mechanisms=(
                (SecurityMechanism.media(profile.e2dce_mechanism),) if is_e2dce_supported else ()
            ),
            path=self._core_uri,
            visited_network=visited_network,
            faults=faults,
        )
        self._node = SipNode("P-CSCF", bus, on_request=self._handle, timers=timers)
        self._core: Address = ("", 0)

    async def start(self, host: str, core_port: int = 0) -> None:
        """Open the core side.

        Args:
            host: IP address to listen on.
            core_port: 0 takes a free one.

        Raises:
            TransportError: the address cannot be bound.
        """
        self._core = await self._node.listen("tcp", host, core_port)

    async def listen(
        self,
        transport: TransportName,
        host: str,
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Address:
        """Open a side for UEs; returns the address with the port chosen.

        Raises:
            TransportError: the address cannot be bound.
        """
        return await self._node.listen(transport, host, port, ssl_context=ssl_context)

    async def aclose(self) -> None:
        """Close every socket. Idempotent and bounded."""
        await self._node.aclose()

    # --- requests --------------------------------------------------------------------------------
    async def _handle(self, incoming: IncomingRequest) -> None:
        is_from_core = incoming.flow.local == self._core
        if not is_from_core and self._is_ignored(incoming.request):
            return
        if is_from_core:
            await self._from_core(incoming)
        elif incoming.request.method == "REGISTER":
            await self._register(incoming)
        else:
            await self._from_ue(incoming)

    def _is_ignored(self, request: Request) -> bool:
        if "silence" in self._faults:
            return True
        is_reinvite = request.to.tag is not None
        name = "silence-reinvite" if is_reinvite else "silence-invite"
        return request.method == "INVITE" and name in self._faults

    async def _register(self, incoming: IncomingRequest) -> None:
        try:
            outgoing, token = self._access.outgoing(incoming)
        except RegistrationRefused as exc:
            logger.info("REGISTER refused status=%s: %s", exc.status, exc)
            incoming.reply(exc.status, headers=exc.headers)
            return
        flow = await self._node.flow_to(self._registrar)

        def change(response: Response) -> Response:
            return self._access.answered(incoming, response, token, now=self._loop.time())

        await relay(self._node.endpoint, incoming, outgoing, flow, change=change)

    async def _from_ue(self, incoming: IncomingRequest) -> None:
        """A request of a UE: say who it is, and send it the way it registered for."""
        binding = self._binding_of(incoming)
        request, own = without_own_route(incoming.request, self._node.is_own)
        request = with_fewer_hops(request)
        is_initial = request.to.tag is None
        if request.method == "INVITE":
            self._refuse_on_purpose(binding, is_initial=is_initial)
        if is_initial:
            _check_service_route(request, binding)
            request.headers.set("P-Charging-Vector", f"icid-value={os.urandom(16).hex()}")
        else:
            self._check_dialog_route(own, binding)
        identity = _preferred_identity(request, binding)
        _assert_identity(request, identity)
        self._sdp.from_ue(request, binding)
        if is_initial and request.method in _RECORD_ROUTED:
            request = with_record_route(request, _flow_uri(incoming.flow))
            request = with_record_route(request, self._core_uri(binding.token))
        flow = await self._node.next_hop(request)
        if request.method == "ACK":
            self._node.endpoint.forward(request, flow)
            return

        def change(response: Response) -> Response:
            self._sdp.to_ue(response, binding, is_offer=False)
            return response

        await relay(self._node.endpoint, incoming, request, flow, change=change)

    async def _from_core(self, incoming: IncomingRequest) -> None:
        """A request for a UE: the token in our own Route says which one, and over which flow."""
        request, own = without_own_route(incoming.request, self._node.is_own)
        request = with_fewer_hops(request)
        tokens = [token for route in own if (token := _token(route)) is not None]
        binding = self.bindings.reachable(tokens[0], now=self._loop.time()) if tokens else None
        if binding is None:
            if request.method != "ACK":
                incoming.reply(480)
            return
        if binding.flow.is_closed:
            if request.method != "ACK":
                incoming.reply(430)
            return
        request.headers.remove("P-Served-User")
        request.headers.remove("P-Charging-Vector")
        self._sdp.to_ue(request, binding, is_offer=True)
        if request.to.tag is None and request.method in _RECORD_ROUTED:
            request = with_record_route(request, self._core_uri(binding.token))
            request = with_record_route(request, _flow_uri(binding.flow))
        if request.method == "ACK":
            self._node.endpoint.forward(request, binding.flow)
            return

        def change(response: Response) -> Response:
            _assert_identity(response, binding.identities[0])
            self._sdp.from_ue(response, binding)
            return response

        await relay(self._node.endpoint, incoming, request, binding.flow, change=change)

    # --- inside ----------------------------------------------------------------------------------
    def _core_uri(self, token: str) -> SipUri:
        host, port = self._core
        return SipUri(
            user=token, host=host, port=port, parameters=(("transport", "tcp"), ("lr", None))
        )

    def _binding_of(self, incoming: IncomingRequest) -> AccessBinding:
        """Find out who sends: only registered UEs may, each over its own flow.

        Raises:
            RemoteProtocolError: nobody registered over this flow, answer 403.
        """
        found = self.bindings.by_flow(incoming.flow, now=self._loop.time())
        if not found:
            raise RemoteProtocolError(
                "no registration over this connection",
                source="TS 24.229 5.2.6",
                sip_status_hint=403,
            )
        sender = str(incoming.request.from_.uri)
        return next((item for item in found if sender in item.identities), found[0])

    def _check_dialog_route(self, own: tuple[NameAddr, ...], binding: AccessBinding) -> None:
        """A request inside a dialog comes with our Record-Route of a binding of the same user.

        Raises:
            RemoteProtocolError: it does not, answer 403.
        """
        for route in own:
            known = self.bindings.by_token(_token(route) or "", now=self._loop.time())
            if known is not None and set(known.identities) & set(binding.identities):
                return
        raise RemoteProtocolError(
            "the Route is not that of the dialog", source="RFC 3261 12.2.1.1", sip_status_hint=403
        )

    def _refuse_on_purpose(self, binding: AccessBinding, *, is_initial: bool) -> None:
        """The faults that refuse an INVITE."""
        if is_initial:
            status = 488 if "488" in self._faults else None
        else:
            binding.reoffers += 1
            is_first = binding.reoffers == 1
            status = 491 if "D10" in self._faults and is_first else None
            status = 488 if "D12" in self._faults else status
        if status is not None:
            raise RemoteProtocolError(f"fault {status}", sip_status_hint=status)


def _flow_uri(flow: Flow) -> SipUri:
    """The URI of our end of a UE's flow."""
    host, port = flow.local
    return SipUri(host=host, port=port, parameters=(("transport", flow.transport), ("lr", None)))


def _token(route: NameAddr) -> str | None:
    return route.uri.user if isinstance(route.uri, SipUri) else None


def _check_service_route(request: Request, binding: AccessBinding) -> None:
    """An initial request takes the registered route, or none goes anywhere.

    Raises:
        RemoteProtocolError: it has another one, answer 400.

    Source: TS 24.229 5.2.6.3.3, RFC 3608 6.
    """
    routes = tuple(str(item.uri) for item in request.name_addrs("Route"))
    if routes != binding.service_route:
        raise RemoteProtocolError(
            f"the Route is not the Service-Route {', '.join(binding.service_route)}",
            source="TS 24.229 5.2.6.3.3",
            sip_status_hint=400,
        )


def _preferred_identity(request: Request, binding: AccessBinding) -> str:
    """The identity the UE prefers, if it is one of its own; else the default one (RFC 3325 5)."""
    for preferred in request.name_addrs("P-Preferred-Identity"):
        if str(preferred.uri) in binding.identities:
            return str(preferred.uri)
    return binding.identities[0]


def _assert_identity(message: Request | Response, identity: str) -> None:
    for name in _FROM_UE_ONLY:
        message.headers.remove(name)
    try:
        message.headers.set("P-Asserted-Identity", f"<{identity}>")
    except LocalProtocolError as exc:
        raise RemoteProtocolError(f"identity: {exc}", sip_status_hint=500) from exc
