"""DTLS whose plaintext is captured. Who does not capture has plain DTLS, unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dcsdk.interfaces import Address, DatagramPath, DtlsSctpParameters
from dcsdk.io.capture import Capture
from dcsdk.io.engine_config import EngineConfig
from dcsdk.sdp.fingerprint import preferred
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import DtlsAssociation


class CapturedDtls(DtlsAssociation):
    """Writes the SCTP packets inside into a capture.

    Args:
        context: shared by the associations of one certificate.
        capture: not closed here.
        local: address of our end of the path.
        remote: address of the peer's.
        options: of :class:`DtlsAssociation`.
    """

    def __init__(
        self,
        context: DtlsContext,
        *,
        capture: Capture,
        local: Address,
        remote: Address,
        **options: Any,
    ) -> None:
        super().__init__(context, **options)
        self._capture = capture
        self._local, self._remote = local, remote

    def receive(self, batch: Sequence[tuple[bytes, int]], *, now: float) -> list[bytes]:
        """Take datagrams, and write down the packets inside."""
        packets = super().receive(batch, now=now)
        self._capture.sctp(self._remote, self._local, packets)
        return packets

    def send(self, packets: Sequence[bytes], start: int = 0) -> int:
        """Encrypt packets, and write down those that were taken."""
        end = super().send(packets, start)
        self._capture.sctp(self._local, self._remote, packets[start:end])
        return end


def open_dtls(
    context: DtlsContext, path: DatagramPath, parameters: DtlsSctpParameters, config: EngineConfig
) -> DtlsAssociation:
    """Make the DTLS association that was agreed on, captured or plain.

    Args:
        context: of our certificate.
        path: that it will run on.
        parameters: what was agreed.
        config: settings.

    Raises:
        SecurityError: no usable fingerprint.
    """
    options: dict[str, Any] = {
        "role": parameters.dtls_role,
        "fingerprints": preferred(parameters.remote_fingerprints, allow_sha1=True),
        "mtu": config.mtu,
    }
    if config.capture is None:
        return DtlsAssociation(context, **options)
    return CapturedDtls(
        context,
        capture=config.capture,
        local=path.local_address,
        remote=parameters.remote_address,
        **options,
    )
