"""Broken stand-ins for functions of the network, for the faults that SIP cannot make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import Response

from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi.mrm import MRM_PATH
from dcsdk.emulator.sbi.problem import SbiProblem
from dcsdk.emulator.sbi.server import SbiServer, route
from dcsdk.interfaces import (
    Address,
    Association,
    AssociationEngine,
    DatagramPath,
    DatagramReceiver,
    EngineFlags,
)
from dcsdk.tls.certificate import Certificate


class FailingMrm:
    """An ``Nmf_MRM`` producer that has no resources: each Create is answered 503.

    Args:
        host: address to bind.
        trace: gets every message.
    """

    def __init__(self, host: str, trace: TraceBus) -> None:
        self._server = SbiServer(
            "DCMF", [route(f"{MRM_PATH}/contexts", self._create, "POST")], host=host, trace=trace
        )

    @property
    def api_root(self) -> str:
        """``{apiRoot}`` of ``Nmf_MRM``."""
        return self._server.base_url

    async def start(self) -> None:
        """Bind the end point.

        Raises:
            ConfigError: the address cannot be bound.
        """
        await self._server.start()

    async def aclose(self) -> None:
        """Close the end point. Idempotent and bounded."""
        await self._server.aclose()

    async def _create(self, request: Request) -> Response:
        raise SbiProblem(503, "Service Unavailable", cause="INSUFFICIENT_RESOURCES")


class _VanishingPath(DatagramPath, DatagramReceiver):
    """A path that can be cut: then nothing goes out and nothing comes in."""

    def __init__(self, path: DatagramPath) -> None:
        self.is_cut = False
        self._path = path
        self._receiver: DatagramReceiver | None = None

    @property
    def local_address(self) -> Address:
        return self._path.local_address

    @property
    def remote_address(self) -> Address | None:
        return self._path.remote_address

    @property
    def is_blocked(self) -> bool:
        return self._path.is_blocked

    def attach(self, receiver: DatagramReceiver) -> None:
        self._receiver = receiver
        self._path.attach(self)

    def set_remote(self, address: Address) -> None:
        self._path.set_remote(address)

    def send(self, data: bytes, segment_size: int) -> None:
        if not self.is_cut:
            self._path.send(data, segment_size)

    def stats(self) -> Mapping[str, int]:
        return self._path.stats()

    def close(self) -> None:
        self._path.close()

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        if self._receiver is not None and not self.is_cut:
            self._receiver.datagrams_received(batch)

    def path_writable(self) -> None:
        if self._receiver is not None:
            self._receiver.path_writable()


class VanishingEngine(AssociationEngine):
    """An association engine whose paths can all be cut at once.

    Args:
        engine: does the work; it must run on any :class:`DatagramPath`.
    """

    name: ClassVar[str] = "vanishing"
    flags: ClassVar[EngineFlags] = EngineFlags()

    def __init__(self, engine: AssociationEngine) -> None:
        self._engine = engine
        self._paths: list[_VanishingPath] = []
        self._is_cut = False

    def vanish(self) -> None:
        """Cut every path, those to come included."""
        self._is_cut = True
        for path in self._paths:
            path.is_cut = True

    async def bind_path(self, host: str, port: int = 0) -> DatagramPath:
        """Bind a path that can be cut."""
        return self.cuttable(await self._engine.bind_path(host, port))

    def cuttable(self, bound: DatagramPath) -> DatagramPath:
        """Make a path cuttable with the others."""
        path = _VanishingPath(bound)
        path.is_cut = self._is_cut
        self._paths.append(path)
        return path

    def create(
        self, path: DatagramPath, certificate: Certificate, config: Any = None
    ) -> Association:
        """Make an association on such a path."""
        return self._engine.create(path, certificate, config)
