"""SCTP for data channels, without I/O (RFC 9260 as RFC 8831 uses it)."""

from __future__ import annotations

from dcsdk.sctp.association import SctpAssociation
from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.base.congestion import CongestionController, Cubic, NewReno
from dcsdk.sctp.sending.sender import SendBufferFull
from dcsdk.sctp.stats import SctpStats

__all__ = [
    "CongestionController",
    "Cubic",
    "NewReno",
    "SctpAssociation",
    "SctpConfig",
    "SctpStats",
    "SendBufferFull",
]
