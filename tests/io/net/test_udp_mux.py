from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing

import pytest

from dcsdk.errors import ConfigError, TransportError
from dcsdk.io.net.demux import PacketKind
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.net.udp_mux import (
    EARLY_BYTES,
    EARLY_DATAGRAMS,
    MAX_KNOWN_SOURCES,
    SharedUdpPath,
    SharedUdpSocket,
)

from .test_udp import HOSTS, TIMEOUT_S, FakeSocket, Sink

DTLS, RTP, STUN = b"\x17", b"\x80", b"\x00"


@pytest.fixture
async def stack() -> AsyncIterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def peer(stack: ExitStack, shared: SharedUdpSocket) -> tuple[UdpPath, Sink]:
    """Return a client of the shared socket."""
    path, sink = stack.enter_context(closing(UdpPath.bind(shared.local_address[0]))), Sink()
    path.attach(sink)
    path.set_remote(shared.local_address)
    return path, sink


def server(
    shared: SharedUdpSocket, client: UdpPath, kind: PacketKind = PacketKind.DTLS
) -> tuple[SharedUdpPath, Sink]:
    """Return the path of the shared socket that leads to a client."""
    path, sink = shared.path(kind), Sink()
    path.attach(sink)
    path.set_remote(client.local_address)
    return path, sink


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("offload", [True, False])
async def test_each_remote_end_has_its_path(stack: ExitStack, host: str, offload: bool) -> None:
    shared = SharedUdpSocket(host, use_gso=offload, use_gro=offload)
    stack.enter_context(closing(shared))
    clients = [peer(stack, shared) for _ in range(3)]
    servers = [server(shared, client) for client, _ in clients]
    for number, (client, _) in enumerate(clients):
        client.send((DTLS + bytes([number]) * 99) * 5, 100)
    for number, (path, sink) in enumerate(servers):
        assert await sink.wait_for(5) == [DTLS + bytes([number]) * 99] * 5
        path.send((DTLS + bytes([number]) * 49) * 2, 50)
        assert path.local_address == shared.local_address
        assert path.stats()["bytes_received"] == 500
    for number, (_, sink) in enumerate(clients):
        assert await sink.wait_for(2) == [DTLS + bytes([number]) * 49] * 2
    assert shared.stats()["paths"] == 3


@pytest.mark.clause("RFC 7983 7")
async def test_paths_to_one_address_are_told_apart_by_the_first_byte(stack: ExitStack) -> None:
    shared = stack.enter_context(closing(SharedUdpSocket("127.0.0.1")))
    client, _ = peer(stack, shared)
    _, dtls = server(shared, client)
    _, rtp = server(shared, client, PacketKind.RTP)
    client.send(DTLS + b"a" + RTP + b"b" + b"\xff?" + DTLS + b"c", 2)
    client.send(RTP + b"end", 4)
    assert await rtp.wait_for(2) == [RTP + b"b", RTP + b"end"]
    assert await dtls.wait_for(2) == [DTLS + b"a", DTLS + b"c"]
    assert shared.stats()["datagrams_unknown"] == 1


@pytest.mark.clause("RFC 8842 5.3")
async def test_what_comes_before_the_path_is_kept(stack: ExitStack) -> None:
    shared = stack.enter_context(closing(SharedUdpSocket("127.0.0.1")))
    (one, _), (other, _) = peer(stack, shared), peer(stack, shared)
    known, seen = server(shared, other)
    one.send(DTLS + b"early", 6)
    other.send(DTLS, 1)
    await seen.wait_for(1)
    _, sink = server(shared, one)
    assert sink.datagrams == [DTLS + b"early"]
    known.set_remote(other.local_address)  # again: nothing changes
    other.send(DTLS, 1)
    await seen.wait_for(2)


async def test_what_is_kept_early_is_bounded_and_the_newest_stays(stack: ExitStack) -> None:
    shared = stack.enter_context(closing(SharedUdpSocket("127.0.0.1", use_gro=False)))
    (flood, _), (other, _) = peer(stack, shared), peer(stack, shared)
    _, seen = server(shared, other)
    for number in range(EARLY_DATAGRAMS + 10):
        flood.send(DTLS + bytes([number % 256]), 2)
        if number % 100 == 0:
            await asyncio.sleep(0)
    other.send(DTLS, 1)
    await seen.wait_for(1)
    large = DTLS + bytes(EARLY_BYTES // 10)
    _, sink = server(shared, flood)
    assert len(sink.datagrams) == EARLY_DATAGRAMS
    assert sink.datagrams[-1] == DTLS + bytes([(EARLY_DATAGRAMS + 9) % 256])
    assert shared.stats()["early_dropped"] == 10
    (again, _) = peer(stack, shared)
    for _ in range(12):
        again.send(large, len(large))
    other.send(DTLS, 1)
    await seen.wait_for(2)
    _, sink = server(shared, again)
    assert len(sink.datagrams) == 9


async def test_two_paths_cannot_lead_to_one_place(stack: ExitStack) -> None:
    shared = stack.enter_context(closing(SharedUdpSocket("127.0.0.1")))
    client, _ = peer(stack, shared)
    path, _ = server(shared, client)
    with pytest.raises(ConfigError, match="another path"):
        shared.path().set_remote(client.local_address)
    with pytest.raises(ConfigError, match="different IP versions"):
        shared.path().set_remote(("::1", 5000))
    path.close()
    path.close()
    path.send(DTLS, 1)
    assert path.stats()["datagrams_lost"] == 1
    server(shared, client)


async def test_a_path_may_lead_elsewhere_later(stack: ExitStack) -> None:
    shared = stack.enter_context(closing(SharedUdpSocket("127.0.0.1")))
    (one, _), (other, sink) = peer(stack, shared), peer(stack, shared)
    path, _ = server(shared, one)
    path.set_remote(other.local_address)
    path.send(DTLS + b"here", 5)
    assert await sink.wait_for(1) == [DTLS + b"here"]
    assert shared.stats()["paths"] == 1


async def test_a_full_socket_holds_all_its_paths_back(stack: ExitStack) -> None:
    shared = stack.enter_context(closing(SharedUdpSocket("127.0.0.1")))
    client, seen = peer(stack, shared)
    path, sink = server(shared, client)
    idle = shared.path()
    idle.set_remote(("127.0.0.1", 9))
    udp = shared._udp
    udp._socket = FakeSocket(udp._socket, sendto=[BlockingIOError()])  # type: ignore[assignment]
    path.send(DTLS, 1)
    assert path.is_blocked
    assert idle.is_blocked
    async with asyncio.timeout(TIMEOUT_S):
        await sink.writable.wait()
    assert await seen.wait_for(1) == [DTLS]


async def test_a_path_without_receiver_loses_what_comes(stack: ExitStack) -> None:
    shared = stack.enter_context(closing(SharedUdpSocket("127.0.0.1")))
    (client, _), (other, _) = peer(stack, shared), peer(stack, shared)
    path = shared.path()
    path.set_remote(client.local_address)
    assert path.shared is shared
    client.send(DTLS, 1)
    _, seen = server(shared, other)
    other.send(DTLS, 1)
    await seen.wait_for(1)


async def test_closing_the_socket_ends_its_paths(stack: ExitStack) -> None:
    shared = SharedUdpSocket("127.0.0.1")
    stack.enter_context(closing(shared))
    client, _ = peer(stack, shared)
    path, _ = server(shared, client)
    shared.close()
    shared.close()
    path.send(DTLS, 1)
    with pytest.raises(TransportError, match="closed"):
        path.set_remote(client.local_address)


async def test_remembered_senders_are_bounded(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcsdk.io.net.udp_mux.MAX_KNOWN_SOURCES", 2)
    assert MAX_KNOWN_SOURCES > 2
    shared = stack.enter_context(closing(SharedUdpSocket("127.0.0.1")))
    for _ in range(5):
        client, _ = peer(stack, shared)
        client.send(DTLS, 1)
        _, sink = server(shared, client)
        await sink.wait_for(1)
    assert len(shared._known) <= 2
