"""Two ends of any association engine, for the tests that every engine must pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from dcsdk.datachannel.channel import DataChannel
from dcsdk.interfaces import (
    Association,
    AssociationEngine,
    ChannelParameters,
    DatagramPath,
    DtlsRole,
    DtlsSctpParameters,
)
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.aiortc import AiortcEngine
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate

from .native import BadPath

TIMEOUT_S = 20.0
STREAM_ID = 1000
MAX_MESSAGE = 1 << 20


class RawNativeEngine(NativeEngine):
    """The native engine with the switch that goes past pyOpenSSL's public methods."""

    def create(
        self, path: DatagramPath, certificate: Certificate, config: Any = None
    ) -> Association:
        if isinstance(config, EngineConfig):
            config = replace(config, is_raw_openssl=True)
        return super().create(path, certificate, config)


ENGINES: dict[str, type[AssociationEngine]] = {
    "native": NativeEngine,
    "native-raw": RawNativeEngine,
    "aiortc": AiortcEngine,
}


def every_engine(**cannot: str) -> pytest.MarkDecorator:
    """Run a test with every engine.

    Args:
        cannot: engines that fail the test for now, and why.
    """
    needs_aiortc = pytest.mark.skipif(
        not AiortcEngine.is_available(), reason="aiortc is not installed"
    )
    return pytest.mark.parametrize(
        "engine",
        [
            pytest.param(
                name,
                marks=[
                    *([needs_aiortc] if name == "aiortc" else []),
                    *([pytest.mark.xfail(reason=cannot[name])] if name in cannot else []),
                ],
            )
            for name in ENGINES
        ],
    )


@dataclass
class EngineEnd:
    """One end before and after its start."""

    role: DtlsRole
    path: DatagramPath
    certificate: Certificate
    association: Association

    def start(self, peer: EngineEnd, **overrides: Any) -> None:
        """Start as the SDP of both ends would have it."""
        parameters = DtlsSctpParameters(
            dtls_role=self.role,
            remote_address=peer.path.local_address,
            remote_fingerprints=(peer.certificate.fingerprint,),
            local_tls_id=None,
            remote_tls_id=None,
            local_max_message_size=MAX_MESSAGE,
            remote_max_message_size=MAX_MESSAGE,
        )
        self.association.start(replace(parameters, **overrides))

    def open(self, stream_id: int | None = STREAM_ID, **parameters: Any) -> DataChannel:
        """Open a channel that SDP agreed on."""
        channel = self.association.open_channel(
            ChannelParameters(stream_id=stream_id, **parameters)
        )
        assert isinstance(channel, DataChannel)
        return channel


class Network:
    """What lies between the ends: it is there or it is not."""

    def __init__(self) -> None:
        self.is_cut = False

    def change(self, datagram: bytes) -> Sequence[bytes]:
        """Pass a datagram on, or lose it."""
        return [] if self.is_cut else [datagram]


@asynccontextmanager
async def engine_ends(
    name: str, *, config: EngineConfig | None = None, network: Network | None = None
) -> AsyncIterator[tuple[EngineEnd, EngineEnd]]:
    """DTLS client and server of one engine, bound and not started; both are closed at the end."""
    change: Callable[[bytes], Sequence[bytes]] | None = network.change if network else None
    made = []
    roles: tuple[DtlsRole, ...] = ("client", "server")
    for role in roles:
        engine = ENGINES[name]()
        path = await engine.bind_path("127.0.0.1")
        if change is not None:
            assert isinstance(path, UdpPath)
            path = BadPath(path, change)
        certificate = Certificate.generate()
        association = engine.create(path, certificate, config or EngineConfig())
        made.append(EngineEnd(role, path, certificate, association))
    try:
        yield made[0], made[1]
    finally:
        await asyncio.gather(*(end.association.aclose(0.2) for end in made))


@asynccontextmanager
async def engine_pair(
    name: str,
    *,
    config: EngineConfig | None = None,
    network: Network | None = None,
    max_message: int = MAX_MESSAGE,
) -> AsyncIterator[tuple[EngineEnd, EngineEnd]]:
    """DTLS client and server of one engine, established."""
    async with engine_ends(name, config=config, network=network) as (client, server):
        sizes = {"local_max_message_size": max_message, "remote_max_message_size": max_message}
        server.start(client, **sizes)
        client.start(server, **sizes)
        await established(client, server)
        yield client, server


async def established(*ends: EngineEnd) -> None:
    """Wait until every end is up."""
    await asyncio.gather(*(end.association.wait_established(TIMEOUT_S) for end in ends))


async def read(channel: DataChannel, count: int) -> list[str | bytes]:
    """Take messages, in bounded time."""
    async with asyncio.timeout(TIMEOUT_S):
        return [await channel.receive() for _ in range(count)]


def fingerprint_of_nobody() -> tuple[Fingerprint, ...]:
    """A fingerprint that no certificate here has."""
    return (Certificate.generate().fingerprint,)
