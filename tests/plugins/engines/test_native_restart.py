"""A new DTLS association takes the place of the old one under SCTP that goes on."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import (
    FingerprintMismatch,
    LocalProtocolError,
    PeerUnreachable,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces import DatagramPath, DtlsRole
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.secure.engine_config import EngineConfig

from .native import TIMEOUT_S, End, connected, make_end, read, sample, wrong_fingerprint

pytestmark = pytest.mark.clause("RFC 8842 3.1", "RFC 8841 9.1", "E13")

MESSAGES, SIZE = 200, 5_000


def restart(
    end: End, path: DatagramPath, peer_path: DatagramPath, peer: End, **more: object
) -> None:
    """Do what a new offer and answer say."""
    parameters = end.parameters(peer, **{"remote_address": peer_path.local_address, **more})
    end.association.restart(path, parameters)


async def restart_both(client: End, server: End, *, is_role_swapped: bool = False) -> None:
    roles: tuple[DtlsRole, DtlsRole] = ("client", "server")
    first, second = reversed(roles) if is_role_swapped else roles
    ours, theirs = UdpPath.bind("127.0.0.1"), UdpPath.bind("127.0.0.1")
    restart(server, theirs, ours, client, dtls_role=second)
    restart(client, ours, theirs, server, dtls_role=first)
    for end in (client, server):
        await end.association.wait_established(TIMEOUT_S)


async def send_all(channel: DataChannel, seed: int) -> None:
    for number in range(MESSAGES):
        await channel.send(sample(SIZE, seed + number))


async def receive_all(channel: DataChannel, seed: int) -> None:
    for number in range(MESSAGES):
        assert await channel.receive() == sample(SIZE, seed + number)


@pytest.mark.parametrize("is_role_swapped", [False, True])
async def test_data_flows_before_during_and_after(is_role_swapped: bool) -> None:
    async with connected() as (client, server), asyncio.timeout(TIMEOUT_S):
        one, other = client.open(), server.open()
        old_paths = client.association._path, server.association._path
        await one.send("before")
        assert await read(other, 1) == ["before"]
        async with asyncio.TaskGroup() as group:
            for channel, seed in ((one, 0), (other, MESSAGES)):
                group.create_task(send_all(channel, seed))
            for channel, seed in ((other, 0), (one, MESSAGES)):
                group.create_task(receive_all(channel, seed))
            group.create_task(restart_both(client, server, is_role_swapped=is_role_swapped))
        await one.send("after")
        assert await read(other, 1) == ["after"]
        for end, old in zip((client, server), old_paths, strict=True):
            assert end.association.stats().restarts == 1
            assert end.association._path is not old
            assert end.association.report.suite
        assert [path._udp.is_closed for path in old_paths if isinstance(path, UdpPath)] == [
            True
        ] * 2


async def test_it_can_be_done_again_and_again() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()
        for number in range(3):
            await restart_both(client, server)
            await one.send(str(number))
            assert await read(other, 1) == [str(number)]
        assert client.association.stats().restarts == 3


async def test_a_second_restart_takes_the_place_of_one_that_is_under_way() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()
        with closing(UdpPath.bind("127.0.0.1")) as nobody:
            forgotten = UdpPath.bind("127.0.0.1")
            restart(client, forgotten, nobody, server)
            await restart_both(client, server)
            assert forgotten._udp.is_closed
        await one.send("still here")
        assert await read(other, 1) == ["still here"]


async def test_a_wrong_fingerprint_on_restart_ends_the_association() -> None:
    async with connected() as (client, server):
        one = client.open()
        before = client.association.report
        ours, theirs = UdpPath.bind("127.0.0.1"), UdpPath.bind("127.0.0.1")
        restart(server, theirs, ours, client)
        restart(client, ours, theirs, server, remote_fingerprints=wrong_fingerprint())
        assert client.association.report == before, "nothing is claimed of the new one yet"
        with pytest.raises(FingerprintMismatch):
            await client.association.wait_established(TIMEOUT_S)
        with pytest.raises(FingerprintMismatch):
            await one.send("over the old one")
        with pytest.raises(SecurityError):
            await server.association.wait_established(TIMEOUT_S)
        assert ours._udp.is_closed and theirs._udp.is_closed


async def test_a_peer_that_does_not_take_part_ends_the_association() -> None:
    config = EngineConfig(handshake_timeout_s=0.3)
    async with connected(config=config) as (client, server):
        with closing(UdpPath.bind("127.0.0.1")) as silent:
            restart(client, UdpPath.bind("127.0.0.1"), silent, server)
            with pytest.raises(PeerUnreachable):
                await client.association.wait_established(TIMEOUT_S)


async def test_the_old_association_may_end_before_the_new_one_is_up() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()
        ours, theirs = UdpPath.bind("127.0.0.1"), UdpPath.bind("127.0.0.1")
        restart(client, ours, theirs, server)
        restart(server, theirs, ours, client)
        assert (
            server.association._transport._dtls is not None
            and server.association._native._driver is not None
        )
        server.association._transport._dtls.close()
        server.association._native._driver.settle()
        for end in (client, server):
            await end.association.wait_established(TIMEOUT_S)
        await one.send("moved")
        assert await read(other, 1) == ["moved"]


async def test_what_cannot_be_restarted_says_so_and_closes_the_path() -> None:
    end, peer = await make_end("client"), await make_end("server")
    path = UdpPath.bind("127.0.0.1")
    with pytest.raises(LocalProtocolError, match="not up"):
        restart(end, path, peer.path, peer)
    assert path._udp.is_closed
    await end.association.aclose()
    with pytest.raises(TransportError):
        restart(end, UdpPath.bind("127.0.0.1"), peer.path, peer)
    await peer.association.aclose()
    async with connected() as (client, server):
        with pytest.raises(LocalProtocolError, match="SCTP ports"):
            restart(client, UdpPath.bind("127.0.0.1"), server.path, server, remote_sctp_port=6000)
        with pytest.raises(SecurityError):
            restart(client, UdpPath.bind("127.0.0.1"), server.path, server, remote_fingerprints=())
        one, other = client.open(), server.open()
        await one.send("as before")
        assert await read(other, 1) == ["as before"]


async def test_a_new_peer_port_alone_is_enough() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()
        assert isinstance(client.path, UdpPath)
        ours, theirs = client.path.fork(), UdpPath.bind("127.0.0.1")
        assert ours.local_address == client.path.local_address
        restart(client, ours, theirs, server, dtls_role="server")
        restart(server, theirs, ours, client, dtls_role="client")
        for end in (client, server):
            await end.association.wait_established(TIMEOUT_S)
        await one.send("moved")
        assert await read(other, 1) == ["moved"]
