"""The network side of IMS data channels, to build and test clients against on one machine."""

from __future__ import annotations

from dcsdk.emulator.lab.faults import FAULTS
from dcsdk.emulator.lab.trace import TraceBus, TraceEvent, format_ladder
from dcsdk.emulator.network import Network
from dcsdk.emulator.network_config import NetworkConfig, SubscriberConfig
from dcsdk.emulator.serve import serve

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
