"""The state cookie: what INIT ACK hands out so that no state is kept before COOKIE ECHO.

It is authenticated with HMAC-SHA-256 under a key that lives as long as the association object, and
it expires (RFC 9260 5.1.3, 5.1.5).
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass

from dcsdk.errors import ParseError

_STATE = struct.Struct("!dLLLLLHHLLB")
_MAC_SIZE = 32
COOKIE_SIZE = _STATE.size + _MAC_SIZE

_INTERLEAVING, _PARTIAL_RELIABILITY, _RESET, _ZERO_CHECKSUM = 1, 2, 4, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAbilities:
    """What the extensions in an INIT or INIT ACK make usable between both sides."""

    is_interleaving: bool = False
    is_partial_reliability: bool = False
    is_reset_supported: bool = False
    is_zero_checksum: bool = False

    def to_bits(self) -> int:
        """Return the abilities as one octet."""
        return (
            self.is_interleaving * _INTERLEAVING
            | self.is_partial_reliability * _PARTIAL_RELIABILITY
            | self.is_reset_supported * _RESET
            | self.is_zero_checksum * _ZERO_CHECKSUM
        )

    @classmethod
    def from_bits(cls, bits: int) -> PeerAbilities:
        """Reverse :meth:`to_bits`."""
        return cls(
            is_interleaving=bool(bits & _INTERLEAVING),
            is_partial_reliability=bool(bits & _PARTIAL_RELIABILITY),
            is_reset_supported=bool(bits & _RESET),
            is_zero_checksum=bool(bits & _ZERO_CHECKSUM),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCookie:
    """Everything an association needs to begin.

    Attributes:
        created_s: time of creation on our clock, seconds.
        local_tag: tag the peer must use.
        peer_tag: tag we must use.
        local_initial_tsn: our first TSN.
        peer_initial_tsn: the peer's first TSN.
        peer_a_rwnd: the peer's window, bytes.
        outbound_streams: usable outgoing streams.
        inbound_streams: usable incoming streams.
        local_tie_tag: our tag of the association that existed, 0 when there was none.
        peer_tie_tag: the peer's tag of that association.
        abilities: extensions both sides have.
    """

    created_s: float
    local_tag: int
    peer_tag: int
    local_initial_tsn: int
    peer_initial_tsn: int
    peer_a_rwnd: int
    outbound_streams: int
    inbound_streams: int
    local_tie_tag: int
    peer_tie_tag: int
    abilities: PeerAbilities

    def encode(self, key: bytes) -> bytes:
        """Return the cookie, signed with ``key``."""
        state = _STATE.pack(
            self.created_s,
            self.local_tag,
            self.peer_tag,
            self.local_initial_tsn,
            self.peer_initial_tsn,
            self.peer_a_rwnd,
            self.outbound_streams,
            self.inbound_streams,
            self.local_tie_tag,
            self.peer_tie_tag,
            self.abilities.to_bits(),
        )
        return state + hmac.digest(key, state, "sha256")

    @classmethod
    def decode(cls, data: bytes, key: bytes) -> StateCookie:
        """Check the signature and read the cookie.

        Raises:
            ParseError: not a cookie that ``key`` signed. Says nothing about its age.
        """
        state = data[: _STATE.size]
        if len(data) != COOKIE_SIZE or not hmac.compare_digest(
            hmac.digest(key, state, "sha256"), data[_STATE.size :]
        ):
            raise ParseError("state cookie is not ours", source="RFC 9260 5.1.5")
        created_s, *numbers, bits = _STATE.unpack(state)
        return cls(
            created_s=created_s,
            local_tag=numbers[0],
            peer_tag=numbers[1],
            local_initial_tsn=numbers[2],
            peer_initial_tsn=numbers[3],
            peer_a_rwnd=numbers[4],
            outbound_streams=numbers[5],
            inbound_streams=numbers[6],
            local_tie_tag=numbers[7],
            peer_tie_tag=numbers[8],
            abilities=PeerAbilities.from_bits(bits),
        )
