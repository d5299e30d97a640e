"""The native association engine: our SCTP over OpenSSL's DTLS."""

from __future__ import annotations

from typing import Any, ClassVar

from dcsdk.interfaces.association import (
    Association,
    AssociationEngine,
    ChannelAssociation,
    EngineFlags,
)
from dcsdk.interfaces.paths import DatagramPath
from dcsdk.interfaces.transports import DatagramTransport
from dcsdk.io.secure.contexts import DtlsContexts
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native_association import NativeAssociation
from dcsdk.plugins.engines.native_sctp import NativeSctp
from dcsdk.tls.certificate import Certificate


class NativeEngine(AssociationEngine):
    """Makes associations that run in this process and this event loop.

    Args:
        config: for paths, and for associations that are created without one of their own.
    """

    name: ClassVar[str] = "native"
    flags: ClassVar[EngineFlags] = EngineFlags(
        owns_dtls=False, partial_reliability=True, interleaving=True, dcep=True, restart=True
    )

    def __init__(self, config: EngineConfig | None = None) -> None:
        self._config = config or EngineConfig()
        self._contexts = DtlsContexts()

    async def bind_path(self, host: str, port: int = 0) -> DatagramPath:
        """Bind a UDP socket.

        Args:
            host: a local IPv4 or IPv6 address.
            port: 0 for any free one.

        Raises:
            ConfigError: ``host`` is no IP address.
            TransportError: the address cannot be bound.
        """
        return self._config.bind_udp(host, port)

    def create(
        self, path: DatagramPath, certificate: Certificate, config: Any = None
    ) -> Association:
        """Make an association on ``path``, which it owns from now on.

        Args:
            path: bound; caches datagrams until ``start``.
            certificate: ours.
            config: an :class:`EngineConfig`, or ``None`` for the engine's own.

        Raises:
            ConfigError: ``config`` is something else.
        """
        settings = self._config.or_given(config)
        return NativeAssociation(path, self._contexts.get(certificate, settings), settings)

    def attach(self, transport: DatagramTransport, config: Any = None) -> ChannelAssociation:
        """Make an association on ``transport``.

        Args:
            transport: not closed by the association.
            config: an :class:`EngineConfig`, or ``None`` for the engine's own.

        Raises:
            ConfigError: ``config`` is something else.
        """
        return NativeSctp(transport, self._config.or_given(config))
