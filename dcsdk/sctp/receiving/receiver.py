"""The receiving half: which TSNs came, how much window is left, and the SACK that says so.

The hot path is :meth:`Receiver.data`: the expected TSN, no gap open. Everything else goes through
:meth:`Receiver._take_disordered`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from dcsdk.errors import ParseError
from dcsdk.sctp.base.events import AssociationEvent, MessageRefused, RawMessage
from dcsdk.sctp.base.tsn import MASK, TsnRanges, unwrap
from dcsdk.sctp.receiving.interleaving import InterleavedAssembler
from dcsdk.sctp.receiving.reassembly import WHOLE, DataAssembler
from dcsdk.sctp.receiving.streams import MESSAGE_OVERHEAD, MID_MASK, SSN_MASK, InboundStreams
from dcsdk.sctp.wire.chunks import (
    CHUNK_HEADER,
    DATA,
    DATA_KEY_HEADER,
    FLAG_IMMEDIATE,
    FLAG_UNORDERED,
    I_DATA,
    I_DATA_KEY_HEADER,
    SACK,
    SACK_HEADER,
    ForwardTsn,
    IForwardTsn,
)
from dcsdk.sctp.wire.parameters import CauseCode, PeerViolation

_I_DATA_RUN = struct.Struct("!16sLQL")  # common header and chunk header; what differs after them
_GAP = struct.Struct("!HH")

MAX_RUN = 64
"""Packets looked at together; more take another turn."""

MAX_TSN_AHEAD = 65_535
"""A TSN further above the cumulative one cannot be reported in a SACK, so it is not taken."""

MAX_GAP_RANGES = 2048
"""Separate ranges kept above the cumulative TSN; a chunk that would make one more is dropped."""

MAX_DUPLICATES = 32
"""Duplicate TSNs reported in one SACK."""

MAX_INVALID_STREAMS = 8
"""ERROR causes for invalid streams collected between two packets."""


class Receiver:
    """Takes DATA or I-DATA and FORWARD TSN, delivers messages, writes SACKs.

    Args:
        initial_tsn: the peer's first TSN.
        window: a_rwnd when everything was read, bytes.
        max_message_size: largest message, bytes; at most ``window``.
        stream_count: incoming ids are below this.
        is_interleaving: the association uses I-DATA.
        events: where messages go.

    Attributes:
        is_interleaving: as given.
        is_sack_urgent: the next SACK must not be delayed (RFC 9260 6.7).
        refused_streams: streams whose message was too large; the owner resets them.
        invalid_streams: ids beyond ``stream_count`` since the owner last looked.
        duplicate_count: TSNs that came more than once, ever.
        dropped_count: chunks thrown away for lack of room, ever.
    """

    __slots__ = (
        "_advertised",
        "_assembler",
        "_cumulative",
        "_data",
        "_deliver",
        "_duplicates",
        "_events",
        "_expected",
        "_i_data",
        "_is_careful",
        "_is_full",
        "_key_limit",
        "_largest",
        "_max_message_size",
        "_ranges",
        "_stream_count",
        "_window",
        "dropped_count",
        "duplicate_count",
        "invalid_streams",
        "is_interleaving",
        "is_sack_urgent",
        "refused_streams",
        "streams",
    )

    def __init__(
        self,
        *,
        initial_tsn: int,
        window: int,
        max_message_size: int,
        stream_count: int,
        is_interleaving: bool,
        events: list[AssociationEvent | RawMessage],
    ) -> None:
        self._expected = initial_tsn  # as on the wire
        self._cumulative = initial_tsn - 1  # never wraps; exact only after _synchronize()
        self._ranges = TsnRanges()
        self._is_careful = False  # a gap is open, or the window is full
        self._key_limit = stream_count << 48
        self._is_full = False
        self.is_interleaving = is_interleaving
        self._window = window
        self._max_message_size = max_message_size
        self._largest = max_message_size + 16  # chunk that surely holds no larger message
        self._stream_count = stream_count
        self._events = events
        self.streams = InboundStreams(events, MID_MASK if is_interleaving else SSN_MASK)
        self._deliver = self.streams.deliver
        # Only the one in use is there; chunks of the other kind do not get here.
        self._assembler: DataAssembler | InterleavedAssembler
        if is_interleaving:
            self._i_data = InterleavedAssembler(self.streams, max_message_size, self._refuse)
            self._assembler = self._i_data
        else:
            self._data = DataAssembler(self.streams, max_message_size, self._refuse)
            self._assembler = self._data
        self._duplicates: list[int] = []
        self._advertised = window
        self.is_sack_urgent = False
        self.refused_streams: list[int] = []
        self.invalid_streams: list[int] = []
        self.duplicate_count = 0
        self.dropped_count = 0

    # --- window ----------------------------------------------------------------------------------
    @property
    def buffered(self) -> int:
        """Bytes of window in use: unread, waiting for their turn, or incomplete."""
        return self.streams.unread + self.streams.held + self._assembler.held

    @property
    def window(self) -> int:
        """The a_rwnd to advertise, bytes.

        When the application has read all there is, only incomplete messages fill the window; then
        room for one message stays open, or they could never be completed.
        """
        room = max(0, self._window - self.buffered)
        if not self.streams.unread and room < self._max_message_size:
            return min(self._max_message_size, self._window)
        return room

    def begin_batch(self) -> None:
        """Look at the window once for all packets of a batch.

        Raises:
            PeerViolation: incomplete messages alone are more than the window and a message.
        """
        assembler = self._assembler
        if assembler.key != -1:
            assembler.suspend()
        buffered = self.buffered
        self._is_full = buffered >= self._window
        if self._is_full and not self.streams.unread:
            if buffered >= 2 * self._window + self._max_message_size:
                raise PeerViolation(
                    "incomplete messages exceed every window that was advertised",
                    code=CauseCode.OUT_OF_RESOURCE,
                    source="RFC 9260 6.2",
                )
            self._is_full = False
        self._is_careful = self._is_full or len(self._ranges.starts) > 0

    def consumed(self, size_bytes: int, count: int) -> bool:
        """The application read messages; tell whether the peer should hear of it at once.

        The peer hears when the window it knows was small and has at least doubled (receiver side
        silly window avoidance, RFC 9260 6.2.1).
        """
        streams = self.streams
        streams.unread = max(0, streams.unread - size_bytes - count * MESSAGE_OVERHEAD)
        advertised = self._advertised
        return advertised < self._window >> 1 and self.window >= advertised + (self._window >> 2)

    # --- chunks ----------------------------------------------------------------------------------
    def data(self, packet: bytes, position: int, end: int) -> int:
        """Take the DATA chunks that begin at ``position``.

        Returns:
            The position after the last of them.

        Raises:
            ParseError: a chunk does not fit into the packet.
            PeerViolation: the association cannot go on.
        """
        assembler = self._data
        while position < end and packet[position] == DATA:
            _, flags, size, tsn, key = DATA_KEY_HEADER.unpack_from(packet, position)
            stop = position + size
            if (
                tsn != self._expected
                or self._is_careful
                or size <= 16
                or stop > end
                or key >= self._key_limit
            ):
                self._take_unexpected(packet, position, end)
            elif key == assembler.key and flags == assembler.flags:
                self._expected = (tsn + 1) & MASK
                assembler.parts.append(packet[position + 16 : stop])
                assembler.cost += size
            elif flags == WHOLE and assembler.key == -1 and size <= self._largest:
                self._expected = (tsn + 1) & MASK
                self._deliver(
                    key >> 48, key >> 32 & 0xFFFF, key & MASK, packet[position + 16 : stop], 0
                )
            else:
                self._expected = (tsn + 1) & MASK
                flags = self._without_immediate(flags)
                assembler.take(flags, key, packet[position + 16 : stop])
            position = (stop + 3) & ~3
        return position

    def i_data(self, packet: bytes, position: int, end: int) -> int:
        """Take the I-DATA chunks that begin at ``position``; see :meth:`data`."""
        assembler = self._i_data
        while position < end and packet[position] == I_DATA:
            _, flags, size, tsn, key, number = I_DATA_KEY_HEADER.unpack_from(packet, position)
            stop = position + size
            if (
                tsn != self._expected
                or self._is_careful
                or size <= 20
                or stop > end
                or key >= self._key_limit
            ):
                self._take_unexpected(packet, position, end)
            elif key == assembler.key and flags == assembler.flags and number == assembler.number:
                self._expected = (tsn + 1) & MASK
                assembler.parts.append(packet[position + 20 : stop])
                assembler.cost += size - 4
                assembler.number = number + 1
            elif flags == WHOLE and size <= self._largest:
                self._expected = (tsn + 1) & MASK
                self._deliver(key >> 48, key & MASK, number, packet[position + 20 : stop], 0)
            else:
                self._expected = (tsn + 1) & MASK
                flags = self._without_immediate(flags)
                assembler.take(flags, key, number, packet[position + 20 : stop])
            position = (stop + 3) & ~3
        return position

    def i_data_run(self, head: bytes, packets: Sequence[bytes], index: int) -> int:
        """Take packets that each hold the next fragment of the message under way and nothing else.

        :meth:`i_data` would do the same with each. Between such packets only TSN and fragment
        number differ, so the headers to come are known, and compared as bytes.

        Args:
            head: common header of the packets, without a checksum (RFC 9653 5.3).
            packets: the batch.
            index: of the first that may be taken.

        Returns:
            How many were taken.
        """
        assembler = self._i_data
        size = len(packets[index]) if index < len(packets) else 0
        if assembler.key == -1 or self._is_careful or not 32 < size < 1 << 16:
            return 0
        same = head + CHUNK_HEADER.pack(I_DATA, assembler.flags, size - 12)
        tsn, key, number = self._expected, assembler.key, assembler.number
        header, append, taken = _I_DATA_RUN.pack, assembler.parts.append, 0
        for packet in packets[index : index + MAX_RUN]:
            if packet[:32] != header(same, tsn, key, number) or len(packet) != size:
                break
            append(packet[32:])
            tsn, number, taken = (tsn + 1) & MASK, number + 1, taken + 1
        self._expected, assembler.number = tsn, number
        assembler.cost += taken * (size - 16)
        return taken

    def _without_immediate(self, flags: int) -> int:
        """Heed the I bit: the sender waits for the SACK (RFC 9260 3.3.1, RFC 7053)."""
        if flags & FLAG_IMMEDIATE:
            self.is_sack_urgent = True
        return flags & (WHOLE | FLAG_UNORDERED)

    def _take_unexpected(self, packet: bytes, position: int, end: int) -> None:
        """Take one DATA or I-DATA chunk off the hot path."""
        header = (I_DATA_KEY_HEADER if self.is_interleaving else DATA_KEY_HEADER).size
        _, flags, size, tsn, key = DATA_KEY_HEADER.unpack_from(packet, position)
        stop = position + size
        if stop > end or size < header:
            raise ParseError(f"data chunk of {size} bytes does not fit", source="RFC 9260 3.2")
        if size == header:
            raise PeerViolation(
                f"chunk with TSN {tsn} holds no data",
                code=CauseCode.NO_USER_DATA,
                source="RFC 9260 6.2",
            )
        if not self._accept(tsn, key >> 48):
            return
        number = unwrap(tsn, self._cumulative)
        flags = self._without_immediate(flags)
        data = packet[position + header : stop]
        if self.is_interleaving:
            self._mark(number)
            ppid_or_fragment = int.from_bytes(packet[position + 16 : position + 20], "big")
            self._i_data.take(flags, key, ppid_or_fragment, data)
        elif number != self._cumulative + 1:
            self._mark(number)
            self._data.take_early(number, flags, key, data)
        else:
            first, last = self._mark(number)
            self._data.take(flags, key, data)
            self._data.absorb(first, last)

    def forward_tsn(self, chunk: ForwardTsn) -> None:
        """The peer gave messages up: move past them (RFC 3758 3.6)."""
        target = self._forward_target(chunk.new_cumulative_tsn)
        if target is None:
            return
        self._data.skip(self._cumulative + 1, target)
        for stream_id, sequence in chunk.skipped:
            if stream_id < self._stream_count:
                self.streams.skip(stream_id, sequence)
        self._advance_to(target)

    def i_forward_tsn(self, chunk: IForwardTsn) -> None:
        """Like :meth:`forward_tsn`, with message ids (RFC 8260 2.3.1)."""
        target = self._forward_target(chunk.new_cumulative_tsn)
        if target is None:
            return
        for stream_id, is_unordered, message_id in chunk.skipped:
            if stream_id < self._stream_count:
                self._i_data.skip_message(stream_id, message_id, bool(is_unordered))
                if not is_unordered:
                    self.streams.skip(stream_id, message_id)
        self._advance_to(target)

    def is_received(self, tsn: int) -> bool:
        """Tell whether everything up to ``tsn`` (as on the wire) came."""
        self._synchronize()
        return unwrap(tsn, self._cumulative) <= self._cumulative

    @property
    def cumulative_tsn(self) -> int:
        """The cumulative TSN as on the wire."""
        return (self._expected - 1) & MASK

    def reset_streams(self, stream_ids: tuple[int, ...]) -> None:
        """The peer's outgoing streams begin anew (RFC 6525 5.2.2)."""
        self._assembler.reset(stream_ids)
        self.streams.reset(stream_ids)

    def sack(self, room: int) -> bytes:
        """Return a SACK chunk of at most ``room`` bytes, and count it as sent."""
        advertised = self._advertised = self.window
        self.is_sack_urgent = False
        cumulative = (self._expected - 1) & MASK
        if not self._ranges.starts and not self._duplicates:
            return SACK_HEADER.pack(SACK, 0, 16, cumulative, advertised, 0, 0)
        self._synchronize()
        most = (room - 16) // 4
        gaps = list(self._ranges)[:most]
        duplicates = self._duplicates[: most - len(gaps)]
        self._duplicates.clear()
        parts = [
            SACK_HEADER.pack(
                SACK,
                0,
                16 + 4 * (len(gaps) + len(duplicates)),
                cumulative,
                advertised,
                len(gaps),
                len(duplicates),
            )
        ]
        parts += [_GAP.pack(a - self._cumulative, b - self._cumulative) for a, b in gaps]
        parts += [tsn.to_bytes(4, "big") for tsn in duplicates]
        return b"".join(parts)

    # --- out of order ----------------------------------------------------------------------------
    def _synchronize(self) -> None:
        self._cumulative += (self._expected - 1 - self._cumulative) & MASK

    def _accept(self, tsn: int, stream_id: int) -> bool:
        """Decide on a chunk off the hot path; what is not taken is reported or dropped."""
        self._synchronize()
        number = unwrap(tsn, self._cumulative)
        self.is_sack_urgent = True
        if number <= self._cumulative or number in self._ranges:
            self.duplicate_count += 1
            if len(self._duplicates) < MAX_DUPLICATES:
                self._duplicates.append(tsn)
            return False
        ahead = number - self._cumulative
        if (
            ahead > MAX_TSN_AHEAD
            or len(self._ranges) >= MAX_GAP_RANGES
            or self._is_full
            or (ahead > 1 and self.buffered > self._window)
        ):
            self.dropped_count += 1
            return False
        if stream_id >= self._stream_count:
            # RFC 9260 6.5: acknowledge, report, throw away.
            if len(self.invalid_streams) < MAX_INVALID_STREAMS:
                self.invalid_streams.append(stream_id)
            self._mark(number)
            return False
        return True

    def _mark(self, number: int) -> tuple[int, int]:
        """Record a TSN; return the range by which the cumulative TSN jumped over early ones."""
        ranges = self._ranges
        if number != self._cumulative + 1:
            ranges.add(number, number)
            self._is_careful = True
            return (0, -1)
        early = (0, -1)
        if ranges.starts and ranges.starts[0] == number + 1:
            early = (number + 1, ranges.ends[0])
            number = ranges.ends[0]
            ranges.remove_through(number)
        self._cumulative = number
        self._expected = (number + 1) & MASK
        self._is_careful = self._is_full or bool(ranges.starts)
        return early

    def _forward_target(self, wire: int) -> int | None:
        self._synchronize()
        self.is_sack_urgent = True
        target = unwrap(wire, self._cumulative)
        if target <= self._cumulative:
            return None
        if target - self._cumulative > MAX_TSN_AHEAD:
            raise PeerViolation(
                f"FORWARD TSN jumps over {target - self._cumulative} TSNs", source="RFC 3758 3.6"
            )
        return target

    def _advance_to(self, target: int) -> None:
        ranges = self._ranges
        ranges.remove_through(target)
        first, last = 0, -1
        if ranges.starts and ranges.starts[0] == target + 1:
            first, last = target + 1, ranges.ends[0]
            target = last
            ranges.remove_through(target)
        self._cumulative = target
        self._expected = (target + 1) & MASK
        self._is_careful = self._is_full or bool(ranges.starts)
        if not self.is_interleaving:
            self._data.absorb(first, last)

    def _refuse(self, stream_id: int, size_bytes: int) -> None:
        if self.streams.is_refusing(stream_id):
            return
        self.streams.refuse(stream_id)
        self.refused_streams.append(stream_id)
        self._events.append(MessageRefused(stream_id, size_bytes))
