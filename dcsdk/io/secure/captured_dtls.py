"""DTLS whose plaintext is captured. Who does not capture has plain DTLS, unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from dcsdk.interfaces import Address, DtlsRole
from dcsdk.io.capture import Capture
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import DtlsAssociation


class CapturedDtls(DtlsAssociation):
    """Writes the SCTP packets inside into a capture.

    Args:
        context, role, fingerprints, mtu: of :class:`DtlsAssociation`.
        capture: not closed here.
        local: address of our end of the path.
        remote: address of the peer's.
    """

    def __init__(
        self,
        context: DtlsContext,
        *,
        role: DtlsRole,
        fingerprints: Sequence[Fingerprint],
        mtu: int,
        capture: Capture,
        local: Address,
        remote: Address,
    ) -> None:
        super().__init__(context, role=role, fingerprints=fingerprints, mtu=mtu)
        self._capture = capture
        self._local, self._remote = local, remote

    def receive(self, batch: Sequence[tuple[bytes, int]], *, now: float) -> list[bytes]:
        """Take datagrams, and write down the packets inside."""
        packets = super().receive(batch, now=now)
        self._capture.sctp(self._remote, self._local, packets)
        return packets

    def send(self, packets: Sequence[bytes], start: int = 0) -> int:
        """Encrypt packets, and write down those that became records."""
        end = super().send(packets, start)
        if self.is_established:  # else OpenSSL refused them, which ended the association
            self._capture.sctp(self._local, self._remote, packets[start:end])
        return end
