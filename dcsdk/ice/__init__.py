"""ICE: candidates, connectivity checks, consent, and their SDP, without I/O.

``dcsdk.io.net.ice`` runs an agent on sockets.
"""

from __future__ import annotations

from dcsdk.ice.agent import IceAgent
from dcsdk.ice.candidate import Candidate, Credentials
from dcsdk.ice.config import IceConfig
from dcsdk.ice.events import (
    ConsentLost,
    IceEvent,
    IceFailed,
    PairSelected,
    RoleChanged,
    Transmit,
)
from dcsdk.ice.sdp import IceDescription, without_ice

__all__ = [
    "Candidate",
    "ConsentLost",
    "Credentials",
    "IceAgent",
    "IceConfig",
    "IceDescription",
    "IceEvent",
    "IceFailed",
    "PairSelected",
    "RoleChanged",
    "Transmit",
    "without_ice",
]
