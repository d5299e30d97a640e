"""What a program asks for when it places a call."""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.ims.profile import ImsProfile
from dcsdk.interfaces import MediaIntent
from dcsdk.interfaces.capabilities import Capabilities
from dcsdk.sdp.dcmap import Dcmap
from dcsdk.security import SecurityScope


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChannels:
    """Data channels in the first offer of a call.

    Attributes:
        bootstrap: offer the local bootstrap line (ids 0 and 10).
        scope: what the bootstrap line asks for. ``None`` follows the registration: e2DCe is
            requested when both sides registered it, as TS 33.328 7.2.X says the UE shall.
    """

    bootstrap: bool = True
    scope: SecurityScope | None = None

    def intents(self, capabilities: Capabilities) -> list[MediaIntent]:
        """Return one intent per media line."""
        if not self.bootstrap:
            return []
        scope = self.scope
        if scope is None:
            is_agreed = capabilities.is_agreed("dc", SecurityScope.E2DCE)
            scope = SecurityScope.E2DCE if is_agreed else SecurityScope.NETWORK_DECIDES
        return [MediaIntent(kind="dc", scope=scope)]


def bootstrap_dcmaps(profile: ImsProfile) -> list[Dcmap]:
    """Return the channels of a local bootstrap line (TS 26.114 Table 6.2.10.1-2)."""
    return [Dcmap(stream_id=number, subprotocol="http") for number in profile.bootstrap_local_ids]
