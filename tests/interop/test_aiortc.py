"""The native engine against aiortc's DTLS and SCTP, both on our datagram path."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import FingerprintMismatch
from dcsdk.interfaces import ChannelParameters, DtlsRole, DtlsSctpParameters
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate

from .conftest import missing

if TYPE_CHECKING:
    from .aiortc_peer import AiortcPeer

pytestmark = pytest.mark.interop

STREAM_ID = 10
TIMEOUT_S = 20.0
MAX_MESSAGE = 1 << 20
SIZES = [1, 2, 1_000, 1_171, 1_172, 1_173, 16_384, 65_535, 65_536, 262_144, 999_999, MAX_MESSAGE]
ROLES: list[DtlsRole] = ["client", "server"]


def sample(size: int) -> bytes:
    """Return ``size`` bytes that differ from message to message and repeat nowhere."""
    return hashlib.shake_128(b"%d" % size).digest(size)


def digests(messages: Sequence[str | bytes]) -> list[tuple[type, int, str]]:
    """Return kind, length and SHA-256 of each message."""
    data = [item.encode() if isinstance(item, str) else item for item in messages]
    return [
        (type(item), len(octets), hashlib.sha256(octets).hexdigest())
        for item, octets in zip(messages, data, strict=True)
    ]


@asynccontextmanager
async def connected(
    role: DtlsRole, host: str = "127.0.0.1", *, fingerprint: str | None = None
) -> AsyncIterator[tuple[DataChannel, AiortcPeer]]:
    """Connect the native engine and aiortc; ``fingerprint`` replaces the one we expect."""
    try:
        from .aiortc_peer import AiortcPeer
    except ImportError as exc:
        missing("aiortc", f"pip install aiortc ({exc})")
    certificate = Certificate.generate()
    engine = NativeEngine()
    path = await engine.bind_path(host)
    association = engine.create(path, certificate, EngineConfig())
    try:
        async with AiortcPeer(host, stream_id=STREAM_ID, max_message_size=MAX_MESSAGE) as peer:
            channel = association.open_channel(ChannelParameters(stream_id=STREAM_ID))
            association.start(
                DtlsSctpParameters(
                    dtls_role=role,
                    remote_address=peer.address,
                    remote_fingerprints=(Fingerprint.parse(fingerprint or peer.fingerprint),),
                    local_tls_id=None,
                    remote_tls_id=None,
                    local_max_message_size=MAX_MESSAGE,
                    remote_max_message_size=MAX_MESSAGE,
                )
            )
            peer_role: DtlsRole = "server" if role == "client" else "client"
            ours = str(certificate.fingerprint)
            async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
                group.create_task(association.wait_established(TIMEOUT_S))
                group.create_task(peer.start(path.local_address, ours, peer_role))
            yield channel, peer
    finally:
        await association.aclose()


@pytest.mark.clause("RFC 8261 6.1", "RFC 8842 5.2")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("role", ROLES)
async def test_aiortc_gets_every_message_whole(role: DtlsRole, host: str) -> None:
    messages = [sample(size) for size in SIZES]
    async with connected(role, host) as (channel, peer), asyncio.timeout(TIMEOUT_S):
        for message in messages:
            await channel.send(message)
        received = [await peer.messages.get() for _ in messages]
    assert digests(received) == digests(messages)


@pytest.mark.clause("RFC 8261 6.1", "RFC 8842 5.2")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("role", ROLES)
async def test_every_message_of_aiortc_arrives_whole(role: DtlsRole, host: str) -> None:
    messages = [sample(size) for size in SIZES]
    async with connected(role, host) as (channel, peer), asyncio.timeout(TIMEOUT_S):
        await peer.opened.wait()
        for message in messages:
            peer.channel.send(message)
        received = [await channel.receive() for _ in messages]
    assert digests(received) == digests(messages)


@pytest.mark.clause("RFC 8831 6.6")
@pytest.mark.parametrize("role", ROLES)
async def test_text_binary_and_empty_messages_keep_their_kind(role: DtlsRole) -> None:
    messages: list[str | bytes] = ["grüße", b"\x00\xff", "", b"", "end"]
    async with connected(role) as (channel, peer), asyncio.timeout(TIMEOUT_S):
        await peer.opened.wait()
        for message in messages:
            await channel.send(message)
            peer.channel.send(message)
        assert [await peer.messages.get() for _ in messages] == messages
        assert [await channel.receive() for _ in messages] == messages


@pytest.mark.clause("RFC 8831 6.7")
@pytest.mark.parametrize("role", ROLES)
async def test_channel_we_close_closes_at_aiortc(role: DtlsRole) -> None:
    async with connected(role) as (channel, peer), asyncio.timeout(TIMEOUT_S):
        await channel.send("last words")
        await channel.aclose()
        assert await peer.messages.get() == "last words"
        await peer.closed.wait()


@pytest.mark.clause("RFC 8831 6.7")
@pytest.mark.parametrize("role", ROLES)
async def test_channel_aiortc_closes_ends_the_reading(role: DtlsRole) -> None:
    async with connected(role) as (channel, peer), asyncio.timeout(TIMEOUT_S):
        await peer.opened.wait()
        peer.channel.send("last words")
        peer.channel.close()
        assert [message async for message in channel] == ["last words"]


@pytest.mark.clause("RFC 8122 5")
@pytest.mark.parametrize("role", ROLES)
async def test_aiortc_with_another_certificate_is_refused(role: DtlsRole) -> None:
    other = str(Certificate.generate().fingerprint)
    with pytest.raises(ExceptionGroup) as caught:
        async with connected(role, fingerprint=other):
            pass
    assert caught.value.subgroup(FingerprintMismatch)
