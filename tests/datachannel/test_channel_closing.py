from __future__ import annotations

import asyncio

import pytest

from dcsdk.datachannel.channel import (
    PPID_BINARY,
    PPID_DCEP,
    PPID_STRING,
    ChannelState,
    DataChannel,
    close_quietly,
)
from dcsdk.errors import (
    ChannelClosed,
    DcsdkError,
    OperationTimeout,
    PeerUnreachable,
    RemoteProtocolError,
)
from tests.datachannel.channel_host import Host, make, run_to_wait, turn


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
async def channel(host: Host) -> DataChannel:
    return make(host)


# --- rules the peer breaks ------------------------------------------------------------------------
@pytest.mark.clause("RFC 8831 8", "TS 24.371 8")
@pytest.mark.parametrize(
    ("ppid", "data"),
    [
        (PPID_STRING, b"\xff"),
        (PPID_DCEP, b"\x03\x00"),
        (52, b"partial"),
        (54, b"partial"),
        (55, b"unassigned"),
        (0, b"none"),
        (0xFFFFFFFF, b"far"),
    ],
    ids=["bad UTF-8", "DCEP", "52", "54", "55", "0", "max"],
)
async def test_a_broken_rule_closes_the_channel_only(
    channel: DataChannel, host: Host, ppid: int, data: bytes
) -> None:
    channel.deliver(PPID_BINARY, b"before")
    channel.deliver(ppid, data)
    assert channel.state is ChannelState.CLOSED
    assert host.resets == [False]
    assert host.read == [(len(data), 1)]
    assert await channel.receive() == b"before"
    with pytest.raises(RemoteProtocolError):
        await channel.receive()
    with pytest.raises(RemoteProtocolError):
        [message async for message in channel]
    with pytest.raises(RemoteProtocolError):
        await channel.send(b"x")
    channel.deliver(PPID_BINARY, b"more")
    channel.deliver(ppid, data)
    assert host.resets == [False]
    assert sum(size for size, _ in host.read) == len(b"before") + 2 * len(data) + len(b"more")


# --- the end --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8831 6.7")
async def test_closing_flushes_resets_and_waits_for_the_peer(
    channel: DataChannel, host: Host
) -> None:
    await channel.send(b"last")
    task = await run_to_wait(channel.aclose())
    assert channel.state is ChannelState.CLOSING
    assert host.resets == [True]
    with pytest.raises(ChannelClosed):
        await channel.send(b"late")
    channel.local_reset_done()
    await turn()
    assert not task.done()
    channel.remote_reset()
    await task
    assert channel.state is ChannelState.CLOSED
    await channel.aclose()
    channel.abort()
    assert host.resets == [True]


@pytest.mark.clause("RFC 8831 6.7")
async def test_the_peers_reset_is_answered_with_ours(channel: DataChannel, host: Host) -> None:
    sender = None
    await channel.send(bytes(600))
    sender = await run_to_wait(channel.send(bytes(600)))
    reader = await run_to_wait(channel.receive())
    channel.remote_reset()
    assert host.resets == [True]
    for task in (sender, reader):
        with pytest.raises(ChannelClosed):
            await task
    assert channel.state is ChannelState.CLOSING
    channel.local_reset_done()
    assert channel.state is ChannelState.CLOSED
    assert channel.is_reset_both_ways
    await channel.aclose()


async def test_closing_is_bounded(channel: DataChannel, host: Host) -> None:
    await channel.aclose(timeout_s=0.001)
    assert channel.state is ChannelState.CLOSED
    assert host.resets == [True, False]


async def test_closing_gives_unread_messages_back_to_the_window(
    channel: DataChannel, host: Host
) -> None:
    channel.deliver(PPID_BINARY, bytes(10))
    channel.deliver(PPID_BINARY, bytes(20))
    channel.abort()
    assert host.read == [(30, 2)]
    with pytest.raises(ChannelClosed, match="aborted"):
        await channel.receive()
    assert [message async for message in channel] == []


async def test_a_channel_that_never_worked_is_closed_too(host: Host) -> None:
    channel = make(host, is_open=False)
    task = await run_to_wait(channel.send(b"x"))
    channel.closing()
    with pytest.raises(ChannelClosed):
        await task
    channel.closing()
    channel.end(None)
    await channel.aclose()


async def test_a_lost_association_wakes_everybody_with_its_error(
    channel: DataChannel, host: Host
) -> None:
    await channel.send(bytes(600))
    error: DcsdkError = PeerUnreachable("gone", source="RFC 9260 8.1")
    tasks = [
        await run_to_wait(work)
        for work in (channel.send(bytes(600)), channel.receive(), channel.__anext__())
    ]
    channel.end(error)
    for task in tasks:
        with pytest.raises(PeerUnreachable, match="gone") as caught:
            await task
        assert caught.value is not error
        assert caught.value.__cause__ is error
        assert caught.value.source == "RFC 9260 8.1"
    with pytest.raises(PeerUnreachable):
        await channel.send(b"x")
    channel.end(None)
    channel.remote_reset()
    channel.room_changed()
    channel.refused(RemoteProtocolError("late"))


async def test_a_lost_association_wakes_who_closes(channel: DataChannel) -> None:
    task = await run_to_wait(channel.aclose())
    second = await run_to_wait(channel.aclose())
    channel.end(PeerUnreachable("gone"))
    await asyncio.gather(task, second)


async def test_messages_that_came_before_the_loss_can_be_read(channel: DataChannel) -> None:
    channel.deliver(PPID_BINARY, b"last")
    channel.end(PeerUnreachable("gone"))
    assert await channel.receive() == b"last"
    with pytest.raises(PeerUnreachable):
        await channel.receive()


# --- what closing says of what was sent -----------------------------------------------------------
async def test_closing_tells_once_that_the_association_failed_with_messages_unconfirmed(
    channel: DataChannel,
) -> None:
    await channel.send(b"x")
    channel.end(PeerUnreachable("gone"))
    with pytest.raises(PeerUnreachable, match="gone"):
        await channel.aclose()
    await channel.aclose()


async def test_closing_tells_that_not_all_was_confirmed_in_time(
    channel: DataChannel, host: Host
) -> None:
    await channel.send(b"x")
    with pytest.raises(OperationTimeout, match=r"stream 7: not all was confirmed in 0\.001 s"):
        await channel.aclose(timeout_s=0.001)
    assert channel.state is ChannelState.CLOSED
    assert host.resets == [True, False]
    await channel.aclose()


@pytest.mark.parametrize("error", [None, ChannelClosed("closed here"), RemoteProtocolError("rule")])
async def test_closing_is_quiet_after_another_end(
    channel: DataChannel, error: DcsdkError | None
) -> None:
    await channel.send(b"x")
    channel.end(error)
    await channel.aclose()


async def test_closing_is_quiet_when_everything_was_confirmed(
    channel: DataChannel, host: Host
) -> None:
    await channel.send(b"x")
    host.drain()
    channel.end(PeerUnreachable("gone"))
    await channel.aclose()


async def test_a_part_with_other_ways_to_notice_a_loss_closes_quietly(channel: DataChannel) -> None:
    await channel.send(b"x")
    channel.end(PeerUnreachable("gone"))
    await close_quietly(channel)
