"""The S-CSCF: registrar, and the switch between users, the IMS AS and the P-CSCF.

A call passes here up to three times: from the caller's P-CSCF (originating, to the AS), from the
AS serving the caller (terminating, to the AS serving the callee), and from that AS (to the callee).
The user part of our own Route says which pass it is: the *original dialog identifier* of TS
24.229 5.4.3.2, without state here.

Source: TS 24.229 5.4; RFC 3261 10.3, 16; RFC 3327, RFC 3608, RFC 5502.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from dcsdk.emulator.core.hss import Binding, Hss, HssError
from dcsdk.emulator.core.registrar import Registrar
from dcsdk.emulator.core.sip_node import SipNode, UnsupportedOption, reject_options
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.errors import RemoteProtocolError
from dcsdk.interfaces import Address
from dcsdk.io.sip.endpoint import IncomingRequest
from dcsdk.io.sip.proxy import relay
from dcsdk.sip.proxying import with_fewer_hops, with_record_route, without_own_route
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.uri import NameAddr, OpaqueUri, SipUri, parse_uri
from dcsdk.sip.transactions.timers import RFC3261_TIMERS, SipTimers

logger = logging.getLogger(__name__)

ORIGINATING = "orig"
"""User part of our URI in Service-Route: the UE's request has not been served yet."""

ORIGINATING_SERVED = "orig-served"
"""The AS has served the caller; the callee's side begins."""

TERMINATING_SERVED = "term-served"
"""The AS has served the callee; next is its contact."""

DIALOG = "dialog"
"""User part of our Record-Route."""

_RECORD_ROUTED = frozenset({"INVITE", "SUBSCRIBE", "REFER"})


class Scscf:
    """The S-CSCF with its registrar.

    Args:
        bus: where messages are shown.
        hss: subscribers and bindings.
        home_domain: the domain served.
        application_server: SIP URI of the IMS AS that INVITEs go through, or ``None``.
        is_dc_supported: say ``g.3gpp.datachannel`` in Feature-Caps.
        min_expires_s: shorter registrations get 423.
        max_expires_s: longer ones are shortened.
        timers: SIP timer values.
        faults: the faults that are on.
        clock: seconds since the epoch; bindings outlive the process in a file.
    """

    def __init__(
        self,
        bus: TraceBus,
        *,
        hss: Hss,
        home_domain: str,
        application_server: SipUri | None = None,
        is_dc_supported: bool = True,
        min_expires_s: int = 60,
        max_expires_s: int = 600_000,
        timers: SipTimers = RFC3261_TIMERS,
        faults: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.application_server = application_server
        self._hss = hss
        self._domain = home_domain.lower()
        self._clock = clock
        self._node = SipNode("S-CSCF", bus, on_request=self._handle, timers=timers)
        self._address: Address = ("", 0)
        self._registrar = Registrar(
            hss,
            home_domain=self._domain,
            service_route=lambda: self._uri(ORIGINATING),
            is_dc_supported=is_dc_supported,
            min_expires_s=min_expires_s,
            max_expires_s=max_expires_s,
            entropy=os.urandom,
            faults=faults,
        )

    async def start(self, host: str, port: int = 0) -> SipUri:
        """Listen on TCP; returns our URI.

        Raises:
            TransportError: the address cannot be bound.
        """
        self._address = await self._node.listen("tcp", host, port)
        return self._uri(None)

    async def aclose(self) -> None:
        """Close every socket. Idempotent and bounded."""
        await self._node.aclose()

    # --- requests --------------------------------------------------------------------------------
    async def _handle(self, incoming: IncomingRequest) -> None:
        try:
            await self._route(incoming)
        except UnsupportedOption as exc:
            incoming.reply(420, headers=[("Unsupported", ", ".join(exc.names))])
        except HssError as exc:
            logger.error("method=%s HSS: %s", incoming.request.method, exc)
            if not incoming.is_answered:
                incoming.reply(500)

    async def _route(self, incoming: IncomingRequest) -> None:
        if incoming.request.method == "REGISTER":
            reject_options(incoming.request, "Require", frozenset({"path", "sec-agree"}))
            incoming.respond(
                self._registrar.answer(
                    incoming.request, to_tag=incoming.local_tag, now=self._clock()
                )
            )
            return
        request, own = without_own_route(incoming.request, self._node.is_own)
        request = with_fewer_hops(request)
        if request.to.tag is not None:
            await self._forward(incoming, request)
            return
        if request.method in _RECORD_ROUTED:
            request = with_record_route(request, self._uri(DIALOG))
        passes = {route.uri.user for route in own if isinstance(route.uri, SipUri)}
        if TERMINATING_SERVED in passes:
            self._to_contact(request)
        elif ORIGINATING in passes and self._is_served_by_as(request):
            served = _asserted(request)
            self._to_as(request, served, "orig", ORIGINATING_SERVED)
        else:
            served = self._called_identity(request)
            if self._is_served_by_as(request):
                self._binding_of(served)
                self._to_as(request, served, "term", TERMINATING_SERVED)
            else:
                self._to_contact(request)
        await self._forward(incoming, request)

    async def _forward(self, incoming: IncomingRequest, request: Request) -> None:
        flow = await self._node.next_hop(request)
        if request.method == "ACK":
            self._node.endpoint.forward(request, flow)
        else:
            await relay(self._node.endpoint, incoming, request, flow, change=_without_430)

    # --- where to --------------------------------------------------------------------------------
    def _is_served_by_as(self, request: Request) -> bool:
        """The one filter criterion of this network: INVITEs go to the IMS AS."""
        return request.method == "INVITE" and self.application_server is not None

    def _to_as(self, request: Request, served: str, case: str, next_pass: str) -> None:
        """Send over ISC; the AS comes back to us by the Route below its own (TS 24.229 5.4.3.2)."""
        request.headers.prepend("Route", f"<{self._uri(next_pass)}>")
        request.headers.prepend("Route", f"<{self.application_server};lr>")
        request.headers.set("P-Served-User", f"<{served}>;sescase={case};regstate=reg")

    def _to_contact(self, request: Request) -> None:
        """Send to the newest contact of the called user, over its Path (RFC 3327 5.3)."""
        identity = self._called_identity(request)
        binding = self._binding_of(identity)
        request.uri = NameAddr.parse(binding.contact).uri
        for element in reversed(binding.path):
            request.headers.prepend("Route", element)
        request.headers.set("P-Called-Party-ID", f"<{identity}>")
        request.headers.remove("P-Served-User")

    def _called_identity(self, request: Request) -> str:
        """The public identity that a request is for.

        Raises:
            RemoteProtocolError: nobody of ours, answer 404.
        """
        identity = canonical_identity(request.uri)
        if self._hss.owner_of(identity) is None:
            raise RemoteProtocolError(f"{identity} is unknown", sip_status_hint=404)
        return identity

    def _binding_of(self, identity: str) -> Binding:
        bindings = self._hss.bindings(identity, now=self._clock())
        if not bindings:
            raise RemoteProtocolError(f"{identity} is not registered", sip_status_hint=480)
        return bindings[-1]

    def _uri(self, user: str | None) -> SipUri:
        host, port = self._address
        return SipUri(
            user=user, host=host, port=port, parameters=(("transport", "tcp"), ("lr", None))
        )


def canonical_identity(uri: SipUri | OpaqueUri) -> str:
    """The public identity in a URI: no port, no parameters, the host in lower case."""
    if isinstance(uri, SipUri):
        return str(SipUri(scheme=uri.scheme, user=uri.user, host=uri.host.lower()))
    return str(uri)


def _asserted(request: Request) -> str:
    """Who the P-CSCF says is calling.

    Raises:
        RemoteProtocolError: nobody, answer 403.
    """
    asserted = request.name_addrs("P-Asserted-Identity")
    if not asserted:
        raise RemoteProtocolError(
            "no P-Asserted-Identity", source="TS 24.229 5.4.3.2", sip_status_hint=403
        )
    return canonical_identity(parse_uri(str(asserted[0].uri)))


def _without_430(response: Response) -> Response:
    """A UE whose connection is gone counts as not reachable (RFC 5626 5.3.1)."""
    if response.status == 430:
        response.status, response.reason = 480, "Temporarily Unavailable"
    return response
