"""One OpenSSL context for each certificate: they are expensive to create."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.protection import PublicProtection
from dcsdk.tls.raw_openssl import RawProtection


class DtlsContexts:
    """Contexts for as long as their certificates live; one for each kind of settings at a time."""

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[Certificate, tuple[object, DtlsContext]] = WeakKeyDictionary()

    def get(self, certificate: Certificate, settings: EngineConfig) -> DtlsContext:
        """Return the context of a certificate.

        Args:
            certificate: ours.
            settings: of transports.
        """
        wanted = settings.keylog, settings.capture, settings.is_raw_openssl
        known, context = self._made.get(certificate, (None, None))
        if context is None or known != wanted:
            protection = RawProtection if settings.is_raw_openssl else PublicProtection
            context = DtlsContext(certificate, keylog=settings.secrets_log, protection=protection)
            self._made[certificate] = (wanted, context)
        return context
