"""HTTP Digest as SIP writes it: challenges, credentials and the formulas.

``digest_response`` takes the password as bytes, so that whatever derives a password (AKA does)
can use the same formulas.

Source: RFC 3261 22, RFC 7616, RFC 8760.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dcsdk.errors import ConfigError, LocalProtocolError, ParseError
from dcsdk.sip.syntax.grammar import QUOTED_TEXT, TOKEN_TEXT, Parameters, is_token, quote, unquote

MAX_AUTH_PARAMETERS = 64
"""Parameters one challenge or one set of credentials may have."""
ALGORITHMS = ("SHA-256", "SHA-512-256", "MD5")
"""What this module computes, in the order of RFC 8760 for want of another preference."""

_HASHLIB_NAMES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_AUTH_PARAMETER = re.compile(
    rf"[ \t]*+(?:({TOKEN_TEXT})[ \t]*+=[ \t]*+({QUOTED_TEXT}|[!#-+\--~]*+))?[ \t]*+(?:,|\Z)"
)
_NONCE_COUNT = re.compile(r"[0-9A-Fa-f]{8}")


def _hash(algorithm: str, data: bytes) -> str:
    name = _HASHLIB_NAMES.get(algorithm.upper())
    if name is None:
        raise LocalProtocolError(f"digest algorithm {algorithm!r}", source="RFC 8760 2.1")
    return hashlib.new(name, data, usedforsecurity=False).hexdigest()


def digest_response(
    *,
    algorithm: str,
    username: str,
    realm: str,
    password: bytes,
    nonce: str,
    method: str,
    uri: str,
    qop: str | None = None,
    nonce_count: int = 0,
    cnonce: str = "",
    body: bytes = b"",
) -> str:
    """Compute the ``response`` value, lower-case hex.

    Args:
        algorithm: one of ``ALGORITHMS``, in any case.
        username: the private identity.
        realm: of the challenge.
        password: raw bytes.
        nonce: of the challenge.
        method: of the request; ``""`` for ``rspauth``.
        uri: as written in the credentials.
        qop: ``"auth"``, ``"auth-int"`` or ``None``.
        nonce_count: 1..2^32-1 with a qop.
        cnonce: with a qop.
        body: of the message, for ``auth-int``.

    Raises:
        LocalProtocolError: an algorithm this module does not compute.

    Source: RFC 7616 3.4.1.
    """
    ha1 = _hash(algorithm, f"{username}:{realm}:".encode() + password)
    a2 = f"{method}:{uri}"
    if qop == "auth-int":
        a2 += ":" + _hash(algorithm, body)
    ha2 = _hash(algorithm, a2.encode())
    middle = nonce if qop is None else f"{nonce}:{nonce_count:08x}:{cnonce}:{qop}"
    return _hash(algorithm, f"{ha1}:{middle}:{ha2}".encode())


def parse_auth_parameters(text: str) -> dict[str, tuple[str, str]]:
    """Read ``name=value, name="value" ...``.

    Returns:
        lower-case name -> (name, value as written).

    Raises:
        ParseError: not that, a name twice, or more than ``MAX_AUTH_PARAMETERS``.
    """
    parameters: dict[str, tuple[str, str]] = {}
    position = 0
    while position < len(text):
        match = _AUTH_PARAMETER.match(text, position)
        if match is None:
            raise ParseError("bad auth-param", source="RFC 3261 25.1")
        position = match.end()
        name, value = match.groups()
        if name is None:
            continue
        if name.lower() in parameters:
            raise ParseError(f"auth-param {name!r} twice", source="RFC 7616 3.3")
        if len(parameters) == MAX_AUTH_PARAMETERS:
            raise ParseError(f"more than {MAX_AUTH_PARAMETERS} auth-params")
        parameters[name.lower()] = (name, value)
    return parameters


def _digest_parameters(text: str) -> dict[str, tuple[str, str]]:
    scheme, _, rest = text.strip(" \t").partition(" ")
    if scheme.lower() != "digest":
        raise ParseError(f"scheme {scheme[:20]!r} is not Digest", source="RFC 3261 22.1")
    return parse_auth_parameters(rest)


def take(parameters: dict[str, tuple[str, str]], name: str) -> str | None:
    found = parameters.pop(name, None)
    return None if found is None else unquote(found[1])


def _need(parameters: dict[str, tuple[str, str]], name: str) -> str:
    value = take(parameters, name)
    if value is None:
        raise ParseError(f"Digest without {name}", source="RFC 7616 3.3")
    return value


def _write(pairs: Iterable[tuple[str, str | None]], others: Parameters) -> str:
    parts = [f"{name}={value}" for name, value in pairs if value is not None]
    parts += [f"{name}={value or ''}" for name, value in others]
    return "Digest " + ", ".join(parts)


def _quoted(text: str | None) -> str | None:
    return None if text is None else quote(text)


def _token(text: str | None) -> str | None:
    if text is not None and not is_token(text):
        raise LocalProtocolError(f"{text!r} is no token", source="RFC 7616 3.3")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One ``WWW-Authenticate`` or ``Proxy-Authenticate`` value of scheme Digest.

    Attributes:
        realm: unquoted.
        nonce: unquoted.
        algorithm: as written; ``None`` stands for MD5.
        qop: the offered ones, empty for the form without qop.
        opaque: to be returned unchanged, or ``None``.
        is_stale: the nonce was too old and nothing else was wrong.
        others: further parameters as written (``domain``, ``ck``, ``ik`` ...).

    Source: RFC 7616 3.3.
    """

    realm: str
    nonce: str
    algorithm: str | None = None
    qop: tuple[str, ...] = ()
    opaque: str | None = None
    is_stale: bool = False
    others: Parameters = ()

    @classmethod
    def parse(cls, value: str) -> Challenge:
        """Read a header value.

        Raises:
            ParseError: another scheme, or no realm or nonce.
        """
        parameters = _digest_parameters(value)
        qop = take(parameters, "qop") or ""
        return cls(
            realm=_need(parameters, "realm"),
            nonce=_need(parameters, "nonce"),
            algorithm=take(parameters, "algorithm") or None,
            qop=tuple(q.strip().lower() for q in qop.split(",") if q.strip()),
            opaque=take(parameters, "opaque"),
            is_stale=(take(parameters, "stale") or "").lower() == "true",
            others=tuple(parameters.values()),
        )

    def __str__(self) -> str:
        return _write(
            [
                ("realm", quote(self.realm)),
                ("nonce", quote(self.nonce)),
                ("algorithm", _token(self.algorithm)),
                ("qop", quote(",".join(self.qop)) if self.qop else None),
                ("opaque", _quoted(self.opaque)),
                ("stale", "true" if self.is_stale else None),
            ],
            self.others,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One ``Authorization`` or ``Proxy-Authorization`` value of scheme Digest.

    Attributes:
        username: the private identity.
        realm: of the challenge.
        nonce: of the challenge; ``""`` in the first REGISTER of IMS.
        uri: the digest-uri, as written.
        response: hex, ``""`` in the first REGISTER of IMS.
        algorithm: as written; ``None`` stands for MD5.
        cnonce: with a qop.
        opaque: of the challenge.
        qop: the one used, or ``None``.
        nonce_count: with a qop, 0..2^32-1.
        others: further parameters as written (``auts``, ``integrity-protected`` ...).

    Source: RFC 7616 3.4.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str | None = None
    cnonce: str | None = None
    opaque: str | None = None
    qop: str | None = None
    nonce_count: int | None = None
    others: Parameters = ()

    @classmethod
    def parse(cls, value: str) -> Credentials:
        """Read a header value.

        Raises:
            ParseError: another scheme, a parameter missing, or ``nc`` not eight hex digits.
        """
        parameters = _digest_parameters(value)
        count = take(parameters, "nc")
        if count is not None and _NONCE_COUNT.fullmatch(count) is None:
            raise ParseError("nc is not eight hex digits", source="RFC 7616 3.4")
        qop = take(parameters, "qop")
        return cls(
            username=_need(parameters, "username"),
            realm=_need(parameters, "realm"),
            nonce=_need(parameters, "nonce"),
            uri=_need(parameters, "uri"),
            response=_need(parameters, "response"),
            algorithm=take(parameters, "algorithm") or None,
            cnonce=take(parameters, "cnonce"),
            opaque=take(parameters, "opaque"),
            qop=qop.lower() if qop else None,
            nonce_count=None if count is None else int(count, 16),
            others=tuple(parameters.values()),
        )

    def __str__(self) -> str:
        return _write(
            [
                ("username", quote(self.username)),
                ("realm", quote(self.realm)),
                ("nonce", quote(self.nonce)),
                ("uri", quote(self.uri)),
                ("response", quote(self.response)),
                ("algorithm", _token(self.algorithm)),
                ("cnonce", _quoted(self.cnonce)),
                ("opaque", _quoted(self.opaque)),
                ("qop", _token(self.qop)),
                ("nc", None if self.nonce_count is None else f"{self.nonce_count:08x}"),
            ],
            self.others,
        )

    def expected_response(self, password: bytes, method: str, body: bytes = b"") -> str:
        """Compute what ``response`` must be.

        Raises:
            LocalProtocolError: an algorithm this module does not compute.
        """
        return digest_response(
            algorithm=self.algorithm or "MD5",
            username=self.username,
            realm=self.realm,
            password=password,
            nonce=self.nonce,
            method=method,
            uri=self.uri,
            qop=self.qop,
            nonce_count=self.nonce_count or 0,
            cnonce=self.cnonce or "",
            body=body,
        )


def check_algorithms(algorithms: Sequence[str]) -> None:
    """Refuse algorithms this module does not compute.

    Raises:
        ConfigError: one of them is unknown, or there is none.
    """
    unknown = [a for a in algorithms if a not in ALGORITHMS]
    if unknown or not algorithms:
        raise ConfigError(f"digest algorithms {unknown or 'empty'}; known: {', '.join(ALGORITHMS)}")
