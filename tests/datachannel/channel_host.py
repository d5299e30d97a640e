"""An association made of variables, for tests of channels alone."""

from __future__ import annotations

import asyncio
from typing import Any

from dcsdk.datachannel.channel import (
    DataChannel,
)
from dcsdk.interfaces import ChannelParameters
from dcsdk.security import SecurityReport, SecurityScope

LIMIT = 1000
MAX_MESSAGE = 600


class Host:
    """An association made of variables."""

    def __init__(self) -> None:
        self.report = SecurityReport(scope=SecurityScope.E2E, backend="test")
        self.sent: list[tuple[int, bytes]] = []
        self.queued = 0
        self.free = 1 << 20
        self.blocked: list[DataChannel] = []
        self.read: list[tuple[int, int]] = []
        self.resets: list[bool] = []

    def submit(self, ppid: int, data: bytes) -> None:
        self.sent.append((ppid, data))
        self.queued += len(data)

    def queued_bytes(self, stream_id: int) -> int:
        return self.queued

    def is_confirmed(self) -> bool:
        return not self.queued

    def free_bytes(self) -> int:
        return self.free

    def wake_when_low(self, channel: DataChannel) -> None:
        self.blocked.append(channel)

    def consumed(self, stream_id: int, size: int, count: int) -> None:
        self.read.append((size, count))

    def reset(self, channel: DataChannel, *, is_flushed: bool) -> None:
        self.resets.append(is_flushed)

    def drain(self, left: int = 0) -> None:
        """The network took everything but ``left`` bytes."""
        self.queued = left
        blocked, self.blocked = self.blocked, []
        for channel in blocked:
            channel.room_changed()


def make(host: Host, *, is_open: bool = True, **parameters: Any) -> DataChannel:
    channel = DataChannel(
        host, ChannelParameters(**parameters), stream_id=7, max_queued_bytes=LIMIT
    )
    channel.limit(MAX_MESSAGE, 1 << 20)
    if is_open:
        channel.opened(host.submit)
    return channel


async def turn() -> None:
    """Let every task run as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def run_to_wait(work: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
    await turn()
    assert not task.done()
    return task
