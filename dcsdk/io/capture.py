"""A pcapng capture with the TLS secrets inside, so that Wireshark opens it decrypted.

Datagrams are written as they were on the wire, behind IP and UDP headers made from the addresses
we know; the bytes of TCP connections of media lines behind TCP headers, in segments of our making.
Secrets go into Decryption Secrets Blocks in front of the packets they open. SCTP inside DTLS, and
SIP, are written once more in plain text, for decoders that do not look there.

Whoever can read the file can read the traffic, so opening one warns.
Source: draft-ietf-opsawg-pcapng (block formats); the NSS key log format for the secrets.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dcsdk.errors import ConfigError
from dcsdk.interfaces import Address

logger = logging.getLogger(__name__)

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
ENHANCED_PACKET = 6
DECRYPTION_SECRETS = 10
LINKTYPE_RAW = 101
"""Packets begin with the IP header."""

TLS_KEY_LOG = 0x544C534B
"""The secrets of a Decryption Secrets Block are an NSS key log."""

SNAP_LENGTH = 65_535
MAX_MESSAGE_BYTES = 65_000
_BYTE_ORDER = 0x1A2B3C4D
_TCP, _UDP, _SCTP = 6, 17, 132
_TCP_HEADER_WORDS, _TCP_WINDOW = 5, 65_535
_TTL = 64


def _block(kind: int, body: bytes) -> bytes:
    padding = bytes(-len(body) % 4)
    length = 12 + len(body) + len(padding)
    return struct.pack("<II", kind, length) + body + padding + struct.pack("<I", length)


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    words = struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])
    total: int = sum(words) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ends(source: Address, destination: Address) -> bytes:
    """Return both IP addresses as they stand in a header: 8 bytes for IPv4, 32 for IPv6."""
    return b"".join(
        ipaddress.ip_address(end[0].partition("%")[0]).packed for end in (source, destination)
    )


def _ip_packet(ends: bytes, protocol: int, payload: bytes) -> bytes:
    if len(ends) == 32:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, _TTL) + ends + payload
    fixed = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, _TTL, protocol, 0) + ends
    return fixed[:10] + struct.pack("!H", _checksum(fixed)) + fixed[12:] + payload


def udp_packet(source: Address, destination: Address, payload: bytes) -> bytes:
    """Put IP and UDP headers, checksums included, in front of a payload.

    Args:
        source: address and port; an address of the other family than ``destination``'s is not
            possible.
        destination: address and port.
        payload: at most 65507 bytes.
    """
    ends = _ends(source, destination)
    length = 8 + len(payload)
    header = struct.pack("!HHHH", source[1], destination[1], length, 0)
    # The words of the pseudo header, in whatever order: the same sum for both IP versions.
    pseudo = ends + struct.pack("!II", length, _UDP)
    checksum = _checksum(pseudo + header + payload) or 0xFFFF
    return _ip_packet(ends, _UDP, header[:6] + struct.pack("!H", checksum) + payload)


def tcp_packet(
    source: Address,
    destination: Address,
    payload: bytes,
    *,
    sequence: int,
    acknowledgement: int,
    flags: int,
) -> bytes:
    """Put IP and TCP headers, checksums included, in front of a payload.

    Args:
        source: address and port, of the same family as ``destination``.
        destination: address and port.
        payload: at most ``MAX_MESSAGE_BYTES``.
        sequence: number of the first byte, modulo 2**32.
        acknowledgement: number of the next byte expected, likewise.
        flags: the bits of the header (RFC 9293 3.1).
    """
    ends = _ends(source, destination)
    header = struct.pack(
        "!HHIIBBHHH",
        source[1],
        destination[1],
        sequence & 0xFFFFFFFF,
        acknowledgement & 0xFFFFFFFF,
        _TCP_HEADER_WORDS << 4,
        flags,
        _TCP_WINDOW,
        0,
        0,
    )
    pseudo = ends + struct.pack("!II", len(header) + len(payload), _TCP)
    checksum = struct.pack("!H", _checksum(pseudo + header + payload))
    return _ip_packet(ends, _TCP, header[:16] + checksum + header[18:] + payload)


def sctp_packet(source: Address, destination: Address, payload: bytes) -> bytes:
    """Put an IP header in front of an SCTP packet; the ports of the addresses do not matter."""
    return _ip_packet(_ends(source, destination), _SCTP, payload)


class Capture:
    """Writes one pcapng file that only its owner may read.

    A write that fails (a full disk) ends the capture with an error in the log, never the media.

    Args:
        path: the file; an old one is replaced.
        clock: seconds since 1970, for the time stamps.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._clock = clock
        self._held: bytearray | None = None
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as exc:
            raise ConfigError(f"cannot open the capture {self.path}: {exc.strerror}") from exc
        self._file = os.fdopen(descriptor, "wb")
        logger.warning(
            "capture=%s TRAFFIC AND ITS TLS SECRETS ARE BEING WRITTEN: who reads this file reads "
            "the media",
            self.path,
        )
        self._write(
            _block(SECTION_HEADER, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1))
            + _block(INTERFACE_DESCRIPTION, struct.pack("<HHI", LINKTYPE_RAW, 0, SNAP_LENGTH))
        )

    @property
    def is_open(self) -> bool:
        """Still writing."""
        return not self._file.closed

    def secret(self, line: bytes) -> None:
        """Write one NSS key log line.

        Args:
            line: as OpenSSL gives it, without a line end.
        """
        text = line + b"\n"
        body = struct.pack("<II", TLS_KEY_LOG, len(text)) + text
        self._write(_block(DECRYPTION_SECRETS, body))

    def datagrams(
        self, source: Address, destination: Address, data: bytes, segment_size: int
    ) -> None:
        """Write datagrams that were sent or received with one call.

        Args:
            source: whence they came.
            destination: where they went.
            data: equal segments, of which the last may be shorter.
            segment_size: bytes in one.
        """
        starts = range(0, len(data), max(segment_size, 1))
        self._packets(
            udp_packet(source, destination, data[start : start + segment_size]) for start in starts
        )

    def sctp(self, source: Address, destination: Address, packets: Iterable[bytes]) -> None:
        """Write SCTP packets that went inside DTLS, in plain text as if they were SCTP over IP.

        Decoders open the records, but hand what is inside to no decoder of SCTP.

        Args:
            source: of the path they went over.
            destination: likewise.
            packets: whole ones.
        """
        self._packets(sctp_packet(source, destination, packet) for packet in packets)

    def segments(
        self,
        source: Address,
        destination: Address,
        data: bytes,
        *,
        sequence: int,
        acknowledgement: int,
        flags: int,
    ) -> None:
        """Write bytes of a TCP connection, in as many segments as they need, at least one.

        Args:
            source: whence they came.
            destination: where they went.
            data: ``b""`` for a segment that only carries flags.
            sequence: number of the first byte.
            acknowledgement: number of the next byte expected from the other side.
            flags: the bits of the header (RFC 9293 3.1).
        """
        self._packets(
            tcp_packet(
                source,
                destination,
                data[start : start + MAX_MESSAGE_BYTES],
                sequence=sequence + start,
                acknowledgement=acknowledgement,
                flags=flags,
            )
            for start in range(0, max(len(data), 1), MAX_MESSAGE_BYTES)
        )

    def _packets(self, packets: Iterable[bytes]) -> None:
        if not self.is_open:
            return
        stamp = int(self._clock() * 1e6)
        blocks = bytearray()
        for packet in packets:
            head = struct.pack(
                "<IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(packet), len(packet)
            )
            blocks += _block(ENHANCED_PACKET, head + packet)
        if self._held is None:
            self._write(bytes(blocks))
        else:
            self._held += blocks

    @contextmanager
    def secrets_first(self) -> Iterator[None]:
        """Write the secrets that become known meanwhile in front of the packets of this time.

        The packet that makes a secret known may itself need it: the end of a handshake flight.
        """
        if self._held is not None:
            yield
            return
        self._held = bytearray()
        try:
            yield
        finally:
            held, self._held = self._held, None
            self._write(bytes(held))

    def message(self, source: Address, destination: Address, data: bytes) -> None:
        """Write a message of a stream, for example SIP in TLS, in plain text as if it were UDP.

        So every decoder reads it without the handshakes and acknowledgements around it. What is
        longer than a datagram can be goes into several.

        Args:
            source: of the connection it came over.
            destination: likewise.
            data: the message.
        """
        self.datagrams(source, destination, data, MAX_MESSAGE_BYTES)

    def _write(self, blocks: bytes) -> None:
        if self._file.closed:
            return
        try:
            self._file.write(blocks)
        except OSError as exc:
            logger.error("capture=%s stopped: %s", self.path, exc.strerror)
            self._abandon()

    def _abandon(self) -> None:
        """Close without writing what is still buffered, which would fail again."""
        try:
            self._file.close()
        except OSError as exc:
            logger.debug("capture=%s last bytes lost: %s", self.path, exc.strerror)

    def close(self) -> None:
        """Write what is buffered and close. Idempotent."""
        if not self._file.closed:
            try:
                self._file.close()
            except OSError as exc:
                logger.error("capture=%s incomplete: %s", self.path, exc.strerror)
