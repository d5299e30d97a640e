"""SIP over one UDP socket: all peers, both directions.

Source: RFC 3261 18.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass, field
from typing import Any, cast

from dcsdk.errors import TransportError
from dcsdk.interfaces import Address
from dcsdk.io.sip.flow import Flow, FlowCallbacks, TransportLimits, TransportName, to_address
from dcsdk.sip.syntax.parser import MessageError, parse_message

logger = logging.getLogger(__name__)

MAX_DATAGRAM_BYTES = 65_507
"""Largest UDP payload over IPv4."""


class SipUdpSocket(asyncio.DatagramProtocol):
    """One UDP socket, for all peers and both directions.

    Attributes:
        local: where it is bound.
        dropped: datagrams not sent because the buffer was full.
    """

    def __init__(self, callbacks: FlowCallbacks, limits: TransportLimits, local: Address) -> None:
        self.local = local
        self.dropped = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._callbacks = callbacks
        self._limits = limits
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def family(self) -> int:
        """``socket.AF_INET`` or ``socket.AF_INET6``."""
        return socket.AF_INET6 if ":" in self.local[0] else socket.AF_INET

    @property
    def is_closed(self) -> bool:
        """Whether the socket is closed."""
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            logger.warning("local=%s UDP socket failed: %s", self.local, exc)
        if not self.closed.done():
            self.closed.set_result(None)

    def error_received(self, exc: Exception) -> None:
        logger.info("local=%s UDP error: %s", self.local, exc)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not data.strip(b"\r\n\x00"):
            return  # keep-alive of a NAT binding
        callbacks = self._callbacks
        flow = UdpFlow(socket=self, local=self.local, remote=to_address(addr), sockaddr=addr)
        if callbacks.trace is not None:
            callbacks.run(callbacks.trace, "in", flow, data)
        try:
            message = parse_message(data, self._limits.message)
        except MessageError as exc:
            callbacks.run(callbacks.on_malformed, exc, flow)
            return
        callbacks.run(callbacks.on_message, message, flow)

    def send(self, data: bytes, flow: UdpFlow) -> None:
        """Send one datagram; a full buffer drops it, since SIP retransmits over UDP."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise TransportError("the UDP socket is closed")
        if len(data) > MAX_DATAGRAM_BYTES:
            raise TransportError(
                f"{len(data)} bytes do not fit a datagram", source="RFC 3261 18.1.1"
            )
        waiting = cast("asyncio.WriteTransport", transport).get_write_buffer_size()
        if waiting + len(data) > self._limits.max_write_buffer_bytes:
            self.dropped += 1
            return
        if self._callbacks.trace is not None:
            self._callbacks.run(self._callbacks.trace, "out", flow, data)
        transport.sendto(data, flow.sockaddr)

    def close(self) -> None:
        """Close the socket after what was sent; ``closed`` is done when that is over."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the socket at once; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpFlow(Flow):
    """A remote address seen through a UDP socket; a light value.

    On a flow that came with a datagram, ``local`` is what the socket is bound to, perhaps a
    wildcard; on one from ``connect`` it is the address the routing table names.
    """

    socket: SipUdpSocket = field(repr=False)
    local: Address = field(compare=False)
    remote: Address
    sockaddr: Any = field(repr=False)
    transport: TransportName = "udp"

    @property
    def is_closed(self) -> bool:
        return self.socket.is_closed

    def send(self, data: bytes) -> None:
        self.socket.send(data, self)

    def close(self) -> None:
        """Do nothing: the socket serves other peers."""
