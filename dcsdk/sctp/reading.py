"""How packets are read in each state of an association: the view its hot loop works with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from dcsdk.sctp.base.config import SctpConfig
from dcsdk.sctp.receiving.receiver import Receiver
from dcsdk.sctp.wire.chunks import ChunkType
from dcsdk.sctp.wire.packet import NO_CHECKSUM, Seal

TakeData = Callable[[bytes, int, int], int]
"""Takes the data chunks at a position of a packet and returns the position after them."""

TakeRun = Callable[[Sequence[bytes], int], int]
"""Takes the packets from a place on that go on with the message under way; returns how many."""

Reading = tuple[bytes, bytes, int, int, TakeData, TakeRun | None]
"""The first 8 bytes of a packet for us; the first 12 when a zero checksum is good, else ``b""``;
the CRC state after the common header; the chunk type of data, or -1 for none; who takes it; and who
takes whole packets of it, where that can be."""


def _take_nothing(packet: bytes, position: int, end: int) -> int:
    return end


READING_NOTHING: Reading = (b"", b"", 0, -1, _take_nothing, None)
"""For an association that has ended: no packet begins like this."""


def reading_for(config: SctpConfig, tag: int, receiver: Receiver | None) -> Reading:
    """Return how to read packets now.

    Who offered to take packets without a checksum has to take them, from the INIT ACK on, whether
    the peer made the same offer or not (RFC 9653 5.3). An INIT has no tag and needs its checksum.

    Args:
        config: knows the ports and what we offer.
        tag: our verification tag (RFC 9260 8.5).
        receiver: takes data, or ``None`` in states that take none.
    """
    seal = Seal(config.remote_port, config.local_port, tag)
    zero_head = seal.head + NO_CHECKSUM if config.is_zero_checksum_offered else b""
    if receiver is None:
        return (seal.head, zero_head, seal.seed, -1, _take_nothing, None)
    if receiver.is_interleaving:
        take_run = partial(receiver.i_data_run, zero_head) if zero_head else None
        return (seal.head, zero_head, seal.seed, ChunkType.I_DATA, receiver.i_data, take_run)
    return (seal.head, zero_head, seal.seed, ChunkType.DATA, receiver.data, None)
