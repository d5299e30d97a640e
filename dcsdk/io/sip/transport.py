"""SIP over UDP, TCP and TLS on asyncio: listening sockets, connections and their bounds.

Source: RFC 3261 18, RFC 5626.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from dcsdk.errors import (
    ConfigError,
    OperationTimeout,
    PeerUnreachable,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces import Address
from dcsdk.io.sip.flow import (
    Flow,
    FlowCallbacks,
    TransportLimits,
    TransportName,
    is_ip_address,
    to_address,
)
from dcsdk.io.sip.stream import StreamFlow
from dcsdk.io.sip.udp import SipUdpSocket, UdpFlow
from dcsdk.io.tasks import TaskSet
from dcsdk.sip.syntax.message import Message
from dcsdk.sip.syntax.parser import MessageError

__all__ = ["Flow", "SipTransport", "StreamFlow", "TransportLimits", "TransportName", "UdpFlow"]

logger = logging.getLogger(__name__)

LISTEN_BACKLOG = 1024
ACCEPT_PAUSE_S = 0.1
"""Pause after ``accept`` failed, when the process is out of file descriptors for example."""
TLS_SHUTDOWN_TIMEOUT_S = 1.0
CLOSE_TIMEOUT_S = 2.0
"""Time for connections to close in order, unless another is given."""
ABORT_TIMEOUT_S = 1.0
"""Time for what was not closed in order to go at once."""
UDP_RECEIVE_BUFFER_BYTES = 1_048_576
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound here


class SipTransport:
    """All sockets of one SIP node. Use it with ``async with``, or call ``aclose``.

    Callbacks run in the event loop; see :class:`~dcsdk.io.sip.flow.FlowCallbacks`.

    Args:
        on_message: every whole message, with the flow it came on.
        on_malformed: every refused one; ``error.response()`` makes the answer, if there is one.
        on_closed: once per connection; ``None`` when it ended in order.
        trace: every message in either direction, as bytes.
        limits: bounds of sizes, counts and times.
    """

    def __init__(
        self,
        on_message: Callable[[Message, Flow], None],
        *,
        on_malformed: Callable[[MessageError, Flow], None] | None = None,
        on_closed: Callable[[Flow, Exception | None], None] | None = None,
        trace: Callable[[Literal["in", "out"], Flow, bytes], None] | None = None,
        limits: TransportLimits | None = None,
    ) -> None:
        self._callbacks = FlowCallbacks(
            on_message=on_message, on_malformed=on_malformed, on_closed=on_closed, trace=trace
        )
        self._limits = limits or TransportLimits()
        self._tasks = TaskSet("sip transport")
        self._listeners: list[socket.socket] = []
        self._udp: list[SipUdpSocket] = []
        self._flows: set[StreamFlow] = set()
        self._connecting: set[asyncio.Timeout] = set()
        self._handshakes: dict[asyncio.Task[None], float] = {}
        self._is_closed = False
        self._refused = 0
        self._no_flows = asyncio.Event()
        self._no_flows.set()

    async def __aenter__(self) -> SipTransport:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def connection_count(self) -> int:
        """Connections open or being opened."""
        return len(self._flows)

    @property
    def handshake_count(self) -> int:
        """Incoming connections whose TLS handshake is under way."""
        return len(self._handshakes)

    def stats(self) -> dict[str, int]:
        """Counters: open connections, those refused or given up for want of room, datagrams
        dropped for a full buffer."""
        return {
            "connections": len(self._flows),
            "refused_connections": self._refused,
            "dropped_datagrams": sum(s.dropped for s in self._udp),
        }

    async def listen(
        self,
        transport: TransportName,
        host: str,
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Address:
        """Open a listening socket.

        Args:
            transport: ``"udp"``, ``"tcp"`` or ``"tls"``.
            host: a local IP address; IPv6 without brackets; a wildcard serves its family only.
            port: 0 takes a free one.
            ssl_context: server context, for TLS and only there.

        Returns:
            Address and port it is bound to.

        Raises:
            ConfigError: TLS without a context, or a host that is no IP address.
            TransportError: the address cannot be bound, or the transport is closed.
        """
        _check_context(transport, ssl_context)
        if self._is_closed:
            raise TransportError("the SIP transport is closed")
        if not is_ip_address(host):
            raise ConfigError(f"{host!r} is no IP address to listen on")
        is_ipv6 = ":" in host
        if transport == "udp":
            return (await self._open_udp(host, port, is_ipv6=is_ipv6)).local
        listener = _bind(host, port, is_ipv6=is_ipv6, kind=socket.SOCK_STREAM)
        listener.listen(LISTEN_BACKLOG)
        self._listeners.append(listener)
        address = to_address(listener.getsockname())
        work = self._accept(listener, transport, ssl_context)
        self._tasks.start(work, name=f"accept {transport} {address}")
        return address

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
        """Open a flow to a peer: always a new connection; for UDP, a socket that exists if it fits.

        Args:
            transport: ``"udp"``, ``"tcp"`` or ``"tls"``.
            host: name or address, IPv6 without brackets.
            port: 1..65535.
            ssl_context: client context, for TLS and only there.
            server_hostname: name the certificate must have, ``host`` by default.
            local_address: where to bind; for UDP, which of our sockets to use.

        Raises:
            ConfigError: TLS without a context.
            SecurityError: the peer's certificate was refused.
            OperationTimeout: not connected in ``connect_timeout_s``.
            PeerUnreachable: refused or no route.
            TransportError: too many connections, TLS failed, or the transport is closed.
        """
        _check_context(transport, ssl_context)
        if self._is_closed:
            raise TransportError("the SIP transport is closed")
        bound = asyncio.timeout(self._limits.connect_timeout_s)
        self._connecting.add(bound)
        try:
            async with bound:
                if transport == "udp":
                    return await self._connect_udp(host, port, local_address)
                name = (server_hostname or host) if transport == "tls" else None
                return await self._connect_stream(
                    transport, host, port, ssl_context, name, local_address
                )
        except TimeoutError as exc:
            if self._is_closed:
                raise TransportError("the SIP transport was closed meanwhile") from exc
            raise OperationTimeout(f"no connection to {host} port {port} in time") from exc
        except ssl.SSLCertVerificationError as exc:
            raise SecurityError(f"certificate of {host}: {exc.verify_message}") from exc
        except ssl.SSLError as exc:
            raise TransportError(f"TLS with {host} port {port} failed: {exc.reason}") from exc
        except TransportError:
            raise
        except OSError as exc:
            why = str(exc) or type(exc).__name__
            raise PeerUnreachable(f"no connection to {host} port {port}: {why}") from exc
        finally:
            self._connecting.discard(bound)

    async def aclose(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Close every socket: first orderly, after ``timeout_s`` at once. Idempotent."""
        self._is_closed = True
        for bound in self._connecting:
            bound.reschedule(asyncio.get_running_loop().time())
        await self._tasks.aclose()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for flow in list(self._flows):
            flow.close()
        for udp in self._udp:
            udp.close()
        try:
            await self._wait_closed(timeout_s)
        finally:
            for flow in list(self._flows):
                flow.abort()
            for udp in self._udp:
                udp.abort()
        if not await self._wait_closed(ABORT_TIMEOUT_S):
            logger.warning("%d SIP connections did not end in time", len(self._flows))
            self._flows.clear()
            self._no_flows.set()
        self._udp.clear()

    async def _wait_closed(self, timeout_s: float) -> bool:
        """Wait for every connection and UDP socket to be closed; tell whether they are."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._no_flows.wait()
                for udp in self._udp:
                    await asyncio.shield(udp.closed)
        except TimeoutError:
            return False
        return True

    # --- UDP -------------------------------------------------------------------------------------
    async def _open_udp(self, host: str, port: int, *, is_ipv6: bool) -> SipUdpSocket:
        sock = _bind(host, port, is_ipv6=is_ipv6, kind=socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):  # a smaller buffer than wished for is no error
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_RECEIVE_BUFFER_BYTES)
        udp = SipUdpSocket(self._callbacks, self._limits, to_address(sock.getsockname()))
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: udp, sock=sock)
        except BaseException:
            sock.close()
            raise
        self._udp.append(udp)
        return udp

    async def _connect_udp(self, host: str, port: int, local_address: Address | None) -> Flow:
        if is_ip_address(host):  # no need of the resolver's thread
            found = socket.getaddrinfo(
                host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
            )
        else:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        family, sockaddr, source = _first_reachable([(f, a) for f, _, _, _, a in found])
        source = source if local_address is None else local_address
        for udp in self._udp:
            if udp.family == family and not udp.is_closed and _serves(udp.local, source):
                break
        else:
            is_ipv6 = family == socket.AF_INET6
            udp = await self._open_udp(source[0], source[1], is_ipv6=is_ipv6)
        local = source[0].partition("%")[0], udp.local[1]
        return UdpFlow(socket=udp, local=local, remote=to_address(sockaddr), sockaddr=sockaddr)

    # --- TCP and TLS -----------------------------------------------------------------------------
    def _new_flow(self, transport: TransportName) -> StreamFlow:
        flow = StreamFlow(transport, self._callbacks, self._limits, self._forget)
        self._flows.add(flow)
        self._no_flows.clear()
        return flow

    def _forget(self, flow: StreamFlow) -> None:
        self._flows.discard(flow)
        if not self._flows:
            self._no_flows.set()

    def _is_full(self) -> bool:
        if len(self._flows) < self._limits.max_connections:
            return False
        self._refused += 1
        return True

    async def _connect_stream(
        self,
        transport: TransportName,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | None,
        server_hostname: str | None,
        local_address: Address | None,
    ) -> Flow:
        if self._is_full():
            raise TransportError(f"already {self._limits.max_connections} connections")
        flow = self._new_flow(transport)
        tls: dict[str, Any] = {} if ssl_context is None else self._tls_options(ssl_context)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: flow,
                host,
                port,
                server_hostname=server_hostname,
                local_addr=local_address,
                **tls,
            )
        except BaseException:
            self._forget(flow)
            raise
        if self._is_closed:
            flow.abort()
            raise TransportError("the SIP transport was closed meanwhile")
        return flow

    async def _accept(
        self, listener: socket.socket, transport: TransportName, context: ssl.SSLContext | None
    ) -> None:
        loop = asyncio.get_running_loop()
        is_failing = False
        while True:
            if context is not None:
                await self._make_room()
            try:
                sock, peer = await loop.sock_accept(listener)
            except OSError as exc:
                if not is_failing:  # said once, not ten times a second
                    logger.warning("accept failed, pausing: %s", exc)
                is_failing = True
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            is_failing = False
            if self._is_full():
                sock.close()
                continue
            flow = self._new_flow(transport)
            task = self._tasks.start(
                self._take_in(sock, flow, context), name=f"handshake with {peer[0]}"
            )
            if context is not None:
                self._handshakes[task] = loop.time()
            task.add_done_callback(partial(self._taken_in, sock, flow))

    async def _make_room(self) -> None:
        """Hold the next TLS connection back until there is room for its handshake.

        The oldest gives way once it has had ``min_handshake_s``. So peers that are slow on purpose
        cannot keep the others out, and many honest ones at once wait for each other.
        """
        loop = asyncio.get_running_loop()
        while len(self._handshakes) >= self._limits.max_handshakes:
            oldest, started_s = next(iter(self._handshakes.items()))
            left_s = started_s + self._limits.min_handshake_s - loop.time()
            if left_s <= 0 and oldest.cancel():
                self._refused += 1
            await asyncio.wait(
                self._handshakes,
                timeout=max(left_s, 0) or None,
                return_when=asyncio.FIRST_COMPLETED,
            )

    async def _take_in(
        self, sock: socket.socket, flow: StreamFlow, context: ssl.SSLContext | None
    ) -> None:
        """Make an accepted socket a flow; for TLS, after its handshake."""
        tls: dict[str, Any] = {} if context is None else self._tls_options(context)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: flow, sock, **tls)
        except OSError as exc:  # TLS failures and time-outs too
            logger.info("an incoming %s connection failed: %s", flow.transport, exc)

    def _taken_in(self, sock: socket.socket, flow: StreamFlow, task: asyncio.Task[None]) -> None:
        """Forget what did not become a flow, even if it was cancelled before its first step."""
        self._handshakes.pop(task, None)
        if not flow.is_made:
            self._forget(flow)
            sock.close()

    def _tls_options(self, context: ssl.SSLContext) -> dict[str, Any]:
        return {
            "ssl": context,
            "ssl_handshake_timeout": self._limits.handshake_timeout_s,
            "ssl_shutdown_timeout": TLS_SHUTDOWN_TIMEOUT_S,
        }


def _check_context(transport: str, context: ssl.SSLContext | None) -> None:
    if transport not in ("udp", "tcp", "tls"):
        raise ConfigError(f"SIP transport {transport!r}; known: udp, tcp, tls")
    if (transport == "tls") != (context is not None):
        raise ConfigError("an ssl_context belongs to TLS, and TLS needs one")


def _bind(host: str, port: int, *, is_ipv6: bool, kind: socket.SocketKind) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, kind)
    except OSError as exc:  # too many open files, or a host without IPv6
        raise TransportError(f"no socket for {host}: {exc}") from exc
    try:
        sock.setblocking(False)
        if is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)[0][4])
    except OSError as exc:
        sock.close()
        raise TransportError(f"{host} port {port} cannot be bound: {exc}") from exc
    return sock


def _first_reachable(candidates: list[tuple[int, Any]]) -> tuple[int, Any, Address]:
    """Return family, socket address and our own address for the first peer that has a route.

    Only the routing table is asked; nothing is sent.

    Raises:
        OSError: there is no route to any.
    """
    problem = OSError("no address")
    for family, sockaddr in candidates:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(sockaddr)
            except OSError as exc:
                problem = exc
                continue
            return family, sockaddr, (str(probe.getsockname()[0]), 0)
    raise problem


def _serves(bound: Address, wanted: Address) -> bool:
    """Tell whether a bound socket can send from the wanted address (port 0: any)."""
    is_host = bound[0] in _WILDCARDS or bound[0] == wanted[0].partition("%")[0]
    return is_host and wanted[1] in (0, bound[1])
