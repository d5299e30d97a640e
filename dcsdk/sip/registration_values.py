"""What a registration is made of, and what it reports.

Source: TS 24.229 5.1.1, RFC 3261 10.2, RFC 3329.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from dcsdk.errors import DcsdkError, RegistrationFailed
from dcsdk.ims.feature_tags import FeatureCaps
from dcsdk.ims.mediasec import SecurityMechanism
from dcsdk.security import Secret
from dcsdk.sip.digest import ALGORITHMS
from dcsdk.sip.syntax.message import Response

MAX_EXPIRES_S = 2**32 - 1
RETRY_BASE_S = 30.0
"""RFC 5626 4.5 base-time when all flows failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSettings:
    """What a registration is made of.

    Attributes:
        public_identity: IMPU, a SIP URI; goes into From and To.
        private_identity: IMPI, the Digest user name.
        home_domain: Request-URI and first realm.
        password: of SIP Digest.
        contact: URI at which we are reached.
        contact_features: feature parameters of Contact, name to value or ``None``.
        security_client: entries of ``Security-Client``; ``Require: sec-agree`` goes with them
            only when one names a signalling mechanism (profile A).
        expires_s: lifetime to ask for, 1..2^32-1.
        access_network_info: ``P-Access-Network-Info``, to be given only when the signalling is
            protected.
        user_agent: ``User-Agent``.
        algorithms: Digest algorithms allowed; others are refused as a downgrade.
        retry_base_s: wait after a failed refresh, doubled by each further failure.
    """

    public_identity: str
    private_identity: str
    home_domain: str
    password: Secret
    contact: str
    contact_features: Mapping[str, str | None] = field(default_factory=dict)
    security_client: tuple[SecurityMechanism, ...] = ()
    expires_s: int = 600_000
    access_network_info: str | None = None
    user_agent: str = ""
    algorithms: tuple[str, ...] = ALGORITHMS
    retry_base_s: float = RETRY_BASE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A 200 to REGISTER.

    Attributes:
        is_refresh: not the first one.
        expires_s: lifetime of our contact.
        security_server: the network's entries, of the signalling and the media plane.
        feature_caps: of this 200.
        associated_uris: ``P-Associated-URI``, the first is the default public identity.
        service_route: of this 200; replaces what was there before, also by nothing.
    """

    is_refresh: bool
    expires_s: int
    security_server: tuple[SecurityMechanism, ...]
    feature_caps: FeatureCaps
    associated_uris: tuple[str, ...]
    service_route: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The initial registration failed: ``RegistrationFailed``, or what the transport said."""

    error: DcsdkError


@dataclass(frozen=True, slots=True)
class Lost:
    """We were registered and no longer are: refresh refused, or not renewed before expiry."""

    error: DcsdkError


@dataclass(frozen=True, slots=True)
class Deregistered:
    """The binding is removed, or (``error``) left to expire."""

    error: DcsdkError | None


RegistrationEvent: TypeAlias = Granted | Refused | Lost | Deregistered


def refresh_after_s(expires_s: int) -> float:
    """When to refresh: 600 s before expiry above 1200 s, else at half (TS 24.229 5.1.1.4)."""
    return expires_s - 600 if expires_s > 1200 else expires_s / 2


def retry_after_s(response: Response) -> float | None:
    """The seconds of ``Retry-After``, or ``None`` (RFC 3261 20.33)."""
    text = response.headers.get("Retry-After")
    number = delta_seconds(text.partition("(")[0].partition(";")[0].strip()) if text else None
    return None if number is None else float(number)


def registration_failure(response: Response) -> RegistrationFailed:
    """The error that a refusal is, with its status and Retry-After."""
    unsupported = response.headers.get("Unsupported")
    detail = f", unsupported: {unsupported}" if unsupported else ""
    return RegistrationFailed(
        f"REGISTER was refused: {response.status} {response.reason}{detail}",
        status=response.status,
        retry_after_s=retry_after_s(response),
    )


def delta_seconds(text: str | None) -> int | None:
    """A delta-seconds value, ``None`` for anything else (RFC 3261 20.19)."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    return min(int(text), MAX_EXPIRES_S)
