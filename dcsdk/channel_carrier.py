"""What an association does for its data channels, whatever engine it is of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from dcsdk.security import SecurityReport

if TYPE_CHECKING:
    from dcsdk.channel import DataChannel

Submit = Callable[[int, bytes], None]
"""Queues one message, PPID and body; it leaves before the event loop goes round again.

Raises ``TransportError`` when the association is ending.
"""


class ChannelCarrier(Protocol):
    """What an association does for its channels."""

    @property
    def report(self) -> SecurityReport:
        """What protects the association."""

    def queued_bytes(self, stream_id: int) -> int:
        """Bytes of a stream that were accepted and have not left yet."""

    def free_bytes(self) -> int:
        """Bytes the association takes now, over all channels."""

    def wake_when_low(self, channel: DataChannel) -> None:
        """Call ``channel.room_changed`` when there may be room again."""

    def consumed(self, stream_id: int, size: int, count: int) -> None:
        """The program read ``count`` messages of ``size`` bytes: the receive window opens."""

    def reset(self, channel: DataChannel, *, is_flushed: bool) -> None:
        """Reset the outgoing stream, after what is queued or instead of it."""
