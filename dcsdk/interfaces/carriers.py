"""Carriers, and the application protocols that run on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from dcsdk.interfaces.paths import Address
from dcsdk.interfaces.values import Attributes
from dcsdk.security import SecurityReport

App = TypeVar("App", covariant=True)


class CarrierKind(Enum):
    """What an application protocol can run on."""

    MESSAGE = "message"
    """A data channel."""
    STREAM = "stream"
    """TCP or TLS."""
    DATAGRAM = "datagram"
    """Datagrams, such as UDPTL's."""
    RTP = "rtp"
    """RTP packets."""


class AnyCarrier(Protocol):
    """What all carriers have in common."""

    @property
    def security(self) -> SecurityReport:
        """What protects it."""

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what is queued, then close. Bounded."""


class MessageCarrier(AnyCarrier, Protocol):
    """Messages whole and, unless agreed otherwise, in order: a data channel."""

    max_message_size: int

    async def send(self, data: str | bytes, *, timeout_s: float | None = None) -> None:
        """Send one message; waits while too much is queued."""

    async def receive(self) -> str | bytes:
        """Take the next message, waiting for it.

        Raises:
            ChannelClosed: the other side closed, and everything that came was read.
        """


class StreamCarrier(AnyCarrier, Protocol):
    """Bytes in order."""

    async def read(self, max_bytes: int = 65_536) -> bytes:
        """Take what came, waiting for it; ``b""`` at the end."""

    async def write(self, data: bytes) -> None:
        """Send; waits while too much is queued."""


class DatagramCarrier(AnyCarrier, Protocol):
    """Datagrams, which may be lost, doubled and overtaken."""

    max_packet_size: int

    def send(self, packets: Sequence[bytes]) -> int:
        """Send packets in order; return how many were taken."""

    async def receive(self) -> Sequence[bytes]:
        """Take what came, in the order it came, waiting for it."""


class RtpCarrier(DatagramCarrier, Protocol):
    """RTP packets of one payload type's stream.

    Attributes:
        payload_type: as the peer listed it.
    """

    payload_type: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolEndpoint:
    """Where one end of a protocol is, for attributes that name it, such as an MSRP path.

    Attributes:
        carrier: what it runs on.
        address: ours.
        is_secure: keys protect the carrier.
        stream_id: of the data channel, or ``None``.
    """

    carrier: CarrierKind
    address: Address
    is_secure: bool
    stream_id: int | None = None


class AppProtocol(ABC, Generic[App]):
    """A protocol that runs on carriers; on a data channel it is found by its subprotocol name.

    Its attributes are written as ``a=dcsa`` on a channel and as media-level attributes on an
    m-line (RFC 8864 5.2).

    Attributes:
        subprotocol: its RFC 8864 name.
        carriers: what it runs on.
    """

    subprotocol: ClassVar[str]
    carriers: ClassVar[frozenset[CarrierKind]] = frozenset({CarrierKind.MESSAGE})

    def describe(self, endpoint: ProtocolEndpoint) -> Attributes:
        """Return the attributes of an offer."""
        return ()

    def answer(self, offered: Attributes, endpoint: ProtocolEndpoint) -> Attributes:
        """Return the attributes that answer those offered.

        Raises:
            NegotiationError, ParseError: they cannot be; this channel or line is refused.
        """
        return ()

    def agree(self, offered: Attributes, answered: Attributes) -> Any:
        """Return what offer and answer lead to; given to ``start``.

        Raises:
            NegotiationError, ParseError: they do not fit; this channel or line is closed.
        """
        return None

    @abstractmethod
    def start(self, carrier: Any, agreed: Any = None, *, is_opener: bool) -> App:
        """Run the protocol.

        Args:
            carrier: one of the kinds in ``carriers``, open.
            agreed: of ``agree``.
            is_opener: our side asked for it.

        Returns:
            What the program gets; it has ``aclose`` and ``security``.
        """
