"""What every way to a SIP peer has in common: its verbs, its bounds and whom it tells.

Source: RFC 3261 18.
"""

from __future__ import annotations

import ipaddress
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from dcsdk.errors import ConfigError
from dcsdk.interfaces import Address
from dcsdk.sip.syntax.message import Message
from dcsdk.sip.syntax.parser import DEFAULT_LIMITS, MessageError, ParserLimits

logger = logging.getLogger(__name__)

TransportName = Literal["udp", "tcp", "tls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """Bounds of a SIP transport.

    Attributes:
        max_connections: TCP and TLS together, both directions, handshakes included.
        max_handshakes: incoming connections whose TLS handshake is under way. Each takes some 300
            kB before it has shown who it is; the next wait in the listening socket's queue.
        min_handshake_s: a handshake that has had this long gives way to the next when there are
            ``max_handshakes``.
        max_write_buffer_bytes: unsent bytes of one connection, or of one UDP socket, that another
            message may wait behind; beyond it a connection is closed and a datagram dropped.
        connect_timeout_s: to open a connection.
        handshake_timeout_s: of TLS.
        message_timeout_s: from the first byte of a message to its last.
        message: bounds of one message.
    """

    max_connections: int = 10_000
    max_handshakes: int = 128
    min_handshake_s: float = 2.0
    max_write_buffer_bytes: int = 1_048_576
    connect_timeout_s: float = 10.0
    handshake_timeout_s: float = 10.0
    message_timeout_s: float = 32.0
    message: ParserLimits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        if min(self.max_connections, self.max_handshakes, self.max_write_buffer_bytes) < 1:
            raise ConfigError(
                "max_connections, max_handshakes and max_write_buffer_bytes must be at least 1"
            )
        if self.min_handshake_s < 0:
            raise ConfigError("min_handshake_s must not be negative")
        if min(self.connect_timeout_s, self.handshake_timeout_s, self.message_timeout_s) <= 0:
            raise ConfigError("the time limits of a transport must be positive")


@dataclass(slots=True, kw_only=True)
class FlowCallbacks:
    """Whom a flow tells what happens. All are called in the event loop and must not block.

    An exception of a callback is logged and ends neither the flow nor the socket.
    """

    on_message: Callable[[Message, Flow], None]
    on_malformed: Callable[[MessageError, Flow], None] | None = None
    on_closed: Callable[[Flow, Exception | None], None] | None = None
    trace: Callable[[Literal["in", "out"], Flow, bytes], None] | None = None

    def run(self, callback: Callable[..., None] | None, *args: Any) -> None:
        """Call back, and keep what goes wrong there from the transport."""
        if callback is None:
            return
        try:
            callback(*args)
        except Exception:
            logger.exception("a SIP transport callback failed")


class Flow(ABC):
    """One way to one peer. Hashable; two UDP flows of a socket to one address are equal.

    Attributes:
        transport: ``"udp"``, ``"tcp"`` or ``"tls"``.
        local: our address.
        remote: the peer's address.
    """

    __slots__ = ()

    transport: TransportName
    local: Address
    remote: Address

    @property
    def is_reliable(self) -> bool:
        """Whether the transport retransmits by itself, so that SIP need not (RFC 3261 17)."""
        return self.transport != "udp"

    @property
    def is_secure(self) -> bool:
        """Whether the transport is TLS."""
        return self.transport == "tls"

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send one message.

        Raises:
            TransportError: the flow is closed, the message is larger than a datagram, or the
                peer reads so slowly that the connection was given up.
        """

    @abstractmethod
    def close(self) -> None:
        """Close a connection after what was sent; a UDP flow has nothing to close. Idempotent."""


def to_address(sockaddr: Any) -> Address:
    """Return host and port of a socket address, without an IPv6 zone."""
    return str(sockaddr[0]).partition("%")[0], int(sockaddr[1])


def is_ip_address(host: str) -> bool:
    """Tell an address (IPv6 without brackets, a zone allowed) from a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
