"""The abstract base classes that plug-ins implement, and the values that cross them.

Nothing here does I/O. A plug-in hands over *classes*; the client makes one object of each per
client. See ``dcsdk.hookspecs`` for how they are found.
"""

from __future__ import annotations

from dcsdk.interfaces.applications import AppEntry, AppProtocol, ListProvider
from dcsdk.interfaces.security import (
    Agreement,
    Attributes,
    MediaIntent,
    MediaKind,
    PendingOffer,
    SecurityBackend,
    SecurityContext,
)
from dcsdk.interfaces.signalling import (
    IncomingInvitation,
    OutgoingInvitation,
    RegistrationGrant,
    RegistrationRequest,
    Reoffer,
    Signalling,
    SignallingDialog,
)
from dcsdk.interfaces.stats import AssociationStats, ChannelStats, PathStats
from dcsdk.interfaces.transport import (
    Address,
    Association,
    AssociationEngine,
    ChannelParameters,
    DatagramPath,
    DatagramReceiver,
    DtlsSctpParameters,
    EngineFlags,
)
from dcsdk.sdp.association import DtlsRole

__all__ = [
    "Address",
    "Agreement",
    "AppEntry",
    "AppProtocol",
    "Association",
    "AssociationEngine",
    "AssociationStats",
    "Attributes",
    "ChannelParameters",
    "ChannelStats",
    "DatagramPath",
    "DatagramReceiver",
    "DtlsRole",
    "DtlsSctpParameters",
    "EngineFlags",
    "IncomingInvitation",
    "ListProvider",
    "MediaIntent",
    "MediaKind",
    "OutgoingInvitation",
    "PathStats",
    "PendingOffer",
    "RegistrationGrant",
    "RegistrationRequest",
    "Reoffer",
    "SecurityBackend",
    "SecurityContext",
    "Signalling",
    "SignallingDialog",
]
