"""What a client tells the program that runs it, besides what its calls return.

Events are values, handed to the ``on_event`` callable of :class:`dcsdk.Client` as they happen.
"""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.interfaces.capabilities import Capabilities
from dcsdk.security import SecurityReport


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationChanged:
    """The registration was granted or refreshed; capabilities may differ from before."""

    capabilities: Capabilities
    expires_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationLost:
    """The network no longer knows this client."""

    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSecured:
    """One media line's association is established and verified."""

    call_id: str
    line: int
    report: SecurityReport


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClosed:
    """One media line's association ended; ``error`` is ``None`` when that was on purpose."""

    call_id: str
    line: int
    error: Exception | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded:
    """The dialog ended."""

    call_id: str
    reason: str


Event = RegistrationChanged | RegistrationLost | StreamSecured | StreamClosed | SessionEnded
