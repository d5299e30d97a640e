"""What a datagram is, by its first byte: several protocols share one UDP port."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

DTLS_BYTES = bytes(range(20, 64))
"""First bytes of a DTLS record."""


class PacketKind(Enum):
    """The protocols of RFC 7983 7; what is none of them is dropped."""

    STUN, ZRTP, DTLS, TURN_CHANNEL, RTP, UNKNOWN = (auto() for _ in range(6))


def _kind(first: int) -> PacketKind:
    for kind, low, high in (
        (PacketKind.STUN, 0, 3),
        (PacketKind.ZRTP, 16, 19),
        (PacketKind.DTLS, 20, 63),
        (PacketKind.TURN_CHANNEL, 64, 79),
        (PacketKind.RTP, 128, 191),
    ):
        if low <= first <= high:
            return kind
    return PacketKind.UNKNOWN


KINDS = tuple(_kind(first) for first in range(256))
"""The kind of a datagram for each first byte."""


def is_all_dtls(data: bytes, segment_size: int) -> bool:
    """Tell whether every datagram of a run looks like DTLS; costs one look for all of them.

    Args:
        data: datagrams of ``segment_size`` glued together; the last may be shorter.
        segment_size: bytes.
    """
    return not data[::segment_size].strip(DTLS_BYTES)


def split_by_kind(data: bytes, segment_size: int) -> Iterator[tuple[PacketKind, bytes, int]]:
    """Split a run of datagrams into runs of one kind, in order.

    The kernel glues datagrams of one sender by their size, whatever they are.

    Args:
        data: datagrams of ``segment_size`` glued together; the last may be shorter.
        segment_size: bytes.

    Yields:
        Kind, data and segment size of each run.
    """
    kinds = [KINDS[first] for first in data[::segment_size]]
    start = 0
    for index, kind in enumerate(kinds):
        if index + 1 == len(kinds) or kinds[index + 1] is not kind:
            end = (index + 1) * segment_size
            yield kind, data[start * segment_size : end], segment_size
            start = index + 1
