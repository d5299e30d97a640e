from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dcsdk.datachannel.channel import (
    CONSUMED_STEP_BYTES,
    PPID_BINARY,
    PPID_BINARY_EMPTY,
    PPID_STRING,
    PPID_STRING_EMPTY,
    ChannelState,
    DataChannel,
)
from dcsdk.errors import (
    ChannelClosed,
    LocalProtocolError,
    MessageTooLarge,
    OperationTimeout,
)
from tests.datachannel.channel_host import LIMIT, MAX_MESSAGE, Host, make, run_to_wait, turn


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
async def channel(host: Host) -> DataChannel:
    return make(host)


# --- what is sent ---------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8831 8")
@pytest.mark.parametrize(
    ("message", "ppid", "body"),
    [
        ("grüße", PPID_STRING, "grüße".encode()),
        (b"\x00\xff", PPID_BINARY, b"\x00\xff"),
        ("", PPID_STRING_EMPTY, b"\x00"),
        (b"", PPID_BINARY_EMPTY, b"\x00"),
        (bytearray(b"ab"), PPID_BINARY, b"ab"),
        (memoryview(b"ab"), PPID_BINARY, b"ab"),
    ],
)
async def test_each_kind_of_message_has_its_identifier(
    channel: DataChannel, host: Host, message: Any, ppid: int, body: bytes
) -> None:
    await channel.send(message)
    assert host.sent == [(ppid, body)]


async def test_what_is_no_message_is_a_type_error(channel: DataChannel, host: Host) -> None:
    with pytest.raises(TypeError):
        await channel.send(5)  # type: ignore[arg-type]
    assert not host.sent


async def test_text_that_is_no_unicode_is_refused(channel: DataChannel, host: Host) -> None:
    with pytest.raises(LocalProtocolError, match="UTF-8"):
        await channel.send("\ud800")
    assert not host.sent


@pytest.mark.clause("RFC 8841 6")
async def test_a_message_beyond_the_peers_limit_is_refused_before_anything_is_sent(
    channel: DataChannel, host: Host
) -> None:
    await channel.send(bytes(MAX_MESSAGE))
    for message in (bytes(MAX_MESSAGE + 1), "é" * (MAX_MESSAGE // 2 + 1)):
        with pytest.raises(MessageTooLarge, match=str(MAX_MESSAGE)):
            await channel.send(message)
    assert len(host.sent) == 1


@pytest.mark.clause("RFC 8841 6")
async def test_no_limit_of_the_peer_still_leaves_ours(host: Host) -> None:
    channel = make(host)
    channel.limit(0, 5000)
    assert channel.max_message_size == 0
    await channel.send(bytes(5000))
    with pytest.raises(MessageTooLarge):
        await channel.send(bytes(5001))


async def test_a_channel_shows_what_was_agreed(host: Host) -> None:
    channel = make(
        host,
        label="l",
        subprotocol="http",
        is_ordered=False,
        max_retr=3,
        priority=512,
    )
    assert (channel.label, channel.subprotocol, channel.stream_id) == ("l", "http", 7)
    assert (channel.is_ordered, channel.max_retr, channel.max_time_ms) == (False, 3, None)
    assert (channel.priority, channel.max_message_size) == (512, MAX_MESSAGE)
    assert channel.security is host.report
    assert channel.state is ChannelState.OPEN
    assert repr(channel) == "<DataChannel stream_id=7 label='l' subprotocol='http' open>"


# --- room -----------------------------------------------------------------------------------------
async def test_a_send_with_room_does_not_give_up_its_turn(channel: DataChannel, host: Host) -> None:
    coroutine = channel.send(b"x")
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert host.sent


async def test_sends_wait_for_room_and_keep_their_order(channel: DataChannel, host: Host) -> None:
    await channel.send(bytes(500))
    await channel.send(bytes(500))
    tasks = [await run_to_wait(channel.send(bytes([n]) * 300)) for n in range(5)]
    small = await run_to_wait(channel.send(b"s"))
    host.drain(left=300)
    await turn()
    assert [data[:1] for _, data in host.sent[2:]] == [b"\x00", b"\x01"]
    host.drain()
    await turn()
    host.drain()
    await turn()
    assert all(task.done() for task in [*tasks, small])
    assert [data[:1] for _, data in host.sent[2:]] == [b"\0", b"\1", b"\2", b"\3", b"\4", b"s"]
    assert channel.messages_sent == 8


async def test_nobody_overtakes_a_send_that_was_let_go_on(channel: DataChannel, host: Host) -> None:
    await channel.send(bytes(600))
    await channel.send(bytes(400))
    first = await run_to_wait(channel.send(b"1" * 400))
    host.drain()
    # The first one has its room but has not run yet; the second must still come after it.
    second = asyncio.get_running_loop().create_task(channel.send(b"2"))
    await turn()
    host.drain()
    await asyncio.gather(first, second)
    assert [data[:1] for _, data in host.sent[2:]] == [b"1", b"2"]


async def test_a_message_larger_than_the_queue_goes_alone(host: Host) -> None:
    channel = make(host)
    channel.limit(0, 1 << 20)
    await channel.send(b"x")
    task = await run_to_wait(channel.send(bytes(5 * LIMIT)))
    host.drain(left=1)
    await turn()
    assert not task.done()
    host.drain()
    await task
    assert len(host.sent[1][1]) == 5 * LIMIT


async def test_a_full_association_makes_an_empty_channel_wait(host: Host) -> None:
    host.free = 10
    channel = make(host)
    task = await run_to_wait(channel.send(bytes(11)))
    host.free = 11
    host.drain()
    await task
    assert len(host.sent) == 1


async def test_a_send_that_times_out_has_sent_nothing(channel: DataChannel, host: Host) -> None:
    await channel.send(bytes(600))
    with pytest.raises(OperationTimeout, match="no room"):
        await channel.send(bytes(500), timeout_s=0.001)
    host.drain()
    await channel.send(b"next", timeout_s=0.001)
    assert [data[:4] for _, data in host.sent] == [bytes(4), b"next"]


async def test_a_cancelled_send_has_sent_nothing_and_gives_its_turn_on(
    channel: DataChannel, host: Host
) -> None:
    await channel.send(bytes(600))
    first = await run_to_wait(channel.send(b"1" * 500))
    second = await run_to_wait(channel.send(b"2" * 500))
    first.cancel()
    await turn()
    host.drain()
    await second
    assert [data[:1] for _, data in host.sent[1:]] == [b"2"]


async def test_a_send_cancelled_after_it_got_room_returns_the_room(
    channel: DataChannel, host: Host
) -> None:
    await channel.send(bytes(600))
    first = await run_to_wait(channel.send(b"1" * 600))
    second = await run_to_wait(channel.send(b"2" * 600))
    host.drain()
    first.cancel()
    await turn()
    host.drain()
    await second
    assert [data[:1] for _, data in host.sent[1:]] == [b"2"]
    assert first.cancelled()


async def test_sends_before_the_association_is_up_wait_for_it(host: Host) -> None:
    channel = make(host, is_open=False)
    assert channel.state is ChannelState.CONNECTING
    task = await run_to_wait(channel.send(b"x"))
    channel.opened(host.submit)
    channel.opened(host.submit)
    await task
    assert host.sent


async def test_a_limit_that_becomes_known_later_counts(host: Host) -> None:
    channel = make(host, is_open=False)
    channel.limit(0, 1 << 20)
    task = await run_to_wait(channel.send(bytes(MAX_MESSAGE + 1)))
    channel.limit(MAX_MESSAGE, 1 << 20)
    channel.opened(host.submit)
    with pytest.raises(MessageTooLarge):
        await task
    assert not host.sent
    await channel.send(b"x")


async def test_queued_bytes_are_those_of_the_association(channel: DataChannel, host: Host) -> None:
    await channel.send(bytes(100))
    assert channel.queued_bytes == 100
    channel.end(None)
    assert channel.queued_bytes == 0


# --- what is received -----------------------------------------------------------------------------
@pytest.mark.clause("RFC 8831 8")
async def test_messages_keep_their_kind(channel: DataChannel) -> None:
    channel.deliver(PPID_STRING, "grüße".encode())
    channel.deliver(PPID_BINARY, b"\x00")
    channel.deliver(PPID_STRING_EMPTY, b"whatever")
    channel.deliver(PPID_BINARY_EMPTY, b"\x00")
    assert [await channel.receive() for _ in range(4)] == ["grüße", b"\x00", "", b""]
    assert channel.messages_received == 4


async def test_messages_wait_for_a_reader_and_count_until_they_are_read(
    channel: DataChannel, host: Host
) -> None:
    for n in range(3):
        channel.deliver(PPID_BINARY, bytes(n + 1))
    assert host.read == []
    await channel.receive()
    assert host.read == []
    await channel.receive()
    await channel.receive()
    assert host.read == [(6, 3)]


async def test_the_window_opens_in_steps_for_a_reader_that_lags(
    channel: DataChannel, host: Host
) -> None:
    size = CONSUMED_STEP_BYTES // 2
    for _ in range(5):
        channel.deliver(PPID_BINARY, bytes(size))
    for _ in range(4):
        await channel.receive()
    assert host.read == [(2 * size, 2), (2 * size, 2)]


async def test_a_reader_waits_for_a_message(channel: DataChannel) -> None:
    task = await run_to_wait(channel.receive())
    channel.deliver(PPID_BINARY, b"x")
    assert await task == b"x"


async def test_each_of_several_readers_gets_its_message(channel: DataChannel) -> None:
    tasks = [await run_to_wait(channel.receive()) for _ in range(3)]
    for n in range(3):
        channel.deliver(PPID_BINARY, bytes([n]))
    assert [await task for task in tasks] == [b"\0", b"\1", b"\2"]


async def test_a_cancelled_reader_loses_no_message(channel: DataChannel) -> None:
    first = await run_to_wait(channel.receive())
    second = await run_to_wait(channel.receive())
    channel.deliver(PPID_BINARY, b"x")
    first.cancel()
    assert await second == b"x"
    third = await run_to_wait(channel.receive())
    third.cancel()
    await turn()
    channel.deliver(PPID_BINARY, b"y")
    assert await channel.receive() == b"y"


async def test_iteration_gives_everything_and_ends_with_the_channel(
    channel: DataChannel, host: Host
) -> None:
    channel.deliver(PPID_BINARY, b"1")
    channel.deliver(PPID_STRING, b"2")
    channel.remote_reset()
    assert [message async for message in channel] == [b"1", "2"]
    with pytest.raises(ChannelClosed):
        await channel.receive()


async def test_iteration_that_waits_ends_with_the_channel(channel: DataChannel) -> None:
    async def read() -> list[Any]:
        return [message async for message in channel]

    task = await run_to_wait(read())
    channel.deliver(PPID_BINARY, b"1")
    await turn()
    channel.remote_reset()
    assert await task == [b"1"]


async def test_channels_share_the_keys_of_their_attributes(channel: DataChannel) -> None:
    assert len(vars(channel)) < 30  # more, and CPython gives each a dict of its own, 1.5 kB
