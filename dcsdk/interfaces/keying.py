"""Keying parameters: all it takes to open a secure transport on a path.

A closed family of serialisable values: every field is text, a number or a tuple of them. Session,
gateway and the emulated reference points between them carry exactly these.
"""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.sdp.association import DtlsRole
from dcsdk.sdp.connection import TcpRole
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.security import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsParameters:
    """One DTLS association, whatever runs on it.

    Attributes:
        dtls_role: ``"client"`` when our side is ``active`` (RFC 8842 5.2).
        remote_fingerprints: at least one; the peer's certificate must match one (RFC 8122 5).
        local_tls_id: ours, or ``None`` when the offer had none.
        remote_tls_id: the peer's, or ``None``.
        srtp_profiles: names for ``use_srtp`` in order of preference (RFC 5764 4.1.2), ``()`` for
            an association that will never carry SRTP.

    Source: RFC 8842, TS 33.328 Annexes M and O.
    """

    dtls_role: DtlsRole
    remote_fingerprints: tuple[Fingerprint, ...]
    local_tls_id: str | None
    remote_tls_id: str | None
    srtp_profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsParameters:
    """TLS with certificates on a TCP connection.

    Attributes:
        tls_role: MSRP's client is the TCP opener; BFCP's server is the answerer (RFC 8856 8).
        tcp_role: who opens the connection.
        remote_fingerprints: at least one; the peer's certificate must match one (RFC 8122 5).

    Source: RFC 8122, TS 33.328 7.2.1.
    """

    tls_role: DtlsRole
    tcp_role: TcpRole
    remote_fingerprints: tuple[Fingerprint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PskParameters:
    """TLS with a pre-shared key on a TCP connection (RFC 4279).

    Attributes:
        tls_role: as in :class:`TlsParameters`.
        tcp_role: who opens the connection.
        identity: of the key.
        key: hexadecimal.
    """

    tls_role: DtlsRole
    tcp_role: TcpRole
    identity: str
    key: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class SdesParameters:
    """SRTP keyed by ``a=crypto``, one key per direction (RFC 4568).

    Attributes:
        suite: the crypto-suite.
        send_key: master key and salt of what we send, base64 as in ``inline:``.
        receive_key: likewise of what the peer sends.
        mki: hexadecimal, ``""`` for none.
    """

    suite: str
    send_key: Secret
    receive_key: Secret
    mki: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainParameters:
    """No keys at all.

    Attributes:
        tcp_role: who opens the connection, ``None`` on a datagram path.
    """

    tcp_role: TcpRole | None = None


KeyingParameters = DtlsParameters | TlsParameters | PskParameters | SdesParameters | PlainParameters
