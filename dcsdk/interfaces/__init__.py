"""The abstract base classes that plug-ins implement, and the values that cross them.

Nothing here does I/O. A plug-in hands over *classes*; the client makes one object of each per
client. See ``dcsdk.hookspecs`` for how they are found.
"""

from __future__ import annotations

from dcsdk.interfaces.applications import AppEntry, AppProtocol, ListProvider
from dcsdk.interfaces.association import (
    Association,
    AssociationEngine,
    ChannelAssociation,
    DtlsSctpParameters,
    EngineFlags,
    SctpParameters,
)
from dcsdk.interfaces.channel import ChannelParameters
from dcsdk.interfaces.keying import DtlsParameters, KeyingParameters
from dcsdk.interfaces.paths import Address, DatagramPath, DatagramReceiver, Paths, StreamPath
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
from dcsdk.interfaces.stats import AssociationStats, ChannelStats, PathStats, TransportStats
from dcsdk.interfaces.transports import (
    DatagramTransport,
    PacketReceiver,
    SecureTransport,
    StreamTransport,
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
    "ChannelAssociation",
    "ChannelParameters",
    "ChannelStats",
    "DatagramPath",
    "DatagramReceiver",
    "DatagramTransport",
    "DtlsParameters",
    "DtlsRole",
    "DtlsSctpParameters",
    "EngineFlags",
    "IncomingInvitation",
    "KeyingParameters",
    "ListProvider",
    "MediaIntent",
    "MediaKind",
    "OutgoingInvitation",
    "PacketReceiver",
    "PathStats",
    "Paths",
    "PendingOffer",
    "RegistrationGrant",
    "RegistrationRequest",
    "Reoffer",
    "SctpParameters",
    "SecureTransport",
    "SecurityBackend",
    "SecurityContext",
    "Signalling",
    "SignallingDialog",
    "StreamPath",
    "StreamTransport",
    "TransportStats",
]
