"""What the DTLS associations of one certificate share: suites, options and the peer check."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Protocol

from OpenSSL import SSL, crypto

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


class PeerCheck(Protocol):
    """What a connection carries as its application data."""

    def check_peer(self, der: bytes) -> bool:
        """Tell whether a certificate matches a signalled fingerprint."""


class DtlsContext:
    """What all associations of one certificate share: an OpenSSL context is dear to make.

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
        context.set_options(
            SSL.OP_NO_QUERY_MTU
            | SSL.OP_NO_TICKET
            | SSL.OP_NO_RENEGOTIATION
            | SSL.OP_NO_COMPRESSION
            | SSL.OP_CIPHER_SERVER_PREFERENCE
        )
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        # 20 kB less for each idle association, for 3 % more time on each record sent.
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_cipher_list(CIPHERS)
        context.set_tlsext_use_srtp(SRTP_PROFILES)
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
        self.local_fingerprint = certificate.fingerprint  # not the certificate: see DtlsContexts
        self.ssl = context
        self.protection = protection


def _verify(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, is_ok: int
) -> bool:
    """Decide on the peer's certificate in the middle of the handshake."""
    if depth > 0:
        return True  # who issued it does not matter
    association: PeerCheck = connection.get_app_data()
    if error == _X509_V_ERR_EE_KEY_TOO_SMALL:
        return False
    if error not in (_X509_V_OK, _X509_V_ERR_CERT_NOT_YET_VALID):
        return True  # "self-signed" and its like; the decision comes with the next error
    return association.check_peer(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
