"""What an ICE agent tells, and what it wants sent."""

from __future__ import annotations

from dataclasses import dataclass

from dcsdk.ice.candidate import Address, Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class IceTransmit:
    """A STUN message to send.

    Attributes:
        data: one datagram.
        local: the address to send it from, a base of ours.
        destination: where to.
    """

    data: bytes
    local: Address
    destination: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSelected:
    """Data goes over this pair from now on.

    Attributes:
        local: where we send from, the base of our candidate.
        remote: where the peer is.
        local_candidate: ours; peer-reflexive when the peer sees us at another address than we do.
        remote_candidate: the peer's.
        round_trip_s: of the check that worked, ``None`` when it had to be repeated.
    """

    local: Address
    remote: Address
    local_candidate: Candidate
    remote_candidate: Candidate
    round_trip_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentLost:
    """The peer no longer answers on the selected pair; nothing may be sent (RFC 7675 5.1).

    Only an ICE restart gets consent again.
    """

    local: Address
    remote: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class IceFailed:
    """No pair works (RFC 8445 8.1.2). Only an ICE restart tries again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChanged:
    """Both ends had the same role, and ours gave way (RFC 8445 7.3.1.1)."""

    is_controlling: bool


IceEvent = PairSelected | ConsentLost | IceFailed | RoleChanged
