"""Ends that tell the truth: nobody takes a part for the whole, and nobody believes data arrived
that did not."""

from __future__ import annotations

import asyncio

import pytest

from dcsdk.errors import ChannelClosed, OperationTimeout, PeerUnreachable, TransportError
from dcsdk.interfaces import DtlsRole
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.sctp.base.events import AssociationState

from .native import TIMEOUT_S, End, connected, read

ROLES: list[DtlsRole] = ["client", "server"]
IMPATIENT = EngineConfig(peer_timeout_s=0.6, peer_quiet_s=0.1)


class Wire:
    """What happens to the datagrams of one end, or of both."""

    def __init__(self) -> None:
        self.is_cut = False
        self.largest = 1 << 16

    def __call__(self, datagram: bytes) -> list[bytes]:
        return [] if self.is_cut or len(datagram) > self.largest else [datagram]


def close_dtls_alone(end: End) -> None:
    """Send the close alert as somebody does who knows nothing of SCTP above it."""
    transport = end.association._transport
    assert transport._dtls is not None
    transport._dtls.close()
    transport._settle(asyncio.get_running_loop().time())


def sctp_state(end: End) -> AssociationState:
    assert end.association._native._sctp is not None
    return end.association._native._sctp.state


# --- a close alert without SHUTDOWN ---------------------------------------------------------------
@pytest.mark.clause("RFC 9260 9.2")
@pytest.mark.parametrize("role", ROLES)
async def test_a_close_alert_alone_is_an_error_for_everybody_who_waits(role: DtlsRole) -> None:
    wire = Wire()
    async with connected(change=wire) as (client, server):
        closing, other = (client, server) if role == "client" else (server, client)
        one, two = closing.open(), other.open()
        await one.send("part 1 of 2")
        assert await read(two, 1) == ["part 1 of 2"]
        loop = asyncio.get_running_loop()
        readers = [loop.create_task(two.receive()), loop.create_task(anext(two))]
        await asyncio.sleep(0)
        close_dtls_alone(closing)
        async with asyncio.timeout(TIMEOUT_S):
            error = await other.association.wait_closed()
        assert type(error) is TransportError
        assert "the peer closed DTLS without ending SCTP" in str(error)
        for reader in readers:
            with pytest.raises(TransportError, match="without ending SCTP"):
                await reader
        with pytest.raises(TransportError, match="without ending SCTP"):
            await two.send("too late")
        await two.aclose()  # it had sent nothing: nothing of it was lost


@pytest.mark.clause("RFC 9260 9.2")
async def test_a_close_alert_after_the_last_data_was_confirmed_is_an_end_in_order() -> None:
    async with connected() as (client, server):
        one, two = client.open(), server.open()
        await one.send("all of it")
        assert await read(two, 1) == ["all of it"]
        sctp, driver = server.association._native._sctp, server.association._native._driver
        assert sctp is not None
        assert driver is not None
        sctp._lifecycle.state = AssociationState.SHUTDOWN_ACK_SENT  # COMPLETE was lost
        close_dtls_alone(client)
        async with asyncio.timeout(TIMEOUT_S):
            assert await server.association.wait_closed() is None
        assert [message async for message in two] == []


# --- who gives up says so -------------------------------------------------------------------------
@pytest.mark.clause("RFC 9260 8.1", "RFC 9260 9.1")
async def test_who_gives_up_tells_the_peer_before_it_closes() -> None:
    to_client = Wire()
    async with connected(change=to_client, client_change=lambda d: [d], config=IMPATIENT) as (
        client,
        server,
    ):
        one, two = client.open(), server.open()
        await one.send("the first part")
        assert await read(two, 1) == ["the first part"]
        to_client.is_cut = True
        await one.send("the rest")
        assert await read(two, 1) == ["the rest"]
        with pytest.raises(TransportError, match="the peer aborted the association: no answer"):
            async with asyncio.timeout(TIMEOUT_S):
                await two.receive()
        assert isinstance(await client.association.wait_closed(), PeerUnreachable)


@pytest.mark.clause("RFC 9260 8.1")
async def test_a_path_that_loses_large_packets_ends_by_an_error_at_both_ends() -> None:
    wire = Wire()
    async with connected(client_change=wire, config=IMPATIENT) as (client, server):
        one, two = client.open(), server.open()
        await one.send(bytes(100))
        assert await read(two, 1) == [bytes(100)]
        wire.largest = 1000
        await one.send(bytes(20_000))
        async with asyncio.timeout(TIMEOUT_S):
            with pytest.raises(TransportError, match="aborted"):
                await two.receive()
            assert isinstance(await client.association.wait_closed(), PeerUnreachable)
        with pytest.raises(PeerUnreachable):
            await one.aclose()


# --- closing a channel that could not send everything ---------------------------------------------
async def test_closing_a_channel_says_that_not_all_was_confirmed_in_time() -> None:
    wire = Wire()
    async with connected(change=wire) as (client, _):
        one = client.open()
        wire.is_cut = True
        await one.send("never arrives")
        with pytest.raises(OperationTimeout, match="not all was confirmed"):
            await one.aclose(0.05)
        await one.aclose()
        with pytest.raises(ChannelClosed):
            await one.send("x")
        assert sctp_state(client) is AssociationState.ESTABLISHED
        await client.association.aclose(0.01)


async def test_closing_a_channel_says_that_the_association_failed_with_data_under_way() -> None:
    wire = Wire()
    async with connected(change=wire, config=IMPATIENT) as (client, server):
        sent, silent = client.open(), client.open(2)
        wire.is_cut = True
        await sent.send("never arrives")
        closing = asyncio.get_running_loop().create_task(sent.aclose(TIMEOUT_S))
        assert isinstance(await client.association.wait_closed(), PeerUnreachable)
        with pytest.raises(PeerUnreachable):
            await closing
        await sent.aclose()
        await silent.aclose()
        await server.association.aclose(0.01)


async def test_closing_a_channel_whose_messages_all_arrived_is_quiet_whatever_happened() -> None:
    wire = Wire()
    async with connected(change=wire, config=IMPATIENT) as (client, server):
        one, two = client.open(), server.open()
        await one.send("arrives")
        assert await read(two, 1) == ["arrives"]
        await two.send("as well")  # carries the acknowledgement
        assert await read(one, 1) == ["as well"]
        assert client.association._native._sctp and client.association._native._sctp.is_idle
        wire.is_cut = True
        assert isinstance(await client.association.wait_closed(), PeerUnreachable)
        await one.aclose()
        await server.association.aclose(0.01)
