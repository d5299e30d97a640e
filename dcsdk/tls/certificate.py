"""The self-signed certificate by which the media plane knows us."""

from __future__ import annotations

import datetime
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dcsdk.sdp.fingerprint import Fingerprint

# Peers look at the fingerprint only (RFC 8122 6.2), so the validity says nothing about us either:
# it is the same for everybody. The end is RFC 5280 4.1.2.5's "no well-defined expiration date".
_NOT_BEFORE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


class Certificate:
    """A certificate with its private key; equal only to itself, so it can key caches.

    Args:
        key: the private key.
        x509_certificate: the certificate of that key.

    Source: TS 33.328 Annex O (P-256, SHA-256), RFC 8122 5.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, x509_certificate: x509.Certificate) -> None:
        self.key = key
        self.x509 = x509_certificate

    @classmethod
    def generate(cls) -> Certificate:
        """Make a new P-256 key and a self-signed certificate with nothing identifying inside."""
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{serial:x}"[:16])])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(_NOT_BEFORE)
            .not_valid_after(_NOT_AFTER)
        )
        return cls(key, builder.sign(key, hashes.SHA256()))

    @cached_property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.x509.public_bytes(serialization.Encoding.DER)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The SHA-256 fingerprint, as ``a=fingerprint`` carries it.

        One line is enough: the certificate is signed with SHA-256 too (RFC 8122 5.1).
        """
        return Fingerprint.of_certificate(self.der)

    def __repr__(self) -> str:
        return f"Certificate({self.fingerprint})"
