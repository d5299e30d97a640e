"""The short ways of receiving: what is common, done faster than the general way does it.

:class:`.receiver.Receiver` can do without them. A short way leaves everything as the general way
would, and leaves to it what it does not take: gaps, duplicates, a full window, all that is
malformed. What each of them gains is in ``docs/transport.md``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from dcsdk.sctp.base.tsn import MASK
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.wire.chunks import (
    CHUNK_HEADER,
    DATA,
    DATA_KEY_HEADER,
    I_DATA,
    I_DATA_KEY_HEADER,
    SACK,
    SACK_HEADER,
)

_RUN_HEADER = struct.Struct("!16sLQL")
"""Common header and chunk header, as one; what differs within a run after them."""

MAX_RUN = 64
"""Packets looked at together; more take another turn."""


def take_data(receiver: Receiver, packet: bytes, position: int, end: int) -> int:
    """Take the DATA chunks that begin at ``position``: see :meth:`.Receiver.data`.

    A chunk with the expected TSN needs no search for its place.
    """
    take = receiver.data_assembler.take
    while position < end and packet[position] == DATA:
        _, flags, size, tsn, key = DATA_KEY_HEADER.unpack_from(packet, position)
        stop = position + size
        if (
            tsn != receiver.expected
            or receiver.is_careful
            or size <= 16
            or stop > end
            or key >= receiver.key_limit
        ):
            position = receiver.take_chunk(packet, position, end)
            continue
        receiver.expected = (tsn + 1) & MASK
        take(receiver.without_immediate(flags), key, packet[position + 16 : stop])
        position = (stop + 3) & ~3
    return position


def take_i_data(receiver: Receiver, packet: bytes, position: int, end: int) -> int:
    """Take the I-DATA chunks that begin at ``position``: see :func:`take_data`."""
    take = receiver.i_data_assembler.take
    while position < end and packet[position] == I_DATA:
        _, flags, size, tsn, key, number = I_DATA_KEY_HEADER.unpack_from(packet, position)
        stop = position + size
        if (
            tsn != receiver.expected
            or receiver.is_careful
            or size <= 20
            or stop > end
            or key >= receiver.key_limit
        ):
            position = receiver.take_chunk(packet, position, end)
            continue
        receiver.expected = (tsn + 1) & MASK
        take(receiver.without_immediate(flags), key, number, packet[position + 20 : stop])
        position = (stop + 3) & ~3
    return position


def take_fragment(receiver: Receiver, packet: bytes, position: int, end: int) -> int:
    """Take DATA chunks the first of which may be the next fragment of the message under way.

    Such a fragment needs none of the checks of its assembler. That the message grew too large is
    noticed when it ends, or when the next batch begins.
    """
    assembler = receiver.data_assembler
    _, flags, size, tsn, key = DATA_KEY_HEADER.unpack_from(packet, position)
    stop = position + size
    if (
        key == assembler.key
        and flags == assembler.flags
        and tsn == receiver.expected
        and not receiver.is_careful
        and size > 16
        and stop <= end
    ):
        receiver.expected = (tsn + 1) & MASK
        assembler.parts.append(packet[position + 16 : stop])
        assembler.cost += size
        position = (stop + 3) & ~3
        if position >= end:
            return position
    return take_data(receiver, packet, position, end)


def take_run(receiver: Receiver, head: bytes, packets: Sequence[bytes], index: int) -> int:
    """Take packets that each hold the next fragment of the message under way and nothing else.

    Between such packets only TSN and fragment number differ, so the headers to come are known, and
    compared as bytes. A fragment that makes the message too large is left to the general way.

    Args:
        receiver: of I-DATA.
        head: common header of the packets, without a checksum (RFC 9653 5.3).
        packets: the batch.
        index: of the first that may be taken.

    Returns:
        How many were taken.
    """
    assembler = receiver.i_data_assembler
    size = len(packets[index]) if index < len(packets) else 0
    if assembler.key == -1 or receiver.is_careful or not 32 < size < 1 << 16:
        return 0
    same = head + CHUNK_HEADER.pack(I_DATA, assembler.flags, size - 12)
    tsn, key, number = receiver.expected, assembler.key, assembler.number
    header, append, taken = _RUN_HEADER.pack, assembler.parts.append, 0
    most = min(MAX_RUN, assembler.room // (size - 32))
    for packet in packets[index : index + most]:
        if packet[:32] != header(same, tsn, key, number) or len(packet) != size:
            break
        append(packet[32:])
        tsn, number, taken = (tsn + 1) & MASK, number + 1, taken + 1
    receiver.expected, assembler.number = tsn, number
    assembler.cost += taken * (size - 16)
    return taken


def sack(receiver: Receiver) -> bytes:
    """Return the SACK chunk of :meth:`.Receiver.sack` while it tells neither gaps nor duplicates.

    Returns:
        ``b""`` to decline.
    """
    if receiver.ranges.starts or receiver.duplicates:
        return b""
    advertised = receiver.advertised = receiver.window
    receiver.is_sack_urgent = False
    return SACK_HEADER.pack(SACK, 0, 16, receiver.cumulative_tsn, advertised, 0, 0)
