from __future__ import annotations

import asyncio

import pytest

from dcsdk.errors import (
    ChannelClosed,
    LocalProtocolError,
    PeerUnreachable,
    TransportError,
)
from dcsdk.interfaces import DtlsRole
from dcsdk.interfaces.channel import ChannelState
from dcsdk.io.secure.engine_config import EngineConfig

from .native import (
    TIMEOUT_S,
    connected,
    make_end,
    read,
    sample,
    turn,
)

ROLES: list[DtlsRole] = ["client", "server"]


# --- the end --------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 9.2", "RFC 8446 6.1")
@pytest.mark.parametrize("role", ROLES)
async def test_closing_delivers_everything_and_ends_both_ends(role: DtlsRole) -> None:
    async with connected() as (client, server):
        closing, other = (client, server) if role == "client" else (server, client)
        one, two = closing.open(), other.open()
        messages = [sample(50_000, n) for n in range(10)]
        for message in messages:
            await one.send(message)
        await closing.association.aclose(TIMEOUT_S)
        assert await other.association.wait_closed() is None
        assert await closing.association.wait_closed() is None
        assert [message async for message in two] == messages
        with pytest.raises(ChannelClosed):
            await two.send(b"late")
        with pytest.raises(ChannelClosed):
            other.open(5)
        with pytest.raises(ChannelClosed):
            await other.association.wait_established(1)
        await closing.association.aclose()


async def test_both_ends_may_close_at_once() -> None:
    async with connected() as (client, server):
        await asyncio.gather(
            client.association.aclose(TIMEOUT_S),
            server.association.aclose(TIMEOUT_S),
            client.association.aclose(TIMEOUT_S),
        )
        assert await client.association.wait_closed() is None
        assert await server.association.wait_closed() is None


async def test_closing_wakes_who_waits() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(channel.receive()) for channel in (one, other)]
        await turn()
        await client.association.aclose(TIMEOUT_S)
        for task in tasks:
            with pytest.raises(ChannelClosed):
                await task


async def test_closing_without_a_peer_is_bounded() -> None:
    cut = False

    def change(datagram: bytes) -> list[bytes]:
        return [] if cut else [datagram]

    async with connected(change=change) as (client, server):
        one = client.open()
        cut = True
        await one.send(b"never arrives")
        await client.association.aclose(0.05)
        assert await client.association.wait_closed() is None
        await server.association.aclose(0.05)


async def test_a_cancelled_close_leaves_nothing_open() -> None:
    cut = False

    def change(datagram: bytes) -> list[bytes]:
        return [] if cut else [datagram]

    async with connected(change=change) as (client, server):
        cut = True
        await client.open().send(b"never arrives")
        task = asyncio.get_running_loop().create_task(client.association.aclose(TIMEOUT_S))
        await turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await client.association.wait_closed() is None
        await server.association.aclose(0.05)


async def test_a_peer_that_vanishes_in_mid_transfer_is_noticed_in_bounded_time() -> None:
    cut = False

    def change(datagram: bytes) -> list[bytes]:
        return [] if cut else [datagram]

    config = EngineConfig(peer_timeout_s=0.6, peer_quiet_s=0.1)
    async with connected(change=change, config=config) as (client, server):
        one, _ = client.open(), server.open()
        reader = asyncio.get_running_loop().create_task(one.receive())
        cut = True
        with pytest.raises(PeerUnreachable):
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    await one.send(bytes(50_000))
        with pytest.raises(PeerUnreachable):
            await reader
        assert isinstance(await client.association.wait_closed(), PeerUnreachable)
        await server.association.aclose(0.01)


async def test_who_only_receives_notices_a_vanished_peer_too() -> None:
    cut = False

    def change(datagram: bytes) -> list[bytes]:
        return [] if cut else [datagram]

    config = EngineConfig(peer_timeout_s=0.6, peer_quiet_s=0.1)
    async with connected(change=change, config=config) as (client, server):
        one, other = client.open(), server.open()
        await one.send(b"the first part")
        assert await read(other, 1) == [b"the first part"]
        cut = True
        with pytest.raises(PeerUnreachable):
            async with asyncio.timeout(TIMEOUT_S):
                await other.receive()
        await client.association.aclose(0.01)


async def test_a_quiet_peer_that_is_alive_is_left_alone() -> None:
    config = EngineConfig(peer_timeout_s=0.5, peer_quiet_s=0.01)
    async with connected(config=config) as (client, server):
        one, other = client.open(), server.open()
        await one.send(b"x")
        assert await read(other, 1) == [b"x"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                await other.receive()
        await one.send(b"y")
        assert await read(other, 1) == [b"y"]


async def test_a_vanished_host_that_refuses_datagrams_is_noticed_too() -> None:
    config = EngineConfig(peer_timeout_s=0.6, peer_quiet_s=0.1)
    async with connected(config=config) as (client, server):
        one = client.open()
        server.path.close()
        with pytest.raises(PeerUnreachable):
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    await one.send(bytes(50_000))
        assert client.association.stats().path.datagrams_refused > 0


async def test_the_peer_may_abort() -> None:
    async with connected() as (client, server):
        channel = server.open()
        sctp, driver = client.association._native._sctp, client.association._native._driver
        assert sctp is not None
        assert driver is not None
        sctp.abort("enough", now=driver.now())
        driver.settle()
        error = await server.association.wait_closed()
        assert isinstance(error, TransportError)
        with pytest.raises(TransportError, match="aborted"):
            await channel.receive()
        assert isinstance(await client.association.wait_closed(), TransportError)


async def test_an_association_that_was_never_started_closes() -> None:
    end = await make_end("client")
    channel = end.open()
    await channel.aclose()
    assert channel.state is ChannelState.CLOSED
    assert end.association.stats().channels == ()
    await end.association.aclose()
    with pytest.raises(LocalProtocolError):
        end.association.export_keying_material(b"EXPERIMENTAL", 16)


# --- whatever happened before ---------------------------------------------------------------------
@pytest.mark.parametrize("broken", ["poll_packets", "poll_batch", "receive", "handle_timer"])
async def test_a_bug_ends_the_association_with_an_error(broken: str) -> None:
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    bug = TypeError("no such operation")

    def fail(*_: object, **__: object) -> None:
        raise bug

    async with connected(config=EngineConfig(peer_quiet_s=0.05)) as (client, server):
        one, _ = client.open(), server.open()
        association = client.association
        reading = loop.create_task(one.receive())
        await turn()
        setattr(association._native._sctp, broken, fail)
        await one.send("x")
        async with asyncio.timeout(TIMEOUT_S):
            error = await association.wait_closed()
        assert isinstance(error, TransportError)
        assert "a bug ended the association: TypeError('no such operation')" in str(error)
        assert bug in reported
        with pytest.raises(TransportError, match="a bug"):
            await reading
        await association.aclose()
        assert association._path._udp.is_closed  # type: ignore[attr-defined]
        if broken != "poll_packets":  # the peer learns that something broke, and not what
            async with asyncio.timeout(TIMEOUT_S):
                told = str(await server.association.wait_closed())
            assert "internal error" in told and "operation" not in told
        await server.association.aclose(0.05)


@pytest.mark.parametrize("broken", ["shutdown", "abort", "poll_packets"])
async def test_closing_closes_what_is_broken(broken: str) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)

    def fail(*_: object, **__: object) -> None:
        raise TypeError("no such operation")

    async with connected() as (client, server):
        association = client.association
        setattr(association._native._sctp, broken, fail)
        if broken == "abort":
            setattr(association._native._sctp, "shutdown", lambda **_: None)  # noqa: B010
        await association.aclose(0.05)
        assert isinstance(await association.wait_closed(), TransportError)
        assert association._path._udp.is_closed  # type: ignore[attr-defined]
        await server.association.aclose(0.05)
