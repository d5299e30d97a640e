"""UE-side SDK for IMS media-plane security and IMS/WebRTC data channels (TS 33.328 Rel-18)."""

from __future__ import annotations

import logging

from dcsdk.client.client import Client, IncomingCall, Registration
from dcsdk.config import ClientConfig
from dcsdk.datachannel.bootstrap import Bootstrap
from dcsdk.datachannel.channel import DataChannel
from dcsdk.datachannel.line import DataChannels, LineRole
from dcsdk.datachannel.request import ChannelRequest
from dcsdk.errors import (
    CallRejected,
    ChannelClosed,
    ConfigError,
    DcsdkError,
    DowngradeRefused,
    FingerprintMismatch,
    LocalProtocolError,
    MessageTooLarge,
    NegotiationError,
    OperationTimeout,
    ParseError,
    PeerUnreachable,
    ProtocolError,
    RegistrationFailed,
    RemoteProtocolError,
    SecurityError,
    SignallingError,
    TransportError,
    UnsupportedByNetwork,
    UnsupportedByPeer,
)
from dcsdk.events import (
    Event,
    RegistrationChanged,
    RegistrationLost,
    SessionEnded,
    StreamClosed,
    StreamSecured,
)
from dcsdk.hookspecs import hookimpl
from dcsdk.ims.mini_app import MiniApp
from dcsdk.ims.profile import ImsProfile
from dcsdk.interfaces import (
    AppEntry,
    AppProtocol,
    AssociationStats,
    ChannelParameters,
    ChannelStats,
    MediaIntent,
    PathStats,
)
from dcsdk.interfaces.capabilities import Capabilities
from dcsdk.interfaces.channel import ChannelState
from dcsdk.registry import Registry
from dcsdk.sctp import SctpStats
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.security import Secret, SecurityReport, SecurityScope, SignallingSecurity
from dcsdk.session.line_request import LineRequest
from dcsdk.session.session import Session
from dcsdk.session.stream import OfferedMedia, Stream

__all__ = [
    "AppEntry",
    "AppProtocol",
    "AssociationStats",
    "Bootstrap",
    "CallRejected",
    "Capabilities",
    "ChannelClosed",
    "ChannelParameters",
    "ChannelRequest",
    "ChannelState",
    "ChannelStats",
    "Client",
    "ClientConfig",
    "ConfigError",
    "DataChannel",
    "DataChannels",
    "DcsdkError",
    "DowngradeRefused",
    "Event",
    "Fingerprint",
    "FingerprintMismatch",
    "ImsProfile",
    "IncomingCall",
    "LineRequest",
    "LineRole",
    "LocalProtocolError",
    "MediaIntent",
    "MessageTooLarge",
    "MiniApp",
    "NegotiationError",
    "OfferedMedia",
    "OperationTimeout",
    "ParseError",
    "PathStats",
    "PeerUnreachable",
    "ProtocolError",
    "Registration",
    "RegistrationChanged",
    "RegistrationFailed",
    "RegistrationLost",
    "Registry",
    "RemoteProtocolError",
    "SctpStats",
    "Secret",
    "SecurityError",
    "SecurityReport",
    "SecurityScope",
    "Session",
    "SessionEnded",
    "SignallingError",
    "SignallingSecurity",
    "Stream",
    "StreamClosed",
    "StreamSecured",
    "TransportError",
    "UnsupportedByNetwork",
    "UnsupportedByPeer",
    "hookimpl",
]

# A library logs nothing unless the program configures logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())
