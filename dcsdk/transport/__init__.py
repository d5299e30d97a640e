"""The data-channel transport by itself: what a program needs that brings its own signalling.

A program that calls over IMS needs none of this: a ``Client`` makes paths and associations.
"""

from __future__ import annotations

from dcsdk.interfaces import (
    Association,
    AssociationStats,
    ChannelParameters,
    ChannelStats,
    DatagramPath,
    DtlsRole,
    DtlsSctpParameters,
    EngineFlags,
    PathStats,
)
from dcsdk.io.capture import Capture
from dcsdk.io.keylog import KeyLog
from dcsdk.io.net.ice import IcePath
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.sctp import CongestionController, SctpConfig, SctpStats
from dcsdk.sdp.fingerprint import Fingerprint
from dcsdk.tls.certificate import Certificate
from dcsdk.tls.raw_openssl import is_raw_openssl_available

__all__ = [
    "Association",
    "AssociationStats",
    "Capture",
    "Certificate",
    "ChannelParameters",
    "ChannelStats",
    "CongestionController",
    "DatagramPath",
    "DtlsRole",
    "DtlsSctpParameters",
    "EngineConfig",
    "EngineFlags",
    "Fingerprint",
    "IcePath",
    "KeyLog",
    "NativeEngine",
    "PathStats",
    "SctpConfig",
    "SctpStats",
    "is_raw_openssl_available",
]
