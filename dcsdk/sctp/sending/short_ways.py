"""The short ways of sending: what is common, done faster than the general way does it.

:meth:`.packetizer.Packetizer.write` and :meth:`.outstanding.Outstanding.acknowledge` can do without
them. A short way either declines and has changed nothing, or leaves everything as the general way
would; only :func:`write_messages` may end a packet at another message. What each of them gains is
in ``docs/transport.md``.
"""

from __future__ import annotations

from bisect import bisect_right

from dcsdk.sctp.base.tsn import MASK, WRAP
from dcsdk.sctp.sending.outstanding import Outstanding
from dcsdk.sctp.sending.packetizer import MIN_FRAGMENT, PADDING, Packetizer
from dcsdk.sctp.sending.scheduler import OutboundStream
from dcsdk.sctp.wire.chunks import (
    DATA,
    DATA_KEY_HEADER,
    FLAG_BEGIN,
    FLAG_UNORDERED,
    I_DATA,
    I_DATA_KEY_HEADER,
)


def write(packetizer: Packetizer, stream: OutboundStream, lead: bytes, room: int) -> list[bytes]:
    """Write the current stream's next packets by the short way that fits, if there is one.

    Args:
        packetizer: gets the packets booked, all but the packets and their time.
        stream: the current one.
        lead: a chunk that goes in front of the data, or ``b""``.
        room: bytes that may be sent.

    Returns:
        The packets, none when the general way has to write the next one.
    """
    data, _, _, limit = stream.queue[0]
    if len(data) - stream.offset > packetizer.full:
        return [] if lead else write_full_packets(packetizer, stream, room)
    if limit is not None or stream.offset:
        return []
    if len(stream.queue) == 1:
        return write_lone(packetizer, stream, lead)
    if not lead and (
        packetizer.scheduler.is_alone or min(stream.turn, stream.queued_bytes) > packetizer.full
    ):
        return write_messages(packetizer, stream, room)
    return []


def write_lone(packetizer: Packetizer, stream: OutboundStream, lead: bytes) -> list[bytes]:
    """Write the only message that waits, whole and behind ``lead``: a request, or its answer."""
    data, ppid, kind, _ = stream.queue[0]
    size = len(data)
    if packetizer.scheduler.is_contended or size > packetizer.full - len(lead):
        return []
    head = packetizer.header(stream, kind, size, packetizer.next_tsn, ppid)
    packetizer.outstanding.book(packetizer.next_tsn, size)
    packetizer.next_tsn += 1
    packetizer.left(stream, size)
    packetizer.finish_message(stream, kind)
    packetizer.scheduler.retire(size)
    return [packetizer.seal.close(lead + head + data + PADDING[size & 3])]


def write_full_packets(packetizer: Packetizer, stream: OutboundStream, room: int) -> list[bytes]:
    """Write fragments of the stream's first message that each fill a packet."""
    data, ppid, kind, limit = stream.queue[0]
    full, start, first = packetizer.full, stream.offset, packetizer.next_tsn
    is_interleaving, wire = packetizer.is_interleaving, first & MASK
    count = min((len(data) - start - 1) // full, -(-room // full) or 1, WRAP - wire)
    if is_interleaving and packetizer.scheduler.is_contended:
        count = min(count, -(-stream.turn // full))
    count = max(count, 1)
    stop, size, flags = start + count * full, packetizer.header_size + full, kind & FLAG_UNORDERED
    tsns, key = range(wire, wire + count), stream.stream_id << 48
    if is_interleaving:
        pack = I_DATA_KEY_HEADER.pack
        key |= stream.next_unordered if flags else stream.next_sequence
        heads = [
            pack(I_DATA, flags, size, tsn, key, fragment)
            for fragment, tsn in enumerate(tsns, stream.fragment)
        ]
        if not start:
            heads[0] = pack(I_DATA, flags | FLAG_BEGIN, size, wire, key, ppid)
    else:
        pack = DATA_KEY_HEADER.pack
        key |= stream.next_sequence << 32 | ppid
        heads = [pack(DATA, flags, size, tsn, key) for tsn in tsns]
        if not start:
            heads[0] = pack(DATA, flags | FLAG_BEGIN, size, wire, key)
    offsets = range(start, stop, full)
    packets = packetizer.seal.close_all(
        [head + data[offset : offset + full] for head, offset in zip(heads, offsets, strict=True)]
    )
    if limit is not None:
        packetizer.limits.update(dict.fromkeys(range(first, first + count), limit))
    outstanding, written = packetizer.outstanding, count * full
    total = outstanding.total
    outstanding.ends += range(first, first + count)
    outstanding.totals += range(total + full, total + written + 1, full)
    outstanding.in_flight += written
    packetizer.next_tsn = first + count
    if not start:
        packetizer.open_bytes += len(data)
    stream.offset = stop
    stream.fragment += count
    packetizer.left(stream, written)
    if is_interleaving:
        packetizer.scheduler.charge(written)
    return packets


def write_messages(packetizer: Packetizer, stream: OutboundStream, room: int) -> list[bytes]:
    """Write packets full of whole messages of one stream.

    A packet into which something else belongs as well is left to the general way: a message of
    another kind, a piece of a larger one, or what other streams have.
    """
    queue, header = stream.queue, packetizer.header_size
    is_interleaving, outstanding = packetizer.is_interleaving, packetizer.outstanding
    kind = queue[0][2]
    uses_unordered_ids = is_interleaving and kind & FLAG_UNORDERED
    number = sequence = stream.next_unordered if uses_unordered_ids else stream.next_sequence
    step = 0 if kind & FLAG_UNORDERED and not is_interleaving else 1
    mask = MASK if is_interleaving else 0xFFFF
    base, tsn, before = stream.stream_id << 48, packetizer.next_tsn, outstanding.total
    total, most = before, before + max(room, 1)
    is_alone = packetizer.scheduler.is_alone
    turn = stream.queued_bytes if is_alone else stream.turn
    ends: list[int] = []
    totals: list[int] = []
    bodies: list[bytes] = []
    parts: list[bytes] = []
    space = packetizer.capacity
    for data, ppid, flags, _ in queue:
        octets = len(data)
        if flags != kind or octets > turn:
            break
        size = header + octets
        if size > space:
            if octets > packetizer.full and space - header >= MIN_FRAGMENT:
                break
            bodies.append(b"".join(parts))
            ends.append(tsn - 1)
            totals.append(total)
            parts, space = [], packetizer.capacity
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
            parts.append(PADDING[size & 3])
            size = (size + 3) & ~3
        space -= size
    else:
        if is_alone:
            bodies.append(b"".join(parts))
            ends.append(tsn - 1)
            totals.append(total)
    if not bodies:
        return []
    count, written = ends[-1] + 1 - packetizer.next_tsn, totals[-1] - before
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
    packetizer.next_tsn += count
    packetizer.left(stream, written)
    if queue:
        packetizer.scheduler.charge(written)
    else:
        packetizer.scheduler.retire(written)
    return packetizer.seal.close_all(bodies)


def acknowledge_plain(
    outstanding: Outstanding, cumulative: int, now: float
) -> tuple[int, float] | None:
    """Take a cumulative TSN while nothing exceptional is known of any packet.

    Returns:
        Bytes newly acknowledged, and the round trip of the newest packet among them in seconds (-1
        when not even one packet was acknowledged as a whole); ``None`` to decline.
    """
    if outstanding.lost or outstanding.retries or outstanding.acknowledged.starts:
        return None
    ends = outstanding.ends
    count = bisect_right(ends, cumulative)
    outstanding.cumulative = outstanding.highest = cumulative
    if not count:
        return 0, -1.0
    total, sent, floor = (
        outstanding.totals[count - 1],
        outstanding.times[count - 1],
        ends[count - 1],
    )
    size = total - outstanding.base_total
    outstanding.base_total, outstanding.floor = total, floor
    outstanding.in_flight -= size
    rack = outstanding.rack
    if sent >= rack.newest_sent_s:  # as Rack.arrived: no packet above this one arrived before
        rack.newest_sent_s, rack.newest_tsn, rack.rtt_s = sent, floor, now - sent
    del ends[:count]
    del outstanding.totals[:count]
    del outstanding.times[:count]
    del outstanding.packets[:count]
    return size, now - sent
