"""DTLS whose plaintext is captured. Without a capture, DTLS is used as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dcsdk.interfaces.paths import Address
from dcsdk.io.capture import Capture
from dcsdk.sdp.association import DtlsRole
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import DtlsAssociation


class PathEnds(Protocol):
    """Between whom a path runs."""

    @property
    def local_address(self) -> Address:
        """Where we receive."""

    @property
    def remote_address(self) -> Address | None:
        """Where datagrams go, once that is known."""


class CapturedDtls(DtlsAssociation):
    """Writes the SCTP packets inside into a capture.

    Args:
        context, role, fingerprints, mtu: of :class:`DtlsAssociation`.
        capture: not closed here.
        path: whose ends the packets are written down with.
    """

    def __init__(
        self,
        context: DtlsContext,
        *,
        role: DtlsRole,
        fingerprints: Sequence[Fingerprint],
        mtu: int,
        capture: Capture,
        path: PathEnds,
    ) -> None:
        super().__init__(context, role=role, fingerprints=fingerprints, mtu=mtu)
        self._capture = capture
        self._path = path

    def receive(self, batch: Sequence[tuple[bytes, int]], *, now: float) -> list[bytes]:
        """Take datagrams, and write down the packets inside."""
        packets = super().receive(batch, now=now)
        local, remote = self._ends()
        self._capture.sctp(remote, local, packets)
        return packets

    def send(self, packets: Sequence[bytes], start: int = 0) -> int:
        """Encrypt packets, and write down those that became records."""
        end = super().send(packets, start)
        if self.is_established:  # else OpenSSL refused them, which ended the association
            local, remote = self._ends()
            self._capture.sctp(local, remote, packets[start:end])
        return end

    def _ends(self) -> tuple[Address, Address]:
        local = self._path.local_address
        return local, self._path.remote_address or local
