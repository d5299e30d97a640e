"""A request and its answer: when what leaves, and that nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import TransportError
from dcsdk.io.secure.sctp_driver import SctpDriver
from tests.plugins.engines.native import TIMEOUT_S, End, connected, read, sample, turn


def driver_of(end: End) -> SctpDriver:
    driver = end.association._native._driver
    assert driver is not None
    return driver


async def exchange(client: DataChannel, server: DataChannel, count: int) -> None:
    """Make round trips, each answered by a task of its own that waits for it."""

    async def answer() -> None:
        for _ in range(count):
            await server.send(await server.receive())

    async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
        group.create_task(answer())
        await turn()
        for number in range(count):
            await client.send(b"%d" % number)
            assert await client.receive() == b"%d" % number


async def test_every_message_of_a_dialogue_is_one_datagram_with_the_acknowledgement() -> None:
    async with connected() as (client, server):
        ours, theirs = client.open(), server.open()
        await exchange(ours, theirs, 3)
        before = [end.path.stats()["send_calls"] for end in (client, server)]
        await exchange(ours, theirs, 20)
        after = [end.path.stats()["send_calls"] for end in (client, server)]
        # A slow machine may send a late acknowledgement of its own now and then.
        assert all(20 <= now - then <= 30 for now, then in zip(after, before, strict=True))


async def test_an_answer_leaves_at_once_and_the_messages_behind_it_share_a_flush() -> None:
    async with connected() as (client, server):
        ours, theirs = client.open(), server.open()
        await exchange(ours, theirs, 3)
        await ours.send(b"hello")
        assert await theirs.receive() == b"hello"
        await theirs.send(b"request")
        assert await ours.receive() == b"request"
        driver, before = driver_of(client), client.path.stats()["send_calls"]
        await ours.send(b"answer")
        for number in range(50):
            await ours.send(b"%d" % number)
        assert driver.is_flush_due
        assert await read(theirs, 51) == [b"answer", *(b"%d" % number for number in range(50))]
        assert client.path.stats()["send_calls"] - before <= 5


async def test_a_request_without_an_answer_is_acknowledged_all_the_same() -> None:
    acknowledged = asyncio.Event()
    is_watching = False

    def watch(datagram: bytes) -> list[bytes]:
        if is_watching:
            acknowledged.set()
        return [datagram]

    async with connected(client_change=watch) as (client, server):
        ours, theirs = client.open(), server.open()
        await exchange(ours, theirs, 3)
        await theirs.send(b"news")
        is_watching = True
        assert await ours.receive() == b"news"
        async with asyncio.timeout(TIMEOUT_S):
            await acknowledged.wait()


async def test_a_message_behind_a_full_window_goes_when_there_is_room() -> None:
    async with connected() as (client, server):
        ours, theirs = client.open(), server.open()
        await exchange(ours, theirs, 3)
        await theirs.send(b"request")
        assert await ours.receive() == b"request"
        messages = [sample(200_000, number) for number in range(8)]

        async def answer() -> None:
            for message in messages:
                await ours.send(message)

        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
            group.create_task(answer())
            assert await read(theirs, len(messages)) == messages


async def test_a_message_and_the_end_in_one_datagram_are_both_taken() -> None:
    held: list[bytes] = []
    is_holding = False

    def hold(datagram: bytes) -> list[bytes]:
        if not is_holding:
            return [datagram]
        held.append(datagram)
        return [b"".join(held)] if len(held) == 2 else []

    async with connected(client_change=hold) as (client, server):
        ours, theirs = client.open(), server.open()
        await exchange(ours, theirs, 3)
        is_holding = True
        await ours.send(b"last words")
        client.association._transport.close()  # its alert shares the datagram
        async with asyncio.timeout(TIMEOUT_S):
            assert await theirs.receive() == b"last words"
            error = await server.association.wait_closed()
        assert isinstance(error, TransportError)
        with pytest.raises(TransportError, match="without ending SCTP"):
            await theirs.receive()
