"""What every SIP element of the emulated network has: sockets, ways to the others, a name."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Literal

from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.errors import DcsdkError, RemoteProtocolError
from dcsdk.interfaces import Address
from dcsdk.io.sip.endpoint import RequestHandler, SipEndpoint
from dcsdk.io.sip.transport import Flow, TransportName
from dcsdk.sip.proxying import top_route
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.message import Request
from dcsdk.sip.syntax.uri import SipUri, Uri
from dcsdk.sip.transactions.timers import RFC3261_TIMERS, SipTimers

MAX_NEXT_HOPS = 1024
"""Ways to other elements that are kept; the oldest is forgotten first."""

MAX_OUTSIDE = 65_536
"""UEs that get a name in the trace; later ones appear under their address."""

DEFAULT_PORTS: dict[str, int] = {"udp": 5060, "tcp": 5060, "tls": 5061}

_CSEQ_METHOD = re.compile(rb"\r\nCSeq\s*:\s*\d+\s+(\w+)", re.IGNORECASE)
_FROM_USER = re.compile(rb"\r\n(?:From|f)\s*:[^\r\n]*?sips?:([^@>;\r\n]{1,64})@", re.IGNORECASE)


class SipNode:
    """One SIP element: an endpoint, connections to the other elements, and a name in the trace.

    Args:
        name: in the trace, for example ``"P-CSCF"``.
        bus: where messages are shown.
        on_request: see :class:`SipEndpoint`.
        timers: SIP timer values.
        is_user_agent: see :class:`SipEndpoint`.
        on_flow_closed: a connection ended.
    """

    def __init__(
        self,
        name: str,
        bus: TraceBus,
        *,
        on_request: RequestHandler,
        timers: SipTimers = RFC3261_TIMERS,
        is_user_agent: bool = False,
        on_flow_closed: Callable[[Flow], None] | None = None,
    ) -> None:
        self.name = name
        self._bus = bus
        self._on_flow_closed = on_flow_closed
        self._flows: dict[tuple[str, str, int], Flow] = {}
        self._connecting = asyncio.Lock()
        self._addresses: set[tuple[str, Address]] = set()
        self._outside: set[tuple[Address, Address]] = set()
        self.endpoint = SipEndpoint(
            on_request=on_request,
            timers=timers,
            is_user_agent=is_user_agent,
            on_flow_closed=self._flow_closed,
            trace=self._trace,
            name=name,
        )

    async def listen(
        self,
        transport: TransportName,
        host: str,
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Address:
        """Accept messages at an address; returns it with the port chosen.

        Raises:
            TransportError: the address cannot be bound.
        """
        address = await self.endpoint.listen(transport, host, port, ssl_context=ssl_context)
        self._addresses.add((transport, address))
        self._bus.name_address(address, self.name)
        return address

    def is_own(self, uri: SipUri) -> bool:
        """Tell whether a URI names an address this element listens on."""
        transport = _transport_of(uri)
        return (transport, (uri.host, uri.port or DEFAULT_PORTS[transport])) in self._addresses

    async def flow_to(self, uri: Uri) -> Flow:
        """Return a way to the element that a URI names; connections are kept and used again.

        Raises:
            RemoteProtocolError: not a URI to send to, answer 416.
            TransportError: nobody there.
            OperationTimeout: no connection in time.
        """
        if not isinstance(uri, SipUri):
            raise RemoteProtocolError(f"cannot send to {uri.scheme}:", sip_status_hint=416)
        transport = _transport_of(uri)
        key = (transport, uri.host, uri.port or DEFAULT_PORTS[transport])
        flow = self._flows.get(key)
        if flow is not None and not flow.is_closed:
            return flow
        async with self._connecting:
            flow = self._flows.get(key)
            if flow is None or flow.is_closed:
                flow = await self.endpoint.connect(transport, key[1], key[2])
                self._bus.name_connection(flow.local, self.name, flow.remote)
                while len(self._flows) >= MAX_NEXT_HOPS:
                    self._flows.pop(next(iter(self._flows))).close()
                self._flows[key] = flow
        return flow

    async def next_hop(self, request: Request) -> Flow:
        """Return the way a request goes: its first Route, else its Request-URI (RFC 3261 16.6).

        Raises:
            RemoteProtocolError: no way to send there; ``sip_status_hint`` says what to answer.
        """
        route = top_route(request)
        try:
            return await self.flow_to(request.uri if route is None else route.uri)
        except RemoteProtocolError:
            raise
        except DcsdkError as exc:
            raise RemoteProtocolError(f"next hop: {exc}", sip_status_hint=503) from exc

    async def aclose(self) -> None:
        """Close every socket. Idempotent and bounded."""
        await self.endpoint.aclose()
        self._flows.clear()

    # --- inside ----------------------------------------------------------------------------------
    def _flow_closed(self, flow: Flow, exc: Exception | None) -> None:
        for key in [key for key, known in self._flows.items() if known == flow]:
            del self._flows[key]
        if (flow.remote, flow.local) in self._outside:
            self._outside.remove((flow.remote, flow.local))
            self._bus.forget_connection(flow.remote, flow.local)
        if self._on_flow_closed is not None:
            self._on_flow_closed(flow)

    def _trace(self, direction: Literal["in", "out"], flow: Flow, data: bytes) -> None:
        """Show what we send, and what comes from outside; other elements show their own."""
        if not data.strip():
            return  # keep-alives
        if direction == "out":
            self._bus.publish(
                source=self.name,
                destination=self._bus.name_of(flow.remote, flow.local),
                protocol="SIP",
                summary=summarise(data),
                data=data,
            )
            return
        connection = flow.remote, flow.local
        if not self._bus.has_name(*connection):
            user = None if data.startswith(b"SIP/2.0") else _FROM_USER.search(data)
            if user is not None and len(self._outside) < MAX_OUTSIDE:
                name = user[1].decode(errors="replace")
                self._bus.name_connection(flow.remote, name, flow.local)
                self._outside.add(connection)
        elif connection not in self._outside:
            return
        self._bus.publish(
            source=self._bus.name_of(*connection),
            destination=self.name,
            protocol="SIP",
            summary=summarise(data),
            data=data,
        )


def summarise(data: bytes) -> str:
    """Describe a SIP message in a few words: method, or status with phrase and method."""
    first = data.partition(b"\r\n")[0].decode(errors="replace")
    if not first.startswith("SIP/2.0 "):
        return first.partition(" ")[0]
    method = _CSEQ_METHOD.search(data)
    return first[8:] + (f" ({method[1].decode()})" if method else "")


def reject_options(request: Request, header: str, known: frozenset[str]) -> None:
    """Refuse a request that requires an extension we do not have (RFC 3261 8.2.2.3, 16.3).

    Raises:
        UnsupportedOption: with the names for ``Unsupported``.
    """
    unknown = [name for name in request.headers.get_list(header) if name.lower() not in known]
    if unknown:
        raise UnsupportedOption(unknown)


class UnsupportedOption(RemoteProtocolError):
    """A request requires extensions that are not there; answer 420.

    Attributes:
        names: of the extensions.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"unsupported: {', '.join(names)}", sip_status_hint=420)
        self.names = names


def keep_headers(source: Headers, *names: str) -> list[tuple[str, str]]:
    """Return the lines of some headers, in order."""
    return [(name, value) for name in names for value in source.get_all(name)]


def _transport_of(uri: SipUri) -> TransportName:
    name = (uri.param("transport") or ("tls" if uri.scheme == "sips" else "udp")).lower()
    if name == "tcp":
        return "tcp"
    return "tls" if name == "tls" else "udp"
