"""Two ends of the native engine, and networks that misbehave between them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from dcsdk.datachannel.channel import DataChannel
from dcsdk.interfaces import (
    Address,
    ChannelParameters,
    DatagramPath,
    DatagramReceiver,
    DtlsRole,
    DtlsSctpParameters,
)
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.plugins.engines.native_association import NativeAssociation
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate

TIMEOUT_S = 20.0
STREAM_ID = 1000

Filter = Callable[[bytes], Sequence[bytes]]
"""Turns one datagram into those that reach the network."""


class BadPath(DatagramPath):
    """A path whose outgoing datagrams go through a filter."""

    def __init__(self, path: UdpPath, change: Filter) -> None:
        self._path = path
        self.change = change

    @property
    def local_address(self) -> Address:
        return self._path.local_address

    @property
    def remote_address(self) -> Address | None:
        return None

    @property
    def is_blocked(self) -> bool:
        return self._path.is_blocked

    def attach(self, receiver: DatagramReceiver) -> None:
        self._path.attach(receiver)

    def set_remote(self, address: Address) -> None:
        self._path.set_remote(address)

    def send(self, data: bytes, segment_size: int) -> None:
        for start in range(0, len(data), segment_size):
            for datagram in self.change(data[start : start + segment_size]):
                self._path.send(datagram, len(datagram))

    def stats(self) -> Mapping[str, int]:
        return self._path.stats()

    def close(self) -> None:
        self._path.close()


@dataclass
class End:
    """One end before and after its start."""

    role: DtlsRole
    path: DatagramPath
    certificate: Certificate
    association: NativeAssociation
    overrides: dict[str, object] = field(default_factory=dict)

    def parameters(self, peer: End, **overrides: object) -> DtlsSctpParameters:
        """What the SDP of both ends says."""
        parameters = DtlsSctpParameters(
            dtls_role=self.role,
            remote_address=peer.path.local_address,
            remote_fingerprints=(peer.certificate.fingerprint,),
            local_tls_id=None,
            remote_tls_id=None,
            remote_max_message_size=262_144,
        )
        return replace(parameters, **overrides)  # type: ignore[arg-type]

    def start(self, peer: End, **overrides: object) -> None:
        self.association.start(self.parameters(peer, **overrides))

    def open(self, stream_id: int | None = STREAM_ID, **parameters: object) -> DataChannel:
        return self.association.open_channel(
            ChannelParameters(stream_id=stream_id, **parameters)  # type: ignore[arg-type]
        )


async def make_end(
    role: DtlsRole,
    *,
    host: str = "127.0.0.1",
    config: EngineConfig | None = None,
    change: Filter | None = None,
    engine: NativeEngine | None = None,
    certificate: Certificate | None = None,
) -> End:
    """Bind one end; nothing is started."""
    engine = engine or NativeEngine()
    config = config or EngineConfig()
    path: DatagramPath = await engine.bind_path(host)
    if change is not None:
        assert isinstance(path, UdpPath)
        path = BadPath(path, change)
    certificate = certificate or Certificate.generate()
    association = engine.create(path, certificate, config)
    assert isinstance(association, NativeAssociation)
    return End(role, path, certificate, association)


@asynccontextmanager
async def ends(
    *,
    host: str = "127.0.0.1",
    config: EngineConfig | None = None,
    change: Filter | None = None,
    client_change: Filter | None = None,
) -> AsyncIterator[tuple[End, End]]:
    """Client and server, bound and not started; both are closed at the end."""
    client = await make_end("client", host=host, config=config, change=client_change or change)
    server = await make_end("server", host=host, config=config, change=change)
    try:
        yield client, server
    finally:
        await asyncio.gather(client.association.aclose(), server.association.aclose())


@asynccontextmanager
async def connected(
    *,
    host: str = "127.0.0.1",
    config: EngineConfig | None = None,
    change: Filter | None = None,
    client_change: Filter | None = None,
) -> AsyncIterator[tuple[End, End]]:
    """Client and server, established."""
    async with ends(host=host, config=config, change=change, client_change=client_change) as pair:
        client, server = pair
        server.start(client)
        client.start(server)
        await establish(client, server)
        yield pair


async def establish(*them: End) -> None:
    """Wait until every end is up."""
    await asyncio.gather(*(end.association.wait_established(TIMEOUT_S) for end in them))


def wrong_fingerprint() -> tuple[Fingerprint, ...]:
    """A fingerprint of nobody's certificate."""
    return (Certificate.generate().fingerprint,)


def sample(size: int, seed: int = 0) -> bytes:
    """Bytes that differ from message to message and repeat nowhere."""
    return hashlib.shake_128(b"%d %d" % (size, seed)).digest(size)


async def turn() -> None:
    """Let the event loop go round once."""
    await asyncio.sleep(0)


async def read(channel: DataChannel, count: int) -> list[Any]:
    """Take that many messages."""
    async with asyncio.timeout(TIMEOUT_S):
        return [await channel.receive() for _ in range(count)]
