"""What is asked of the network for each medium, and what may be claimed afterwards.

The one place that decides the scope of a line (TS 33.328 7.2, 7.3): from what the program asked
for, what UE and network registered, what the SDP says, and what a backend proved. Indications are
written here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dcsdk.errors import ConfigError
from dcsdk.ims.profile import ImsProfile
from dcsdk.sdp.ims_attributes import E2AE_ATTRIBUTE
from dcsdk.sdp.media import MediaDescription
from dcsdk.security import SecurityScope


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSecurity:
    """One kind of media security that registration and SDP have words for.

    Attributes:
        kind: the medium.
        scope: ``E2AE`` or ``E2DCE``; end-to-end security has no indication.
        mechanism: its ``mediasec`` name.
        attribute: the SDP attribute that requests it.

    Source: TS 33.328 7.1, 7.1.X, L.3.
    """

    kind: str
    scope: SecurityScope
    mechanism: str
    attribute: str = E2AE_ATTRIBUTE


def media_securities(profile: ImsProfile) -> tuple[MediaSecurity, ...]:
    """Return the kinds of media security there are; those of audio hold for all RTP.

    Args:
        profile: names what no standard names.
    """
    e2ae, e2dce = SecurityScope.E2AE, SecurityScope.E2DCE
    return (
        MediaSecurity(kind="audio", scope=e2ae, mechanism="sdes-srtp"),
        MediaSecurity(kind="audio", scope=e2ae, mechanism="dtls-srtp"),
        MediaSecurity(kind="message", scope=e2ae, mechanism="msrp-tls"),
        MediaSecurity(kind="floor", scope=e2ae, mechanism="bfcp-tls"),
        MediaSecurity(kind="fax", scope=e2ae, mechanism="udptl-dtls"),
        MediaSecurity(kind="data_channel", scope=e2ae, mechanism=profile.dc_e2ae_mechanism),
        MediaSecurity(
            kind="data_channel",
            scope=e2dce,
            mechanism=profile.e2dce_mechanism,
            attribute=profile.e2dce_attribute,
        ),
    )


class SecurityPolicy:
    """Decides for the lines of one client.

    Args:
        profile: the choices the standards leave open.
    """

    def __init__(self, profile: ImsProfile) -> None:
        self._securities = media_securities(profile)

    def _registered(
        self, kind: str, scope: SecurityScope, registered: Collection[str]
    ) -> MediaSecurity | None:
        return next(
            (
                item
                for item in self._securities
                if (item.kind, item.scope) == (kind, scope) and item.mechanism in registered
            ),
            None,
        )

    def wanted(
        self,
        kind: str,
        scope: SecurityScope | None,
        registered: Collection[str],
        *,
        is_pinned: bool = False,
    ) -> SecurityScope:
        """Return the scope that an offered line asks for.

        Args:
            kind: the medium.
            scope: as the program asked, ``None`` to follow the registration.
            registered: mechanisms that UE and network both registered.
            is_pinned: the peer's fingerprint is known beforehand.

        Raises:
            ConfigError: it was not registered (TS 33.328 7.2.X NOTE 2).
        """
        if scope is None:
            if is_pinned:
                return SecurityScope.E2E
            for known in (SecurityScope.E2DCE, SecurityScope.E2AE):
                if self._registered(kind, known, registered) is not None:
                    return known
            return SecurityScope.NETWORK_DECIDES
        is_indicated = any((item.kind, item.scope) == (kind, scope) for item in self._securities)
        if is_indicated and self._registered(kind, scope, registered) is None:
            name = {SecurityScope.E2DCE: "e2DCe", SecurityScope.E2AE: "e2ae"}[scope]
            raise ConfigError(
                f"{name} is requested, but UE and network did not both register it",
                source="TS 33.328 7.2.X NOTE 2",
            )
        return scope

    def indications(
        self, kind: str, scope: SecurityScope, registered: Collection[str]
    ) -> tuple[tuple[str, str], ...]:
        """Return the attributes by which an offered line asks for ``scope``."""
        security = self._registered(kind, scope, registered)
        return () if security is None else ((security.attribute, "requested"),)

    def scope_of_offer(
        self, kind: str, wanted: SecurityScope, proof: str, registered: Collection[str]
    ) -> tuple[SecurityScope, str]:
        """Return what may be claimed of a line that we offered, once it is answered.

        No indication comes back: registration and request decide (TS 33.328 7.2.X NOTE 3).

        Args:
            kind: the medium.
            wanted: what the offer asked for.
            proof: what the backend has beside the keys, ``""`` for nothing.
            registered: mechanisms that UE and network both registered.
        """
        if self._registered(kind, wanted, registered) is not None:
            name = "e2DCe" if wanted is SecurityScope.E2DCE else "e2ae"
            return wanted, f"{name} was registered by both sides and requested"
        return self._without_indication(proof)

    def scope_of_answer(
        self, kind: str, offer: MediaDescription, proof: str, registered: Collection[str]
    ) -> tuple[SecurityScope, str]:
        """Return what may be claimed of a line that we answer.

        Args:
            kind: the medium.
            offer: the line as offered.
            proof: what the backend has beside the keys, ``""`` for nothing.
            registered: mechanisms that UE and network both registered.
        """
        for security in self._securities:
            if (
                security.kind == kind
                and security.mechanism in registered
                and offer.indication(security.attribute) == "applied"
            ):
                name = "e2DCe" if security.scope is SecurityScope.E2DCE else "e2ae"
                return security.scope, f"the network applied {name}, which both sides registered"
        return self._without_indication(proof)

    @staticmethod
    def _without_indication(proof: str) -> tuple[SecurityScope, str]:
        """The scopes look alike: only what the backend proved tells (TS 24.186 9.3.3.2.1)."""
        if proof:
            return SecurityScope.E2E, proof
        return (
            SecurityScope.NETWORK_DECIDES,
            "no indication and no pinned fingerprint: the network may anchor the channel or not",
        )
