"""The ``aiortc`` association engine: aiortc's DTLS and SCTP on our datagram paths.

It exists to compare: the same program, the same path, another transport. It is offered only where
aiortc is installed (extra ``aiortc``) and imports it when the first association is made.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, ClassVar

from dcsdk.errors import ConfigError
from dcsdk.interfaces import Association, AssociationEngine, DatagramPath, EngineFlags
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.tls.certificate import Certificate


class AiortcEngine(AssociationEngine):
    """Makes associations out of aiortc's parts.

    Of the SCTP settings it obeys the receive window and the number of retransmissions; the rest
    is as aiortc has it. An association is closed with ABORT, for aiortc cannot begin a SHUTDOWN.

    Args:
        config: for paths, and for associations that are created without one of their own.
    """

    name: ClassVar[str] = "aiortc"
    flags: ClassVar[EngineFlags] = EngineFlags(
        owns_dtls=True, partial_reliability=True, interleaving=False, dcep=False
    )

    def __init__(self, config: EngineConfig | None = None) -> None:
        self._config = config or EngineConfig()

    @classmethod
    def is_available(cls) -> bool:
        """Tell whether aiortc is installed, without importing it."""
        return find_spec("aiortc") is not None

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
            ConfigError: ``config`` is something else, or aiortc is not installed.
        """
        settings = self._config.or_given(config)
        try:
            from dcsdk.plugins.engines.aiortc_association import AiortcAssociation
        except ImportError as exc:
            raise ConfigError(
                f"the aiortc engine needs `pip install dcsdk[aiortc]`: {exc}"
            ) from exc
        return AiortcAssociation(path, certificate, settings)
