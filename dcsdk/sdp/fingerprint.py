"""``a=fingerprint``: the hash of a certificate, carried by signalling (RFC 8122)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dcsdk.errors import ParseError

_HASHLIB_NAMES = {
    "sha-1": "sha1",
    "sha-224": "sha224",
    "sha-256": "sha256",
    "sha-384": "sha384",
    "sha-512": "sha512",
}

HASH_PREFERENCE = ("sha-512", "sha-384", "sha-256", "sha-224")
"""The hash functions we trust, the strongest first. RFC 8122 5 wants a set of one function to be
chosen among those offered; md5 and md2 MUST NOT be used (RFC 8122 5)."""

MAX_FINGERPRINTS = 16
"""Lines read for one media description; certificates times hash functions stay far below."""

_MAX_DIGEST_OCTETS = 128
_SYNTAX = re.compile(
    r"([!#$%&'*+.^_`{|}~0-9A-Za-z-]{1,32})[ ]+([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """One ``a=fingerprint`` line.

    Attributes:
        hash_function: as RFC 8122 names it, in lower case: ``"sha-256"``.
        digest: the hash of the DER certificate.

    Source: RFC 8122 5.
    """

    hash_function: str
    digest: bytes

    @classmethod
    def parse(cls, value: str) -> Fingerprint:
        """Read the text after ``a=fingerprint:``; both parts in either case.

        An unknown hash function is no error: the line is kept and never chosen.

        Args:
            value: for example ``"sha-256 43:E2:BE:..."``.

        Raises:
            ParseError: not a hash name and hex pairs, or a length the hash does not have.
        """
        match = _SYNTAX.fullmatch(value.strip(" "))
        if match is None:
            raise ParseError(
                "expected a hash name and pairs of hex digits in a=fingerprint", source="RFC 8122 5"
            )
        hash_function = match[1].lower()
        digest = bytes.fromhex(match[2].replace(":", ""))
        if len(digest) > _MAX_DIGEST_OCTETS:
            raise ParseError("the a=fingerprint value is too long", source="RFC 8122 5")
        hash_name = _HASHLIB_NAMES.get(hash_function)
        if hash_name is not None and len(digest) != hashlib.new(hash_name).digest_size:
            raise ParseError(
                f"{len(digest)} octets are no {hash_function} value in a=fingerprint",
                source="RFC 8122 5",
            )
        return cls(hash_function=hash_function, digest=digest)

    @classmethod
    def of_certificate(cls, der: bytes, hash_function: str = "sha-256") -> Fingerprint:
        """Compute the fingerprint of a certificate.

        Args:
            der: the certificate in DER.
            hash_function: one of ``HASH_PREFERENCE``, or ``"sha-1"``.

        Raises:
            ValueError: a hash function we do not know.
        """
        hash_name = _HASHLIB_NAMES.get(hash_function)
        if hash_name is None:
            raise ValueError(f"unknown hash function {hash_function!r}")
        return cls(hash_function=hash_function, digest=hashlib.new(hash_name, der).digest())

    @property
    def is_known(self) -> bool:
        """We can compute this hash (which does not mean we trust it)."""
        return self.hash_function in _HASHLIB_NAMES

    def matches_certificate(self, der: bytes) -> bool:
        """Tell whether the certificate has this fingerprint; an unknown hash never matches.

        Args:
            der: the certificate in DER.
        """
        hash_name = _HASHLIB_NAMES.get(self.hash_function)
        if hash_name is None:
            return False
        return hmac.compare_digest(hashlib.new(hash_name, der).digest(), self.digest)

    def __str__(self) -> str:
        return f"{self.hash_function} {self.digest.hex(':').upper()}"


def preferred(
    fingerprints: Iterable[Fingerprint],
    allow_sha1: bool = False,
    preference: Sequence[str] = HASH_PREFERENCE,
) -> tuple[Fingerprint, ...]:
    """Choose the set the peer's certificate is checked against.

    All values of the first hash function in ``preference`` that is present; the certificate must
    match one of them. A weaker hash beside a stronger one is not looked at.

    Args:
        fingerprints: all lines of the peer.
        allow_sha1: take SHA-1 when nothing better came.
        preference: hash functions trusted, the strongest first.

    Returns:
        The set in the order of the lines, empty when none is usable.

    Source: RFC 8122 5.
    """
    lines = tuple(fingerprints)
    for hash_function in (*preference, *(("sha-1",) if allow_sha1 else ())):
        chosen = tuple(line for line in lines if line.hash_function == hash_function)
        if chosen and chosen[0].is_known:
            return chosen
    return ()
