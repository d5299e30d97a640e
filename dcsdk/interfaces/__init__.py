"""The abstract base classes that plug-ins implement, and the values that cross them.

Nothing here does I/O. A plug-in hands over *classes*; the client makes one object of each per
client. See ``dcsdk.hookspecs`` for how they are found.
"""

from __future__ import annotations

from dcsdk.interfaces.applications import (
    AppEntry,
    ListProvider,
)
from dcsdk.interfaces.association import (
    Association,
    AssociationChannels,
    AssociationEngine,
    ChannelAssociation,
    DtlsSctpParameters,
    EngineFlags,
    SctpParameters,
)
from dcsdk.interfaces.capabilities import (
    Capabilities,
)
from dcsdk.interfaces.carriers import (
    AppProtocol,
    CarrierKind,
    DatagramCarrier,
    MessageCarrier,
    ProtocolEndpoint,
    RtpCarrier,
    StreamCarrier,
)
from dcsdk.interfaces.channel import (
    ChannelParameters,
    ChannelState,
)
from dcsdk.interfaces.keying import (
    DtlsParameters,
    KeyingParameters,
    PlainParameters,
    PskParameters,
    SdesParameters,
    TlsParameters,
)
from dcsdk.interfaces.media import (
    LineBase,
    LineMedia,
    LineServices,
    MediaBody,
    MediaIntent,
    MediaParts,
    MediaType,
    OfferedRequest,
    PathNeeds,
    RequestId,
    Review,
)
from dcsdk.interfaces.paths import (
    Address,
    DatagramPath,
    DatagramReceiver,
    Paths,
    StreamPath,
)
from dcsdk.interfaces.security import (
    Agreement,
    PendingOffer,
    SecurityAnswer,
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
from dcsdk.interfaces.stats import (
    AssociationStats,
    ChannelStats,
    PathStats,
    TransportStats,
)
from dcsdk.interfaces.transports import (
    DatagramTransport,
    PacketReceiver,
    SecureTransport,
    StreamTransport,
)
from dcsdk.interfaces.values import (
    Attributes,
)
from dcsdk.sdp.association import DtlsRole

__all__ = [
    "Address",
    "Agreement",
    "AppEntry",
    "AppProtocol",
    "Association",
    "AssociationChannels",
    "AssociationEngine",
    "AssociationStats",
    "Attributes",
    "Capabilities",
    "CarrierKind",
    "ChannelAssociation",
    "ChannelParameters",
    "ChannelState",
    "ChannelStats",
    "DatagramCarrier",
    "DatagramPath",
    "DatagramReceiver",
    "DatagramTransport",
    "DtlsParameters",
    "DtlsRole",
    "DtlsSctpParameters",
    "EngineFlags",
    "IncomingInvitation",
    "KeyingParameters",
    "LineBase",
    "LineMedia",
    "LineServices",
    "ListProvider",
    "MediaBody",
    "MediaIntent",
    "MediaParts",
    "MediaType",
    "MessageCarrier",
    "OfferedRequest",
    "OutgoingInvitation",
    "PacketReceiver",
    "PathNeeds",
    "PathStats",
    "Paths",
    "PendingOffer",
    "PlainParameters",
    "ProtocolEndpoint",
    "PskParameters",
    "RegistrationGrant",
    "RegistrationRequest",
    "Reoffer",
    "RequestId",
    "Review",
    "RtpCarrier",
    "SctpParameters",
    "SdesParameters",
    "SecureTransport",
    "SecurityAnswer",
    "SecurityBackend",
    "SecurityContext",
    "Signalling",
    "SignallingDialog",
    "StreamCarrier",
    "StreamPath",
    "StreamTransport",
    "TlsParameters",
    "TransportStats",
]
