"""What an association and its data channels share, whatever engine it is of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from dcsdk.errors import DcsdkError, OperationTimeout, TransportError
from dcsdk.security import SecurityReport

if TYPE_CHECKING:
    from dcsdk.datachannel.channel import DataChannel

PPID_DCEP = 50
PPID_STRING, PPID_BINARY = 51, 53
PPID_STRING_EMPTY, PPID_BINARY_EMPTY = 56, 57
"""Payload protocol identifiers (RFC 8831 8). 52 and 54 are deprecated and never taken."""


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


class Closable(Protocol):
    """A channel, or what stands for one."""

    async def aclose(self, timeout_s: float) -> None:
        """Send what is queued, then close."""


class ChannelCarrier(Protocol):
    """What an association does for its channels."""

    @property
    def report(self) -> SecurityReport:
        """What protects the association."""

    def queued_bytes(self, stream_id: int) -> int:
        """Bytes of a stream that were accepted and have not left yet."""

    def is_confirmed(self) -> bool:
        """The peer has everything that was accepted, over all channels."""

    def free_bytes(self) -> int:
        """Bytes the association takes now, over all channels."""

    def wake_when_low(self, channel: DataChannel) -> None:
        """Call ``channel.room_changed`` when there may be room again."""

    def consumed(self, stream_id: int, size: int, count: int) -> None:
        """The program read ``count`` messages of ``size`` bytes: the receive window opens."""

    def reset(self, channel: DataChannel, *, is_flushed: bool) -> None:
        """Reset the outgoing stream, after what is queued or instead of it."""


async def close_quietly(channel: Closable, timeout_s: float = 2.0) -> None:
    """Close a channel on behalf of a part that has other ways to notice what was lost on it."""
    with contextlib.suppress(TransportError, OperationTimeout):
        await channel.aclose(timeout_s)


def again(error: DcsdkError) -> DcsdkError:
    """Copy an error, so that each waiter raises its own with its own traceback."""
    copy = type(error)(str(error))
    copy.source = error.source
    copy.__cause__ = error
    return copy
