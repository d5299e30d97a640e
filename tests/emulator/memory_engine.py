"""An association engine in memory: who may talk to whom is checked, nothing is encrypted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dcsdk.errors import ChannelClosed, FingerprintMismatch, OperationTimeout, TransportError
from dcsdk.interfaces import (
    Address,
    Association,
    AssociationEngine,
    AssociationStats,
    ChannelParameters,
    DatagramPath,
    DatagramReceiver,
    DtlsSctpParameters,
    EngineFlags,
    PathStats,
)
from dcsdk.security import SecurityReport, SecurityScope
from dcsdk.tls.certificate import Certificate
from tests.http.memory_channel import MemoryChannel, memory_channel_pair

_PORTS = itertools.count(40_000)


class MemoryPath(DatagramPath):
    """Only its address is real."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.is_closed = False

    @property
    def local_address(self) -> Address:
        return self._address

    @property
    def remote_address(self) -> Address | None:
        return None

    @property
    def is_blocked(self) -> bool:
        return False

    def attach(self, receiver: DatagramReceiver) -> None: ...

    def set_remote(self, address: Address) -> None: ...

    def send(self, data: bytes, segment_size: int) -> None: ...

    def stats(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        self.is_closed = True


class MemoryAssociation(Association):
    """Established when the other end is started too and both certificates match."""

    def __init__(
        self, peers: dict[Address, MemoryAssociation], path: DatagramPath, certificate: Certificate
    ) -> None:
        self._peers = peers
        self._path = path
        self._certificate = certificate
        self.parameters: DtlsSctpParameters | None = None
        self._channels: dict[int, MemoryChannel] = {}
        self._established: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._report = SecurityReport(scope=SecurityScope.NONE, backend="memory")
        peers[path.local_address] = self

    @property
    def report(self) -> SecurityReport:
        return self._report

    @report.setter
    def report(self, report: SecurityReport) -> None:
        self._report = report

    @property
    def peer(self) -> MemoryAssociation | None:
        if self.parameters is None:
            return None
        peer = self._peers.get(self.parameters.remote_address)
        return peer if peer is not None and peer.parameters is not None else None

    def start(self, parameters: DtlsSctpParameters) -> None:
        self.parameters = parameters
        peer = self.peer
        if peer is None or peer.peer is not self or peer.parameters is None:
            return
        assert {parameters.dtls_role, peer.parameters.dtls_role} == {"client", "server"}
        for end, other in ((self, peer), (peer, self)):
            assert end.parameters is not None
            matches = [
                fingerprint.matches_certificate(other._certificate.der)
                for fingerprint in end.parameters.remote_fingerprints
            ]
            if not any(matches):
                for failed in (self, peer):
                    failed.fail(FingerprintMismatch("another certificate"))
                return
        for end in (self, peer):
            end._established.set_result(None)

    def fail(self, error: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(error)
        if not self._established.done():
            self._established.set_result(None)
        for channel in self._channels.values():
            channel.abort()

    async def wait_established(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._established)
        except TimeoutError as exc:
            raise OperationTimeout("not established") from exc
        if self._closed.done():
            raise self._closed.result() or ChannelClosed("closed")

    def open_channel(self, parameters: ChannelParameters) -> MemoryChannel:
        assert parameters.stream_id is not None and self.parameters is not None
        peer = self._peers.get(self.parameters.remote_address)
        other = peer._channels.get(parameters.stream_id) if peer is not None else None
        if other is not None:
            channel = other.peer
        else:
            channel, _ = memory_channel_pair(stream_id=parameters.stream_id)
        self._channels[parameters.stream_id] = channel
        return channel

    async def wait_closed(self) -> Exception | None:
        return await asyncio.shield(self._closed)

    async def aclose(self, timeout_s: float = 2.0) -> None:
        self.fail(None)
        self._peers.pop(self._path.local_address, None)
        self._path.close()

    def stats(self) -> AssociationStats:
        return AssociationStats(path=PathStats())


class MemoryEngine(AssociationEngine):
    """Makes ends that know each other by address."""

    name: ClassVar[str] = "memory"
    flags: ClassVar[EngineFlags] = EngineFlags()

    def __init__(self) -> None:
        self._peers: dict[Address, MemoryAssociation] = {}
        self.paths: list[MemoryPath] = []
        self.fails_to_bind = False

    async def bind_path(self, host: str, port: int = 0) -> MemoryPath:
        if self.fails_to_bind:
            raise TransportError("no port is free")
        self.paths.append(MemoryPath((host, port or next(_PORTS))))
        return self.paths[-1]

    def create(
        self, path: DatagramPath, certificate: Certificate, config: Any = None
    ) -> MemoryAssociation:
        return MemoryAssociation(self._peers, path, certificate)

    @property
    def open_paths(self) -> Sequence[MemoryPath]:
        return [path for path in self.paths if not path.is_closed]
