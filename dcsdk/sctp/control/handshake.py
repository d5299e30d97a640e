"""Setting an association up: INIT, INIT ACK and the cookie, both ends being active.

In data channels both sides send INIT, so the collision of RFC 9260 5.2.1 is the normal case.
Nothing here keeps state about a peer; :class:`Handshake` holds only what is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from dcsdk.errors import ParseError
from dcsdk.sctp.base.config import MIN_RECEIVE_WINDOW, SctpConfig
from dcsdk.sctp.wire.chunks import ChunkType, Init
from dcsdk.sctp.wire.cookie import PeerAbilities, StateCookie
from dcsdk.sctp.wire.parameters import CauseCode, ParameterType, PeerViolation, Tlv

COOKIE_KEY_SIZE = 32
EDMID_DTLS = 1
"""Error detection method "SCTP over DTLS" (RFC 9653 8)."""

Entropy = Callable[[int], bytes]
"""Gives that many random bytes, like ``os.urandom``."""

_KNOWN = frozenset(
    {
        ParameterType.STATE_COOKIE,
        ParameterType.UNRECOGNIZED,
        ParameterType.COOKIE_PRESERVATIVE,
        ParameterType.SUPPORTED_EXTENSIONS,
        ParameterType.FORWARD_TSN_SUPPORTED,
        ParameterType.ZERO_CHECKSUM_ACCEPTABLE,
        # Addresses, ECN and authentication mean nothing inside DTLS but are not unknown.
        5,
        6,
        12,
        0x8000,
        0x8002,
        0x8003,
        0x8004,
        0xC006,
    }
)


class CookieAction(Enum):
    """What a valid cookie means for an association that exists (RFC 9260 5.2.4, Table 12)."""

    ESTABLISH = auto()
    """No association, or the peer's half of a collision (action B)."""
    RESTART = auto()
    """The peer lost its state and began anew (action A)."""
    DISCARD = auto()
    """A leftover (action C)."""
    ACKNOWLEDGE = auto()
    """Both tags are known: only the answer is missing (action D)."""


@dataclass(frozen=True, slots=True)
class TagPair:
    """The verification tags of an association; the peer's is 0 while unknown."""

    local: int
    peer: int


def random_tag(entropy: Entropy) -> int:
    """Return a verification tag, 1..2^32-1 (RFC 9260 5.3.1)."""
    return int.from_bytes(entropy(4), "big") or 1


def check_init(init: Init) -> None:
    """Check the fixed fields of an INIT or INIT ACK.

    Raises:
        ParseError: initiate tag 0: the chunk is thrown away.
        PeerViolation: no streams (RFC 9260 3.3.2, 3.3.3), or a window below the minimum.
    """
    if not init.initiate_tag:
        raise ParseError("initiate tag 0", source="RFC 9260 3.3.2")
    if not init.outbound_streams or not init.inbound_streams:
        raise PeerViolation(
            "INIT without streams",
            code=CauseCode.INVALID_MANDATORY_PARAMETER,
            source="RFC 9260 3.3.2",
        )
    if init.a_rwnd < MIN_RECEIVE_WINDOW:
        raise PeerViolation(
            f"a_rwnd of {init.a_rwnd}, at least {MIN_RECEIVE_WINDOW} expected",
            code=CauseCode.INVALID_MANDATORY_PARAMETER,
            source="RFC 9260 3.3.2",
        )


def unrecognized(init: Init) -> tuple[Tlv, ...]:
    """Return the parameters to report: unknown types whose second highest bit is set.

    An unknown type with the highest bit clear ends the reading of parameters (RFC 9260 3.2.1).
    """
    reported: list[Tlv] = []
    for item in init.parameters:
        if item.kind in _KNOWN:
            continue
        if item.kind & 0x4000:
            reported.append(item)
        if not item.kind & 0x8000:
            break
    return tuple(reported)


class Handshake:
    """Our side of association set-up.

    Args:
        config: what we offer.
        entropy: random bytes for tag, TSN and cookie key.

    Attributes:
        tag: our verification tag.
        initial_tsn: our first TSN.
    """

    __slots__ = (
        "_config",
        "_entropy",
        "_key",
        "initial_tsn",
        "tag",
    )

    def __init__(self, config: SctpConfig, entropy: Entropy) -> None:
        self._config = config
        self._entropy = entropy
        self._key = entropy(COOKIE_KEY_SIZE)
        self.tag = random_tag(entropy)
        self.initial_tsn = int.from_bytes(entropy(4), "big")

    def init(self) -> Init:
        """Return our INIT."""
        return self._init(self.tag, self.initial_tsn, ())

    def init_ack(self, init: Init, *, now: float, existing: TagPair | None, is_fresh: bool) -> Init:
        """Return the INIT ACK that answers ``init``; no state is kept (RFC 9260 5.1.3).

        Args:
            init: a checked INIT.
            now: seconds, for the cookie.
            existing: tags of the association that exists, for the tie-tags (5.2.2).
            is_fresh: use a new tag and TSN, since ours are in use (5.2.2), instead of those of
                our own INIT (5.2.1).
        """
        tag, tsn = self.tag, self.initial_tsn
        if is_fresh:
            tag, tsn = random_tag(self._entropy), int.from_bytes(self._entropy(4), "big")
        cookie = StateCookie(
            created_s=now,
            local_tag=tag,
            peer_tag=init.initiate_tag,
            local_initial_tsn=tsn,
            peer_initial_tsn=init.initial_tsn,
            peer_a_rwnd=init.a_rwnd,
            outbound_streams=min(self._config.outbound_streams, init.inbound_streams),
            inbound_streams=min(self._config.inbound_streams, init.outbound_streams),
            local_tie_tag=existing.local if existing else 0,
            peer_tie_tag=existing.peer if existing else 0,
            abilities=self.abilities(init),
        )
        items = [Tlv(ParameterType.STATE_COOKIE, cookie.encode(self._key))]
        items += [Tlv(ParameterType.UNRECOGNIZED, item.encode()) for item in unrecognized(init)]
        return self._init(tag, tsn, tuple(items), is_ack=True)

    def read_cookie(self, data: bytes) -> StateCookie:
        """Check and read a cookie that came back.

        Raises:
            ParseError: it was not made with our key.
        """
        return StateCookie.decode(data, self._key)

    def abilities(self, peer: Init) -> PeerAbilities:
        """Return what both sides can do, from the peer's INIT or INIT ACK."""
        extensions = peer.parameter(ParameterType.SUPPORTED_EXTENSIONS) or b""
        config = self._config
        has_forward = (
            ChunkType.FORWARD_TSN in extensions
            or peer.parameter(ParameterType.FORWARD_TSN_SUPPORTED) is not None
        )
        is_interleaving = config.is_interleaving_offered and ChunkType.I_DATA in extensions
        if is_interleaving:
            has_forward = ChunkType.I_FORWARD_TSN in extensions
        method = peer.parameter(ParameterType.ZERO_CHECKSUM_ACCEPTABLE)
        return PeerAbilities(
            is_interleaving=is_interleaving,
            is_partial_reliability=config.is_partial_reliability_offered and has_forward,
            is_reset_supported=ChunkType.RE_CONFIG in extensions,
            is_zero_checksum=config.is_zero_checksum_offered
            and method == EDMID_DTLS.to_bytes(4, "big"),
        )

    def _init(self, tag: int, tsn: int, items: tuple[Tlv, ...], *, is_ack: bool = False) -> Init:
        config = self._config
        extensions = bytearray([ChunkType.RE_CONFIG])
        offered: list[Tlv] = []
        if config.is_partial_reliability_offered:
            extensions.append(ChunkType.FORWARD_TSN)
            offered.append(Tlv(ParameterType.FORWARD_TSN_SUPPORTED, b""))
        if config.is_interleaving_offered:
            extensions.append(ChunkType.I_DATA)
            if config.is_partial_reliability_offered:
                extensions.append(ChunkType.I_FORWARD_TSN)
        if config.is_zero_checksum_offered:
            method = EDMID_DTLS.to_bytes(4, "big")
            offered.append(Tlv(ParameterType.ZERO_CHECKSUM_ACCEPTABLE, method))
        offered.append(Tlv(ParameterType.SUPPORTED_EXTENSIONS, bytes(extensions)))
        return Init(
            initiate_tag=tag,
            a_rwnd=config.receive_window,
            outbound_streams=config.outbound_streams,
            inbound_streams=config.inbound_streams,
            initial_tsn=tsn,
            parameters=tuple(offered) + items,
            is_ack=is_ack,
        )


def judge_cookie(cookie: StateCookie, current: TagPair | None) -> CookieAction:
    """Decide what a valid cookie means (RFC 9260 5.2.4, Table 12).

    Args:
        cookie: authenticated, not expired.
        current: tags of the association that exists or is being set up, ``None`` when closed.
    """
    if current is None:
        return CookieAction.ESTABLISH
    if cookie.local_tag == current.local:
        if cookie.peer_tag == current.peer:
            return CookieAction.ACKNOWLEDGE
        return CookieAction.ESTABLISH
    if cookie.peer_tag == current.peer:
        return CookieAction.DISCARD
    if (cookie.local_tie_tag, cookie.peer_tie_tag) == (current.local, current.peer):
        return CookieAction.RESTART
    return CookieAction.DISCARD
