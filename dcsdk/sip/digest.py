"""Both sides of HTTP Digest as SIP uses it: answering challenges, and checking the answers.

Source: RFC 3261 22, RFC 7616, RFC 8760.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from enum import Enum

from dcsdk.errors import ConfigError, ParseError, RemoteProtocolError, SecurityError
from dcsdk.security import Secret
from dcsdk.sip.digest_values import (
    ALGORITHMS,
    Challenge,
    Credentials,
    check_algorithms,
    digest_response,
    parse_auth_parameters,
    take,
)
from dcsdk.sip.syntax.grammar import quote
from dcsdk.sip.syntax.uri import parse_uri

__all__ = [
    "ALGORITHMS",
    "Challenge",
    "Credentials",
    "DigestClient",
    "DigestOutcome",
    "DigestVerifier",
    "digest_response",
    "select_challenge",
]

MAX_CHALLENGES = 16
"""Challenges of one response that are looked at."""
MAX_NONCE_COUNT = 0xFFFF_FFFF
DEFAULT_NONCE_LIFETIME_S = 600.0
DEFAULT_MAX_NONCES = 65_536
"""Nonces in use whose counts are remembered."""

_TIME_BYTES, _RANDOM_BYTES, _MAC_BYTES = 8, 8, 16


def select_challenge(values: Iterable[str], algorithms: Sequence[str] = ALGORITHMS) -> Challenge:
    """Return the topmost challenge that can be answered; unreadable ones are passed over.

    Raises:
        RemoteProtocolError: there is none.

    Source: RFC 8760 2.4.
    """
    seen: list[str] = []
    for value in list(values)[:MAX_CHALLENGES]:
        try:
            challenge = Challenge.parse(value)
        except ParseError:
            continue  # another scheme (Bearer), or not readable: RFC 8760 2.4 takes the next
        algorithm = (challenge.algorithm or "MD5").upper()
        seen.append(algorithm)
        if algorithm in algorithms and (not challenge.qop or _choose_qop(challenge) is not None):
            return challenge
    raise RemoteProtocolError(
        f"no Digest challenge with one of {', '.join(algorithms)}; came: {', '.join(seen) or '-'}",
        source="RFC 8760 2.4",
    )


def _choose_qop(challenge: Challenge) -> str | None:
    return next((qop for qop in ("auth", "auth-int") if qop in challenge.qop), None)


class DigestClient:
    """Answers challenges with one user's password and counts the uses of a nonce.

    Args:
        username: the private identity.
        password: of that identity.
        algorithms: those allowed; a challenge with another is not answered, which is how a
            downgrade is refused.

    Raises:
        ConfigError: an algorithm this module does not compute.
    """

    def __init__(
        self, username: str, password: Secret, *, algorithms: Sequence[str] = ALGORITHMS
    ) -> None:
        check_algorithms(algorithms)
        self._username = username
        self._password = password
        self._algorithms = tuple(algorithms)
        self._challenge: Challenge | None = None
        self._count = 0
        self._last: Credentials | None = None

    def initial(self, realm: str, uri: str) -> str:
        """Return the empty credentials of IMS's first REGISTER (TS 24.229 5.1.1.2)."""
        return str(
            Credentials(username=self._username, realm=realm, nonce="", uri=uri, response="")
        )

    def authorize(
        self, challenges: Iterable[str], *, method: str, uri: str, cnonce: str, body: bytes = b""
    ) -> str:
        """Answer the topmost supported challenge of a 401 or 407.

        Args:
            challenges: the ``WWW-Authenticate`` (or ``Proxy-Authenticate``) lines, in order.
            method: of the request to be sent.
            uri: its Request-URI as text.
            cnonce: fresh random text.
            body: of the request.

        Returns:
            The ``Authorization`` (or ``Proxy-Authorization``) value.

        Raises:
            RemoteProtocolError: no challenge is supported.
        """
        challenge = select_challenge(challenges, self._algorithms)
        if self._challenge is None or challenge.nonce != self._challenge.nonce:
            self._count = 0
        self._challenge = challenge
        return self._answer(challenge, method, uri, cnonce, body)

    def reauthorize(self, *, method: str, uri: str, cnonce: str, body: bytes = b"") -> str | None:
        """Authorize another request with the last nonce; ``None`` before any challenge."""
        if self._challenge is None:
            return None
        return self._answer(self._challenge, method, uri, cnonce, body)

    def check_authentication_info(self, value: str, *, body: bytes = b"") -> None:
        """Check ``Authentication-Info`` of the answer to the last authorized request.

        A ``nextnonce`` is taken for the next request. Without ``rspauth`` nothing is proved and
        nothing is wrong.

        Raises:
            ParseError: unreadable.
            SecurityError: ``rspauth`` is wrong: the server does not know the password.

        Source: RFC 7616 3.5.
        """
        parameters = parse_auth_parameters(value)
        proof, next_nonce = take(parameters, "rspauth"), take(parameters, "nextnonce")
        if proof is not None and self._last is not None:
            expected = self._last.expected_response(self._secret(), "", body)
            if not hmac.compare_digest(expected.encode(), proof.lower().encode()):
                raise SecurityError("the server's rspauth is wrong", source="RFC 7616 3.5")
        if next_nonce and self._challenge is not None:
            old = self._challenge
            self._challenge = Challenge(
                realm=old.realm,
                nonce=next_nonce,
                algorithm=old.algorithm,
                qop=old.qop,
                opaque=old.opaque,
            )
            self._count = 0

    def _secret(self) -> bytes:
        return self._password.reveal().encode()

    def _answer(self, challenge: Challenge, method: str, uri: str, cnonce: str, body: bytes) -> str:
        qop = _choose_qop(challenge)
        self._count = min(self._count + 1, MAX_NONCE_COUNT)
        unsigned = Credentials(
            username=self._username,
            realm=challenge.realm,
            nonce=challenge.nonce,
            uri=uri,
            response="",
            algorithm=challenge.algorithm,
            cnonce=None if qop is None else cnonce,
            opaque=challenge.opaque,
            qop=qop,
            nonce_count=None if qop is None else self._count,
        )
        response = unsigned.expected_response(self._secret(), method, body)
        self._last = replace(unsigned, response=response)
        return str(self._last)


class DigestOutcome(Enum):
    """What came out of checking credentials."""

    ACCEPTED = "accepted"
    """Right password, fresh nonce."""
    STALE = "stale"
    """Right password, but the nonce is too old, not ours, or used before: challenge again."""
    REJECTED = "rejected"
    """Wrong password, or parameters that were not asked for."""


class DigestVerifier:
    """Issues challenges and checks their answers. A machine without I/O or clock.

    Nonces prove themselves by a MAC over their time, so an unanswered challenge costs no memory;
    only the counts of nonces in use are kept, bounded.

    Args:
        realm: of every challenge.
        entropy: source of random bytes, like ``os.urandom``.
        algorithms: offered, best first; one challenge each (RFC 8760 2.3).
        nonce_lifetime_s: how long a nonce may be used.
        max_nonces: nonces whose counts are remembered; when one is forgotten, all nonces as old
            become stale, so that forgetting never allows a replay.

    Raises:
        ConfigError: an unknown algorithm, or a bound below 1.
    """

    def __init__(
        self,
        realm: str,
        *,
        entropy: Callable[[int], bytes],
        algorithms: Sequence[str] = ("SHA-256", "MD5"),
        nonce_lifetime_s: float = DEFAULT_NONCE_LIFETIME_S,
        max_nonces: int = DEFAULT_MAX_NONCES,
    ) -> None:
        check_algorithms(algorithms)
        if max_nonces < 1 or nonce_lifetime_s <= 0:
            raise ConfigError("max_nonces and nonce_lifetime_s must be positive")
        self._realm = realm
        self._entropy = entropy
        self._key = entropy(32)
        self._algorithms = tuple(algorithms)
        self._lifetime_ms = int(nonce_lifetime_s * 1000)
        self._max_nonces = max_nonces
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._oldest_ms = 0

    def challenges(self, *, now: float, is_stale: bool = False) -> list[str]:
        """Return one header value per algorithm, best first."""
        nonce = self._new_nonce(now)
        return [
            str(
                Challenge(
                    realm=self._realm,
                    nonce=nonce,
                    algorithm=algorithm,
                    qop=("auth",),
                    is_stale=is_stale,
                )
            )
            for algorithm in self._algorithms
        ]

    def verify(
        self,
        credentials: Credentials,
        *,
        method: str,
        password: Secret,
        now: float,
        uri: str | None = None,
        body: bytes = b"",
    ) -> DigestOutcome:
        """Check credentials that name a known user.

        Args:
            credentials: parsed from the request.
            method: of the request.
            password: of the user the credentials name.
            now: seconds, the same clock as for ``challenges``.
            uri: the Request-URI, or ``None`` when a proxy may have changed it (RFC 3261 22.4).
            body: of the request.
        """
        algorithm = (credentials.algorithm or "MD5").upper()
        if (
            credentials.realm != self._realm
            or algorithm not in self._algorithms
            or credentials.qop != "auth"
            or not credentials.nonce_count
            or not credentials.cnonce
            or (uri is not None and not _same_uri(uri, credentials.uri))
        ):
            return DigestOutcome.REJECTED
        expected = credentials.expected_response(password.reveal().encode(), method, body)
        if not hmac.compare_digest(expected.encode(), credentials.response.lower().encode()):
            return DigestOutcome.REJECTED
        return self._use_nonce(credentials.nonce, credentials.nonce_count, now)

    def authentication_info(self, credentials: Credentials, password: Secret) -> str:
        """Return the ``Authentication-Info`` value that proves we know the password too."""
        proof = credentials.expected_response(password.reveal().encode(), "")
        return (
            f'qop={credentials.qop}, rspauth="{proof}", cnonce={quote(credentials.cnonce or "")}, '
            f"nc={credentials.nonce_count or 0:08x}"
        )

    def _new_nonce(self, now: float) -> str:
        data = int(now * 1000).to_bytes(_TIME_BYTES, "big") + self._entropy(_RANDOM_BYTES)
        return base64.b64encode(data + self._mac(data)).decode()

    def _mac(self, data: bytes) -> bytes:
        return hmac.new(self._key, data, hashlib.sha256).digest()[:_MAC_BYTES]

    def _issued_ms(self, nonce: str) -> int | None:
        """Return when we made a nonce, ``None`` when we did not."""
        try:
            data = base64.b64decode(nonce, validate=True)
        except (binascii.Error, ValueError):
            return None
        body = data[:-_MAC_BYTES]
        if not hmac.compare_digest(self._mac(body), data[-_MAC_BYTES:]):
            return None
        return int.from_bytes(body[:_TIME_BYTES], "big")

    def _use_nonce(self, nonce: str, count: int, now: float) -> DigestOutcome:
        issued_ms = self._issued_ms(nonce)
        if issued_ms is None or int(now * 1000) - issued_ms > self._lifetime_ms:
            self._counts.pop(nonce, None)
            return DigestOutcome.STALE
        last = self._counts.get(nonce)
        if (last is None and issued_ms < self._oldest_ms) or (last is not None and count <= last):
            return DigestOutcome.STALE
        self._counts[nonce] = count
        self._counts.move_to_end(nonce)
        if len(self._counts) > self._max_nonces:
            forgotten, _ = self._counts.popitem(last=False)
            self._oldest_ms = max(self._oldest_ms, (self._issued_ms(forgotten) or 0) + 1)
        return DigestOutcome.ACCEPTED


def _same_uri(ours: str, theirs: str) -> bool:
    try:
        return ours == theirs or parse_uri(ours).equivalent(parse_uri(theirs))
    except ParseError:
        return False
