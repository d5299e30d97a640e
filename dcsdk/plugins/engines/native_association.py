"""One association of the native engine on a path of its own: DTLS and SCTP together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dcsdk.datachannel.channel import DataChannel
from dcsdk.errors import DcsdkError, LocalProtocolError
from dcsdk.interfaces.association import Association, DtlsSctpParameters
from dcsdk.interfaces.channel import ChannelParameters
from dcsdk.interfaces.paths import DatagramPath, Paths
from dcsdk.interfaces.stats import AssociationStats
from dcsdk.io.secure.dtls_transport import DtlsTransport
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native_sctp import NativeSctp
from dcsdk.security import SecurityReport
from dcsdk.tls.context import DtlsContext

BACKEND = "dtls_sctp"


class NativeAssociation(Association):
    """One DTLS/SCTP association. Made by ``NativeEngine.create``.

    Args:
        path: owned from now on.
        context: of our certificate.
        config: settings.
    """

    def __init__(self, path: DatagramPath, context: DtlsContext, config: EngineConfig) -> None:
        self._path = path
        self._parameters: DtlsSctpParameters | None = None
        self._transport = DtlsTransport(path, context, config, backend=BACKEND)
        self._native = NativeSctp(self._transport, config, on_ended=self._transport.close)

    @property
    def report(self) -> SecurityReport:
        """What protects the association: suite and peer once verified, scope by its owner."""
        return self._transport.report

    @report.setter
    def report(self, report: SecurityReport) -> None:
        self._transport.report = report

    def start(self, parameters: DtlsSctpParameters) -> None:
        """Begin the handshake, taking datagrams that came before.

        Raises:
            LocalProtocolError: started before.
            SecurityError: no usable fingerprint.
            ConfigError: the path cannot have the remote address.
            TransportError: closed, or no route.
        """
        self._native.check_startable()
        self._parameters = parameters
        try:
            self._transport.prepare(parameters.dtls)
            self._native.start(parameters.sctp)
            self._path.set_remote(parameters.remote_address)
            self._transport.start()
        except DcsdkError as exc:
            self._native.end(exc)
            raise

    def restart(self, path: DatagramPath, parameters: DtlsSctpParameters) -> None:
        """Begin a new DTLS association on ``path`` and move SCTP onto it when it is verified.

        Args:
            path: owned from now on.
            parameters: what was agreed anew.

        Raises:
            LocalProtocolError: not established, or the SCTP ports changed.
            SecurityError: no usable fingerprint.
            ConfigError, TransportError: the path cannot lead there; the association is over.

        Source: RFC 8842 3.1, RFC 8841 9.1.
        """
        old = self._parameters
        try:
            self._native.check_up()
            if old is not None and parameters.sctp_ports != old.sctp_ports:
                raise LocalProtocolError(
                    "other SCTP ports mean another SCTP association", source="RFC 8841 9.3"
                )
            self._transport.renew(parameters.dtls, Paths(rtp=path))
        except DcsdkError:
            path.close()
            raise
        self._parameters, self._path = parameters, path
        try:
            path.set_remote(parameters.remote_address)
            self._transport.start()
        except DcsdkError as exc:
            self._native.end(exc)
            raise

    async def wait_established(self, timeout_s: float) -> None:
        """Wait until DTLS is verified and SCTP is up.

        Raises:
            FingerprintMismatch: the peer's certificate matches none of the fingerprints.
            SecurityError: the DTLS handshake failed.
            PeerUnreachable: the peer stopped answering.
            ChannelClosed: closed meanwhile.
            OperationTimeout: not established in ``timeout_s``; the association goes on trying.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        await self._native.wait_established(timeout_s)
        await self._transport.wait_established(max(0.0, until - loop.time()))

    def open_channel(self, parameters: ChannelParameters) -> DataChannel:
        """Make a channel; legal before the association is established, its sends wait then.

        Raises:
            LocalProtocolError: the stream id is taken, or parameters exclude each other.
            TransportError: the association is over.
        """
        return self._native.open_channel(parameters)

    def incoming_channels(self) -> AsyncIterator[DataChannel]:
        """Give the channels that the peer opens by DCEP, each once, until the association ends."""
        return self._native.incoming_channels()

    async def wait_closed(self) -> Exception | None:
        """Wait for the end of the association.

        Returns:
            ``None`` when it was closed in order by SCTP's SHUTDOWN, or here by ``aclose``.
            Otherwise what ended it; data that was under way then, either way, may be lost.
        """
        return await self._native.wait_closed()

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what is queued, shut SCTP and DTLS down and close the path.

        Args:
            timeout_s: bound, seconds; what the peer has not confirmed then is given up, which a
                warning is logged of. ``DataChannel.aclose`` raises where that must be known.
        """
        await self._native.aclose(timeout_s)

    def stats(self) -> AssociationStats:
        """What the association, its path and its channels did so far."""
        return self._native.stats()

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        """Derive keys from the DTLS association (RFC 5705).

        Raises:
            LocalProtocolError: DTLS is not established.
        """
        return self._transport.export_keying_material(label, length)
