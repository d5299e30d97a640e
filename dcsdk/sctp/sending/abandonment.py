"""Partial reliability: which messages were given up, and the FORWARD TSN that says so.

Source: RFC 3758 3.5, RFC 7496 3, RFC 8260 2.3.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from dcsdk.sctp.base.events import AssociationEvent, MessageAbandoned, RawMessage
from dcsdk.sctp.base.tsn import MASK, TsnRanges
from dcsdk.sctp.sending.outstanding import Outstanding
from dcsdk.sctp.sending.packetizer import Packetizer
from dcsdk.sctp.wire.chunks import (
    DATA_HEADER,
    FLAG_BEGIN,
    FLAG_END,
    FLAG_UNORDERED,
    I_DATA_HEADER,
    ChunkType,
    ForwardTsn,
    IForwardTsn,
)
from dcsdk.sctp.wire.packet import COMMON_HEADER_SIZE

ChunkView = tuple[int, int, int, int]
"""Flags, TSN as on the wire, stream id, SSN or MID of one data chunk."""


def data_chunks(packet: bytes) -> list[ChunkView]:
    """Read the data chunk headers of one of our own packets."""
    views: list[ChunkView] = []
    position = COMMON_HEADER_SIZE
    while position < len(packet):
        kind = packet[position]
        size = int.from_bytes(packet[position + 2 : position + 4], "big")
        if kind == ChunkType.DATA:
            _, flags, _, tsn, stream_id, sequence, _ = DATA_HEADER.unpack_from(packet, position)
            views.append((flags, tsn, stream_id, sequence))
        elif kind == ChunkType.I_DATA:
            _, flags, _, tsn, stream_id, _, sequence, _ = I_DATA_HEADER.unpack_from(
                packet, position
            )
            views.append((flags, tsn, stream_id, sequence))
        position += (size + 3) & ~3
    return views


class Abandonment:
    """Decides on giving up, and keeps the peer informed.

    Args:
        outstanding: the retransmission queue.
        packetizer: knows the limits of packets and the unsent rest of messages.
        is_interleaving: write I-FORWARD-TSN.
        events: where ``MessageAbandoned`` goes.

    Attributes:
        ranges: abandoned TSNs above the cumulative one.
        count: messages given up after they were sent, ever.
    """

    __slots__ = (
        "_events",
        "_is_interleaving",
        "_outstanding",
        "_packetizer",
        "_skipped",
        "count",
        "ranges",
    )

    def __init__(
        self,
        outstanding: Outstanding,
        packetizer: Packetizer,
        *,
        is_interleaving: bool,
        events: list[AssociationEvent | RawMessage],
    ) -> None:
        self._outstanding = outstanding
        self._packetizer = packetizer
        self._is_interleaving = is_interleaving
        self._events = events
        self.ranges = TsnRanges()
        self.count = 0
        self._skipped: list[tuple[int, int, bool, int]] = []  # by last TSN

    def is_exhausted(self, end: int, now: float) -> bool:
        """Tell whether the packet with that last TSN must not be sent again (RFC 7496 3.1)."""
        limit = self._packetizer.limits.get(end)
        if limit is None:
            return False
        max_retr, expires = limit
        return now >= expires or 0 <= max_retr <= self._outstanding.retries.get(end, 0)

    def give_up(self, index: int) -> None:
        """Abandon the messages in a packet, with all their fragments (RFC 3758 3.5 A3)."""
        outstanding = self._outstanding
        chunks = data_chunks(outstanding.packets[index])
        indexes = [index]
        if not chunks[0][0] & FLAG_BEGIN:
            indexes += self._fragments(range(index - 1, -1, -1), chunks[0], FLAG_BEGIN)
        if not chunks[-1][0] & FLAG_END:
            rest = range(index + 1, len(outstanding.packets))
            following = self._fragments(rest, chunks[0], FLAG_END)
            indexes += following
            tail = data_chunks(outstanding.packets[following[-1]]) if following else chunks
            if not tail[-1][0] & FLAG_END:
                self._packetizer.cut_first(self._packetizer.streams[chunks[0][2]])
                indexes.append(len(outstanding.packets) - 1)
        for fragment in indexes:
            end = outstanding.ends[fragment]
            for flags, _, stream_id, sequence in chunks:
                # Fragments of an interleaved message are skipped at different times, and the
                # receiver must hear of the message each time.
                insort(self._skipped, (end, stream_id, bool(flags & FLAG_UNORDERED), sequence))
            self._packetizer.limits.pop(end, None)
            self.ranges.add(*outstanding.abandon(fragment))
        for _, _, stream_id, _ in chunks:
            self._events.append(MessageAbandoned(stream_id, True))
            self.count += 1

    def _fragments(self, indexes: Iterable[int], like: ChunkView, until: int) -> list[int]:
        """Return the packets that hold more fragments of a message, up to its first or last."""
        found: list[int] = []
        for index in indexes:
            chunks = data_chunks(self._outstanding.packets[index])
            for flags, _, stream_id, sequence in chunks:
                if (
                    (stream_id, sequence) == like[2:]
                    and not (flags ^ like[0]) & FLAG_UNORDERED
                    and flags & (FLAG_BEGIN | FLAG_END) != FLAG_BEGIN | FLAG_END
                ):
                    found.append(index)
                    if flags & until:
                        return found
                elif not self._is_interleaving:
                    return found  # fragments of DATA are neighbours
        return found

    def acknowledged(self, cumulative: int) -> None:
        """The peer moved on to that TSN."""
        self.ranges.remove_through(cumulative)
        while self._skipped and self._skipped[0][0] <= cumulative:
            self._skipped.pop(0)

    @property
    def is_forward_due(self) -> bool:
        """The peer's cumulative TSN could move over abandoned TSNs."""
        starts = self.ranges.starts
        return bool(starts) and starts[0] <= self._outstanding.cumulative + 1

    def forward_tsn(self, room: int) -> bytes:
        """Return the chunk that moves the peer on, of at most ``room`` bytes.

        When not all skipped streams fit, the chunk stops earlier and another one follows.
        """
        target = self.ranges.ends[0]
        item_size = 8 if self._is_interleaving else 4
        most = (room - 8) // item_size
        highest: dict[tuple[int, bool], int] = {}
        reached = self._outstanding.cumulative
        for end, group in groupby(self._skipped, key=itemgetter(0)):
            if end > target:
                break
            # Unordered DATA messages are not listed (RFC 3758 3.5).
            listed = {
                (stream_id, is_unordered): sequence
                for _, stream_id, is_unordered, sequence in group
                if self._is_interleaving or not is_unordered
            }
            if len(highest.keys() | listed.keys()) > most:
                target = reached
                break
            highest |= listed
            reached = end
        if self._is_interleaving:
            return IForwardTsn(
                new_cumulative_tsn=target & MASK,
                skipped=tuple(
                    (stream_id, int(is_unordered), sequence)
                    for (stream_id, is_unordered), sequence in highest.items()
                ),
            ).encode()
        return ForwardTsn(
            new_cumulative_tsn=target & MASK,
            skipped=tuple((stream_id, sequence) for (stream_id, _), sequence in highest.items()),
        ).encode()
