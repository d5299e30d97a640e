"""Fingerprints: reading, choosing, matching."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsdk.errors import ParseError
from dcsdk.sdp.fingerprint import HASH_PREFERENCE, Fingerprint, preferred
from tests.sdp.vectors import FP_A, FP_B, FP_SHA1

DER = b"not really a certificate"


def test_a_fingerprint_is_written_as_it_came() -> None:
    assert str(Fingerprint.parse(FP_A)) == FP_A


@pytest.mark.clause("RFC 8122 5")
def test_either_case_is_read_and_hex_is_written_upper_case() -> None:
    shouted = Fingerprint.parse(FP_A.replace("sha-256", "SHA-256").swapcase().replace("SHA", "sha"))
    assert shouted == Fingerprint.parse(FP_A)
    assert str(Fingerprint.parse(FP_A.lower())) == FP_A


@pytest.mark.clause("TS 26.114 A.17.1")
def test_the_upper_case_sha1_of_the_official_example_is_read() -> None:
    fingerprint = Fingerprint.parse(FP_SHA1)
    assert fingerprint.hash_function == "sha-1"
    assert len(fingerprint.digest) == 20


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256 ",
        "sha-256 4",
        "sha-256 43:E2",
        "sha-256 " + ":".join(["43"] * 33),
        FP_A + ":",
        FP_A.replace(":", "-"),
        FP_A + "\n",
        "sha 256 43",
        "unknown " + ":".join(["00"] * 200),
        FP_A.replace("43", "G3"),
    ],
)
def test_what_is_no_fingerprint_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError) as caught:
        Fingerprint.parse(value)
    assert caught.value.source == "RFC 8122 5"


@pytest.mark.parametrize("hash_function", [*HASH_PREFERENCE, "sha-1"])
def test_a_fingerprint_matches_its_certificate_and_no_other(hash_function: str) -> None:
    fingerprint = Fingerprint.of_certificate(DER, hash_function)
    assert fingerprint.matches_certificate(DER)
    assert not fingerprint.matches_certificate(DER + b"x")


def test_sha256_is_the_default_of_our_own() -> None:
    assert Fingerprint.of_certificate(DER).digest == hashlib.sha256(DER).digest()


def test_an_unknown_hash_is_read_but_matches_nothing() -> None:
    fingerprint = Fingerprint.parse("sha3-256 " + ":".join(["00"] * 32))
    assert not fingerprint.is_known
    assert not fingerprint.matches_certificate(DER)
    with pytest.raises(ValueError, match="unknown hash"):
        Fingerprint.of_certificate(DER, "md5")


@pytest.mark.clause("RFC 8122 5")
def test_the_set_of_the_strongest_known_hash_is_chosen() -> None:
    a, b = Fingerprint.parse(FP_A), Fingerprint.parse(FP_B)
    sha1 = Fingerprint.parse(FP_SHA1)
    sha512 = Fingerprint.of_certificate(DER, "sha-512")
    unknown = Fingerprint(hash_function="sha3-512", digest=b"1")
    assert preferred([sha1, a, unknown, b]) == (a, b)
    assert preferred([a, sha512, b], allow_sha1=True) == (sha512,)
    assert preferred([a, sha512], preference=("sha-256",)) == (a,)


@pytest.mark.clause("E7", "RFC 8122 5")
def test_sha1_md5_and_unknown_hashes_are_not_chosen_unless_sha1_is_allowed() -> None:
    sha1 = Fingerprint.parse(FP_SHA1)
    md5 = Fingerprint(hash_function="md5", digest=b"0" * 16)
    assert preferred([sha1, md5]) == ()
    assert preferred([sha1, md5], allow_sha1=True) == (sha1,)
    assert preferred([md5], preference=("md5",)) == ()
    assert preferred([]) == ()


@given(digest=st.binary(min_size=32, max_size=32))
def test_every_sha256_value_round_trips(digest: bytes) -> None:
    fingerprint = Fingerprint(hash_function="sha-256", digest=digest)
    assert Fingerprint.parse(str(fingerprint)) == fingerprint


@given(value=st.text(max_size=200))
def test_any_text_is_a_fingerprint_or_a_parse_error(value: str) -> None:
    try:
        fingerprint = Fingerprint.parse(value)
    except ParseError:
        return
    assert Fingerprint.parse(str(fingerprint)) == fingerprint
