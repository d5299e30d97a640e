"""A pair of data channels in memory, with the verbs that HTTP needs of the real ones."""

from __future__ import annotations

import asyncio
from collections import deque

from dcsdk.errors import ChannelClosed, MessageTooLarge
from dcsdk.security import SecurityReport, SecurityScope

WINDOW_BYTES = 256 * 1024


class MemoryChannel:
    """One end: ordered, reliable, with a window that holds the sender back."""

    def __init__(self, stream_id: int, max_message_size: int) -> None:
        self.stream_id = stream_id
        self.max_message_size = max_message_size
        self.security = SecurityReport(scope=SecurityScope.E2E, backend="memory")
        self.peer: MemoryChannel = self
        self.is_closed = False
        self.was_aborted = False
        self.close_calls = 0
        self.sent_sizes: deque[int] = deque(maxlen=64)
        self.max_queued_bytes = 0
        self._messages: deque[str | bytes] = deque()
        self._queued_bytes = 0
        self._changed = asyncio.Event()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def send(self, data: str | bytes) -> None:
        if 0 < self.max_message_size < len(data):
            raise MessageTooLarge(f"{len(data)} > {self.max_message_size}")
        while not self.is_closed and self.peer._queued_bytes >= WINDOW_BYTES:
            await self.peer._changed.wait()
        if self.is_closed:
            raise ChannelClosed("the channel is closed")
        self.sent_sizes.append(len(data))
        self.peer._messages.append(data)
        self.peer._queued_bytes += len(data)
        self.peer.max_queued_bytes = max(self.peer.max_queued_bytes, self.peer._queued_bytes)
        self.peer._wake()

    async def receive(self) -> str | bytes:
        while not self._messages:
            if self.is_closed:
                raise ChannelClosed("the channel is closed")
            await self._changed.wait()
        data = self._messages.popleft()
        self._queued_bytes -= len(data)
        self._wake()
        return data

    async def filled(self) -> None:
        """Wait until a message waits for its reader."""
        while not self._messages:
            await self._changed.wait()

    async def emptied(self) -> None:
        """Wait until every message is read."""
        while self._messages:
            await self._changed.wait()

    def abort(self) -> None:
        self.was_aborted = True
        self._close()

    async def aclose(self, timeout_s: float = 2.0) -> None:
        self.close_calls += 1
        self._close()

    def _close(self) -> None:
        for end in (self, self.peer):
            end.is_closed = True
            end._wake()


def memory_channel_pair(
    *, stream_id: int = 1000, max_message_size: int = 65_536
) -> tuple[MemoryChannel, MemoryChannel]:
    """Return both ends of a new channel."""
    here = MemoryChannel(stream_id, max_message_size)
    there = MemoryChannel(stream_id, max_message_size)
    here.peer, there.peer = there, here
    return here, there
