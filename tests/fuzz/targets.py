"""What is fuzzed. Each target takes any bytes and raises only for a bug of ours."""

from __future__ import annotations

from collections.abc import Callable

from dcsdk.errors import ParseError
from dcsdk.sctp import SctpAssociation, SctpConfig
from dcsdk.sctp.wire.dcep import DCEP_ACK, DcepOpen
from dcsdk.sctp.wire.packet import COMMON_HEADER_SIZE, Packet, Seal, iterate_chunks
from dcsdk.tls.records import handshake_records, is_data_run, is_dtls, split_records
from tests.sctp.network import make_entropy

MAX_QUEUED_BYTES = 1 << 24
"""More than any bound of one association allows."""

MAX_TIMERS = 8
CONFIG = SctpConfig()


def fuzz_packet(data: bytes) -> None:
    """Decode a packet with its checksum made right, and write it again."""
    if len(data) >= COMMON_HEADER_SIZE:
        tag = int.from_bytes(data[4:8], "big")
        data = Seal(5000, 5000, tag).close(data[COMMON_HEADER_SIZE:])
    try:
        packet = Packet.decode(data)
    except ParseError:
        return
    assert Packet.decode(packet.encode()).chunks == packet.chunks


def fuzz_dcep(data: bytes) -> None:
    """Decode an OPEN, and write it again."""
    try:
        message = DcepOpen.decode(data)
    except ParseError:
        return
    assert DcepOpen.decode(message.encode()) == message
    assert data != DCEP_ACK


def fuzz_records(data: bytes) -> None:
    """Split records, by the first byte as size."""
    size = 1 + (data[0] if data else 0)
    is_dtls(data)
    if data:
        is_data_run(data, size)
    kept = handshake_records(data)
    assert len(kept) <= len(data)
    pieces = split_records(data, size)
    assert b"".join(pieces) == data[: sum(map(len, pieces))]


class _Side:
    def __init__(self, seed: int) -> None:
        self.machine = SctpAssociation(CONFIG, entropy=make_entropy(seed))

    def drain(self) -> list[bytes]:
        packets = self.machine.poll_packets()
        while self.machine.poll_event() is not None:
            pass
        return packets


def _established() -> tuple[_Side, _Side]:
    """Two associations that know each other."""
    one, other = _Side(1), _Side(2)
    one.machine.connect(now=0.0)
    for _ in range(4):
        other.machine.receive(one.drain(), now=0.0)
        one.machine.receive(other.drain(), now=0.0)
    return one, other


def fuzz_association(data: bytes) -> None:
    """Give chunks to an association: before it is set up, while it is, and when it is up.

    Chunks come with the right tag and checksum, for what a peer inside DTLS can do is what counts.
    The first byte chooses the state and how many packets the rest becomes.
    """
    if not data:
        return
    choice, body = data[0], data[1:]
    now = 1.0
    if choice & 3 == 0:
        side = _Side(3)
        tag = 0
    elif choice & 3 == 1:
        side = _Side(3)
        side.machine.connect(now=now)
        side.drain()
        tag = _own_tag(3)
    else:
        side, other = _established()
        tag = _tag_of(other)
        if choice & 4:
            side.machine.send(0, 53, bytes(5000), now=now)
            side.drain()
        if choice & 8:
            side.machine.reset_streams([0], now=now)
            side.drain()
    seal = Seal(5000, 5000, tag)
    parts = 1 + (choice >> 6)
    size = max(4, len(body) // parts & ~3)
    packets = [seal.close(body[start : start + size]) for start in range(0, len(body), size)]
    side.machine.receive(packets, now=now)
    for packet in side.drain():
        assert list(iterate_chunks(packet))
    for _ in range(MAX_TIMERS):
        timer = side.machine.next_timer()
        if timer is None:
            break
        now = max(now, timer)
        side.machine.handle_timer(now=now)
        side.drain()
    assert side.machine.total_queued_bytes <= MAX_QUEUED_BYTES


def _tag_of(side: _Side) -> int:
    """The tag this side writes into its packets: the one its peer listens to."""
    side.machine.send(9, 53, b"x", now=0.5)
    return int.from_bytes(side.drain()[0][4:8], "big")


def _own_tag(seed: int) -> int:
    """The initiate tag of an association made with ``seed``, out of its INIT."""
    probe = _Side(seed)
    probe.machine.connect(now=1.0)
    init = probe.drain()[0]
    return int.from_bytes(init[COMMON_HEADER_SIZE + 4 : COMMON_HEADER_SIZE + 8], "big")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "packet": fuzz_packet,
    "association": fuzz_association,
    "dcep": fuzz_dcep,
    "records": fuzz_records,
}
