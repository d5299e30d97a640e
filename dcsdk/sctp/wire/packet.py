"""The SCTP packet: common header, CRC32c, and how packets are sealed (RFC 9260 3.1, 6.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google_crc32c import extend, value

from dcsdk.errors import ParseError
from dcsdk.sctp.wire.chunks import CHUNK_HEADER, Chunk, decode_chunk

COMMON_HEADER = struct.Struct("!HHLL")
COMMON_HEADER_SIZE = 12
CHECKSUM = struct.Struct("<L")
ADDRESS_PART = struct.Struct("!HHL")
NO_CHECKSUM = bytes(4)


class Seal:
    """The constant part of all packets of one direction: ports and verification tag.

    The CRC of those bytes (with the checksum field zero) is computed once; a packet only extends
    it over its chunks.

    Attributes:
        head: the first 8 bytes of every packet.
        seed: CRC32c state after the common header.
        is_zero_checksum: leave the checksum zero; DTLS guards the packet (RFC 9653).
    """

    __slots__ = ("head", "is_zero_checksum", "seed")

    def __init__(self, source_port: int, destination_port: int, tag: int) -> None:
        self.head = ADDRESS_PART.pack(source_port, destination_port, tag)
        self.seed: int = value(self.head + NO_CHECKSUM)
        self.is_zero_checksum = False

    def close(self, chunks: bytes) -> bytes:
        """Return the packet that carries ``chunks``."""
        if self.is_zero_checksum:
            return self.head + NO_CHECKSUM + chunks
        return self.head + CHECKSUM.pack(extend(self.seed, chunks)) + chunks

    def close_with_checksum(self, chunks: bytes) -> bytes:
        """Like :meth:`close`, for the packets that always need one (RFC 9653 5.2)."""
        return self.head + CHECKSUM.pack(extend(self.seed, chunks)) + chunks

    def close_all(self, bodies: Iterable[bytes]) -> list[bytes]:
        """Return the packets for many chunks, one packet each."""
        head, seed, pack, crc = self.head, self.seed, CHECKSUM.pack, extend
        if self.is_zero_checksum:
            head += NO_CHECKSUM
            return [head + body for body in bodies]
        return [head + pack(crc(seed, body)) + body for body in bodies]

    def is_intact(self, packet: bytes) -> bool:
        """Tell whether a packet with this head has the right checksum."""
        return bool(extend(self.seed, packet[12:]) == CHECKSUM.unpack_from(packet, 8)[0])


def bundle(chunks: Iterable[bytes], seal: Seal, mtu: int) -> list[bytes]:
    """Put chunks, in order, into as few packets as will take them."""
    bodies: list[bytes] = []
    for chunk in chunks:
        if bodies and len(bodies[-1]) + len(chunk) <= mtu - COMMON_HEADER_SIZE:
            bodies[-1] += chunk
        else:
            bodies.append(chunk)
    return seal.close_all(bodies)


def iterate_chunks(packet: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Walk the chunks of a packet as (type, flags, value).

    Raises:
        ParseError: a chunk does not fit into the packet.
    """
    position, end = COMMON_HEADER_SIZE, len(packet)
    while position < end:
        if position + 4 > end:
            raise ParseError("packet ends inside a chunk header", source="RFC 9260 3.2")
        kind, flags, size = CHUNK_HEADER.unpack_from(packet, position)
        if size < 4 or position + size > end:
            raise ParseError(
                f"chunk of {size} bytes does not fit the packet", source="RFC 9260 3.2"
            )
        yield kind, flags, packet[position + 4 : position + size]
        position += (size + 3) & ~3


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A whole packet as a value, for the cold path, tools and tests."""

    source_port: int
    destination_port: int
    verification_tag: int
    chunks: tuple[Chunk, ...] = ()

    @classmethod
    def decode(cls, data: bytes, *, is_zero_checksum_accepted: bool = False) -> Packet:
        """Read a packet and check it.

        Args:
            data: one whole SCTP packet.
            is_zero_checksum_accepted: take a checksum field of 0 as good (RFC 9653 5.3).

        Raises:
            ParseError: too short, wrong checksum, a port of 0 or a broken chunk.
        """
        if len(data) < COMMON_HEADER_SIZE:
            raise ParseError("packet shorter than the common header", source="RFC 9260 3.1")
        source, destination, tag, _ = COMMON_HEADER.unpack_from(data)
        if not source or not destination:
            raise ParseError("port 0", source="RFC 9260 3.1")
        is_zero = data[8:12] == NO_CHECKSUM and is_zero_checksum_accepted
        if not is_zero and not Seal(source, destination, tag).is_intact(data):
            raise ParseError("wrong checksum", source="RFC 9260 6.8")
        return cls(
            source_port=source,
            destination_port=destination,
            verification_tag=tag,
            chunks=tuple(decode_chunk(*chunk) for chunk in iterate_chunks(data)),
        )

    def encode(self) -> bytes:
        """Return the packet with its checksum."""
        seal = Seal(self.source_port, self.destination_port, self.verification_tag)
        return seal.close(b"".join(chunk.encode() for chunk in self.chunks))
