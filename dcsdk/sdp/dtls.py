"""What one side says of its end of a DTLS association: setup, fingerprints, tls-id.

Source: RFC 8842 5, RFC 8122 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dcsdk.errors import FingerprintMismatch, ParseError, RemoteProtocolError, SecurityError
from dcsdk.sdp.attributes import Setup
from dcsdk.sdp.broken import broken, remote_error
from dcsdk.sdp.fingerprint import HASH_PREFERENCE, Fingerprint, preferred
from dcsdk.sdp.media import MediaDescription
from dcsdk.sdp.session import SessionDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintPolicy:
    """Which fingerprints and tls-ids we take from a peer, where the standards leave room.

    Attributes:
        allow_sha1: take SHA-1 fingerprints when nothing better came.
        accept_missing_tls_id: take a line without ``a=tls-id``, as WebRTC peers write it.
        hash_preference: hash functions trusted, the strongest first.
    """

    allow_sha1: bool = False
    accept_missing_tls_id: bool = False
    hash_preference: Sequence[str] = HASH_PREFERENCE


DEFAULT_FINGERPRINTS = FingerprintPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class DtlsDescription:
    """One side of a DTLS association, as signalled.

    Attributes:
        setup: as the line says.
        tls_id: or ``None`` where the policy allows that.
        fingerprints: at least one; the peer's certificate must match one of them.
        all_fingerprints: every line's value: the set tells one association from another.
    """

    setup: Setup
    tls_id: str | None
    fingerprints: tuple[Fingerprint, ...]
    all_fingerprints: frozenset[Fingerprint]

    def trusted(self, pinned: Fingerprint | None) -> tuple[Fingerprint, ...]:
        """Return the fingerprints of which the peer's certificate must have one.

        Args:
            pinned: known beforehand: then no other will do.

        Raises:
            FingerprintMismatch: the pinned one is not among those of the line.
        """
        if pinned is None:
            return self.fingerprints
        if pinned not in self.all_fingerprints:
            raise FingerprintMismatch("signalling brought another fingerprint than the pinned one")
        return (pinned,)


def read_dtls(
    media: MediaDescription,
    session: SessionDescription | None,
    policy: FingerprintPolicy = DEFAULT_FINGERPRINTS,
    *,
    offer: MediaDescription | None = None,
) -> DtlsDescription:
    """Read a line of an offer (``offer`` is ``None``) or the answer to ``offer``.

    Raises:
        RemoteProtocolError: it breaks a rule.
        SecurityError: it has no fingerprint that we trust (E7).
    """
    try:
        tls_id = media.tls_id
        if tls_id is None and not policy.accept_missing_tls_id:
            raise broken("the line has no a=tls-id", "RFC 8841 10.1")
        if offer is not None and offer.tls_id is None and tls_id is not None:
            raise RemoteProtocolError(
                "the answer has a tls-id and the offer had none", source="RFC 8842 5.3"
            )
        everything = media.fingerprints(session)
        return DtlsDescription(
            setup=_read_setup(media, session, is_answer=offer is not None),
            tls_id=tls_id,
            fingerprints=_choose_fingerprints(everything, policy),
            all_fingerprints=frozenset(everything),
        )
    except ParseError as exc:
        raise remote_error(exc) from exc


def _read_setup(
    media: MediaDescription, session: SessionDescription | None, *, is_answer: bool
) -> Setup:
    setup = media.effective_setup(session)
    if setup is None:
        raise broken("the line has no a=setup", "RFC 8842 5.1")
    if setup is Setup.HOLDCONN:
        raise broken("a=setup:holdconn is forbidden with DTLS", "RFC 8842 5.1")
    if is_answer and setup is Setup.ACTPASS:
        raise broken("an answer says a=setup:actpass", "RFC 8842 5.3")
    return setup


def _choose_fingerprints(
    fingerprints: tuple[Fingerprint, ...], policy: FingerprintPolicy
) -> tuple[Fingerprint, ...]:
    if not fingerprints:
        raise SecurityError("the line has no a=fingerprint", source="RFC 8841 10.1")
    chosen = preferred(fingerprints, policy.allow_sha1, policy.hash_preference)
    if not chosen:
        names = ", ".join(sorted({entry.hash_function for entry in fingerprints}))
        raise SecurityError(
            f"no fingerprint has a hash function we trust, only {names}", source="RFC 8122 5"
        )
    return chosen
