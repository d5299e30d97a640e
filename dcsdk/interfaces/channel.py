"""What an association and its data channels share, whatever engine it is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from dcsdk.security import SecurityReport

Channel = TypeVar("Channel", contravariant=True)


class ChannelState(Enum):
    """Where a channel is in its life."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


Submit = Callable[[int, bytes], None]
"""Queues one message, PPID and body; it leaves before the event loop goes round again.

Raises ``TransportError`` when the association is ending.
"""


class ChannelHost(Protocol[Channel]):
    """What an association does for its channels, which are of the class ``Channel``."""

    @property
    def report(self) -> SecurityReport:
        """What protects the association."""

    def queued_bytes(self, stream_id: int) -> int:
        """Bytes of a stream that were accepted and have not left yet."""

    def is_confirmed(self) -> bool:
        """The peer has everything that was accepted, over all channels."""

    def free_bytes(self) -> int:
        """Bytes the association takes now, over all channels."""

    def wake_when_low(self, channel: Channel) -> None:
        """Call ``channel.room_changed`` when there may be room again."""

    def consumed(self, stream_id: int, size: int, count: int) -> None:
        """The program read ``count`` messages of ``size`` bytes: the receive window opens."""

    def reset(self, channel: Channel, *, is_flushed: bool) -> None:
        """Reset the outgoing stream, after what is queued or instead of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelParameters:
    """What both ends must agree on for one data channel.

    Attributes:
        stream_id: 0..65534 (RFC 8832 3), or ``None`` to let the association choose.
        label: need not be unique.
        subprotocol: RFC 8864 name, ``""`` for raw text and binary.
        is_ordered: messages arrive in the order sent.
        max_retr: give a message up after this many retransmissions, ``None`` for never.
        max_time_ms: give a message up after this time, ``None`` for never; excludes ``max_retr``.
        priority: RFC 8831 6.4, 256 is normal.
        is_negotiated: agreed in SDP (dcmap), so no DCEP OPEN is sent.

    Source: RFC 8832 5.1, RFC 8864 5.1.
    """

    stream_id: int | None = None
    label: str = ""
    subprotocol: str = ""
    is_ordered: bool = True
    max_retr: int | None = None
    max_time_ms: int | None = None
    priority: int = 256
    is_negotiated: bool = True
