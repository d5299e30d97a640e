"""ICE: candidates, connectivity checks, consent, and their SDP, without I/O.

``dcsdk.io.net.ice`` runs an agent on sockets.
"""

from __future__ import annotations

from dcsdk.ice.agent import IceAgent
from dcsdk.ice.candidate import Candidate, IceCredentials
from dcsdk.ice.config import IceConfig
from dcsdk.ice.events import (
    ConsentLost,
    IceEvent,
    IceFailed,
    IceTransmit,
    PairSelected,
    RoleChanged,
)
from dcsdk.ice.sdp import IceDescription, without_ice

__all__ = [
    "Candidate",
    "ConsentLost",
    "IceAgent",
    "IceConfig",
    "IceCredentials",
    "IceDescription",
    "IceEvent",
    "IceFailed",
    "IceTransmit",
    "PairSelected",
    "RoleChanged",
    "without_ice",
]
