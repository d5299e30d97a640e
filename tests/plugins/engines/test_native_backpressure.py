"""Many channels that wait for room share what comes, and cost only what they get."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.interfaces import ChannelParameters
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native_channels import MAX_PASSED_OVER, ChannelTable
from dcsdk.security import SecurityReport, SecurityScope

LIMIT = 100_000
OWN_LIMIT = 50_000


class Queue:
    """What an association and its driver are for a table, with a queue that the test empties."""

    def __init__(self) -> None:
        self.queued: dict[int, int] = {}
        self.sent: list[int] = []
        self.looks = 0
        self.on_settled: Any = None
        self.is_flush_due = True
        self.flushes = 0
        self.now = float
        config = EngineConfig(max_channels=2000, max_queued_bytes=OWN_LIMIT)
        report = SecurityReport(scope=SecurityScope.E2E, backend="test")
        transport: Any = SimpleNamespace(report=report, is_client=True)
        self.table = ChannelTable(config, transport)
        machine: Any = SimpleNamespace(queued_bytes=self.queued_bytes, send=self.send)
        self.machine = machine
        self.others = LIMIT
        self.count()
        driver: Any = self
        self.table.connect(machine, driver, max_message_size=LIMIT, send_limit=LIMIT)
        self.table.established(2000)

    def request_flush(self) -> None:
        self.flushes += 1

    def message_queued(self) -> None:
        raise AssertionError("a flush is due already")

    def count(self) -> None:
        self.machine.total_queued_bytes = self.others + sum(self.queued.values())

    def queued_bytes(self, stream_id: int) -> int:
        self.looks += 1
        return self.queued.get(stream_id, 0)

    def send(self, stream_id: int, ppid: int, data: bytes, **options: object) -> None:
        self.queued[stream_id] = self.queued.get(stream_id, 0) + len(data)
        self.sent.append(stream_id)
        self.count()

    async def settle(self, *, free: int) -> list[int]:
        """Leave so much room; return which streams sent."""
        self.sent.clear()
        self.queued.clear()
        self.others = LIMIT - free
        self.count()
        self.looks = 0
        if self.on_settled is not None:
            self.on_settled()
        looks = self.looks
        for _ in range(5):
            await asyncio.sleep(0)
        self.looks = looks
        return list(self.sent)


@pytest.fixture
def queue() -> Queue:
    return Queue()


def senders(queue: Queue, count: int, size: int, *, first: int = 0) -> list[asyncio.Task[None]]:
    """Have so many channels that each send without end."""

    async def send(channel: DataChannel) -> None:
        while True:
            await channel.send(bytes(size))

    numbers = range(first, first + count)
    channels = [queue.table.open(ChannelParameters(stream_id=number)) for number in numbers]
    return [asyncio.create_task(send(channel)) for channel in channels]


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_channels_that_wait_are_woken_in_turn_and_no_more_than_there_is_room(
    queue: Queue,
) -> None:
    tasks = senders(queue, 1000, 10_000)
    await asyncio.sleep(0)
    order: list[int] = []
    for _ in range(100):
        sent = await queue.settle(free=25_000)
        assert len(sent) == 2
        assert queue.machine.total_queued_bytes <= LIMIT
        assert queue.looks <= 2 * (len(sent) + MAX_PASSED_OVER)
        order += sent
    assert order == list(range(200))
    await stop(tasks)


async def test_a_channel_that_was_woken_and_cancelled_takes_no_room(queue: Queue) -> None:
    first, second = senders(queue, 2, 20_000)
    await asyncio.sleep(0)
    queue.others = LIMIT - 25_000
    queue.count()
    queue.on_settled()
    assert queue.flushes == 1
    await stop([first])
    assert queue.table.free_bytes() == 5_000
    assert await queue.settle(free=25_000) == [1]
    await stop([second])


async def test_a_full_channel_keeps_no_other_from_its_turn(queue: Queue) -> None:
    tasks = senders(queue, 3, 10_000)
    await asyncio.sleep(0)
    full = queue.queued_bytes
    queue.machine.queued_bytes = lambda number: OWN_LIMIT if number == 0 else full(number)
    assert set(await queue.settle(free=40_000)) == {1, 2}
    queue.machine.queued_bytes = full
    assert 0 in await queue.settle(free=40_000)
    await stop(tasks)


async def test_a_large_message_keeps_its_turn_while_smaller_ones_go_on(queue: Queue) -> None:
    large = senders(queue, 1, 40_000)
    await asyncio.sleep(0)
    small = senders(queue, 3, 10_000, first=1)
    await asyncio.sleep(0)
    assert await queue.settle(free=12_000) == [1]
    assert await queue.settle(free=12_000) == [2]
    assert await queue.settle(free=52_000) == [0, 3]
    await stop(large + small)
