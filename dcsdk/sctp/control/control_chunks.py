"""Everything in a packet that is neither DATA nor SACK, and packets that do not look like ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dcsdk.errors import ParseError
from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.base.events import AssociationEvent, PeerError
from dcsdk.sctp.control.heartbeat import Heartbeat
from dcsdk.sctp.control.lifecycle import Lifecycle, read_abort
from dcsdk.sctp.control.reset import StreamResets
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.sending.sender import Sender
from dcsdk.sctp.wire.chunks import (
    CHUNK_HEADER,
    FLAG_T,
    ChunkType,
    decode_forward_tsn,
    decode_i_forward_tsn,
    encode_chunk,
)
from dcsdk.sctp.wire.cookie import PeerAbilities
from dcsdk.sctp.wire.packet import COMMON_HEADER, COMMON_HEADER_SIZE, Seal
from dcsdk.sctp.wire.parameters import CauseCode, PeerViolation, decode_tlvs

MAX_REPORTED_CHUNK = 128
"""Bytes of an unknown chunk that are sent back in an ERROR."""

MAX_PEER_ERRORS = 8
"""Causes of one ERROR chunk that become events."""


class ChunkTarget(Protocol):
    """The association, as the control chunks change it."""

    @property
    def config(self) -> SctpConfig:
        """Its limits, sizes and timers."""

    @property
    def sender(self) -> Sender | None:
        """Its sending half, once established."""

    @property
    def receiver(self) -> Receiver | None:
        """Its receiving half, once established."""

    @property
    def resets(self) -> StreamResets | None:
        """Its stream resets, once established."""

    @property
    def is_receiving(self) -> bool:
        """Data is taken in this state."""

    def queue_chunk(self, chunk: bytes) -> None:
        """Have a control chunk sent with the next packets."""

    def report(self, code: int, info: bytes) -> None:
        """Have an ERROR sent."""

    def push_event(self, event: AssociationEvent) -> None:
        """Tell the owner."""

    def alive(self, now: float) -> None:
        """The peer answered a heartbeat."""

    def state_changed(self, now: float) -> None:
        """Follow the life cycle."""


class ControlChunks:
    """Hands control chunks to the part that understands them.

    Args:
        association: gets chunks to send and events.
        lifecycle: set-up and end.
        heartbeat: takes the answers.

    Attributes:
        abilities: what both sides understand, once established.
    """

    __slots__ = (
        "_association",
        "_heartbeat",
        "_lifecycle",
        "abilities",
    )

    def __init__(
        self, association: ChunkTarget, lifecycle: Lifecycle, heartbeat: Heartbeat
    ) -> None:
        self._association = association
        self._lifecycle = lifecycle
        self._heartbeat = heartbeat
        self.abilities = PeerAbilities()

    @property
    def is_reset_supported(self) -> bool:
        """The peer understands RE-CONFIG."""
        return self.abilities.is_reset_supported

    def receive(self, packet: bytes, position: int, end: int, now: float) -> int:
        """Take the chunk at ``position`` of a packet with our tag.

        Returns:
            The position after it; ``end`` when the rest is not to be read.

        Raises:
            ParseError: malformed; the rest of the packet is dropped.
            PeerViolation: the association cannot go on.
        """
        kind, flags, size = CHUNK_HEADER.unpack_from(packet, position)
        stop = position + size
        if size < 4 or stop > end:
            raise ParseError(f"chunk of {size} bytes does not fit", source="RFC 9260 3.2")
        handler = _HANDLERS.get(kind)
        if handler is None:
            if kind & 0x40:
                chunk = packet[position : min(stop, position + MAX_REPORTED_CHUNK)]
                self._association.report(CauseCode.UNRECOGNIZED_CHUNK_TYPE, chunk)
            return (stop + 3) & ~3 if kind & 0x80 else end
        is_alone = position == COMMON_HEADER_SIZE and (stop + 3) & ~3 >= end
        if kind in (ChunkType.INIT_ACK, ChunkType.SHUTDOWN_COMPLETE) and not is_alone:
            raise ParseError("INIT ACK or SHUTDOWN COMPLETE is not alone", source="RFC 9260 6.10")
        if kind == ChunkType.COOKIE_ECHO and position != COMMON_HEADER_SIZE:
            raise ParseError("COOKIE ECHO is not the first chunk", source="RFC 9260 5.1")
        before = self._lifecycle.state
        handler(self, flags, packet[position + 4 : stop], now)
        if self._lifecycle.state is not before:
            self._association.state_changed(now)
        return end if self._lifecycle.is_ended else (stop + 3) & ~3

    def receive_stray(self, packet: bytes, now: float) -> None:
        """Take a packet without our tag or with a wrong checksum (RFC 9260 8.4, 8.5.1).

        Raises:
            ParseError: it is good for nothing and was dropped.
        """
        config, lifecycle = self._association.config, self._lifecycle
        source, destination, tag, _ = COMMON_HEADER.unpack_from(packet)
        if (source, destination) != (config.remote_port, config.local_port):
            raise ParseError("packet for another association", source="RFC 9260 8.4")
        if not Seal(source, destination, tag).is_intact(packet):
            raise ParseError("wrong checksum", source="RFC 9260 6.8")
        kind, flags, size = CHUNK_HEADER.unpack_from(packet, COMMON_HEADER_SIZE)
        stop = COMMON_HEADER_SIZE + size
        if size < 4 or stop > len(packet):
            raise ParseError(f"chunk of {size} bytes does not fit", source="RFC 9260 3.2")
        value = packet[COMMON_HEADER_SIZE + 4 : stop]
        is_alone = (stop + 3) & ~3 >= len(packet)
        is_reflected = bool(flags & FLAG_T) and 0 < tag == lifecycle.tags.peer
        if kind == ChunkType.INIT and not tag and is_alone:
            lifecycle.init(value, now)
        elif kind == ChunkType.COOKIE_ECHO:
            lifecycle.cookie_echo(value, tag, now)
        elif kind == ChunkType.ABORT and is_reflected:
            lifecycle.peer_abort(*read_abort(value))
        elif kind == ChunkType.SHUTDOWN_COMPLETE and is_reflected and is_alone:
            lifecycle.shutdown_complete()
        elif kind == ChunkType.SHUTDOWN_ACK and lifecycle.is_ended:
            lifecycle.shutdown_ack(tag)
        else:
            raise ParseError("wrong verification tag", source="RFC 9260 8.5")
        self._association.state_changed(now)

    # --- set-up and end --------------------------------------------------------------------------
    def _init_with_tag(self, flags: int, value: bytes, now: float) -> None:
        raise ParseError("INIT with a verification tag", source="RFC 9260 8.5.1 A")

    def _init_ack(self, flags: int, value: bytes, now: float) -> None:
        self._lifecycle.init_ack(value, now)

    def _cookie_echo(self, flags: int, value: bytes, now: float) -> None:
        if not self._lifecycle.cookie_echo(value, self._lifecycle.tags.local, now):
            raise ParseError("the cookie is of no use", source="RFC 9260 5.2.4")

    def _cookie_ack(self, flags: int, value: bytes, now: float) -> None:
        self._lifecycle.cookie_ack()

    def _abort(self, flags: int, value: bytes, now: float) -> None:
        self._lifecycle.peer_abort(*read_abort(value))

    def _shutdown(self, flags: int, value: bytes, now: float) -> None:
        if len(value) != 4:
            raise ParseError("SHUTDOWN has a wrong length", source="RFC 9260 3.3.8")
        if self._association.sender is not None and self._lifecycle.is_open:
            self._association.sender.acknowledge_through(int.from_bytes(value, "big"), now)
            self._lifecycle.peer_shutdown(now)

    def _shutdown_ack(self, flags: int, value: bytes, now: float) -> None:
        self._lifecycle.shutdown_ack(self._lifecycle.tags.peer)

    def _shutdown_complete(self, flags: int, value: bytes, now: float) -> None:
        self._lifecycle.shutdown_complete()

    def _error(self, flags: int, value: bytes, now: float) -> None:
        for cause in decode_tlvs(value)[:MAX_PEER_ERRORS]:
            if cause.kind == CauseCode.STALE_COOKIE:
                self._lifecycle.stale_cookie(now)
            elif self._lifecycle.is_open:
                self._association.push_event(PeerError(cause.kind, cause.value))

    # --- while established -----------------------------------------------------------------------
    def _ignore(self, flags: int, value: bytes, now: float) -> None:
        """PAD, and SACK before the association is established."""

    def _misplaced_data(self, flags: int, value: bytes, now: float) -> None:
        """Data in a state that takes none is thrown away; the wrong kind ends the association."""
        receiver = self._association.receiver
        if receiver is not None and self._association.is_receiving:
            raise PeerViolation(
                "DATA and I-DATA must not be mixed with what was negotiated",
                source="RFC 8260 2.2.1",
            )

    def _heartbeat_request(self, flags: int, value: bytes, now: float) -> None:
        if self._lifecycle.is_open:
            self._heartbeat.asked(value, now)
            self._association.queue_chunk(encode_chunk(ChunkType.HEARTBEAT_ACK, 0, value))

    def _heartbeat_ack(self, flags: int, value: bytes, now: float) -> None:
        if self._heartbeat.acknowledged(value, now):
            self._association.alive(now)

    def _re_config(self, flags: int, value: bytes, now: float) -> None:
        if self._association.resets is not None and self._lifecycle.is_open:
            self._association.resets.receive(value, now)

    def _forward_tsn(self, flags: int, value: bytes, now: float) -> None:
        receiver = self._association.receiver
        if receiver is None or not self._association.is_receiving:
            return
        if not self.abilities.is_partial_reliability or receiver.is_interleaving:
            raise PeerViolation("FORWARD TSN was not negotiated", source="RFC 3758 3.3.1")
        receiver.forward_tsn(decode_forward_tsn(value))

    def _i_forward_tsn(self, flags: int, value: bytes, now: float) -> None:
        receiver = self._association.receiver
        if receiver is None or not self._association.is_receiving:
            return
        if not self.abilities.is_partial_reliability or not receiver.is_interleaving:
            raise PeerViolation("I-FORWARD-TSN was not negotiated", source="RFC 8260 2.3.1")
        receiver.i_forward_tsn(decode_i_forward_tsn(value))


_HANDLERS: dict[int, Callable[[ControlChunks, int, bytes, float], None]] = {
    ChunkType.DATA: ControlChunks._misplaced_data,
    ChunkType.SACK: ControlChunks._ignore,
    ChunkType.I_DATA: ControlChunks._misplaced_data,
    ChunkType.INIT: ControlChunks._init_with_tag,
    ChunkType.INIT_ACK: ControlChunks._init_ack,
    ChunkType.HEARTBEAT: ControlChunks._heartbeat_request,
    ChunkType.HEARTBEAT_ACK: ControlChunks._heartbeat_ack,
    ChunkType.ABORT: ControlChunks._abort,
    ChunkType.SHUTDOWN: ControlChunks._shutdown,
    ChunkType.SHUTDOWN_ACK: ControlChunks._shutdown_ack,
    ChunkType.ERROR: ControlChunks._error,
    ChunkType.COOKIE_ECHO: ControlChunks._cookie_echo,
    ChunkType.COOKIE_ACK: ControlChunks._cookie_ack,
    ChunkType.SHUTDOWN_COMPLETE: ControlChunks._shutdown_complete,
    ChunkType.RE_CONFIG: ControlChunks._re_config,
    ChunkType.PAD: ControlChunks._ignore,
    ChunkType.FORWARD_TSN: ControlChunks._forward_tsn,
    ChunkType.I_FORWARD_TSN: ControlChunks._i_forward_tsn,
}
