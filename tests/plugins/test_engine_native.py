from __future__ import annotations

import asyncio
import dataclasses
import gc
import hashlib
import random
import shutil
import socket
import weakref
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from dcsdk.channel import ChannelState, DataChannel
from dcsdk.errors import (
    ChannelClosed,
    ConfigError,
    FingerprintMismatch,
    LocalProtocolError,
    MessageTooLarge,
    OperationTimeout,
    PeerUnreachable,
    RemoteProtocolError,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces import DtlsRole
from dcsdk.io.engine_config import EngineConfig
from dcsdk.io.keylog import KeyLog
from dcsdk.plugins.engine_native import NativeEngine
from dcsdk.plugins.native_association import NativeAssociation
from dcsdk.plugins.native_channels import MAX_EARLY_BYTES
from dcsdk.sctp.config import SctpConfig
from dcsdk.security import SecurityScope
from dcsdk.tls.certificate import Certificate

from .native import (
    STREAM_ID,
    TIMEOUT_S,
    End,
    connected,
    ends,
    establish,
    make_end,
    wrong_fingerprint,
)

ROLES: list[DtlsRole] = ["client", "server"]


def sample(size: int, seed: int = 0) -> bytes:
    """Bytes that differ from message to message and repeat nowhere."""
    return hashlib.shake_128(b"%d %d" % (size, seed)).digest(size)


async def turn() -> None:
    """Let the event loop go round once."""
    await asyncio.sleep(0)


async def read(channel: DataChannel, count: int) -> list[Any]:
    async with asyncio.timeout(TIMEOUT_S):
        return [await channel.receive() for _ in range(count)]


# --- set-up ---------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8261 5", "RFC 8831 6.1", "RFC 8841 9.1")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_messages_cross_in_both_directions(host: str) -> None:
    async with connected(host=host) as (client, server):
        one, other = client.open(), server.open()
        messages = [sample(size) for size in (1, 1000, 1160, 20_000, 262_144)]
        for message in messages:
            await one.send(message)
            await other.send(message)
        assert await read(other, 5) == messages
        assert await read(one, 5) == messages


@pytest.mark.clause("TS 33.328 7.2.Y")
async def test_the_report_says_what_protects_the_channel() -> None:
    async with ends() as (client, server):
        channel = client.open()
        before = channel.security
        assert before.scope is SecurityScope.NONE
        assert (before.backend, before.suite, before.peer_fingerprint) == ("dtls_sctp", "", "")
        client.association.report = dataclasses.replace(
            before, scope=SecurityScope.E2E, reason="pinned"
        )
        server.start(client)
        client.start(server)
        await establish(client, server)
        report = channel.security
        assert (report.scope, report.reason) == (SecurityScope.E2E, "pinned")
        assert report.suite == "ECDHE-ECDSA-AES128-GCM-SHA256"
        assert report.version == "DTLSv1.2"
        assert report.local_fingerprint == str(client.certificate.fingerprint)
        assert report.peer_fingerprint == str(server.certificate.fingerprint)


@pytest.mark.clause("RFC 8842 5.3")
async def test_a_peer_that_connects_before_the_answer_is_cached_then_verified() -> None:
    async with ends() as (client, server):
        client.start(server)
        while not server.path._early:  # type: ignore[attr-defined]
            await turn()
        server.start(client)
        await establish(client, server)


@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("role", ROLES)
async def test_a_wrong_fingerprint_ends_both_ends_before_any_data(role: DtlsRole) -> None:
    async with ends() as (client, server):
        suspicious, other = (client, server) if role == "client" else (server, client)
        channels = [client.open(), server.open()]
        sending = asyncio.get_running_loop().create_task(channels[0].send(b"secret"))
        suspicious.start(other, remote_fingerprints=wrong_fingerprint())
        other.start(suspicious)
        with pytest.raises(FingerprintMismatch):
            await suspicious.association.wait_established(TIMEOUT_S)
        with pytest.raises(SecurityError, match="bad certificate"):
            await other.association.wait_established(TIMEOUT_S)
        with pytest.raises(SecurityError):
            await sending
        assert isinstance(await suspicious.association.wait_closed(), FingerprintMismatch)
        assert suspicious.association.report.peer_fingerprint == ""
        for channel in channels:
            assert channel.state is ChannelState.CLOSED
            assert channel.messages_received == 0


@pytest.mark.clause("RFC 8122 5")
async def test_no_usable_fingerprint_starts_nothing() -> None:
    async with ends() as (client, server):
        with pytest.raises(SecurityError, match="no fingerprint"):
            client.start(server, remote_fingerprints=())


@pytest.mark.clause("RFC 8122 6.2")
async def test_a_client_without_certificate_never_gets_to_data() -> None:
    server = await make_end("server")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind(("127.0.0.1", 0))
        sock.connect(server.path.local_address)
        sock.setblocking(False)
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        ssl = SSL.Connection(context)
        ssl.set_connect_state()
        server.association.start(
            dataclasses.replace(server.parameters(server), remote_address=sock.getsockname()[:2])
        )
        loop = asyncio.get_running_loop()
        waiting = loop.create_task(server.association.wait_established(TIMEOUT_S))
        with pytest.raises(SSL.Error, match="alert"):
            while True:
                try:
                    ssl.do_handshake()
                except SSL.WantReadError:
                    sock.send(ssl.bio_read(65536))
                    ssl.bio_write(await loop.sock_recv(sock, 65536))
        with pytest.raises(FingerprintMismatch, match="no certificate"):
            await waiting
    finally:
        sock.close()
        await server.association.aclose()


async def test_starting_twice_is_an_error() -> None:
    async with ends() as (client, server):
        client.start(server)
        with pytest.raises(LocalProtocolError, match="started before"):
            client.start(server)


async def test_a_remote_of_the_other_ip_version_ends_the_association() -> None:
    async with ends() as (client, server):
        with pytest.raises(ConfigError, match="different IP versions"):
            client.start(server, remote_address=("::1", 5000))
        assert isinstance(await client.association.wait_closed(), ConfigError)
        with pytest.raises(ConfigError):
            client.open()
        with pytest.raises(ConfigError):
            client.start(server)


async def test_waiting_for_a_peer_that_never_comes_is_bounded() -> None:
    async with ends() as (client, server):
        client.start(server)
        with pytest.raises(OperationTimeout, match="no association"):
            await client.association.wait_established(0.01)
        server.start(client)
        await establish(client, server)


@pytest.mark.parametrize("role", ROLES)
async def test_a_set_up_that_nobody_waits_for_is_bounded_too(role: DtlsRole) -> None:
    gone = await make_end("server")
    await gone.association.aclose()
    end = await make_end(role, config=EngineConfig(handshake_timeout_s=0.05))
    channel = end.open()
    end.start(gone)
    assert isinstance(await end.association.wait_closed(), PeerUnreachable)
    with pytest.raises(PeerUnreachable):
        await channel.receive()
    with pytest.raises(PeerUnreachable):
        await end.association.wait_established(1)
    await end.association.aclose()


@pytest.mark.clause("RFC 6347 4.2.4")
@pytest.mark.parametrize("lost", [{0}, {1}, {2}, {0, 1}])
async def test_lost_handshake_datagrams_are_sent_again(lost: set[int]) -> None:
    """DTLS waits for OpenSSL's own timer here: a second for the first loss."""
    sent = {"client": 0, "server": 0}

    def losing(role: str) -> Any:
        def change(datagram: bytes) -> list[bytes]:
            sent[role] += 1
            return [] if sent[role] - 1 in lost else [datagram]

        return change

    async with ends(change=losing("server"), client_change=losing("client")) as (client, server):
        server.start(client)
        client.start(server)
        await establish(client, server)


@pytest.mark.clause("RFC 6347 4.2.3")
async def test_reordered_and_duplicated_handshake_datagrams_are_put_right() -> None:
    order = random.Random(3)
    held: dict[str, bytes] = {}

    def disorder(role: str) -> Any:
        def change(datagram: bytes) -> list[bytes]:
            out = [datagram, datagram] if order.random() < 0.3 else [datagram]
            if role in held:
                out.append(held.pop(role))
            elif order.random() < 0.3:
                held[role] = out.pop()
            return out

        return change

    config = EngineConfig(mtu=600)
    async with ends(config=config, change=disorder("server"), client_change=disorder("client")) as (
        client,
        server,
    ):
        server.start(client)
        client.start(server)
        await establish(client, server)
        one, other = client.open(), server.open()
        await one.send(sample(30_000))
        assert await read(other, 1) == [sample(30_000)]


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
        with pytest.raises(LocalProtocolError, match="SDP only"):
            client.open(6, is_negotiated=False)
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
        while not server.association._channels._early.get(STREAM_ID) or not (
            server.association._channels._early[STREAM_ID].is_reset
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
        assert stats["early_dropped"] > 0
        assert server.association._channels._early_bytes <= MAX_EARLY_BYTES


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
        assert client.association.stats()["channels"] == 0


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
        assert client.association.stats()["path"]["datagrams_refused"] > 0


async def test_the_peer_may_abort() -> None:
    async with connected() as (client, server):
        channel = server.open()
        sctp, driver = client.association._sctp, client.association._driver
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
    assert end.association.stats()["channels"] == 0
    await end.association.aclose()
    with pytest.raises(LocalProtocolError):
        end.association.export_keying_material(b"EXPERIMENTAL", 16)


# --- the engine -----------------------------------------------------------------------------------
async def test_one_context_is_shared_by_the_associations_of_a_certificate() -> None:
    engine, certificate = NativeEngine(), Certificate.generate()
    made = [await make_end("client", engine=engine, certificate=certificate) for _ in range(2)]
    other = await make_end("client", engine=engine)
    contexts = [end.association._context for end in (*made, other)]
    assert contexts[0] is contexts[1] is not contexts[2]
    for end in (*made, other):
        await end.association.aclose()


async def test_a_certificate_and_its_context_go_together() -> None:
    engine, certificate = NativeEngine(), Certificate.generate()
    end = await make_end("client", engine=engine, certificate=certificate)
    context = weakref.ref(end.association._context)
    await end.association.aclose()
    del end, certificate
    gc.collect()
    assert context() is None


async def test_a_foreign_configuration_is_refused() -> None:
    engine = NativeEngine()
    path = await engine.bind_path("127.0.0.1")
    try:
        with pytest.raises(ConfigError, match="EngineConfig"):
            engine.create(path, Certificate.generate(), {"mtu": 1200})
        assert isinstance(engine.create(path, Certificate.generate()), NativeAssociation)
    finally:
        path.close()


async def test_both_ends_export_the_same_keys() -> None:
    async with connected() as (client, server):
        keys = client.association.export_keying_material(b"EXPERIMENTAL", 32)
        assert keys == server.association.export_keying_material(b"EXPERIMENTAL", 32)


async def test_the_key_log_gets_the_secrets_of_the_association(tmp_path: Path) -> None:
    log = KeyLog(tmp_path / "keys.log")
    try:
        async with connected(config=EngineConfig(keylog=log)):
            pass
    finally:
        log.close()
    assert (tmp_path / "keys.log").read_bytes().count(b"CLIENT_RANDOM") == 2


async def test_stats_count_what_happened() -> None:
    async with connected() as (client, server):
        one, other = client.open(), server.open()
        await one.send(sample(100_000))
        await read(other, 1)
        stats = client.association.stats()
        assert stats["channels"] == 1
        assert stats["packets_sent"] > 80
        assert stats["path"]["bytes_sent"] > 100_000
        assert stats["records_dropped"] == 0
        assert server.association.stats()["packets_received"] > 80


# --- OpenSSL's own programs -----------------------------------------------------------------------
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program")


def write_certificate(folder: Path, certificate: Certificate) -> tuple[str, str]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(certificate.x509.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        certificate.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(cert), str(key)


@needs_openssl
@pytest.mark.parametrize("is_trusted", [True, False])
async def test_openssl_s_client_shakes_hands(tmp_path: Path, is_trusted: bool) -> None:
    theirs = Certificate.generate()
    cert, key = write_certificate(tmp_path, theirs)
    server = await make_end("server")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host, own_port = server.path.local_address
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-dtls1_2", "-connect", f"{host}:{own_port}"),
        *("-bind", f"127.0.0.1:{port}", "-cert", cert, "-key", key),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        fingerprint = theirs.fingerprint if is_trusted else wrong_fingerprint()[0]
        end = End("client", server.path, theirs, server.association)
        server.association.start(
            dataclasses.replace(
                server.parameters(end),
                remote_address=("127.0.0.1", port),
                remote_fingerprints=(fingerprint,),
            )
        )
        if is_trusted:
            async with asyncio.timeout(TIMEOUT_S):
                while not server.association.report.suite:
                    await turn()
            assert server.association.report.version == "DTLSv1.2"
        else:
            with pytest.raises(FingerprintMismatch):
                await server.association.wait_established(TIMEOUT_S)
    finally:
        await server.association.aclose()
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]
