"""TLS transports on sockets: among themselves, against Python's ssl module, against openssl."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from dcsdk.errors import (
    FingerprintMismatch,
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces.keying import TcpRole, TlsParameters
from dcsdk.interfaces.paths import Address
from dcsdk.io.capture import Capture
from dcsdk.io.keylog import KeyLog
from dcsdk.io.net.stream import TcpPath
from dcsdk.io.secure.stream_life import RECEIVE_BUFFER_BYTES
from dcsdk.io.secure.tls import TlsTransport
from dcsdk.sdp.association import DtlsRole
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.security import SecurityScope
from dcsdk.tls.connection import TlsContext
from tests.tls.ends import OURS, PEERS
from tests.tls.foreign import VERSIONS, Foreign, foreign_context, pem_of
from tests.tls.test_connection import BAD_CERTIFICATE, OTHER, STRANGERS

TIMEOUT_S = 10.0
SHORT_S = 0.5
HOST = "127.0.0.1"
OURS_CONTEXT, PEERS_CONTEXT = TlsContext(OURS), TlsContext(PEERS)
OTHER_TCP: dict[TcpRole, TcpRole] = {"active": "passive", "passive": "active"}
COMBINATIONS: list[tuple[DtlsRole, TcpRole]] = [
    ("client", "active"),
    ("client", "passive"),
    ("server", "active"),
    ("server", "passive"),
]


def transport(
    tls_role: DtlsRole,
    tcp_role: TcpRole,
    *,
    context: TlsContext = OURS_CONTEXT,
    fingerprints: Sequence[Fingerprint] = (PEERS.fingerprint,),
    remote: Address | None = None,
    timeout_s: float = TIMEOUT_S,
    host: str = HOST,
    capture: Capture | None = None,
) -> tuple[TlsTransport, TcpPath]:
    path = TcpPath.bind(host, capture=capture)
    path.set_remote(remote or (host, 9))
    parameters = TlsParameters(
        tls_role=tls_role, tcp_role=tcp_role, remote_fingerprints=tuple(fingerprints)
    )
    return TlsTransport(context, path, parameters, handshake_timeout_s=timeout_s), path


@asynccontextmanager
async def pair(
    tls_role: DtlsRole = "client",
    tcp_role: TcpRole = "active",
    *,
    host: str = HOST,
    context: TlsContext = OURS_CONTEXT,
    capture: Capture | None = None,
) -> AsyncIterator[tuple[TlsTransport, TlsTransport]]:
    """Ours in the given roles, and the peer; both established."""
    ours, ours_path = transport(tls_role, tcp_role, host=host, context=context, capture=capture)
    peer, peer_path = transport(
        OTHER[tls_role],
        OTHER_TCP[tcp_role],
        context=PEERS_CONTEXT,
        fingerprints=[OURS.fingerprint],
        host=host,
    )
    try:
        ours_path.set_remote(peer_path.local_address)
        peer_path.set_remote(ours_path.local_address)
        for end in (ours, peer):
            end.start()
        for end in (ours, peer):
            await end.wait_established(TIMEOUT_S)
        yield ours, peer
    finally:
        await asyncio.gather(ours.aclose(), peer.aclose())


class Wire:
    """A foreign end on a socket."""

    def __init__(self, sock: socket.socket, end: Foreign) -> None:
        self._sock = sock
        self.end = end

    async def pump(self) -> None:
        """Carry bytes until the handshake is over and something came, or the other side closed."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT_S):
            if output := self.end.step(b""):
                await loop.sock_sendall(self._sock, output)
            while not self.end.received:
                try:
                    data = await loop.sock_recv(self._sock, 65_536)
                except ConnectionError:
                    return
                if not data:
                    return
                if output := self.end.step(data):
                    await loop.sock_sendall(self._sock, output)

    async def say(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, self.end.say(data))


@asynccontextmanager
async def foreign_peer(
    ours: TlsTransport, path: TcpPath, tcp_role: TcpRole, end: Foreign
) -> AsyncIterator[Wire]:
    """Start our transport, and connect a foreign end to it."""
    loop = asyncio.get_running_loop()
    try:
        if tcp_role == "active":
            with socket.create_server((HOST, 0)) as server:
                server.setblocking(False)
                path.set_remote(server.getsockname())
                ours.start()
                sock, _ = await loop.sock_accept(server)
        else:
            ours.start()
            sock = socket.create_connection(path.local_address)
        with sock:
            sock.setblocking(False)
            yield Wire(sock, end)
    finally:
        await ours.aclose()


# --- among ourselves ------------------------------------------------------------------------------
@pytest.mark.clause("RFC 8122 6.2", "RFC 8856 8")
@pytest.mark.parametrize(("tls_role", "tcp_role"), COMBINATIONS)
async def test_the_role_in_tls_is_apart_from_the_role_in_tcp(
    tls_role: DtlsRole, tcp_role: TcpRole
) -> None:
    async with pair(tls_role, tcp_role) as (ours, peer):
        await ours.write(b"ours")
        await peer.write(b"theirs")
        assert await peer.read() == b"ours"
        assert await ours.read() == b"theirs"
        report = ours.report
        assert report.version == "TLSv1.3"
        assert "AES" in report.suite or "CHACHA" in report.suite
        assert report.local_fingerprint == peer.report.peer_fingerprint == str(OURS.fingerprint)
        assert report.peer_fingerprint == str(PEERS.fingerprint)


async def test_ipv6_serves_as_well() -> None:
    async with pair(host="::1") as (ours, peer):
        await ours.write(b"ours")
        assert await peer.read() == b"ours"


async def test_the_session_sets_the_scope() -> None:
    ours, _ = transport("client", "active")
    assert ours.report.scope is SecurityScope.NONE
    ours.report = replace(ours.report, scope=SecurityScope.E2E)
    assert ours.report.scope is SecurityScope.E2E
    await ours.aclose()


async def test_much_data_goes_both_ways_at_once() -> None:
    async with pair() as (ours, peer):
        data = bytes(range(256)) * (4 << 12)

        async def read(end: TlsTransport) -> bytes:
            received = bytearray()
            while len(received) < len(data):
                received += await end.read(10_000)
            return bytes(received)

        async with asyncio.timeout(TIMEOUT_S):
            results = await asyncio.gather(
                ours.write(data), peer.write(data), read(ours), read(peer)
            )
        assert results[2] == results[3] == data
        assert ours.stats().path.bytes_sent > len(data)


async def test_a_writer_waits_while_nobody_reads_and_records_stay_whole() -> None:
    async with pair() as (ours, peer):
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_S):
                while True:
                    await ours.write(bytes(16_384))
                    sent += 16_384
        assert sent > RECEIVE_BUFFER_BYTES
        writing = asyncio.create_task(ours.write(b"the last"))
        received = b""
        async with asyncio.timeout(TIMEOUT_S):
            while not received.endswith(b"the last"):
                received = received[-8:] + await peer.read()
        await writing


@pytest.mark.clause("RFC 8446 6.1")
async def test_closing_is_told_to_the_peer_and_ends_both_in_order() -> None:
    async with pair() as (ours, peer):
        await ours.write(b"last words")
        await asyncio.gather(ours.aclose(), ours.aclose())
        async with asyncio.timeout(TIMEOUT_S):
            assert await peer.wait_closed() is None
            assert await peer.read() == b"last words"
            assert await peer.read() == b""
            assert await ours.wait_closed() is None
        for operation in (
            ours.read(),
            ours.write(b"x"),
            peer.write(b"x"),
            ours.wait_established(1),
        ):
            with pytest.raises(TransportError):
                await operation
        with pytest.raises(TransportError):
            ours.start()


async def test_closing_wakes_reader_and_writer() -> None:
    async with pair() as (ours, _):
        reading = asyncio.create_task(ours.read())
        writing = asyncio.create_task(ours.write(bytes(16 << 20)))
        await asyncio.sleep(0)
        async with asyncio.timeout(TIMEOUT_S):
            await ours.aclose(SHORT_S)
        for task in (reading, writing):
            with pytest.raises(TransportError):
                await task


# --- before the peer is verified ------------------------------------------------------------------
async def test_nothing_is_written_before_the_peer_is_verified() -> None:
    ours, path = transport("client", "active")
    with socket.create_server((HOST, 0)) as server:
        path.set_remote(server.getsockname())
        with pytest.raises(LocalProtocolError):
            await ours.write(b"early")
        ours.start()
        with pytest.raises(LocalProtocolError):
            ours.start()
        with pytest.raises(LocalProtocolError):
            await ours.write(b"early")
        with pytest.raises(OperationTimeout):
            await ours.wait_established(0.01)
        await ours.aclose()


async def test_no_usable_fingerprint_is_refused() -> None:
    unknown = replace(PEERS.fingerprint, hash_function="sha-3")
    path = TcpPath.bind(HOST)
    parameters = TlsParameters(tls_role="client", tcp_role="active", remote_fingerprints=(unknown,))
    with pytest.raises(SecurityError):
        TlsTransport(OURS_CONTEXT, path, parameters)
    await path.aclose()


async def test_a_peer_that_never_comes_ends_the_transport() -> None:
    ours, _ = transport("server", "passive", timeout_s=SHORT_S)
    ours.start()
    with pytest.raises(PeerUnreachable):
        await ours.wait_established(TIMEOUT_S)
    assert isinstance(await ours.wait_closed(), PeerUnreachable)
    with pytest.raises(PeerUnreachable):
        await ours.read()
    await ours.aclose()


async def test_a_peer_that_does_not_speak_ends_the_transport() -> None:
    ours, path = transport("client", "active", timeout_s=SHORT_S)
    with socket.create_server((HOST, 0)) as server:
        path.set_remote(server.getsockname())
        ours.start()
        with pytest.raises(PeerUnreachable):
            await ours.wait_established(TIMEOUT_S)
        await ours.aclose()


async def test_closing_before_the_peer_came_ends_in_order() -> None:
    ours, _ = transport("server", "passive")
    ours.start()
    waiting = asyncio.create_task(ours.wait_established(TIMEOUT_S))
    await asyncio.sleep(0)
    await ours.aclose()
    with pytest.raises(TransportError, match="closed"):
        await waiting
    assert await ours.wait_closed() is None


# --- against Python's ssl -------------------------------------------------------------------------
@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("tls_role", "tcp_role"), COMBINATIONS)
async def test_python_ssl_is_a_peer_in_every_role(
    tls_role: DtlsRole, tcp_role: TcpRole, version: ssl.TLSVersion
) -> None:
    context = foreign_context(OTHER[tls_role], certificate=PEERS, trusted=OURS, version=version)
    ours, path = transport(tls_role, tcp_role)
    async with foreign_peer(ours, path, tcp_role, Foreign(OTHER[tls_role], context)) as wire:
        pumping = asyncio.create_task(wire.pump())
        await ours.wait_established(TIMEOUT_S)
        await ours.write(b"ours")
        await pumping
        assert wire.end.received == b"ours"
        await wire.say(b"theirs")
        assert await ours.read() == b"theirs"


@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("tls_role", "tcp_role"), COMBINATIONS)
async def test_the_wrong_certificate_gets_the_alert_and_no_data(
    tls_role: DtlsRole, tcp_role: TcpRole, version: ssl.TLSVersion
) -> None:
    context = foreign_context(OTHER[tls_role], certificate=STRANGERS, trusted=OURS, version=version)
    ours, path = transport(tls_role, tcp_role, timeout_s=SHORT_S)
    async with foreign_peer(ours, path, tcp_role, Foreign(OTHER[tls_role], context)) as wire:
        await wire.pump()
        assert wire.end.error is not None
        assert BAD_CERTIFICATE in wire.end.error.reason
        with pytest.raises(FingerprintMismatch):
            await ours.wait_established(TIMEOUT_S)
        assert wire.end.received == b""
        assert ours.report.peer_fingerprint == ""


@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("tls_role", ["client", "server"])
async def test_a_wrong_peer_does_not_keep_the_right_one_out(tls_role: DtlsRole) -> None:
    ours, path = transport(tls_role, "passive")
    wrong = Foreign(OTHER[tls_role], foreign_context(OTHER[tls_role], certificate=STRANGERS))
    right, _ = transport(
        OTHER[tls_role],
        "active",
        context=PEERS_CONTEXT,
        fingerprints=[OURS.fingerprint],
        remote=path.local_address,
    )
    async with foreign_peer(ours, path, "passive", wrong) as wire:
        with socket.create_connection(path.local_address):  # says nothing
            await wire.pump()
            right.start()
            await asyncio.gather(
                right.wait_established(TIMEOUT_S), ours.wait_established(TIMEOUT_S)
            )
            await right.write(b"it is me")
            assert await ours.read() == b"it is me"
            assert ours.stats().path.others["checks_failed"] == 1
            await asyncio.gather(right.aclose(), ours.aclose())


@pytest.mark.clause("RFC 8446 4.4.2.4")
@pytest.mark.parametrize("is_writing", [False, True])
async def test_a_tls_1_3_server_that_refuses_us_is_told_as_such(is_writing: bool) -> None:
    context = foreign_context("server", certificate=PEERS, trusted=STRANGERS)
    ours, path = transport("client", "active")
    async with foreign_peer(ours, path, "active", Foreign("server", context)) as wire:
        pumping = asyncio.create_task(wire.pump())
        await ours.wait_established(TIMEOUT_S)
        with pytest.raises(SecurityError, match="the peer ended the TLS handshake"):
            async with asyncio.timeout(TIMEOUT_S):
                while is_writing:
                    await ours.write(b"hello")
                await ours.read()
        assert isinstance(await ours.wait_closed(), SecurityError)
        pumping.cancel()


@pytest.mark.clause("RFC 8446 6.1")
async def test_an_end_without_close_alert_is_an_error() -> None:
    context = foreign_context("server", certificate=PEERS, trusted=OURS)
    ours, path = transport("client", "active")
    async with foreign_peer(ours, path, "active", Foreign("server", context)) as wire:
        pumping = asyncio.create_task(wire.pump())
        await ours.wait_established(TIMEOUT_S)
        await ours.write(b"ready")
        await pumping
        await wire.say(b"a part of it")
        wire._sock.shutdown(socket.SHUT_WR)
        assert await ours.read() == b"a part of it"
        with pytest.raises(TransportError, match="data may be missing"):
            await ours.read()
        assert isinstance(await ours.wait_closed(), TransportError)


async def test_a_reset_is_a_transport_error() -> None:
    context = foreign_context("server", certificate=PEERS, trusted=OURS)
    ours, path = transport("client", "active")
    async with foreign_peer(ours, path, "active", Foreign("server", context)) as wire:
        pumping = asyncio.create_task(wire.pump())
        await ours.wait_established(TIMEOUT_S)
        await ours.write(b"ready")
        await pumping
        sock = wire._sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        assert isinstance(await ours.wait_closed(), TransportError)
        with pytest.raises(TransportError):
            await ours.write(b"x")


@pytest.mark.clause("TS 33.210 6.2", "RFC 8996 5")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_1_1_is_refused() -> None:
    context = foreign_context("client", certificate=PEERS, version=ssl.TLSVersion.TLSv1_1)
    ours, path = transport("server", "passive", timeout_s=SHORT_S)
    async with foreign_peer(ours, path, "passive", Foreign("client", context)) as wire:
        await wire.pump()
        assert wire.end.error is not None
        assert not wire.end.is_done
        with pytest.raises(SecurityError):
            await ours.wait_established(TIMEOUT_S)


# --- against openssl ------------------------------------------------------------------------------
openssl = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(openssl is None, reason="openssl is not installed")


@asynccontextmanager
async def openssl_process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        str(openssl),
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def output_until(process: asyncio.subprocess.Process, pattern: bytes) -> bytes:
    """Return what openssl prints up to a pattern, or all of it."""
    assert process.stdout is not None
    printed = b""
    async with asyncio.timeout(TIMEOUT_S):
        while re.search(pattern, printed) is None:
            part = await process.stdout.read(4096)
            if not part:
                break
            printed += part
    return printed


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """PEM files of the peers' certificates."""
    found = {}
    for name, certificate in (("right", PEERS), ("wrong", STRANGERS)):
        file = tmp_path / f"{name}.pem"
        file.write_bytes(pem_of(certificate))
        found[name] = str(file)
    return found


@needs_openssl
@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_s_client_is_a_peer(files: dict[str, str], version: str) -> None:
    ours, path = transport("server", "passive")
    ours.start()
    arguments = ["-connect", f"{HOST}:{path.local_address[1]}", "-cert", files["right"], version]
    async with openssl_process("s_client", *arguments) as process:
        assert process.stdin is not None
        await ours.wait_established(TIMEOUT_S)
        process.stdin.write(b"from s_client\n")
        assert await ours.read() == b"from s_client\n"
        await ours.write(b"to s_client\n")
        assert b"to s_client" in await output_until(process, b"to s_client")
        process.stdin.close()  # ends it in order
        assert await ours.wait_closed() is None
    await ours.aclose()


@needs_openssl
@pytest.mark.clause("RFC 8446 4.6.3")
async def test_a_key_update_of_openssl_is_answered(files: dict[str, str]) -> None:
    ours, path = transport("server", "passive")
    ours.start()
    arguments = ["-connect", f"{HOST}:{path.local_address[1]}", "-cert", files["right"]]
    async with openssl_process("s_client", *arguments, "-tls1_3") as process:
        assert process.stdin is not None
        await ours.wait_established(TIMEOUT_S)
        process.stdin.write(b"K\n")
        await output_until(process, b"KEYUPDATE")
        process.stdin.write(b"with new keys\n")
        assert await ours.read() == b"with new keys\n"
        await ours.write(b"likewise\n")
        assert b"likewise" in await output_until(process, b"likewise")
    await ours.aclose()


@needs_openssl
@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_s_client_with_the_wrong_certificate_gets_the_alert(
    files: dict[str, str], version: str
) -> None:
    ours, path = transport("server", "passive", timeout_s=1.0)
    ours.start()
    arguments = ["-connect", f"{HOST}:{path.local_address[1]}", "-cert", files["wrong"], version]
    async with openssl_process("s_client", *arguments) as process:
        printed = await output_until(process, b"alert bad certificate")
        assert b"alert bad certificate" in printed
        with pytest.raises(FingerprintMismatch):
            await ours.wait_established(TIMEOUT_S)
    await ours.aclose()


@needs_openssl
@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("name", ["right", "wrong"])
async def test_openssl_s_server_is_a_peer_or_gets_the_alert(
    files: dict[str, str], version: str, name: str
) -> None:
    arguments = ["-accept", f"{HOST}:0", "-cert", files[name], "-Verify", "1", version]
    async with openssl_process("s_server", *arguments) as process:
        listening = await output_until(process, rb"ACCEPT [^\n]*:\d+\n")
        port = re.search(rb"ACCEPT [^\n]*:(\d+)", listening)
        assert port is not None
        ours, _ = transport("client", "active", remote=(HOST, int(port[1])))
        ours.start()
        if name == "wrong":
            with pytest.raises(FingerprintMismatch):
                await ours.wait_established(TIMEOUT_S)
            printed = await output_until(process, b"alert bad certificate")
            assert b"alert bad certificate" in printed
        else:
            await ours.wait_established(TIMEOUT_S)
            await ours.write(b"to s_server\n")
            assert b"to s_server" in await output_until(process, b"to s_server")
            assert process.stdin is not None
            process.stdin.write(b"from s_server\n")
            assert await ours.read() == b"from s_server\n"
        await ours.aclose()


@needs_openssl
@pytest.mark.clause("TS 33.210 6.2", "RFC 8996 5")
@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
async def test_openssl_with_old_versions_is_refused(files: dict[str, str], version: str) -> None:
    ours, path = transport("server", "passive", timeout_s=SHORT_S)
    ours.start()
    arguments = ["-connect", f"{HOST}:{path.local_address[1]}", "-cert", files["right"], version]
    async with openssl_process("s_client", *arguments, "-cipher", "ALL:@SECLEVEL=0") as process:
        printed = await output_until(process, b"alert protocol version")
        assert b"alert protocol version" in printed
        with pytest.raises(SecurityError):
            await ours.wait_established(TIMEOUT_S)
    await ours.aclose()


# --- looking inside -------------------------------------------------------------------------------
async def test_a_key_log_opens_the_traffic_and_reports_hold_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with closing(KeyLog(tmp_path / "keys.log")) as log:
        async with pair(context=TlsContext(OURS, keylog=log)) as (ours, _):
            shown = f"{ours.report!r} {ours!r} {ours.stats()!r}"
    secrets = [line.split()[2].decode() for line in log.path.read_bytes().splitlines()]
    assert len(secrets) >= 4
    assert not any(secret in shown + caplog.text for secret in secrets)


@pytest.mark.interop
@pytest.mark.parametrize("tls_role", ["client", "server"])
async def test_tshark_opens_a_captured_connection(tmp_path: Path, tls_role: DtlsRole) -> None:
    tshark = shutil.which("tshark")
    assert tshark is not None, "tshark is not installed"
    file = tmp_path / "line.pcapng"
    with closing(Capture(file)) as capture:
        context = TlsContext(OURS, keylog=capture.secret)
        async with pair(tls_role, "active", context=context, capture=capture) as (ours, peer):
            await ours.write(b"what we say")
            assert await peer.read() == b"what we say"
            await peer.write(b"what the peer says")
            assert await ours.read() == b"what the peer says"
            port = ours._path.local_address[1]
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        [
            *(tshark, "-r", str(file), "-o", "tcp.check_checksum:TRUE"),
            *("-d", f"tcp.port=={port},tls", "-T", "fields"),
            *("-e", "tcp.checksum.status", "-e", "tcp.analysis.flags", "-e", "data.data"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {row[0] for row in rows} == {"1"}
    assert {row[1] for row in rows} == {""}
    opened = bytes.fromhex("".join(row[2] for row in rows).replace(",", ""))
    assert opened == b"what we say" + b"what the peer says"
