"""What the DTLS associations and TLS connections of one certificate share: suites, options and the
peer check."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Literal

from OpenSSL import SSL, crypto

from dcsdk.errors import FingerprintMismatch, SecurityError
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.protection import MakeProtection, PublicProtection

CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256"
)
"""The suites of the 3GPP profile (TS 33.210 6.2.2): AEAD with ephemeral keys, nothing else."""

SRTP_PROFILES = b"SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"
"""Offered and taken although no media follows: some peers end an association without a profile, and
the others take no notice (RFC 5764 4.1.1)."""

_DTLS1_2 = 0xFEFD
_FAR_PAST = datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC)
_X509_V_OK, _X509_V_ERR_CERT_NOT_YET_VALID, _X509_V_ERR_EE_KEY_TOO_SMALL = 0, 9, 66

Protocol = Literal["DTLS", "TLS"]


class PeerCheck:
    """Knows the peer by the fingerprint of its certificate and by nothing else (RFC 8122 6.2).

    A connection carries one as its application data.

    Args:
        fingerprints: the peer's certificate must match one of them; at least one.

    Attributes:
        is_mismatch: a certificate came that matches none.

    Raises:
        SecurityError: no fingerprint is given (never an unverified peer).
    """

    __slots__ = ("_fingerprints", "_verified", "is_mismatch")

    def __init__(self, fingerprints: Sequence[Fingerprint]) -> None:
        if not fingerprints:
            raise SecurityError("no fingerprint to verify the peer by", source="RFC 8122 5")
        self._fingerprints = tuple(fingerprints)
        self._verified: bytes | None = None
        self.is_mismatch = False

    def accepts(self, der: bytes) -> bool:
        """Tell whether a certificate matches a signalled fingerprint, and remember the answer.

        Args:
            der: the peer's certificate.
        """
        if der == self._verified:
            return True
        if any(fingerprint.matches_certificate(der) for fingerprint in self._fingerprints):
            self._verified = der
            return True
        self.is_mismatch = True
        return False

    def certificate_of(self, connection: SSL.Connection) -> bytes | None:
        """Return the certificate of a finished handshake, in DER; ``None`` if it is not the peer's.

        What was remembered is dropped: renegotiation is off, so nobody asks again.
        """
        certificate = connection.get_peer_certificate()
        der = certificate and crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        if not der or not self.accepts(der):
            return None
        self._verified = None
        return der


class DtlsContext:
    """What all associations of one certificate share: an OpenSSL context is expensive to create.

    Args:
        certificate: ours.
        keylog: gets each line of an NSS key log. Whoever reads them can read the traffic.
        protection: makes what encrypts and decrypts on a connection.
    """

    def __init__(
        self,
        certificate: Certificate,
        *,
        keylog: Callable[[bytes], None] | None = None,
        protection: MakeProtection = PublicProtection,
    ) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(_DTLS1_2)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.set_tlsext_use_srtp(SRTP_PROFILES)
        set_up(context, certificate, keylog)
        self.local_fingerprint = certificate.fingerprint  # not the certificate: see DtlsContexts
        self.ssl = context
        self.protection = protection


def set_up(
    context: SSL.Context, certificate: Certificate, keylog: Callable[[bytes], None] | None
) -> None:
    """Give a context what DTLS and TLS have in common: suites, both certificates, the key log.

    Args:
        context: new. Each connection needs a :class:`PeerCheck` as its application data.
        certificate: ours.
        keylog: gets each line of an NSS key log, or ``None``.
    """
    context.set_options(
        SSL.OP_NO_TICKET
        | SSL.OP_NO_RENEGOTIATION
        | SSL.OP_NO_COMPRESSION
        | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # 20 kB less for each idle association, for 3 % more time on each record sent.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS)
    context.use_certificate(certificate.x509)
    context.use_privatekey(certificate.key)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    # Seen from 1970 every certificate is "not yet valid". We do not care, but it is the one
    # verification error that comes always and whose refusal OpenSSL turns into the alert
    # that RFC 8122 6.2 asks for on a wrong fingerprint: bad_certificate.
    store = context.get_cert_store()
    if store is not None:
        store.set_time(_FAR_PAST)
    if keylog is not None:
        write = keylog
        context.set_keylog_callback(lambda connection, line: write(line))


def _verify(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, is_ok: int
) -> bool:
    """Decide on the peer's certificate in the middle of the handshake."""
    if depth > 0:
        return True  # who issued it does not matter
    if error == _X509_V_ERR_EE_KEY_TOO_SMALL:
        return False
    if error not in (_X509_V_OK, _X509_V_ERR_CERT_NOT_YET_VALID):
        return True  # "self-signed" and its like; the decision comes with the next error
    peer: PeerCheck = connection.get_app_data()
    return peer.accepts(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))


def fingerprint_mismatch() -> FingerprintMismatch:
    """Return the error for a certificate that is not the one signalled."""
    return FingerprintMismatch(
        "the peer's certificate matches no fingerprint of the signalling", source="RFC 8122 5"
    )


def handshake_error(exc: SSL.Error, peer: PeerCheck, protocol: Protocol) -> SecurityError:
    """Say what a handshake failed by.

    Args:
        exc: what OpenSSL raised.
        peer: of the connection.
        protocol: for the message.
    """
    reason = reason_of(exc)
    if peer.is_mismatch:
        return fingerprint_mismatch()
    if isinstance(exc, SSL.ZeroReturnError):
        return SecurityError(f"the peer closed during the {protocol} handshake")
    if "did not return a certificate" in reason:
        return FingerprintMismatch("the peer sent no certificate", source="RFC 8122 6.2")
    if "alert" in reason:
        return SecurityError(f"the peer ended the {protocol} handshake: {reason}")
    return SecurityError(f"the {protocol} handshake failed: {reason}")


def reason_of(exc: SSL.Error) -> str:
    """Put OpenSSL's reasons into words; they hold no secrets."""
    reasons = exc.args[0] if exc.args and isinstance(exc.args[0], list) else []
    return "; ".join(str(item[2]) for item in reasons) or type(exc).__name__
