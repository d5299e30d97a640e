from __future__ import annotations

import hashlib
import re

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from dcsdk.tls.certificate import Certificate


@pytest.mark.clause("TS 33.328 Annex O")
def test_a_certificate_is_p256_signed_with_sha256() -> None:
    certificate = Certificate.generate()
    assert isinstance(certificate.key.curve, ec.SECP256R1)
    assert isinstance(certificate.x509.signature_hash_algorithm, hashes.SHA256)
    assert certificate.x509.public_key() == certificate.key.public_key()


@pytest.mark.clause("RFC 8122 5")
def test_the_fingerprint_is_that_of_the_der() -> None:
    certificate = Certificate.generate()
    assert certificate.fingerprint.hash_function == "sha-256"
    assert certificate.fingerprint.digest == hashlib.sha256(certificate.der).digest()


def test_two_certificates_have_nothing_in_common() -> None:
    one, two = Certificate.generate(), Certificate.generate()
    assert one != two
    assert one.x509.subject != two.x509.subject
    assert one.fingerprint != two.fingerprint


def test_the_name_is_random_and_nothing_else() -> None:
    (attribute,) = Certificate.generate().x509.subject
    assert re.fullmatch(r"[0-9a-f]{1,16}", str(attribute.value))


def test_the_private_key_is_not_shown() -> None:
    certificate = Certificate.generate()
    assert repr(certificate) == f"Certificate({certificate.fingerprint})"
