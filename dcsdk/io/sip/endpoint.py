"""A SIP element on sockets: transactions over flows, for a UE and for every node of a network.

The endpoint owns the transport, the transaction layer and one timer. It knows nothing of dialogs
(see ``dcsdk.io.sip.user_agent``) nor of routing (see ``dcsdk.io.sip.proxy``).

Source: RFC 3261 17, 18; RFC 3581 (rport).
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, Self, TypeAlias

from dcsdk.errors import (
    ChannelClosed,
    OperationTimeout,
    ParseError,
    RemoteProtocolError,
    TransportError,
)
from dcsdk.interfaces import Address
from dcsdk.io.clock import LazyTimer
from dcsdk.io.sip.requests import ClientTransaction, IncomingRequest
from dcsdk.io.sip.transport import (
    CLOSE_TIMEOUT_S,
    Flow,
    SipTransport,
    TransportLimits,
    TransportName,
)
from dcsdk.io.tasks import TaskSet
from dcsdk.sip.syntax.identifiers import Entropy, new_branch, new_tag
from dcsdk.sip.syntax.message import Request, Response
from dcsdk.sip.syntax.parser import MessageError
from dcsdk.sip.syntax.uri import SipUri, Via
from dcsdk.sip.transactions.client_transaction import (
    ClientEvent,
    InviteClientTransaction,
    NonInviteClientTransaction,
    NoResponse,
    ResponseArrived,
)
from dcsdk.sip.transactions.server_transaction import AckArrived, InviteServerTransaction
from dcsdk.sip.transactions.timers import RFC3261_TIMERS, SipTimers
from dcsdk.sip.transactions.transaction import (
    Cancelled,
    ClientTx,
    ClientUpdate,
    LayerEvent,
    RequestArrived,
    ServerTx,
    ServerUpdate,
    TransactionLayer,
)

__all__ = [
    "ClientTransaction",
    "IncomingRequest",
    "RequestHandler",
    "SipEndpoint",
    "Trace",
    "contact_uri",
]

logger = logging.getLogger(__name__)

MAX_HANDLERS = 4096
"""Requests handled at once; a request beyond gets 503."""


RequestHandler: TypeAlias = Callable[[IncomingRequest], Awaitable[None]]
Trace: TypeAlias = Callable[[Literal["in", "out"], Flow, bytes], None]


class SipEndpoint:
    """Sends and receives SIP over UDP, TCP and TLS.

    Args:
        on_request: called in a task of its own for each new request, and for the ACK of a 2xx
            that nobody here waits for. What it raises is logged and answered with 500, or with
            the error's ``sip_status_hint``.
        timers: base timer values.
        is_user_agent: answer 482 to a request that came by two paths (RFC 3261 8.2.2.2).
        on_stray_response: a response without transaction; by default it is dropped (RFC 6026 7.3).
        on_flow_closed: a flow ended, with the error or ``None``.
        trace: called with each message on the wire, see :class:`SipTransport`.
        limits: bounds of sizes, counts and times of the transport.
        entropy: random bytes.
        name: for logs and task names.
    """

    def __init__(
        self,
        *,
        on_request: RequestHandler,
        timers: SipTimers = RFC3261_TIMERS,
        is_user_agent: bool = False,
        on_stray_response: Callable[[Response, Flow], None] | None = None,
        on_flow_closed: Callable[[Flow, Exception | None], None] | None = None,
        trace: Trace | None = None,
        limits: TransportLimits | None = None,
        entropy: Entropy = os.urandom,
        name: str = "sip",
    ) -> None:
        self.entropy = entropy
        self.timers = timers
        self._on_request = on_request
        self._on_stray_response = on_stray_response
        self._on_flow_closed = on_flow_closed
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._transport = SipTransport(
            self._message_received,
            on_malformed=self._malformed_received,
            on_closed=self._flow_closed,
            trace=trace,
            limits=limits,
        )
        self._layer: TransactionLayer[Flow] = TransactionLayer(
            entropy=entropy, timers=timers, detects_merged=is_user_agent
        )
        self._timer = LazyTimer(self._loop, self._timer_fired)
        self._tasks = TaskSet(name)
        self._clients: dict[ClientTx, ClientTransaction] = {}
        self._servers: dict[ServerTx, IncomingRequest] = {}
        self._is_settling = False
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- flows -----------------------------------------------------------------------------------
    async def listen(
        self,
        transport: TransportName,
        host: str,
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Address:
        """Accept messages at an address; returns it with the port chosen."""
        return await self._transport.listen(transport, host, port, ssl_context=ssl_context)

    async def connect(
        self,
        transport: TransportName,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        local_address: Address | None = None,
    ) -> Flow:
        """Open a flow to an address.

        Raises:
            PeerUnreachable: refused or no route.
            OperationTimeout: not connected in time.
            SecurityError: the peer's certificate was refused.
            TransportError: TLS failed, or the endpoint is closed.
        """
        return await self._transport.connect(
            transport,
            host,
            port,
            ssl_context=ssl_context,
            server_hostname=server_hostname,
            local_address=local_address,
        )

    # --- our requests ----------------------------------------------------------------------------
    def send(
        self,
        request: Request,
        flow: Flow,
        *,
        on_response: Callable[[Response], object] | None = None,
    ) -> ClientTransaction:
        """Send a request in a new transaction. Our Via is put on top of a copy.

        That it cannot be sent is told by ``final`` and the iteration, like every other outcome.

        Args:
            request: without our Via.
            flow: where to.
            on_response: see :class:`ClientTransaction`.

        Raises:
            LocalProtocolError: an ACK, or too many transactions.
            ChannelClosed: the endpoint is closed.
        """
        if self._is_closed:
            raise ChannelClosed("the SIP endpoint is closed")
        request = self._with_via(request, flow)
        handle = ClientTransaction(self, request, flow)
        handle.on_response = on_response
        machine = self._layer.request(
            request, flow=flow, is_reliable=flow.is_reliable, now=self._loop.time()
        )
        handle.machine = machine
        self._clients[machine] = handle
        self._settle()
        return handle

    def send_ack(self, ack: Request, flow: Flow) -> None:
        """Send the ACK of a 2xx, which has no transaction. Our Via is put on top of a copy."""
        self._send_now(self._with_via(ack, flow), flow)

    def forward(self, message: Request | Response, flow: Flow) -> None:
        """Pass a message on without a transaction; a request gets our Via on top of a copy."""
        if isinstance(message, Request):
            message = self._with_via(message, flow)
        self._send_now(message, flow)

    # --- for the two handles (TransactionControl) ------------------------------------------------
    def cancel(self, machine: InviteClientTransaction) -> None:
        """Cancel an INVITE of ours."""
        self._layer.cancel(machine, now=self._loop.time())
        self._settle()

    def respond(self, machine: ServerTx, response: Response) -> None:
        """Send a response in its transaction."""
        self._layer.respond(machine, response, now=self._loop.time())
        self._settle()

    def respond_until_acked(self, machine: InviteServerTransaction, response: Response) -> None:
        """Send a 2xx in its transaction and repeat it until the ACK comes."""
        self._layer.respond_until_acked(machine, response, now=self._loop.time())
        self._settle()

    # --- end -------------------------------------------------------------------------------------
    async def aclose(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """End all handlers, wake all waiters and close all flows. Idempotent.

        Args:
            timeout_s: bound, seconds; connections that are not closed in order then are aborted.
        """
        self._is_closed = True
        self._timer.cancel()
        error = ChannelClosed("the SIP endpoint is closed")
        for client in list(self._clients.values()):
            client.fail(error)
        for server in list(self._servers.values()):
            server.acknowledged(error)
            server.cancel()
        await self._tasks.aclose()
        await self._transport.aclose(timeout_s)
        self._clients.clear()
        self._servers.clear()

    # --- input -----------------------------------------------------------------------------------
    def _message_received(self, message: Request | Response, flow: Flow) -> None:
        if self._is_closed:
            return
        if isinstance(message, Request):
            _stamp_source(message, flow)
        self._layer.receive(message, flow=flow, is_reliable=flow.is_reliable, now=self._loop.time())
        self._settle()

    def _malformed_received(self, error: MessageError, flow: Flow) -> None:
        logger.info("sip=%s flow=%s malformed message: %s", self._name, flow, error)
        response = error.response(to_tag=new_tag(self.entropy))
        if response is not None and not self._is_closed:
            self._send_now(response, flow)

    def _flow_closed(self, flow: Flow, exc: Exception | None) -> None:
        if self._is_closed:
            return
        error = TransportError(f"the connection to {flow.remote} closed: {exc or 'by the peer'}")
        self._layer.close_flow(flow, error, now=self._loop.time())
        self._settle()
        if self._on_flow_closed is not None:
            self._on_flow_closed(flow, exc)

    def _timer_fired(self, now: float) -> None:
        self._layer.handle_timer(now=now)
        self._settle()

    # --- output ----------------------------------------------------------------------------------
    def _settle(self) -> None:
        """Take all messages and events of the layer; then set the timer.

        What an event causes is taken in the same loop, in order, also when it calls us again.
        """
        if self._is_settling or self._is_closed:
            return
        self._is_settling = True
        try:
            while True:
                if (outgoing := self._layer.poll_transmit()) is not None:
                    self._transmit(*outgoing)
                elif (event := self._layer.poll_event()) is not None:
                    self._dispatch(event)
                elif (machine := self._layer.poll_ended()) is not None:
                    self._forget(machine)
                else:
                    break
        finally:
            self._is_settling = False
        if not self._is_closed:
            self._timer.set(self._layer.next_timer())

    def _transmit(self, message: Request | Response, flow: Flow) -> None:
        try:
            flow.send(message.encode())
        except TransportError as exc:
            logger.info("sip=%s flow=%s cannot send: %s", self._name, flow, exc)
            self._layer.send_failed(message, exc, now=self._loop.time())

    def _send_now(self, message: Request | Response, flow: Flow) -> None:
        try:
            flow.send(message.encode())
        except TransportError as exc:
            logger.info("sip=%s flow=%s cannot send: %s", self._name, flow, exc)

    def _with_via(self, request: Request, flow: Flow) -> Request:
        host, port = flow.local
        via = Via(
            transport=flow.transport.upper(),
            host=host,
            port=port,
            parameters=(("branch", new_branch(self.entropy)), ("rport", None)),
        )
        request = request.copy()
        request.headers.prepend("Via", str(via))
        return request

    def _dispatch(self, event: LayerEvent[Flow]) -> None:
        if isinstance(event, ClientUpdate):
            client = self._clients.get(event.transaction)
            if client is not None:
                self._update_client(client, event.event)
        elif isinstance(event, RequestArrived):
            self._request_arrived(event.request, event.flow, event.transaction)
        elif isinstance(event, Cancelled):
            if (server := self._servers.get(event.transaction)) is not None:
                server.cancel()
        elif isinstance(event, ServerUpdate):
            self._update_server(event)
        elif self._on_stray_response is not None:
            self._on_stray_response(event.response, event.flow)

    @staticmethod
    def _update_client(client: ClientTransaction, event: ClientEvent) -> None:
        if isinstance(event, ResponseArrived):
            client.receive(event.response)
        elif isinstance(event, NoResponse):
            client.fail(
                OperationTimeout(
                    f"no final response to {client.request.method} (timer {event.timer})",
                    source="RFC 3261 17.1",
                )
            )
        else:
            client.fail(event.error)

    def _update_server(self, update: ServerUpdate) -> None:
        server = self._servers.get(update.transaction)
        if server is None:
            return
        if isinstance(update.event, AckArrived):
            server.acknowledged(update.event.ack)
        else:
            logger.info("sip=%s %s: %s", self._name, server.request.method, update.event)
            server.acknowledged(OperationTimeout("no ACK in 64*T1", source="RFC 3261 13.3.1.4"))
            server.cancel()

    def _request_arrived(self, request: Request, flow: Flow, machine: ServerTx | None) -> None:
        incoming = IncomingRequest(self, request, flow, machine)
        if machine is not None:
            self._servers[machine] = incoming
        if len(self._tasks) >= MAX_HANDLERS:
            if machine is not None:
                incoming.reply(503, headers=[("Retry-After", "5")])
            return
        self._tasks.start(self._handle(incoming), name=request.method)

    async def _handle(self, incoming: IncomingRequest) -> None:
        try:
            await self._on_request(incoming)
        except RemoteProtocolError as exc:
            logger.info("sip=%s %s refused: %s", self._name, incoming.request.method, exc)
            if not incoming.is_answered:
                incoming.reply(exc.sip_status_hint or 400)
        except Exception:
            logger.exception("sip=%s %s failed", self._name, incoming.request.method)
            if not incoming.is_answered:
                incoming.reply(500)

    def _forget(self, machine: ClientTx | ServerTx) -> None:
        """Let go of the handle of a transaction that is over; whoever still waits is told."""
        if isinstance(machine, InviteClientTransaction | NonInviteClientTransaction):
            client = self._clients.pop(machine, None)
            if client is not None:
                client.fail(TransportError("the transaction ended"))
        else:
            server = self._servers.pop(machine, None)
            if server is not None:
                server.acknowledged(TransportError("the caller's connection closed"))


def _stamp_source(request: Request, flow: Flow) -> None:
    """Write where a request came from into its top Via (RFC 3261 18.2.1, RFC 3581 4)."""
    try:
        via = request.top_via
    except ParseError:
        return  # the transaction layer answers 400
    host, port = flow.remote
    if via.asks_rport:
        via = via.with_param("received", host).with_param("rport", str(port))
    elif via.host != host:
        via = via.with_param("received", host)
    else:
        return
    request.headers.replace_first("Via", str(via))


def contact_uri(flow: Flow, user: str | None) -> SipUri:
    """The URI by which our end of a flow is reached."""
    host, port = flow.local
    parameters = () if flow.transport == "udp" else (("transport", flow.transport),)
    return SipUri(user=user, host=host, port=port, parameters=parameters)
