"""What protects a stream, between whom, and what that claim rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class SecurityScope(Enum):
    """Between whom the media is protected (TS 33.328 4.1, 4.2).

    Source: TS 33.328 4.1.2, 7.2, N.3.
    """

    E2AE = "e2ae"
    """UE to IMS-AGW."""
    E2DCE = "e2dce"
    """UE to the DCMF of the network."""
    E2E = "e2e"
    """UE to the other UE or to a DC application server."""
    NETWORK_DECIDES = "network-decides"
    """e2DCe or e2e: the SDP does not tell the UE which (TS 24.186 9.3.3.2.1)."""
    NONE = "none"
    """Not protected."""


class SignallingSecurity(Enum):
    """How the signalling that carried the fingerprints was protected, hop by hop."""

    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityReport:
    """What is known of one stream's protection, and what that knowledge rests on.

    Attributes:
        scope: between whom the stream is protected.
        backend: name of the security backend, ``"dtls_sctp"`` for data channels.
        suite: the cipher suite as OpenSSL names it, ``""`` before the handshake.
        version: the protocol version, for example ``"DTLSv1.2"``.
        local_fingerprint: our certificate's fingerprint as signalled.
        peer_fingerprint: the certificate the peer proved, as a SHA-256 fingerprint.
        asserted_identity: who the network says the peer is (``P-Asserted-Identity``), or ``None``.
        signalling: how the signalling was protected: fingerprints are worth no more than that
            (RFC 8122 7).
        reason: why ``scope`` is what it is, in one sentence.
    """

    scope: SecurityScope
    backend: str
    suite: str = ""
    version: str = ""
    local_fingerprint: str = ""
    peer_fingerprint: str = ""
    asserted_identity: str | None = None
    signalling: SignallingSecurity = SignallingSecurity.NONE
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return {
            "scope": self.scope.value,
            "backend": self.backend,
            "suite": self.suite,
            "version": self.version,
            "local_fingerprint": self.local_fingerprint,
            "peer_fingerprint": self.peer_fingerprint,
            "asserted_identity": self.asserted_identity,
            "signalling": self.signalling.value,
            "reason": self.reason,
        }


class Secret:
    """A password, key or ticket whose repr and str hide it.

    ``reveal()`` is the only way to the value; equality is by value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret text."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))
