"""What UE and network support, per media kind, as registration told it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dcsdk.ims.feature_tags import DATACHANNEL, DC_MUX, FeatureCaps, has_feature, is_dcmtsi_contact
from dcsdk.ims.mediasec import SecurityMechanism, media_mechanisms
from dcsdk.ims.profile import DEFAULT_PROFILE, ImsProfile
from dcsdk.ims.security_policy import media_securities
from dcsdk.security import SecurityScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One kind of media security, and who supports it.

    Attributes:
        kind: the medium; ``"audio"`` stands for all RTP.
        scope: ``E2AE`` or ``E2DCE``; end-to-end security has no indication.
        mechanism: its ``mediasec`` name.
        is_ue: the UE listed it in ``Security-Client``.
        is_network: the network listed it in ``Security-Server``.

    Source: TS 33.328 7.1, 7.1.X, L.3.
    """

    kind: str
    scope: SecurityScope
    mechanism: str
    is_ue: bool
    is_network: bool

    @property
    def is_agreed(self) -> bool:
        """Both listed it: the UE shall request it (TS 33.328 7.2.1)."""
        return self.is_ue and self.is_network


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSupport:
    """A feature, and who supports it.

    Attributes:
        name: of the feature.
        is_ue: the UE's Contact had its tag.
        is_network: ``Feature-Caps`` had it.
    """

    name: str
    is_ue: bool
    is_network: bool

    @property
    def is_agreed(self) -> bool:
        """Both support it."""
        return self.is_ue and self.is_network


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What both sides of a registration support.

    ``print(capabilities)`` shows a table.

    Attributes:
        media: one row per media kind and scope that has an indication.
        data_channel: IMS data channels at all; no offer may have one when the network has not
            (TS 23.228 AC).
        dc_mux: bootstrap and application channels in one association.
    """

    media: tuple[Capability, ...]
    data_channel: FeatureSupport
    dc_mux: FeatureSupport

    @classmethod
    def from_registration(
        cls,
        security_client: Iterable[SecurityMechanism],
        security_server: Iterable[SecurityMechanism],
        feature_caps: FeatureCaps,
        contact_features: Mapping[str, str | None],
        profile: ImsProfile = DEFAULT_PROFILE,
    ) -> Capabilities:
        """Work out the capabilities.

        Args:
            security_client: what we listed.
            security_server: what the network listed.
            feature_caps: of the 200 to REGISTER.
            contact_features: the feature tags of our Contact.
            profile: names of the mechanisms no standard names.
        """
        ours = {mechanism.name for mechanism in media_mechanisms(security_client)}
        theirs = {mechanism.name for mechanism in media_mechanisms(security_server)}
        contact = tuple(contact_features.items())
        return cls(
            media=tuple(
                Capability(
                    kind=security.kind,
                    scope=security.scope,
                    mechanism=security.mechanism,
                    is_ue=security.mechanism in ours,
                    is_network=security.mechanism in theirs,
                )
                for security in media_securities(profile)
            ),
            data_channel=FeatureSupport(
                name=DATACHANNEL,
                is_ue=is_dcmtsi_contact(contact),
                is_network=feature_caps.has(DATACHANNEL),
            ),
            dc_mux=FeatureSupport(
                name=DC_MUX,
                is_ue=has_feature(contact, DC_MUX),
                is_network=feature_caps.has(DC_MUX),
            ),
        )

    def get(self, kind: str, scope: SecurityScope) -> Capability | None:
        """Return the row of a media kind and scope, or ``None`` when it has no indication."""
        return next((row for row in self.media if (row.kind, row.scope) == (kind, scope)), None)

    def is_agreed(self, kind: str, scope: SecurityScope = SecurityScope.E2AE) -> bool:
        """Tell whether UE and network both registered this security for this media kind."""
        return any(row.is_agreed for row in self.media if (row.kind, row.scope) == (kind, scope))

    @property
    def registered(self) -> frozenset[str]:
        """Names of the mechanisms that UE and network both registered."""
        return frozenset(row.mechanism for row in self.media if row.is_agreed)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "media": [
                {
                    "kind": row.kind,
                    "scope": row.scope.value,
                    "mechanism": row.mechanism,
                    "ue": row.is_ue,
                    "network": row.is_network,
                    "agreed": row.is_agreed,
                }
                for row in self.media
            ],
            **{
                name: {"ue": row.is_ue, "network": row.is_network, "agreed": row.is_agreed}
                for name, row in (("data_channel", self.data_channel), ("dc_mux", self.dc_mux))
            },
        }

    def __str__(self) -> str:
        rows = [("media", "scope", "named by", "UE", "network", "both")]
        rows += [
            (
                row.kind,
                row.scope.value,
                row.mechanism,
                _word(row.is_ue),
                _word(row.is_network),
                _word(row.is_agreed),
            )
            for row in self.media
        ]
        rows += [
            (
                "data_channel",
                "-",
                row.name,
                _word(row.is_ue),
                _word(row.is_network),
                _word(row.is_agreed),
            )
            for row in (self.data_channel, self.dc_mux)
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


def _word(value: bool) -> str:
    return "yes" if value else "no"
