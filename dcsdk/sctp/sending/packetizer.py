"""From queued messages to sealed packets: scheduling, fragmentation and bundling.

Full packets all have the same size, so that UDP segmentation offload can carry a batch of them in
one system call. :meth:`Packetizer.write` makes packets one by one; what is common has short ways,
which are in :mod:`.short_ways` and write several at once.
"""

from __future__ import annotations

from collections.abc import Callable

from dcsdk.sctp.base.events import AssociationEvent, MessageAbandoned, RawMessage
from dcsdk.sctp.base.tsn import MASK
from dcsdk.sctp.sending.outstanding import Outstanding
from dcsdk.sctp.sending.scheduler import Limit, OutboundStream, Scheduler, is_alike
from dcsdk.sctp.wire.chunks import (
    DATA,
    DATA_KEY_HEADER,
    FLAG_BEGIN,
    FLAG_END,
    FLAG_UNORDERED,
    I_DATA,
    I_DATA_KEY_HEADER,
)
from dcsdk.sctp.wire.packet import COMMON_HEADER_SIZE, Seal

PADDING = (b"", bytes(3), bytes(2), bytes(1))
"""What follows data of a length, by its two lowest bits (RFC 9260 3.2)."""

_WHOLE = FLAG_BEGIN | FLAG_END

MIN_FRAGMENT = 256
"""A message that needs several packets anyway begins in the rest of one if this much fits."""


ShortWay = Callable[["Packetizer", OutboundStream, bytes, int], list[bytes]]
"""Gets the current stream, a chunk that goes in front of its data (or ``b""``), and how many bytes
may be sent; returns packets, booked but for themselves and their time, or none to decline."""


class Packetizer:
    """Queues of all streams, and the packets made of them.

    Args:
        outstanding: where written packets are recorded.
        seal: ports and tag.
        initial_tsn: our first TSN.
        mtu: packet size, bytes, a multiple of 4.
        is_interleaving: write I-DATA.
        open_limit: see the attribute.
        events: where ``MessageAbandoned`` goes.
        short_way: asked before each packet; writes it and more, or declines.

    Attributes:
        outstanding: as given.
        seal: as given.
        is_interleaving: as given.
        header_size: of a chunk, bytes.
        capacity: bytes of chunks in a full packet.
        streams: outgoing streams that were ever used, by id.
        scheduler: those with something to send.
        next_tsn: of the next new chunk; does not wrap.
        queued_bytes: of user data accepted and not yet sent.
        full: bytes of user data in a full packet.
        open_bytes: of messages begun and not wholly written.
        open_limit: bytes of messages that may be under way at once, each sent in part; more could
            fill the peer's window with messages none of which is complete (RFC 8260 3).
        limits: most retransmissions and expiry of packets with limited reliability, by last TSN.
    """

    __slots__ = (
        "_events",
        "_short_way",
        "capacity",
        "full",
        "header_size",
        "is_interleaving",
        "limits",
        "next_tsn",
        "open_bytes",
        "open_limit",
        "outstanding",
        "queued_bytes",
        "scheduler",
        "seal",
        "streams",
    )

    def __init__(
        self,
        *,
        outstanding: Outstanding,
        seal: Seal,
        initial_tsn: int,
        mtu: int,
        is_interleaving: bool,
        open_limit: int,
        events: list[AssociationEvent | RawMessage],
        short_way: ShortWay,
    ) -> None:
        self.outstanding = outstanding
        self.seal = seal
        self._events = events
        self._short_way = short_way
        self.is_interleaving = is_interleaving
        self.header_size = (I_DATA_KEY_HEADER if is_interleaving else DATA_KEY_HEADER).size
        self.streams: dict[int, OutboundStream] = {}
        self.scheduler = Scheduler(is_interleaving=is_interleaving)
        self.next_tsn = initial_tsn
        self.queued_bytes = 0
        self.limits: dict[int, Limit] = {}
        self.open_limit = open_limit
        self.open_bytes = 0
        self.full = self.capacity = 0
        self.set_mtu(mtu)

    def set_mtu(self, mtu: int) -> None:
        """Change the packet size, bytes; packets already written keep theirs."""
        if mtu - COMMON_HEADER_SIZE == self.capacity:
            return
        self.capacity = mtu - COMMON_HEADER_SIZE
        self.full = self.capacity - self.header_size

    def stream(self, stream_id: int) -> OutboundStream:
        """Return the stream, made on first use."""
        stream = self.streams.get(stream_id)
        if stream is None:
            stream = self.streams[stream_id] = OutboundStream(stream_id)
        return stream

    def forget(self, stream_id: int) -> None:
        """Let an idle stream go: it was reset, so it is as if it had never been used."""
        self.streams.pop(stream_id, None)

    # --- writing ---------------------------------------------------------------------------------
    def write(self, packets: list[bytes], lead: bytes, window: int, now: float) -> None:
        """Append packets of new data while less than ``window`` bytes are in flight.

        With nothing in flight one packet goes out whatever the window: it probes a closed window
        (RFC 9260 6.1 rule A).

        Args:
            packets: what is sent in this batch.
            lead: a chunk that goes in front of the first packet's data, or ``b""``.
            window: bytes.
            now: seconds.
        """
        outstanding, scheduler = self.outstanding, self.scheduler
        first = len(packets)
        if lead and not self._fits_behind(lead):
            packets.append(self.seal.close(lead))
            lead, first = b"", first + 1
        while (stream := scheduler.current) is not None and (
            outstanding.in_flight < window or not outstanding.in_flight
        ):
            data, _, _, limit = stream.queue[0]
            if limit is not None and limit[1] <= now and not stream.offset:
                self.discard_first(stream)
            elif (
                not stream.offset
                and len(data) > self.full
                and len(data) + self.open_bytes > self.open_limit
                and scheduler.is_contended
                and self.is_interleaving
                and scheduler.park()
            ):
                continue
            elif written := self._short_way(self, stream, lead, window - outstanding.in_flight):
                packets += written
                lead = b""
            elif body := self._write_bundle(lead, now):
                packets.append(self.seal.close(body))
                lead = b""
        if lead:
            packets.insert(first, self.seal.close(lead))
            first += 1
        sent = packets[first:]
        outstanding.packets += sent
        outstanding.times += [now] * len(sent)

    def _write_bundle(self, lead: bytes, now: float) -> bytes:
        """Write one packet's chunks: ends of messages, whole messages, or a first piece.

        The messages may be of several streams. A packet is given up as a whole, so messages with a
        limit share it only with their like.
        """
        scheduler, header = self.scheduler, self.header_size
        is_interleaving = self.is_interleaving
        parts = [lead] if lead else []
        room = self.capacity - len(lead)
        tsn = self.next_tsn
        written = 0
        packet_limit: Limit | None = None
        while (stream := scheduler.current) is not None:
            data, ppid, kind, limit = stream.queue[0]
            start = stream.offset
            take = len(data) - start
            if limit is not None:
                if limit[1] <= now and not start:
                    self.discard_first(stream)
                    continue
                if written and (start or take > room - header or not is_alike(limit, packet_limit)):
                    break
                expires = limit[1] if packet_limit is None else max(limit[1], packet_limit[1])
                packet_limit = (limit[0], expires)
            elif packet_limit is not None:
                break
            is_unordered = kind & FLAG_UNORDERED
            flags = is_unordered if start else is_unordered | FLAG_BEGIN
            if take > room - header:
                if written and (take <= self.full or room - header < MIN_FRAGMENT):
                    break
                take = (room - header) & ~3
            if start + take == len(data):
                flags |= FLAG_END
            parts.append(self.header(stream, flags, take, tsn, ppid))
            parts.append(data[start : start + take])
            if take & 3:
                parts.append(PADDING[take & 3])
            tsn += 1
            written += take
            room -= header + ((take + 3) & ~3)
            self.left(stream, take)
            if flags & FLAG_END:
                self.finish_message(stream, flags)
            else:
                if not start:
                    self.open_bytes += len(data)
                stream.offset = start + take
                stream.fragment += 1
            if not stream.queue:
                scheduler.retire(take if is_interleaving else len(data))
            elif is_interleaving or flags & FLAG_END:
                scheduler.charge(take if is_interleaving else len(data))
            if start and flags & FLAG_END:
                scheduler.unpark()
            if room <= header or (packet_limit is not None and flags & _WHOLE != _WHOLE):
                break
        if not written:
            return b""
        end = tsn - 1
        if packet_limit is not None:
            self.limits[end] = packet_limit
        self.outstanding.book(end, written)
        self.next_tsn = tsn
        return b"".join(parts)

    def _fits_behind(self, lead: bytes) -> bool:
        """Tell whether the next message loses nothing by sharing a packet with ``lead``."""
        stream = self.scheduler.current
        if stream is None:
            return False
        remaining = len(stream.queue[0][0]) - stream.offset
        return remaining > self.full or remaining <= self.full - len(lead)

    def left(self, stream: OutboundStream, size: int) -> None:
        """Count data that left the queue."""
        self.queued_bytes -= size
        stream.queued_bytes -= size

    def header(self, stream: OutboundStream, flags: int, size: int, tsn: int, ppid: int) -> bytes:
        """Return the header of a chunk with ``size`` bytes of the stream's first message."""
        base, size = stream.stream_id << 48, self.header_size + size
        if not self.is_interleaving:
            key = base | stream.next_sequence << 32 | ppid
            return DATA_KEY_HEADER.pack(DATA, flags, size, tsn & MASK, key)
        key = base | (stream.next_unordered if flags & FLAG_UNORDERED else stream.next_sequence)
        number = stream.fragment if stream.offset else ppid
        return I_DATA_KEY_HEADER.pack(I_DATA, flags, size, tsn & MASK, key, number)

    def finish_message(self, stream: OutboundStream, flags: int) -> None:
        """The stream's first message is wholly written."""
        data = stream.queue.popleft()[0]
        if stream.offset:
            self.open_bytes -= len(data)
        stream.offset = stream.fragment = 0
        if not self.is_interleaving:
            if not flags & FLAG_UNORDERED:
                stream.next_sequence = (stream.next_sequence + 1) & 0xFFFF
        elif flags & FLAG_UNORDERED:
            stream.next_unordered = (stream.next_unordered + 1) & MASK
        else:
            stream.next_sequence = (stream.next_sequence + 1) & MASK

    # --- giving up and resetting -----------------------------------------------------------------
    def discard_first(self, stream: OutboundStream) -> None:
        """Give up the first message of the current stream, of which nothing was sent."""
        data = stream.queue.popleft()[0]
        self.left(stream, len(data))
        self._events.append(MessageAbandoned(stream.stream_id, False))
        self.scheduler.gave_up(stream)

    def cut_first(self, stream: OutboundStream) -> int:
        """Give up the rest of a message that was sent in part.

        Returns:
            The TSN of a last fragment that is never sent; a FORWARD TSN covers it, so that the
            receiver leaves the message behind (RFC 3758 3.5).
        """
        data, _, flags, _ = stream.queue[0]
        self.left(stream, len(data) - stream.offset)
        self.finish_message(stream, flags)
        self.scheduler.gave_up(stream)
        self.scheduler.unpark()
        tsn = self.next_tsn
        self.outstanding.book_never_sent(tsn)
        self.next_tsn = tsn + 1
        return tsn

    def drop_queue(self, stream: OutboundStream) -> None:
        """Forget what waits on a stream; a message sent in part stays to be finished."""
        keep = 1 if stream.offset else 0
        while len(stream.queue) > keep:
            self.left(stream, len(stream.queue.pop()[0]))
        if not keep:
            self.scheduler.gave_up(stream)
