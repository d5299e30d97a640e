from __future__ import annotations

import asyncio
import dataclasses
import gc
import random
import shutil
import socket
import weakref
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from dcsdk.errors import (
    ConfigError,
    FingerprintMismatch,
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    SecurityError,
)
from dcsdk.interfaces import DtlsRole
from dcsdk.interfaces.channel import ChannelState
from dcsdk.io.keylog import KeyLog
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.plugins.engines.native_association import NativeAssociation
from dcsdk.sctp.base.config import SctpConfig
from dcsdk.security import SecurityScope
from dcsdk.tls.certificate import Certificate

from .native import (
    TIMEOUT_S,
    End,
    connected,
    ends,
    establish,
    make_end,
    read,
    sample,
    turn,
    wrong_fingerprint,
)

ROLES: list[DtlsRole] = ["client", "server"]


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
        assert isinstance(await client.association.wait_closed(), SecurityError)
        assert client.path.stats()["bytes_sent"] == 0


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
@pytest.mark.parametrize("lost", [{0}, {1}, {2}])
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


# --- the engine -----------------------------------------------------------------------------------
async def test_one_context_is_shared_by_the_associations_of_a_certificate() -> None:
    engine, certificate = NativeEngine(), Certificate.generate()
    made = [await make_end("client", engine=engine, certificate=certificate) for _ in range(2)]
    other = await make_end("client", engine=engine)
    contexts = [end.association._transport._context for end in (*made, other)]
    assert contexts[0] is contexts[1] is not contexts[2]
    for end in (*made, other):
        await end.association.aclose()


async def test_a_certificate_and_its_context_go_together() -> None:
    engine, certificate = NativeEngine(), Certificate.generate()
    end = await make_end("client", engine=engine, certificate=certificate)
    context = weakref.ref(end.association._transport._context)
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
        assert len(stats.channels) == 1
        assert stats.packets_sent > 80
        assert stats.path.bytes_sent > 100_000
        assert stats.records_dropped == 0
        assert server.association.stats().packets_received > 80


@pytest.mark.clause("RFC 8260 2.2.1", "RFC 9653 5.2")
@pytest.mark.parametrize("is_able", [True, False])
async def test_stats_tell_which_extensions_both_sides_use(is_able: bool) -> None:
    sctp = SctpConfig(is_interleaving_offered=is_able)
    config = EngineConfig(sctp=sctp, is_zero_checksum_offered=is_able)
    async with connected(config=config) as pair:
        for end in pair:
            stats = end.association.stats()
            assert stats.is_interleaving is stats.is_zero_checksum is is_able
    async with ends(config=config) as (client, _):
        assert not client.association.stats().is_interleaving, "not known yet"


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


@needs_openssl
async def test_openssl_s_server_shakes_hands(tmp_path: Path) -> None:
    theirs = Certificate.generate()
    cert, key = write_certificate(tmp_path, theirs)
    client = await make_end("client")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-dtls1_2", "-accept", f"127.0.0.1:{port}", "-Verify", "1"),
        *("-cert", cert, "-key", key),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT_S):
            while await process.stdout.readline() != b"ACCEPT\n":
                pass
            end = End("server", client.path, theirs, client.association)
            client.association.start(
                dataclasses.replace(client.parameters(end), remote_address=("127.0.0.1", port))
            )
            while not client.association.report.suite:
                await turn()
        assert client.association.report.peer_fingerprint == str(theirs.fingerprint)
    finally:
        await client.association.aclose()
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]
