"""The receiving half: which TSNs came, how much window is left, and the SACK that says so.

What is in order need not come through here: see :mod:`.short_ways`.
"""

from __future__ import annotations

import struct

from dcsdk.errors import ParseError
from dcsdk.sctp.base.events import AssociationEvent, MessageRefused, RawMessage
from dcsdk.sctp.base.tsn import MASK, TsnRanges, unwrap
from dcsdk.sctp.receiving.interleaving import InterleavedAssembler
from dcsdk.sctp.receiving.reassembly import WHOLE, DataAssembler
from dcsdk.sctp.receiving.streams import MESSAGE_OVERHEAD, MID_MASK, SSN_MASK, InboundStreams
from dcsdk.sctp.wire.chunks import (
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

_GAP = struct.Struct("!HH")

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
        chunk_type: DATA or I-DATA.
        expected: the TSN after the cumulative one, as on the wire.
        key_limit: keys of chunks (see the assemblers) on streams that exist are below this.
        is_careful: a gap is open, or the window is full.
        ranges: TSNs that came above the cumulative one.
        duplicates: TSNs to report in the next SACK, as on the wire.
        streams: where whole messages go; it hands them on.
        data_assembler: of DATA; only that of the kind in use is there.
        i_data_assembler: of I-DATA.
        advertised: the a_rwnd of the last SACK, bytes.
        is_sack_urgent: the next SACK must not be delayed (RFC 9260 6.7).
        refused_streams: streams whose message was too large; the owner resets them.
        invalid_streams: ids beyond ``stream_count`` since the owner last looked.
        duplicate_count: TSNs that came more than once, ever.
        dropped_count: chunks thrown away for lack of room, ever.
    """

    __slots__ = (
        "_assembler",
        "_cumulative",
        "_events",
        "_is_full",
        "_max_message_size",
        "_stream_count",
        "_window",
        "advertised",
        "chunk_type",
        "data_assembler",
        "dropped_count",
        "duplicate_count",
        "duplicates",
        "expected",
        "i_data_assembler",
        "invalid_streams",
        "is_careful",
        "is_interleaving",
        "is_sack_urgent",
        "key_limit",
        "ranges",
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
        self.expected = initial_tsn
        self._cumulative = initial_tsn - 1  # never wraps; exact only after _synchronize()
        self.ranges = TsnRanges()
        self.is_careful = False
        self.key_limit = stream_count << 48
        self._is_full = False
        self.is_interleaving = is_interleaving
        self.chunk_type = I_DATA if is_interleaving else DATA
        self._window = window
        self._max_message_size = max_message_size
        self._stream_count = stream_count
        self._events = events
        self.streams = InboundStreams(events, MID_MASK if is_interleaving else SSN_MASK)
        self._assembler: DataAssembler | InterleavedAssembler
        if is_interleaving:
            self.i_data_assembler = InterleavedAssembler(
                self.streams, max_message_size, self._refuse
            )
            self._assembler = self.i_data_assembler
        else:
            self._assembler = self.data_assembler = DataAssembler(
                self.streams, max_message_size, self._refuse
            )
        self.duplicates: list[int] = []
        self.advertised = window
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
        self.is_careful = self._is_full or len(self.ranges.starts) > 0

    def consumed(self, size_bytes: int, count: int) -> bool:
        """The application read messages; tell whether the peer should hear of it at once.

        The peer hears when the window it knows was small and has at least doubled (receiver side
        silly window avoidance, RFC 9260 6.2.1).
        """
        streams = self.streams
        streams.unread = max(0, streams.unread - size_bytes - count * MESSAGE_OVERHEAD)
        advertised = self.advertised
        return advertised < self._window >> 1 and self.window >= advertised + (self._window >> 2)

    # --- chunks ----------------------------------------------------------------------------------
    def data(self, packet: bytes, position: int, end: int) -> int:
        """Take the DATA or I-DATA chunks that begin at ``position``.

        Returns:
            The position after the last of them.

        Raises:
            ParseError: a chunk does not fit into the packet.
            PeerViolation: the association cannot go on.
        """
        while position < end and packet[position] == self.chunk_type:
            position = self.take_chunk(packet, position, end)
        return position

    def without_immediate(self, flags: int) -> int:
        """Heed the I bit: the sender waits for the SACK (RFC 9260 3.3.1, RFC 7053)."""
        if flags & FLAG_IMMEDIATE:
            self.is_sack_urgent = True
        return flags & (WHOLE | FLAG_UNORDERED)

    def take_chunk(self, packet: bytes, position: int, end: int) -> int:
        """Take the DATA or I-DATA chunk at ``position``; see :meth:`data`."""
        header = (I_DATA_KEY_HEADER if self.is_interleaving else DATA_KEY_HEADER).size
        fields: tuple[int, int, int, int, int] = DATA_KEY_HEADER.unpack_from(packet, position)
        _, flags, size, tsn, key = fields
        stop = position + size
        if stop > end or size < header:
            raise ParseError(f"data chunk of {size} bytes does not fit", source="RFC 9260 3.2")
        if size == header:
            raise PeerViolation(
                f"chunk with TSN {tsn} holds no data",
                code=CauseCode.NO_USER_DATA,
                source="RFC 9260 6.2",
            )
        if self._accept(tsn, key >> 48):
            number = unwrap(tsn, self._cumulative)
            flags = self.without_immediate(flags)
            data = packet[position + header : stop]
            if self.is_interleaving:
                self._mark(number)
                ppid_or_fragment = int.from_bytes(packet[position + 16 : position + 20], "big")
                self.i_data_assembler.take(flags, key, ppid_or_fragment, data)
            elif number != self._cumulative + 1:
                self._mark(number)
                self.data_assembler.take_early(number, flags, key, data)
            else:
                first, last = self._mark(number)
                self.data_assembler.take(flags, key, data)
                self.data_assembler.absorb(first, last)
        return (stop + 3) & ~3

    def forward_tsn(self, chunk: ForwardTsn) -> None:
        """The peer gave messages up: move past them (RFC 3758 3.6)."""
        target = self._forward_target(chunk.new_cumulative_tsn)
        if target is None:
            return
        self.data_assembler.skip(self._cumulative + 1, target)
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
                self.i_data_assembler.skip_message(stream_id, message_id, bool(is_unordered))
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
        return (self.expected - 1) & MASK

    def reset_streams(self, stream_ids: tuple[int, ...]) -> None:
        """The peer's outgoing streams begin anew (RFC 6525 5.2.2)."""
        self._assembler.reset(stream_ids)
        self.streams.reset(stream_ids)

    def sack(self, room: int) -> bytes:
        """Return a SACK chunk of at most ``room`` bytes, and count it as sent."""
        advertised = self.advertised = self.window
        self.is_sack_urgent = False
        self._synchronize()
        most = (room - 16) // 4
        gaps = list(self.ranges)[:most]
        duplicates = self.duplicates[: most - len(gaps)]
        self.duplicates.clear()
        parts = [
            SACK_HEADER.pack(
                SACK,
                0,
                16 + 4 * (len(gaps) + len(duplicates)),
                self.cumulative_tsn,
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
        self._cumulative += (self.expected - 1 - self._cumulative) & MASK

    def _accept(self, tsn: int, stream_id: int) -> bool:
        """Decide on a chunk; what is not taken is reported or dropped."""
        self._synchronize()
        number = unwrap(tsn, self._cumulative)
        if number != self._cumulative + 1 or self.is_careful or stream_id >= self._stream_count:
            self.is_sack_urgent = True
        if number <= self._cumulative or number in self.ranges:
            self.duplicate_count += 1
            if len(self.duplicates) < MAX_DUPLICATES:
                self.duplicates.append(tsn)
            return False
        ahead = number - self._cumulative
        if (
            ahead > MAX_TSN_AHEAD
            or len(self.ranges) >= MAX_GAP_RANGES
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
        ranges = self.ranges
        if number != self._cumulative + 1:
            ranges.add(number, number)
            self.is_careful = True
            return (0, -1)
        early = (0, -1)
        if ranges.starts and ranges.starts[0] == number + 1:
            early = (number + 1, ranges.ends[0])
            number = ranges.ends[0]
            ranges.remove_through(number)
        self._cumulative = number
        self.expected = (number + 1) & MASK
        self.is_careful = self._is_full or bool(ranges.starts)
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
        ranges = self.ranges
        ranges.remove_through(target)
        first, last = 0, -1
        if ranges.starts and ranges.starts[0] == target + 1:
            first, last = target + 1, ranges.ends[0]
            target = last
            ranges.remove_through(target)
        self._cumulative = target
        self.expected = (target + 1) & MASK
        self.is_careful = self._is_full or bool(ranges.starts)
        if not self.is_interleaving:
            self.data_assembler.absorb(first, last)

    def _refuse(self, stream_id: int, size_bytes: int) -> None:
        if self.streams.is_refusing(stream_id):
            return
        self.streams.refuse(stream_id)
        self.refused_streams.append(stream_id)
        self._events.append(MessageRefused(stream_id, size_bytes))
