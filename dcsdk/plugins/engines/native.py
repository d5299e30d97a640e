"""The native association engine: our SCTP over OpenSSL's DTLS on a datagram path."""

from __future__ import annotations

from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from dcsdk.errors import ConfigError
from dcsdk.interfaces import Association, AssociationEngine, DatagramPath, EngineFlags
from dcsdk.io.net.udp import UdpPath
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native_association import NativeAssociation
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.protection import PublicProtection
from dcsdk.tls.raw_openssl import RawProtection


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
        # One OpenSSL context for each certificate, for as long as the certificate lives.
        self._contexts: WeakKeyDictionary[Certificate, tuple[object, DtlsContext]] = (
            WeakKeyDictionary()
        )

    async def bind_path(self, host: str, port: int = 0) -> DatagramPath:
        """Bind a UDP socket.

        Args:
            host: a local IPv4 or IPv6 address.
            port: 0 for any free one.

        Raises:
            ConfigError: ``host`` is no IP address.
            TransportError: the address cannot be bound.
        """
        config = self._config
        return UdpPath.bind(
            host, port, use_gso=config.use_gso, use_gro=config.use_gro, capture=config.capture
        )

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
        settings = self._config if config is None else config
        if not isinstance(settings, EngineConfig):
            raise ConfigError(f"expected an EngineConfig, not {type(settings).__name__}")
        wanted = settings.keylog, settings.capture, settings.is_raw_openssl
        known, context = self._contexts.get(certificate, (None, None))
        if context is None or known != wanted:
            protection = RawProtection if settings.is_raw_openssl else PublicProtection
            context = DtlsContext(certificate, keylog=settings.secrets_log, protection=protection)
            self._contexts[certificate] = (wanted, context)
        return NativeAssociation(path, certificate, context, settings)
