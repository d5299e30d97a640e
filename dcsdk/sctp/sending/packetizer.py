"""From queued messages to sealed packets: scheduling, fragmentation and bundling.

Full packets all have the same size, so that UDP segmentation offload can carry a batch of them in
one system call. In its turn a stream writes a run of full packets of one message with two list
comprehensions, or packets full of small messages; everything else, what several streams share among
it, goes chunk by chunk through :meth:`Packetizer._write_bundle`. That could write everything; the
other ways are faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dcsdk.sctp.base.events import AssociationEvent, MessageAbandoned, RawMessage
from dcsdk.sctp.base.tsn import MASK, WRAP
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
from dcsdk.sctp.wire.packet import COMMON_HEADER_SIZE, Seal, full_packet_form

_PADDING = (b"", bytes(3), bytes(2), bytes(1))
_WHOLE = FLAG_BEGIN | FLAG_END

MIN_FRAGMENT = 256
"""A message that needs several packets anyway begins in the rest of one if this much fits."""


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

    Attributes:
        streams: outgoing streams that were ever used, by id.
        scheduler: those with something to send.
        next_tsn: of the next new chunk; does not wrap.
        queued_bytes: of user data accepted and not yet sent.
        full: bytes of user data in a full packet.
        open_limit: bytes of messages that may be under way at once, each sent in part; more could
            fill the peer's window with messages none of which is complete (RFC 8260 3).
        limits: most retransmissions and expiry of packets with limited reliability, by last TSN.
    """

    __slots__ = (
        "_capacity",
        "_events",
        "_header_size",
        "_is_interleaving",
        "_open_bytes",
        "_outstanding",
        "_pack_full",
        "_seal",
        "full",
        "limits",
        "next_tsn",
        "open_limit",
        "queued_bytes",
        "scheduler",
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
    ) -> None:
        self._outstanding = outstanding
        self._seal = seal
        self._events = events
        self._is_interleaving = is_interleaving
        self._header_size = (I_DATA_KEY_HEADER if is_interleaving else DATA_KEY_HEADER).size
        self.streams: dict[int, OutboundStream] = {}
        self.scheduler = Scheduler(is_interleaving=is_interleaving)
        self.next_tsn = initial_tsn
        self.queued_bytes = 0
        self.limits: dict[int, Limit] = {}
        self.open_limit = open_limit
        self._open_bytes = 0  # of messages begun and not wholly written
        self.full = self._capacity = 0
        self._pack_full: Callable[..., bytes]
        self.set_mtu(mtu)

    def set_mtu(self, mtu: int) -> None:
        """Change the packet size, bytes; packets already written keep theirs."""
        if mtu - COMMON_HEADER_SIZE == self._capacity:
            return
        self._capacity = mtu - COMMON_HEADER_SIZE
        self.full = self._capacity - self._header_size
        self._pack_full = full_packet_form(self._seal, self.full, self._is_interleaving)

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
        outstanding, scheduler, full = self._outstanding, self.scheduler, self.full
        if (outstanding.in_flight < window or not outstanding.in_flight) and (
            body := self._write_lone(lead)
        ):
            packet = self._seal.close(body)
            packets.append(packet)
            outstanding.packets.append(packet)
            outstanding.times.append(now)
            return
        first = len(packets)
        if lead and not self._fits_behind(lead):
            packets.append(self._seal.close(lead))
            lead, first = b"", first + 1
        while (stream := scheduler.current) is not None and (
            outstanding.in_flight < window or not outstanding.in_flight
        ):
            data, _, _, limit = stream.queue[0]
            if limit is not None and limit[1] <= now and not stream.offset:
                self.discard_first(stream)
            elif (
                not stream.offset
                and len(data) > full
                and len(data) + self._open_bytes > self.open_limit
                and scheduler.is_contended
                and self._is_interleaving
                and scheduler.park()
            ):
                continue
            elif len(data) - stream.offset > full and not lead:
                self._write_full_packets(packets, stream, window - outstanding.in_flight)
            elif (
                limit is None
                and not (stream.offset or lead)
                and (scheduler.is_alone or min(stream.turn, stream.queued_bytes) > full)
                and self._write_messages(packets, stream, window - outstanding.in_flight)
            ):
                continue
            elif body := self._write_bundle(lead, now):
                packets.append(self._seal.close(body))
                lead = b""
        if lead:
            packets.insert(first, self._seal.close(lead))
            first += 1
        written = packets[first:]
        outstanding.packets += written
        outstanding.times += [now] * len(written)

    def _write_full_packets(self, packets: list[bytes], stream: OutboundStream, room: int) -> None:
        """Write fragments of the stream's first message that each fill a packet."""
        data, ppid, kind, limit = stream.queue[0]
        full, start, wire = self.full, stream.offset, self.next_tsn & MASK
        count = min((len(data) - start - 1) // full, -(-room // full) or 1, WRAP - wire)
        if self._is_interleaving and self.scheduler.is_contended:
            count = min(count, -(-stream.turn // full))
        count = max(count, 1)
        stop = start + count * full
        size = self._header_size + full
        flags = is_unordered = kind & FLAG_UNORDERED
        pack = self._pack_full
        tsns: Iterable[int] = range(wire, wire + count)
        offsets: Iterable[int] = range(start, stop, full)
        bodies: list[bytes] = []
        if self._is_interleaving:
            message_id = stream.next_unordered if is_unordered else stream.next_sequence
            key = stream.stream_id << 48 | message_id
            number = stream.fragment
            if not start:
                first = data[:full]
                bodies.append(pack(I_DATA, flags | FLAG_BEGIN, size, wire, key, ppid, first))
                tsns, offsets, number = range(wire + 1, wire + count), range(full, stop, full), 1
            bodies += [
                pack(I_DATA, flags, size, tsn, key, fragment, data[offset : offset + full])
                for fragment, (tsn, offset) in enumerate(zip(tsns, offsets, strict=True), number)
            ]
        else:
            key = stream.stream_id << 48 | stream.next_sequence << 32 | ppid
            if not start:
                bodies.append(pack(DATA, flags | FLAG_BEGIN, size, wire, key, data[:full]))
                tsns, offsets = range(wire + 1, wire + count), range(full, stop, full)
            bodies += [
                pack(DATA, flags, size, tsn, key, data[offset : offset + full])
                for tsn, offset in zip(tsns, offsets, strict=True)
            ]
        packets += bodies if self._seal.is_zero_checksum else self._seal.close_all(bodies)
        tsn, written = self.next_tsn, count * full
        if limit is not None:
            self.limits.update(dict.fromkeys(range(tsn, tsn + count), limit))
        total = self._outstanding.total
        outstanding = self._outstanding
        outstanding.ends += range(tsn, tsn + count)
        outstanding.totals += range(total + full, total + written + 1, full)
        outstanding.in_flight += written
        self.next_tsn = tsn + count
        if not start:
            self._open_bytes += len(data)
        stream.offset = stop
        stream.fragment += count
        self._left(stream, written)
        if self._is_interleaving:
            self.scheduler.charge(written)

    def _write_messages(self, packets: list[bytes], stream: OutboundStream, room: int) -> bool:
        """Write packets full of whole messages of one stream.

        A packet into which something else belongs as well is left to :meth:`_write_bundle`: a
        message of another kind, a piece of a larger one, or what other streams have.

        Returns:
            Whether any packet was written.
        """
        queue, header, is_interleaving = stream.queue, self._header_size, self._is_interleaving
        kind = queue[0][2]
        uses_unordered_ids = is_interleaving and kind & FLAG_UNORDERED
        number = sequence = stream.next_unordered if uses_unordered_ids else stream.next_sequence
        step = 0 if kind & FLAG_UNORDERED and not is_interleaving else 1
        mask = MASK if is_interleaving else 0xFFFF
        base, tsn, before = stream.stream_id << 48, self.next_tsn, self._outstanding.total
        total, most = before, before + max(room, 1)
        is_alone = self.scheduler.is_alone
        turn = stream.queued_bytes if is_alone else stream.turn
        ends: list[int] = []
        totals: list[int] = []
        bodies: list[bytes] = []
        parts: list[bytes] = []
        space = self._capacity
        for data, ppid, flags, _ in queue:
            octets = len(data)
            if flags != kind or octets > turn:
                break
            size = header + octets
            if size > space:
                if octets > self.full and space - header >= MIN_FRAGMENT:
                    break
                bodies.append(b"".join(parts))
                ends.append(tsn - 1)
                totals.append(total)
                parts, space = [], self._capacity
                if total >= most or size > space:
                    break
            wire = tsn & MASK
            if is_interleaving:
                key = base | number
                parts.append(I_DATA_KEY_HEADER.pack(I_DATA, kind, size, wire, key, ppid))
            else:
                key = base | number << 32 | ppid
                parts.append(DATA_KEY_HEADER.pack(DATA, kind, size, wire, key))
            parts.append(data)
            number = (number + step) & mask
            tsn += 1
            total += octets
            turn -= octets
            if size & 3:
                parts.append(_PADDING[size & 3])
                size = (size + 3) & ~3
            space -= size
        else:
            if is_alone:
                bodies.append(b"".join(parts))
                ends.append(tsn - 1)
                totals.append(total)
        if not bodies:
            return False
        packets += self._seal.close_all(bodies)
        outstanding, count, written = (
            self._outstanding,
            ends[-1] + 1 - self.next_tsn,
            totals[-1] - before,
        )
        for _ in range(count):
            queue.popleft()
        sequence = (sequence + count * step) & mask
        if uses_unordered_ids:
            stream.next_unordered = sequence
        else:
            stream.next_sequence = sequence
        outstanding.ends += ends
        outstanding.totals += totals
        outstanding.in_flight += written
        self.next_tsn += count
        self._left(stream, written)
        if queue:
            self.scheduler.charge(written)
        else:
            self.scheduler.retire(written)
        return True

    def _write_lone(self, lead: bytes) -> bytes:
        """Write the only message that waits, whole and behind ``lead``: a request, or its answer.

        Returns:
            The chunks, as :meth:`_write_bundle` would write them; ``b""`` when it is not so.
        """
        scheduler, header = self.scheduler, self._header_size
        stream = scheduler.current
        if stream is None or len(stream.queue) != 1 or stream.offset or scheduler.is_contended:
            return b""
        data, ppid, kind, limit = stream.queue[0]
        size = len(data)
        if limit is not None or size > self._capacity - len(lead) - header:
            return b""
        head = self._header(stream, kind, size, self.next_tsn, ppid)
        self._outstanding.book(self.next_tsn, size)
        self.next_tsn += 1
        self._left(stream, size)
        self._finish_message(stream, kind)
        scheduler.retire(size)
        return lead + head + data + _PADDING[size & 3]

    def _write_bundle(self, lead: bytes, now: float) -> bytes:
        """Write one packet's chunks: ends of messages, whole messages, or a first piece.

        The messages may be of several streams. A packet is given up as a whole, so messages with a
        limit share it only with their like.
        """
        scheduler, header = self.scheduler, self._header_size
        is_interleaving = self._is_interleaving
        parts = [lead] if lead else []
        room = self._capacity - len(lead)
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
            parts.append(self._header(stream, flags, take, tsn, ppid))
            parts.append(data[start : start + take])
            if take & 3:
                parts.append(_PADDING[take & 3])
            tsn += 1
            written += take
            room -= header + ((take + 3) & ~3)
            self._left(stream, take)
            if flags & FLAG_END:
                self._finish_message(stream, flags)
            else:
                if not start:
                    self._open_bytes += len(data)
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
        self._outstanding.book(end, written)
        self.next_tsn = tsn
        return b"".join(parts)

    def _fits_behind(self, lead: bytes) -> bool:
        """Tell whether the next message loses nothing by sharing a packet with ``lead``."""
        stream = self.scheduler.current
        if stream is None:
            return False
        remaining = len(stream.queue[0][0]) - stream.offset
        return remaining > self.full or remaining <= self.full - len(lead)

    def _left(self, stream: OutboundStream, size: int) -> None:
        """Count data that left the queue."""
        self.queued_bytes -= size
        stream.queued_bytes -= size

    def _header(self, stream: OutboundStream, flags: int, size: int, tsn: int, ppid: int) -> bytes:
        """Return the header of a chunk with ``size`` bytes of the stream's first message."""
        base, size = stream.stream_id << 48, self._header_size + size
        if not self._is_interleaving:
            key = base | stream.next_sequence << 32 | ppid
            return DATA_KEY_HEADER.pack(DATA, flags, size, tsn & MASK, key)
        key = base | (stream.next_unordered if flags & FLAG_UNORDERED else stream.next_sequence)
        number = stream.fragment if stream.offset else ppid
        return I_DATA_KEY_HEADER.pack(I_DATA, flags, size, tsn & MASK, key, number)

    def _finish_message(self, stream: OutboundStream, flags: int) -> None:
        """The stream's first message is wholly written."""
        data = stream.queue.popleft()[0]
        if stream.offset:
            self._open_bytes -= len(data)
        stream.offset = stream.fragment = 0
        if not self._is_interleaving:
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
        self._left(stream, len(data))
        self._events.append(MessageAbandoned(stream.stream_id, False))
        self.scheduler.gave_up(stream)

    def cut_first(self, stream: OutboundStream) -> int:
        """Give up the rest of a message that was sent in part.

        Returns:
            The TSN of a last fragment that is never sent; a FORWARD TSN covers it, so that the
            receiver leaves the message behind (RFC 3758 3.5).
        """
        data, _, flags, _ = stream.queue[0]
        self._left(stream, len(data) - stream.offset)
        self._finish_message(stream, flags)
        self.scheduler.gave_up(stream)
        self.scheduler.unpark()
        tsn = self.next_tsn
        self._outstanding.book_never_sent(tsn)
        self.next_tsn = tsn + 1
        return tsn

    def drop_queue(self, stream: OutboundStream) -> None:
        """Forget what waits on a stream; a message sent in part stays to be finished."""
        keep = 1 if stream.offset else 0
        while len(stream.queue) > keep:
            self._left(stream, len(stream.queue.pop()[0]))
        if not keep:
            self.scheduler.gave_up(stream)
