"""The network side of IMS data channels, to build and test clients against on one machine."""

from __future__ import annotations

from dcsdk.emulator.faults import FAULTS
from dcsdk.emulator.network import Network
from dcsdk.emulator.network_config import NetworkConfig, SubscriberConfig
from dcsdk.emulator.serve import serve
from dcsdk.emulator.trace import TraceBus, TraceEvent, format_ladder

__all__ = [
    "FAULTS",
    "Network",
    "NetworkConfig",
    "SubscriberConfig",
    "TraceBus",
    "TraceEvent",
    "format_ladder",
    "serve",
]
