from __future__ import annotations

import asyncio
import random

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import (
    ChannelClosed,
    LocalProtocolError,
    MessageTooLarge,
    RemoteProtocolError,
)
from dcsdk.interfaces.channel import ChannelState
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native_channels import MAX_EARLY_BYTES
from dcsdk.sctp.base.config import SctpConfig

from .native import (
    STREAM_ID,
    TIMEOUT_S,
    connected,
    ends,
    establish,
    read,
    sample,
    turn,
)


# --- channels -------------------------------------------------------------------------------------
async def test_channels_may_be_opened_before_the_association() -> None:
    async with ends() as (client, server):
        one, other = client.open(), server.open()
        sending = asyncio.get_running_loop().create_task(one.send("first"))
        with pytest.raises(LocalProtocolError, match="role is known"):
            client.open(None)
        server.start(client)
        client.start(server)
        assert await read(other, 1) == ["first"]
        await sending
        assert one.state is ChannelState.OPEN


@pytest.mark.clause("RFC 8841 6")
async def test_the_peers_message_size_counts() -> None:
    async with ends() as (client, server):
        early = client.open(10)
        server.start(client, local_max_message_size=5000)
        client.start(server, remote_max_message_size=5000)
        await establish(client, server)
        late = client.open(20)
        for channel in (early, late):
            assert channel.max_message_size == 5000
            with pytest.raises(MessageTooLarge):
                await channel.send(bytes(5001))


async def test_a_message_of_many_megabytes_crosses() -> None:
    size = 10 << 20
    async with ends() as (client, server):
        one, other = client.open(), server.open()
        server.start(client, local_max_message_size=size)
        client.start(server, remote_max_message_size=size)
        message = sample(size)
        sending = asyncio.get_running_loop().create_task(one.send(message))
        assert await read(other, 1) == [message]
        await sending


@pytest.mark.clause("D9")
async def test_a_message_larger_than_we_announced_costs_the_channel_only() -> None:
    async with ends() as (client, server):
        bad = [end.open(10) for end in (client, server)]
        good = [end.open(20) for end in (client, server)]
        server.start(client, local_max_message_size=2000)
        client.start(server, remote_max_message_size=0)
        await establish(client, server)
        await bad[0].send(bytes(50_000))
        with pytest.raises(RemoteProtocolError, match="max-message-size"):
            await read(bad[1], 1)
        await good[0].send(b"still here")
        assert await read(good[1], 1) == [b"still here"]


@pytest.mark.clause("RFC 8832 6")
async def test_chosen_ids_have_the_parity_of_the_role() -> None:
    async with connected() as (client, server):
        assert [client.open(None).stream_id for _ in range(2)] == [0, 2]
        assert [server.open(None).stream_id for _ in range(2)] == [1, 3]


@pytest.mark.clause("RFC 8832 3", "RFC 8864 5.1", "D5", "D15")
async def test_channels_that_cannot_be_are_refused() -> None:
    async with ends(config=EngineConfig(max_channels=2)) as (client, _):
        client.open(5)
        with pytest.raises(LocalProtocolError, match="taken"):
            client.open(5)
        for stream_id in (65_535, -1):
            with pytest.raises(LocalProtocolError, match="no stream"):
                client.open(stream_id)
        with pytest.raises(LocalProtocolError, match="exclude"):
            client.open(6, max_retr=1, max_time_ms=1)
        client.open(65_534)
        with pytest.raises(LocalProtocolError, match="2 channels"):
            client.open(7)


@pytest.mark.clause("RFC 8864 6.4")
async def test_data_before_the_channel_is_open_here_waits_for_it() -> None:
    async with connected() as (client, server):
        early = client.open()
        for n in range(10):
            await early.send(b"%d" % n)
        marker = client.open(5)
        await marker.send(b"done")
        assert await read(server.open(5), 1) == [b"done"]
        assert await read(server.open(), 10) == [b"%d" % n for n in range(10)]


async def test_a_channel_closed_before_it_is_open_here_still_gives_its_data() -> None:
    async with connected() as (client, server):
        early = client.open()
        await early.send(b"all")
        closing = asyncio.get_running_loop().create_task(early.aclose(TIMEOUT_S))
        marker, seen = client.open(5), server.open(5)
        while not server.association._native._channels._early.get(STREAM_ID) or not (
            server.association._native._channels._early[STREAM_ID].is_reset
        ):
            await marker.send(b"x")
            await read(seen, 1)
        late = server.open()
        assert [message async for message in late] == [b"all"]
        await closing


async def test_data_without_a_channel_is_bounded() -> None:
    async with connected() as (client, server):
        early = client.open()
        with pytest.raises(ChannelClosed):
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    await early.send(bytes(20_000))
        stats = server.association.stats()
        assert stats.early_dropped > 0
        assert server.association._native._channels._early_bytes <= MAX_EARLY_BYTES


@pytest.mark.clause("RFC 8831 6.7", "RFC 6525")
async def test_a_channel_closes_both_ways_and_its_id_can_be_used_again() -> None:
    async with connected() as (client, server):
        for round_number in range(3):
            one, other = client.open(label=str(round_number)), server.open()
            await one.send(b"%d" % round_number)
            await other.send("reply")
            await one.aclose(TIMEOUT_S)
            assert [message async for message in other] == [b"%d" % round_number]
            await other.aclose(TIMEOUT_S)
            assert one.state is other.state is ChannelState.CLOSED
            with pytest.raises(ChannelClosed):
                await other.send(b"late")
        assert client.association.stats().channels == ()


async def test_closing_a_channel_flushes_what_is_queued() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()
        messages = [sample(100_000, n) for n in range(8)]
        for message in messages:
            await one.send(message)
        await one.aclose(TIMEOUT_S)
        assert await read(other, 8) == messages


async def test_aborting_a_channel_throws_away_what_is_queued() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()
        await one.send(b"x")
        assert await read(other, 1) == [b"x"]
        one.abort()
        assert one.state is ChannelState.CLOSED
        assert [message async for message in other] == []
        await other.aclose(TIMEOUT_S)
        again = client.open()
        await again.send(b"again")
        assert await read(server.open(), 1) == [b"again"]


@pytest.mark.clause("TS 24.371 8", "RFC 8831 8")
@pytest.mark.parametrize(
    ("ppid", "data"), [(50, b"\x03\x00" + bytes(10)), (51, b"\xff"), (52, b"x"), (999, b"x")]
)
async def test_a_broken_rule_costs_one_channel(ppid: int, data: bytes) -> None:
    async with connected() as (client, server):
        bad, good = server.open(), server.open(20)
        own, still = client.open(), client.open(20)
        own._submit(ppid, data)
        with pytest.raises(RemoteProtocolError):
            await read(bad, 1)
        assert [message async for message in own] == []
        await still.send(b"alive")
        assert await read(good, 1) == [b"alive"]


async def test_unordered_channels_with_limits_carry_messages() -> None:
    async with connected() as (client, server):
        for stream_id, limits in enumerate(
            ({"max_retr": 3}, {"max_time_ms": 5000}, {"is_ordered": False})
        ):
            one, other = client.open(stream_id, **limits), server.open(stream_id, **limits)
            await one.send(b"x")
            assert await read(other, 1) == [b"x"]


async def test_many_channels_share_an_association() -> None:
    async with connected() as (client, server):
        pairs = [(client.open(n), server.open(n)) for n in range(50)]

        async def use(one: DataChannel, other: DataChannel) -> None:
            for n in range(20):
                await one.send(sample(3000, n + one.stream_id))
            assert await read(other, 20) == [sample(3000, n + one.stream_id) for n in range(20)]

        await asyncio.gather(*(use(*pair) for pair in pairs))


# --- volume ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("offload", [True, False])
async def test_a_reader_that_starts_late_loses_nothing(offload: bool) -> None:
    """More than queue and window hold: the sender waits, and goes on as the reader reads."""
    config = EngineConfig(
        sctp=SctpConfig(receive_window=300_000),
        max_queued_bytes=200_000,
        use_gro=offload,
        use_gso=offload,
    )
    async with connected(config=config) as (client, server):
        one, other = client.open(), server.open()
        count = 200

        async def write() -> None:
            for n in range(count):
                await one.send(sample(16_384, n))

        writing = asyncio.get_running_loop().create_task(write())
        while one.queued_bytes < 150_000:
            await turn()
        assert not writing.done()
        received = await read(other, count)
        await writing
        assert received == [sample(16_384, n) for n in range(count)]


async def test_small_messages_arrive_in_order() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()

        async def write() -> None:
            for n in range(20_000):
                await one.send(b"%d" % n)

        writing = asyncio.get_running_loop().create_task(write())
        assert await read(other, 20_000) == [b"%d" % n for n in range(20_000)]
        await writing


@pytest.mark.parametrize("loss", [0.02, 0.1])
async def test_loss_and_corruption_change_nothing_but_the_time(loss: float) -> None:
    chance = random.Random(11)

    def change(datagram: bytes) -> list[bytes]:
        if datagram[0] != 23:
            return [datagram]
        if chance.random() < loss:
            return []
        if chance.random() < loss:
            damaged = bytearray(datagram)
            damaged[chance.randrange(len(damaged))] ^= 1 + chance.randrange(255)
            return [bytes(damaged)]
        return [datagram, datagram] if chance.random() < loss else [datagram]

    async with connected(change=change) as (client, server):
        one, other = client.open(), server.open()
        messages = [sample(20_000, n) for n in range(20)]

        async def write(channel: DataChannel) -> None:
            for message in messages:
                await channel.send(message)

        results = await asyncio.gather(read(one, 20), read(other, 20), write(one), write(other))
        assert results[0] == results[1] == messages


@pytest.mark.clause("RFC 8831 6.2")
async def test_a_stream_beyond_what_the_peer_takes_has_no_channel() -> None:
    few = EngineConfig(sctp=SctpConfig(inbound_streams=100, outbound_streams=100))
    async with ends(config=few) as (client, server):
        far, near = client.open(1000), client.open(99)
        other = server.open(99)
        server.start(client)
        client.start(server)
        await establish(client, server)
        with pytest.raises(RemoteProtocolError, match="100 streams"):
            await far.send(b"x")
        await near.send(b"x")
        assert await read(other, 1) == [b"x"]
        with pytest.raises(LocalProtocolError, match="no stream"):
            client.open(100)


async def test_a_peer_that_refuses_to_reset_does_not_hold_up_closing() -> None:
    async with connected() as (client, server):
        one = client.open()
        server.open()
        closing = asyncio.get_running_loop().create_task(one.aclose(TIMEOUT_S))
        await turn()
        client.association._native._channels.reset_done((STREAM_ID,), False)
        await closing
        assert one.state is ChannelState.CLOSED


async def test_an_id_used_again_by_the_peer_first_keeps_its_data_and_its_end() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()
        await asyncio.gather(one.aclose(TIMEOUT_S), other.aclose(TIMEOUT_S))
        marker, seen = client.open(5), server.open(5)
        again = client.open()
        await again.send(b"second life")
        closing = asyncio.get_running_loop().create_task(again.aclose(TIMEOUT_S))
        early = server.association._native._channels._early
        while STREAM_ID not in early or not early[STREAM_ID].is_reset:
            await marker.send(b"x")
            await read(seen, 1)
        assert [message async for message in server.open()] == [b"second life"]
        await closing


async def test_a_closed_association_takes_no_more_messages() -> None:
    async with connected() as (client, server):
        one = client.open()
        sctp, driver = server.association._native._sctp, server.association._native._driver
        assert sctp is not None
        assert driver is not None
        assert client.association._native._sctp is not None
        client.association._native._sctp.shutdown(now=driver.now())
        with pytest.raises(ChannelClosed, match="no more data"):
            await one.send(b"late")
