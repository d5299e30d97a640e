"""How channels and associations end, with every engine."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk.errors import (
    ChannelClosed,
    PeerUnreachable,
    TransportError,
)
from dcsdk.interfaces import DtlsRole
from dcsdk.interfaces.channel import ChannelState
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.sctp.base.config import SctpConfig

from .engines import (
    TIMEOUT_S,
    Network,
    engine_ends,
    engine_pair,
    every_engine,
    read,
)
from .test_engines import ROLES, sample, turn

IMPATIENT = EngineConfig(
    peer_timeout_s=None,
    sctp=SctpConfig(rto_initial_s=0.05, rto_min_s=0.05, rto_max_s=0.05, max_retrans=3),
)


@pytest.mark.clause("RFC 8831 6.7", "RFC 6525 5.1.2")
@every_engine()
@pytest.mark.parametrize("role", ROLES)
async def test_a_closed_channel_delivers_everything_and_frees_its_id(
    engine: str, role: DtlsRole
) -> None:
    async with engine_pair(engine) as (client, server):
        closing, other = (client, server) if role == "client" else (server, client)
        one, two = closing.open(), other.open()
        for n in range(5):
            await one.send(sample(20_000, n))
        await one.aclose(TIMEOUT_S)
        assert one.state is ChannelState.CLOSED
        assert [message async for message in two] == [sample(20_000, n) for n in range(5)]
        await two.aclose(TIMEOUT_S)
        with pytest.raises(ChannelClosed):
            await two.send(b"late")
        again, answer = closing.open(), other.open()
        await again.send(b"again")
        assert await read(answer, 1) == [b"again"]


@pytest.mark.clause("RFC 8831 6.7")
@every_engine()
async def test_an_aborted_channel_ends_at_both_ends(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        one, other = client.open(), server.open()
        still, alive = client.open(20), server.open(20)
        reader = asyncio.get_running_loop().create_task(read(other, 1))
        await turn()
        one.abort()
        assert one.state is ChannelState.CLOSED
        with pytest.raises(ChannelClosed):
            await one.send(b"late")
        with pytest.raises(ChannelClosed):
            await reader
        await still.send(b"alive")
        assert await read(alive, 1) == [b"alive"]


@every_engine()
async def test_closing_an_association_delivers_what_was_sent(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        one, other = client.open(), server.open()
        messages = [sample(50_000, n) for n in range(8)]
        for message in messages:
            await one.send(message)
        await client.association.aclose(TIMEOUT_S)
        assert await client.association.wait_closed() is None
        await server.association.wait_closed()
        assert await read(other, 8) == messages
        with pytest.raises(TransportError):
            await other.receive()
        with pytest.raises(TransportError):
            server.open(5)


@pytest.mark.clause("RFC 9260 9.2")
@every_engine(aiortc="aiortc cannot begin a SHUTDOWN, it ends associations with ABORT")
async def test_an_association_ends_in_order_at_both_ends(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        other = server.open()
        await client.association.aclose(TIMEOUT_S)
        assert await server.association.wait_closed() is None
        assert [message async for message in other] == []


@every_engine()
async def test_closing_wakes_who_waits_and_is_repeatable(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        waiting = asyncio.get_running_loop().create_task(client.open().receive())
        await turn()
        await asyncio.gather(
            client.association.aclose(TIMEOUT_S), client.association.aclose(TIMEOUT_S)
        )
        with pytest.raises(ChannelClosed):
            await waiting
        await client.association.aclose()
        with pytest.raises(ChannelClosed):
            client.open(5)
        await server.association.wait_closed()


@every_engine()
async def test_an_association_that_never_started_closes(engine: str) -> None:
    async with engine_ends(engine) as (client, _):
        channel = client.open()
        await channel.aclose()
        assert channel.state is ChannelState.CLOSED
        assert client.association.stats().channels == ()


@every_engine()
async def test_closing_without_a_peer_is_bounded(engine: str) -> None:
    network = Network()
    async with engine_pair(engine, network=network) as (client, server):
        network.is_cut = True
        await client.open().send(b"never arrives")
        await client.association.aclose(0.05)
        assert await client.association.wait_closed() is None
        await server.association.aclose(0.05)


@pytest.mark.usefixtures("_quick_retransmissions")
@pytest.mark.clause("RFC 9260 8.1")
@every_engine()
async def test_a_peer_that_vanishes_is_noticed_while_sending(engine: str) -> None:
    network = Network()
    async with engine_pair(engine, config=IMPATIENT, network=network) as (client, _):
        one = client.open()
        reader = asyncio.get_running_loop().create_task(one.receive())
        network.is_cut = True
        with pytest.raises(PeerUnreachable):
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    await one.send(bytes(50_000))
        with pytest.raises(PeerUnreachable):
            await reader
        assert isinstance(await client.association.wait_closed(), PeerUnreachable)


@pytest.mark.usefixtures("_quick_retransmissions")
@pytest.mark.clause("RFC 9260 8.3")
@every_engine(aiortc="aiortc sends no HEARTBEAT")
async def test_a_peer_that_vanishes_is_noticed_in_silence(engine: str) -> None:
    network = Network()
    config = EngineConfig(
        peer_timeout_s=None,
        sctp=SctpConfig(
            rto_initial_s=0.05,
            rto_min_s=0.05,
            rto_max_s=0.05,
            max_retrans=2,
            hb_interval_s=0.05,
        ),
    )
    async with engine_pair(engine, config=config, network=network) as (client, _):
        network.is_cut = True
        async with asyncio.timeout(2.0):
            assert isinstance(await client.association.wait_closed(), PeerUnreachable)
