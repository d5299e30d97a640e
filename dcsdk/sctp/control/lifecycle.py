"""How an association begins and ends: the states of RFC 9260 4, its tags, and T1 and T2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.base.events import (
    Aborted,
    AssociationEvent,
    AssociationState,
    PeerUnreachableEvent,
    ShutDown,
)
from dcsdk.sctp.base.tsn import MASK
from dcsdk.sctp.control.handshake import (
    CookieAction,
    Entropy,
    Handshake,
    TagPair,
    check_init,
    judge_cookie,
    unrecognized,
)
from dcsdk.sctp.wire.chunks import FLAG_T, CauseChunk, ChunkType, Init, PlainChunk, decode_init
from dcsdk.sctp.wire.cookie import PeerAbilities, StateCookie
from dcsdk.sctp.wire.packet import Seal
from dcsdk.sctp.wire.parameters import CauseCode, ParameterType, PeerViolation, Tlv

State = AssociationState

OPEN_STATES = frozenset(
    {
        State.ESTABLISHED,
        State.SHUTDOWN_PENDING,
        State.SHUTDOWN_SENT,
        State.SHUTDOWN_RECEIVED,
        State.SHUTDOWN_ACK_SENT,
    }
)
"""States in which both tags are known and SACKs are taken."""

RECEIVING_STATES = frozenset({State.ESTABLISHED, State.SHUTDOWN_PENDING, State.SHUTDOWN_SENT})
"""States in which DATA is taken (RFC 9260 6)."""

MAX_REASON_BYTES = 256
"""Length of the text that goes into an ABORT or is kept of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationTerms:
    """What both sides agreed on at set-up.

    Attributes:
        local_initial_tsn: our first TSN.
        peer_initial_tsn: the peer's first TSN.
        peer_a_rwnd: the peer's window, bytes.
        outbound_streams: outgoing ids are below this.
        inbound_streams: incoming ids are below this.
        abilities: extensions both sides have.
    """

    local_initial_tsn: int
    peer_initial_tsn: int
    peer_a_rwnd: int
    outbound_streams: int
    inbound_streams: int
    abilities: PeerAbilities


class Lifecycle:
    """Sets up, shuts down and aborts.

    Args:
        config: timers, counts and what we offer.
        entropy: random bytes.
        packets: whole packets to be sent.
        on_open: called when the association is established; the flag tells a restart.
        on_end: called once with the event that tells how the association ended.

    Attributes:
        state: where we are.
        tags: ours, and the peer's while known.
        seal: for our packets to the peer.
        timer_s: when :meth:`handle_timer` has something to do, ``None`` for never.
    """

    __slots__ = (
        "_config",
        "_handshake",
        "_on_end",
        "_on_open",
        "_packets",
        "_repeated",
        "_retries",
        "_terms",
        "_timeout_s",
        "is_ended",
        "seal",
        "state",
        "tags",
        "timer_s",
    )

    def __init__(
        self,
        config: SctpConfig,
        entropy: Entropy,
        *,
        packets: list[bytes],
        on_open: Callable[[AssociationTerms, bool], None],
        on_end: Callable[[AssociationEvent], None],
    ) -> None:
        self._config = config
        self._handshake = Handshake(config, entropy)
        self._packets = packets
        self._on_open = on_open
        self._on_end = on_end
        self.state = State.CLOSED
        self.is_ended = False
        self.tags = TagPair(self._handshake.tag, 0)
        self.seal = self._seal_for(0)
        self._terms: AssociationTerms | None = None
        self._repeated = b""  # the packet that T1 or T2 sends again
        self.timer_s: float | None = None
        self._timeout_s = config.rto_initial_s
        self._retries = 0

    @property
    def is_open(self) -> bool:
        """Both tags are known and the association exists."""
        return self.state in OPEN_STATES

    # --- beginning -------------------------------------------------------------------------------
    def connect(self, now: float, patience_s: float = 0.0) -> None:
        """Send INIT, now or when the peer sent none meanwhile (RFC 9260 5.1 A)."""
        if self.state is not State.CLOSED or self.is_ended:
            return
        if patience_s:
            self.timer_s = now + patience_s
        else:
            self.state = State.COOKIE_WAIT
            self._send_init(now)

    def init(self, value: bytes, now: float) -> None:
        """Take an INIT, in any state (RFC 9260 5.1 B, 5.2.1, 5.2.2).

        Raises:
            ParseError: malformed; nothing is answered.
        """
        init = decode_init(value, is_ack=False)
        seal = self._seal_for(init.initiate_tag)
        try:
            check_init(init)
        except PeerViolation as violation:
            self._packets.append(seal.close_with_checksum(abort_chunk(violation)))
            return
        if self.is_ended:
            self._packets.append(seal.close_with_checksum(abort_chunk(None)))
        elif self.state is State.SHUTDOWN_ACK_SENT:
            self._packets.append(self._repeated)  # RFC 9260 9.2
        else:
            is_fresh = self.is_open
            existing = self.tags if is_fresh or self.state is State.COOKIE_ECHOED else None
            ack = self._handshake.init_ack(init, now=now, existing=existing, is_fresh=is_fresh)
            self._packets.append(seal.close_with_checksum(ack.encode()))
            if self.state is State.CLOSED and self.timer_s is not None:
                self.timer_s = now + self._timeout_s  # the peer makes the way; or else we do

    def init_ack(self, value: bytes, now: float) -> None:
        """Take an INIT ACK: echo the cookie (RFC 9260 5.1 C).

        Raises:
            ParseError: malformed.
            PeerViolation: it cannot lead to an association.
        """
        if self.state is not State.COOKIE_WAIT:
            return  # RFC 9260 5.2.3
        ack = decode_init(value, is_ack=True)
        check_init(ack)
        cookie = ack.parameter(ParameterType.STATE_COOKIE)
        if cookie is None:
            raise PeerViolation(
                "INIT ACK without a cookie",
                code=CauseCode.MISSING_MANDATORY_PARAMETER,
                source="RFC 9260 3.3.3",
            )
        self._set_peer(ack.initiate_tag)
        self._terms = self._terms_by_ack(ack)
        self.state = State.COOKIE_ECHOED
        chunks = PlainChunk(kind=ChunkType.COOKIE_ECHO, value=cookie).encode()
        if reported := unrecognized(ack):
            cause = Tlv(
                CauseCode.UNRECOGNIZED_PARAMETERS, b"".join(item.encode() for item in reported)
            )
            chunks += CauseChunk(kind=ChunkType.ERROR, items=(cause,)).encode()
        self._retries = 0
        self._timeout_s = self._config.rto_initial_s
        self._repeat(self.seal.close_with_checksum(chunks), now)

    def cookie_echo(self, value: bytes, tag: int, now: float) -> bool:
        """Take a COOKIE ECHO (RFC 9260 5.1 D, 5.2.4).

        Args:
            value: the cookie.
            tag: the packet's verification tag.
            now: seconds.

        Returns:
            The rest of the packet may be read.

        Raises:
            ParseError: the cookie is not ours.
        """
        cookie = self._handshake.read_cookie(value)
        if self.is_ended or tag != cookie.local_tag:
            return False
        known = self.state in OPEN_STATES or self.state is State.COOKIE_ECHOED
        current = None if self.state is State.CLOSED else TagPair(self.tags.local, self.tags.peer)
        is_current = known and current == TagPair(cookie.local_tag, cookie.peer_tag)
        age = now - cookie.created_s
        if age > self._config.cookie_life_s and not is_current:
            staleness = min(int((age - self._config.cookie_life_s) * 1e6), MASK)
            cause = Tlv(CauseCode.STALE_COOKIE, staleness.to_bytes(4, "big"))
            error = CauseChunk(kind=ChunkType.ERROR, items=(cause,)).encode()
            self._packets.append(self._seal_for(cookie.peer_tag).close_with_checksum(error))
            return False
        action = judge_cookie(cookie, current)
        if action is CookieAction.DISCARD:
            return False
        acknowledgement = PlainChunk(kind=ChunkType.COOKIE_ACK).encode()
        if action is CookieAction.RESTART and self.state is State.SHUTDOWN_ACK_SENT:
            cause = Tlv(CauseCode.COOKIE_WHILE_SHUTTING_DOWN, b"")
            error = CauseChunk(kind=ChunkType.ERROR, items=(cause,)).encode()
            self._packets += [self._repeated, self.seal.close_with_checksum(error)]
            return False
        if action is CookieAction.ACKNOWLEDGE and self.is_open:
            self._packets.append(self.seal.close_with_checksum(acknowledgement))
            return True
        terms = self._terms
        if action is not CookieAction.ACKNOWLEDGE or terms is None:
            terms = self._terms_by_cookie(cookie)
        was_open = self.is_open
        self.tags = TagPair(cookie.local_tag, cookie.peer_tag)
        self._set_peer(cookie.peer_tag)
        self._packets.append(self.seal.close_with_checksum(acknowledgement))
        self._establish(terms, is_restart=was_open)
        return True

    def cookie_ack(self) -> None:
        """Take a COOKIE ACK (RFC 9260 5.1 E)."""
        if self.state is State.COOKIE_ECHOED and self._terms is not None:
            self._establish(self._terms, is_restart=False)

    def stale_cookie(self, now: float) -> None:
        """Our cookie came too late: begin again (RFC 9260 5.2.6)."""
        if self.state is State.COOKIE_ECHOED:
            self.state = State.COOKIE_WAIT
            self.tags = TagPair(self.tags.local, 0)
            retries = self._retries + 1
            self._send_init(now)
            self._retries = retries

    def _send_init(self, now: float) -> None:
        chunk = self._handshake.init().encode()
        self._repeat(self._seal_for(0).close_with_checksum(chunk), now)

    def _establish(self, terms: AssociationTerms, *, is_restart: bool) -> None:
        self._stop()
        self._terms = None
        self.state = State.ESTABLISHED
        self._on_open(terms, is_restart)

    def _terms_by_ack(self, ack: Init) -> AssociationTerms:
        config = self._config
        return AssociationTerms(
            local_initial_tsn=self._handshake.initial_tsn,
            peer_initial_tsn=ack.initial_tsn,
            peer_a_rwnd=ack.a_rwnd,
            outbound_streams=min(config.outbound_streams, ack.inbound_streams),
            inbound_streams=min(config.inbound_streams, ack.outbound_streams),
            abilities=self._handshake.abilities(ack),
        )

    def _terms_by_cookie(self, cookie: StateCookie) -> AssociationTerms:
        return AssociationTerms(
            local_initial_tsn=cookie.local_initial_tsn,
            peer_initial_tsn=cookie.peer_initial_tsn,
            peer_a_rwnd=cookie.peer_a_rwnd,
            outbound_streams=cookie.outbound_streams,
            inbound_streams=cookie.inbound_streams,
            abilities=cookie.abilities,
        )

    # --- ending ----------------------------------------------------------------------------------
    def shutdown(self) -> None:
        """End in order once everything was acknowledged (RFC 9260 9.2)."""
        if self.state is State.ESTABLISHED:
            self.state = State.SHUTDOWN_PENDING
        elif self.state in (State.CLOSED, State.COOKIE_WAIT, State.COOKIE_ECHOED):
            self.abort(None)

    def all_acknowledged(self, cumulative_tsn: int, now: float) -> None:
        """Nothing of ours is outstanding: take the next step of a shutdown.

        Args:
            cumulative_tsn: of what we received, for the SHUTDOWN chunk.
            now: seconds.
        """
        if self.state is State.SHUTDOWN_PENDING:
            self.state = State.SHUTDOWN_SENT
            self._retries = 0
            self._repeat(self.seal.close(shutdown_chunk(cumulative_tsn)), now)
        elif self.state is State.SHUTDOWN_RECEIVED:
            self._send_shutdown_ack(now)

    def data_while_shutting_down(self, cumulative_tsn: int, now: float) -> None:
        """The peer still sends: tell it again how far we are (RFC 9260 9.2)."""
        if self.state is State.SHUTDOWN_SENT:
            self._repeat(self.seal.close(shutdown_chunk(cumulative_tsn)), now)

    def peer_shutdown(self, now: float) -> None:
        """Take a SHUTDOWN (RFC 9260 9.2)."""
        if self.state in (State.ESTABLISHED, State.SHUTDOWN_PENDING):
            self.state = State.SHUTDOWN_RECEIVED
        elif self.state is State.SHUTDOWN_SENT:
            self._send_shutdown_ack(now)

    def shutdown_ack(self, tag: int) -> None:
        """Take a SHUTDOWN ACK; out of the blue it is answered as well (RFC 9260 8.5.1 E)."""
        if self.state in (State.SHUTDOWN_SENT, State.SHUTDOWN_ACK_SENT):
            complete = PlainChunk(kind=ChunkType.SHUTDOWN_COMPLETE).encode()
            self._packets.append(self.seal.close(complete))
            self._end(ShutDown())
        elif self.is_ended:
            complete = PlainChunk(kind=ChunkType.SHUTDOWN_COMPLETE, flags=FLAG_T).encode()
            self._packets.append(self._seal_for(tag).close_with_checksum(complete))

    def shutdown_complete(self) -> None:
        """Take a SHUTDOWN COMPLETE."""
        if self.state is State.SHUTDOWN_ACK_SENT:
            self._end(ShutDown())

    def abort(self, violation: PeerViolation | None, reason: str = "") -> None:
        """End at once and tell the peer, if there is one (RFC 9260 9.1)."""
        if self.is_ended:
            return
        code = violation.code if violation is not None else CauseCode.USER_INITIATED_ABORT
        text = str(violation) if violation is not None else reason
        if self.tags.peer:
            self._packets.append(self.seal.close(abort_chunk(violation, reason)))
        self._end(Aborted(int(code), text, True))

    def peer_abort(self, code: int, reason: str) -> None:
        """Take an ABORT."""
        if self.state is not State.CLOSED:
            self._end(Aborted(code, reason, False))

    def unreachable(self, reason: str) -> None:
        """The peer does not answer any more (RFC 9260 8.1).

        It is told, in case it can hear us: it must not take what came so far for everything. When
        all it owes us is SHUTDOWN COMPLETE, both sides have everything, and the end is in order.
        """
        if self.is_ended:
            return
        if self.state is State.SHUTDOWN_ACK_SENT:
            self._end(ShutDown())
            return
        if self.tags.peer:
            self._packets.append(self.seal.close(abort_chunk(None, f"no answer: {reason}")))
        self._end(PeerUnreachableEvent(reason))

    def _send_shutdown_ack(self, now: float) -> None:
        self.state = State.SHUTDOWN_ACK_SENT
        self._retries = 0
        chunk = PlainChunk(kind=ChunkType.SHUTDOWN_ACK).encode()
        self._repeat(self.seal.close(chunk), now)

    def _end(self, event: AssociationEvent) -> None:
        self._stop()
        self.state = State.CLOSED
        self.is_ended = True
        self._on_end(event)

    # --- T1 and T2 -------------------------------------------------------------------------------
    def handle_timer(self, now: float) -> bool:
        """Repeat INIT, COOKIE ECHO, SHUTDOWN or SHUTDOWN ACK; give up after too many.

        Returns:
            Something was repeated.
        """
        if self.timer_s is None or now < self.timer_s:
            return False
        if self.state is State.CLOSED:
            self.connect(now)
            return False
        self._retries += 1
        is_setup = self.state in (State.COOKIE_WAIT, State.COOKIE_ECHOED)
        most = self._config.max_init_retrans if is_setup else self._config.max_retrans
        if self._retries > most:
            self.unreachable(f"no answer in state {self.state.value}")
            return False
        longer_s = min(self._timeout_s * 2, self._config.repeat_limit_s)
        self._timeout_s = max(self._timeout_s, longer_s)
        self._packets.append(self._repeated)
        self.timer_s = now + self._timeout_s
        return True

    def set_timeout(self, timeout_s: float) -> None:
        """Use a measured time-out for the repetitions of a shutdown."""
        self._timeout_s = timeout_s

    def _repeat(self, packet: bytes, now: float) -> None:
        self._repeated = packet
        self._packets.append(packet)
        self.timer_s = now + self._timeout_s

    def _stop(self) -> None:
        self.timer_s = None
        self._repeated = b""
        self._retries = 0

    # --- packets ---------------------------------------------------------------------------------
    def _set_peer(self, tag: int) -> None:
        self.tags = TagPair(self.tags.local, tag)
        self.seal = self._seal_for(tag)

    def _seal_for(self, tag: int) -> Seal:
        return Seal(self._config.local_port, self._config.remote_port, tag)


def shutdown_chunk(cumulative_tsn: int) -> bytes:
    """Return a SHUTDOWN chunk."""
    return PlainChunk(kind=ChunkType.SHUTDOWN, value=cumulative_tsn.to_bytes(4, "big")).encode()


def abort_chunk(violation: PeerViolation | None, reason: str = "") -> bytes:
    """Return an ABORT with the cause of a violation, or a user-initiated one."""
    code, text = CauseCode.USER_INITIATED_ABORT, reason
    if violation is not None:
        code, text = violation.code, str(violation)
    cause = Tlv(code, text.encode()[:MAX_REASON_BYTES])
    return CauseChunk(kind=ChunkType.ABORT, items=(cause,)).encode()


def read_abort(value: bytes) -> tuple[int, str]:
    """Return the code and the text of an ABORT's first cause; 0 and "" when there is none."""
    if len(value) < 4:
        return 0, ""
    size = int.from_bytes(value[2:4], "big")
    text = value[4 : max(4, min(size, MAX_REASON_BYTES))].decode("utf-8", "replace")
    return int.from_bytes(value[:2], "big"), text
