"""What every association engine must do. What one of them cannot is an expected failure."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys

import pytest

from dcsdk.errors import (
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
from dcsdk.interfaces import DtlsRole, DtlsSctpParameters, EngineFlags
from dcsdk.interfaces.channel import ChannelState
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins import builtins
from dcsdk.plugins.engines.aiortc import AiortcEngine
from dcsdk.registry import Registry
from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.base.events import AssociationState
from dcsdk.security import SecurityScope
from dcsdk.tls.certificate import Certificate

from .engines import (
    ENGINES,
    MAX_MESSAGE,
    TIMEOUT_S,
    EngineEnd,
    engine_ends,
    engine_pair,
    established,
    every_engine,
    fingerprint_of_nobody,
    read,
)

ROLES: list[DtlsRole] = ["client", "server"]

SIZES = [1, 2, 1_000, 1_131, 1_132, 1_133, 16_384, 65_535, 65_536, 262_144, 999_999, MAX_MESSAGE]

"""Gives a peer up in a fraction of a second."""


def sample(size: int, seed: int = 0) -> bytes:
    """Return bytes that differ from message to message and repeat nowhere."""
    return hashlib.shake_128(b"%d %d" % (size, seed)).digest(size)


async def turn() -> None:
    """Let the event loop go round once."""
    await asyncio.sleep(0)


def digests(messages: list[str | bytes]) -> list[tuple[type, int, str]]:
    """Return kind, length and SHA-256 of each message."""
    found = []
    for item in messages:
        octets = item.encode() if isinstance(item, str) else item
        found.append((type(item), len(octets), hashlib.sha256(octets).hexdigest()))
    return found


# --- set-up ---------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8842 5.5", "RFC 8831 6.1")
@every_engine()
@pytest.mark.parametrize("first", ROLES)
async def test_either_role_may_start_first(engine: str, first: DtlsRole) -> None:
    async with engine_ends(engine) as (client, server):
        order = (client, server) if first == "client" else (server, client)
        order[0].start(order[1])
        await turn()
        order[1].start(order[0])
        await established(client, server)
        one, other = client.open(), server.open()
        await one.send(b"there")
        await other.send(b"and back")
        assert await read(other, 1) == [b"there"]
        assert await read(one, 1) == [b"and back"]


@pytest.mark.clause("RFC 8122 6.2")
@every_engine()
@pytest.mark.parametrize("role", ROLES)
async def test_a_wrong_fingerprint_ends_the_association_before_any_data(
    engine: str, role: DtlsRole
) -> None:
    async with engine_ends(engine) as (client, server):
        suspicious, other = (client, server) if role == "client" else (server, client)
        channel, sender = suspicious.open(), other.open()
        sending = asyncio.get_running_loop().create_task(sender.send(b"secret"))
        suspicious.start(other, remote_fingerprints=fingerprint_of_nobody())
        other.start(suspicious)
        with pytest.raises(FingerprintMismatch):
            await suspicious.association.wait_established(TIMEOUT_S)
        assert isinstance(await suspicious.association.wait_closed(), FingerprintMismatch)
        assert channel.state is ChannelState.CLOSED
        assert channel.messages_received == 0
        assert suspicious.association.report.peer_fingerprint == ""
        with pytest.raises((SecurityError, TransportError)):
            await other.association.wait_established(TIMEOUT_S)
        with pytest.raises((SecurityError, TransportError)):
            await sending


@pytest.mark.clause("RFC 8122 6.2")
@every_engine(aiortc="aiortc compares after the handshake, too late for an alert that says why")
async def test_the_peer_learns_that_its_certificate_is_wrong(engine: str) -> None:
    async with engine_ends(engine) as (client, server):
        client.start(server, remote_fingerprints=fingerprint_of_nobody())
        server.start(client)
        with pytest.raises(SecurityError, match="bad certificate"):
            await server.association.wait_established(TIMEOUT_S)


@pytest.mark.clause("RFC 8122 5")
@every_engine()
async def test_no_fingerprint_means_no_association(engine: str) -> None:
    async with engine_ends(engine) as (client, server):
        with pytest.raises(SecurityError, match="fingerprint"):
            client.start(server, remote_fingerprints=())


@pytest.mark.clause("RFC 8122 5")
@every_engine()
async def test_one_fingerprint_of_several_is_enough(engine: str) -> None:
    async with engine_ends(engine) as (client, server):
        both = (*fingerprint_of_nobody(), server.certificate.fingerprint)
        client.start(server, remote_fingerprints=both)
        server.start(client)
        await established(client, server)


@pytest.mark.clause("RFC 8842 5.3")
@every_engine()
async def test_datagrams_that_come_before_the_answer_are_kept(engine: str) -> None:
    async with engine_ends(engine) as (client, server):
        client.start(server)
        while not server.path._early:  # type: ignore[attr-defined]
            await turn()
        server.start(client)
        await established(client, server)


@pytest.mark.clause("TS 33.328 7.2.Y", "TS 33.210 6.2.2")
@every_engine()
async def test_the_report_says_what_protects_the_channel(engine: str) -> None:
    async with engine_ends(engine) as (client, server):
        channel = client.open()
        assert channel.security.scope is SecurityScope.NONE
        server.start(client)
        client.start(server)
        await established(client, server)
        report = channel.security
        assert (report.version, report.suite) == ("DTLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")
        assert report.local_fingerprint == str(client.certificate.fingerprint)
        assert report.peer_fingerprint == str(server.certificate.fingerprint)


@every_engine()
async def test_a_peer_that_never_comes_is_waited_for_in_bounded_time(engine: str) -> None:
    config = EngineConfig(handshake_timeout_s=0.1)
    async with engine_ends(engine, config=config) as (client, server):
        channel = client.open()
        client.start(server)
        with pytest.raises(OperationTimeout):
            await client.association.wait_established(0.01)
        assert isinstance(await client.association.wait_closed(), PeerUnreachable)
        with pytest.raises(PeerUnreachable):
            await channel.receive()
        with pytest.raises(PeerUnreachable):
            await client.association.wait_established(1)


@every_engine()
async def test_what_cannot_be_started_says_so(engine: str) -> None:
    async with engine_ends(engine) as (client, server):
        server.start(client)
        with pytest.raises(LocalProtocolError, match="started before"):
            server.start(client)
        with pytest.raises(ConfigError, match="different IP versions"):
            client.start(server, remote_address=("::1", 5000))
        with pytest.raises(ConfigError):
            client.open()
        with pytest.raises(ConfigError):
            client.start(server)


# --- channels -------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8832 3", "RFC 8864 6.1")
@every_engine()
async def test_channels_agreed_in_sdp_carry_their_own_messages(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        ids = (0, 7, 1000, 65_534)
        ours, theirs = [client.open(n) for n in ids], [server.open(n) for n in ids]
        for channel in ours:
            await channel.send(f"on {channel.stream_id}")
        for channel in theirs:
            assert await read(channel, 1) == [f"on {channel.stream_id}"]
        for stream_id in (1000, -1, 65_535):
            with pytest.raises(LocalProtocolError):
                client.open(stream_id)
        with pytest.raises(LocalProtocolError, match="exclude"):
            client.open(3, max_retr=1, max_time_ms=1)


@pytest.mark.clause("RFC 8832 5.1", "RFC 8864 5.1")
@every_engine()
@pytest.mark.parametrize(
    "parameters",
    [
        {"stream_id": 1.5},
        {"stream_id": True},
        {"stream_id": "1"},
        {"max_retr": -1},
        {"max_retr": 1 << 32},
        {"max_time_ms": -1},
        {"max_time_ms": 0.5},
        {"priority": 65_536},
        {"priority": -1},
        {"priority": None},
        {"label": "\ud800"},
        {"label": "x" * 65_536},
        {"subprotocol": b"http"},
        {"is_ordered": None},
    ],
    ids=str,
)
async def test_what_is_no_parameter_is_refused_by_its_name(
    engine: str, parameters: dict[str, object]
) -> None:
    (name,) = parameters
    async with engine_pair(engine) as (client, server):
        good = client.open(1), server.open(1)
        with pytest.raises(LocalProtocolError, match=name):
            client.open(**({"stream_id": 3} | parameters))  # type: ignore[arg-type]
        await good[0].send("still here")
        assert await read(good[1], 1) == ["still here"]


@pytest.mark.clause("RFC 8832 6")
@every_engine()
async def test_a_chosen_stream_id_has_the_parity_of_the_role(engine: str) -> None:
    async with engine_ends(engine) as (client, server):
        with pytest.raises(LocalProtocolError, match="role"):
            client.open(None)
        client.start(server)
        server.start(client)
        assert [client.open(None).stream_id for _ in range(2)] == [0, 2]
        assert [server.open(None).stream_id for _ in range(2)] == [1, 3]


@pytest.mark.clause("RFC 8864 6.4")
@every_engine()
async def test_messages_that_come_before_the_channel_wait_for_it(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        await client.open(6).send(b"early")
        marker = server.open(8)
        await client.open(8).send(b"later")
        assert await read(marker, 1) == [b"later"]
        assert await read(server.open(6), 1) == [b"early"]


@every_engine()
async def test_channels_before_the_association_send_when_it_is_up(engine: str) -> None:
    async with engine_ends(engine) as (client, server):
        one, other = client.open(), server.open()
        sending = asyncio.get_running_loop().create_task(one.send(b"patient"))
        await turn()
        assert not sending.done()
        client.start(server)
        server.start(client)
        assert await read(other, 1) == [b"patient"]
        await sending


@pytest.mark.clause("RFC 8831 6.4")
@every_engine()
@pytest.mark.parametrize(
    "limits", [{"is_ordered": False}, {"max_retr": 3}, {"max_time_ms": 5000}], ids=str
)
async def test_unordered_and_limited_channels_carry_messages(
    engine: str, limits: dict[str, object]
) -> None:
    async with engine_pair(engine) as (client, server):
        one, other = client.open(**limits), server.open(**limits)
        await one.send(b"x")
        assert await read(other, 1) == [b"x"]


# --- messages -------------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8831 8")
@every_engine()
async def test_text_binary_and_empty_messages_arrive_as_they_were_sent(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        one, other = client.open(), server.open()
        messages: list[str | bytes] = ["grüezi 🎈", b"\x00\xff", "", b"", "x", b"x"]
        for message in messages:
            await one.send(message)
            await other.send(message)
        assert digests(await read(other, 6)) == digests(messages)
        assert digests(await read(one, 6)) == digests(messages)


@pytest.mark.clause("RFC 8831 6.6")
@every_engine()
@pytest.mark.parametrize("sender", ROLES)
async def test_messages_of_every_size_arrive_whole(engine: str, sender: DtlsRole) -> None:
    async with engine_pair(engine) as pair:
        ends: tuple[EngineEnd, EngineEnd] = pair if sender == "client" else pair[::-1]
        one, other = ends[0].open(), ends[1].open()

        async def write() -> None:
            for size in SIZES:
                await one.send(sample(size))

        writing = asyncio.get_running_loop().create_task(write())
        received = await read(other, len(SIZES))
        await writing
        assert digests(received) == digests([sample(size) for size in SIZES])


@pytest.mark.clause("RFC 8841 6")
@every_engine()
async def test_a_message_larger_than_the_peer_takes_is_refused_here(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        one, other = client.open(), server.open()
        with pytest.raises(MessageTooLarge):
            await one.send(bytes(MAX_MESSAGE + 1))
        await one.send(b"fits")
        assert await read(other, 1) == [b"fits"]


@pytest.mark.clause("RFC 8831 8")
@every_engine(aiortc="aiortc's SCTP takes messages of any size, and of any kind, from the program")
@pytest.mark.parametrize("size", [MAX_MESSAGE + 1])
async def test_a_message_larger_than_we_announced_costs_its_channel(engine: str, size: int) -> None:
    async with engine_ends(engine) as (client, server):
        client.start(server, remote_max_message_size=2 * MAX_MESSAGE)
        server.start(client)
        await established(client, server)
        one, other = client.open(), server.open()
        await one.send(bytes(size))
        with pytest.raises(RemoteProtocolError):
            await read(other, 1)


# --- flow control ---------------------------------------------------------------------------------
@every_engine()
async def test_small_messages_arrive_in_order(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        one, other = client.open(), server.open()

        async def write() -> None:
            for n in range(2_000):
                await one.send(b"%d" % n)

        writing = asyncio.get_running_loop().create_task(write())
        assert await read(other, 2_000) == [b"%d" % n for n in range(2_000)]
        await writing


@pytest.mark.clause("RFC 9260 6.2")
@pytest.mark.usefixtures("_quick_retransmissions")
@every_engine()
async def test_a_sender_waits_for_a_reader_that_starts_late(engine: str) -> None:
    """When queue and window are full the sender stops; nothing of it is lost."""
    window, largest, queue, size = 300_000, 100_000, 200_000, 16_384
    config = EngineConfig(sctp=SctpConfig(receive_window=window), max_queued_bytes=queue)
    async with engine_pair(engine, config=config, max_message=largest) as (client, server):
        one, other = client.open(), server.open()
        count = 0
        with pytest.raises(OperationTimeout):
            while count * size < 4 * (window + queue):
                await one.send(sample(size, count), timeout_s=0.3)
                count += 1
        assert queue - size <= count * size <= window + queue + largest
        assert other.messages_received * size <= window + largest
        assert await read(other, count) == [sample(size, n) for n in range(count)]
        await one.send(b"goes on", timeout_s=TIMEOUT_S)
        assert await read(other, 1) == [b"goes on"]


# --- what can be seen -----------------------------------------------------------------------------
@every_engine()
async def test_stats_count_what_happened(engine: str) -> None:
    async with engine_pair(engine) as (client, server):
        one, other = client.open(), server.open()
        await one.send(sample(100_000))
        await read(other, 1)
        stats = client.association.stats()
        assert len(stats.channels) == 1
        assert stats.path.bytes_sent > 100_000
        assert server.association.stats().path.bytes_received > 100_000
        assert stats.sctp is not None
        assert stats.sctp.state is AssociationState.ESTABLISHED
        assert stats.sctp.congestion_window > 0
        (ours,) = stats.channels
        assert (ours.messages_sent, ours.bytes_sent) == (1, 100_000)
        assert (ours.stream_id, ours.state) == (one.stream_id, ChannelState.OPEN)
        await other.send("unread")
        await other.send("")
        assert await read(one, 1) == ["unread"]
        (ours,) = client.association.stats().channels
        assert ours.messages_received - ours.unread_messages == 1
        assert ours.bytes_received - ours.unread_bytes == len("unread")


async def test_aiortc_refuses_what_it_cannot_move() -> None:
    pytest.importorskip("aiortc")
    async with engine_pair("aiortc") as (client, server):
        assert not ENGINES["aiortc"].flags.restart
        path = UdpPath.bind("127.0.0.1")
        parameters = DtlsSctpParameters(
            dtls_role="client",
            remote_address=server.path.local_address,
            remote_fingerprints=(server.certificate.fingerprint,),
            local_tls_id=None,
            remote_tls_id=None,
        )
        with pytest.raises(LocalProtocolError, match="cannot move"):
            client.association.restart(path, parameters)
        assert path._udp.is_closed


@every_engine()
async def test_an_engine_says_what_it_can(engine: str) -> None:
    made = ENGINES[engine]()
    assert made.name == engine.removesuffix("-raw")
    assert isinstance(made.flags, EngineFlags)
    assert made.flags.owns_dtls is (engine == "aiortc")
    path = await made.bind_path("127.0.0.1")
    try:
        with pytest.raises(ConfigError, match="EngineConfig"):
            made.create(path, Certificate.generate(), {"mtu": 1200})
    finally:
        path.close()


async def test_the_aiortc_engine_is_offered_only_where_aiortc_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dcsdk.plugins.engines.aiortc.find_spec", lambda name: None)
    assert [engine.name for engine in builtins.dcsdk_engines()] == ["native"]
    monkeypatch.setattr("dcsdk.plugins.engines.aiortc.find_spec", lambda name: object())
    assert [engine.name for engine in builtins.dcsdk_engines()] == ["native", "aiortc"]
    assert "native" in Registry.load().engines


async def test_without_aiortc_its_engine_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dcsdk.plugins.engines.aiortc_association", None)
    engine = AiortcEngine()
    path = await engine.bind_path("127.0.0.1")
    try:
        with pytest.raises(ConfigError, match="aiortc"):
            engine.create(path, Certificate.generate())
    finally:
        path.close()


def test_loading_the_plugins_does_not_import_aiortc() -> None:
    code = "import sys; from dcsdk.registry import Registry as R; R.load(); "
    code += "sys.exit('aiortc' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
