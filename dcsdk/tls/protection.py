"""Packets into records and back, the hot path of DTLS, by pyOpenSSL's public interface.

:mod:`dcsdk.tls.raw_openssl` does the same with less between Python and OpenSSL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from OpenSSL import SSL

MAX_OVERHEAD = 128
"""More bytes than any cipher suite of DTLS 1.2 adds to a packet. The worst are CBC with SHA-384:
header 13, vector 16, padding 16, digest 48 (RFC 6347 4.1, RFC 5246 6.2.3.2)."""


class RecordProtection(Protocol):
    """Encrypts and decrypts on one connection whose handshake is done (RFC 6347 4.1.2)."""

    def protect(self, packets: Sequence[bytes]) -> bytes:
        """Return one record for each packet, glued together.

        Args:
            packets: at least one; none is larger than the first.

        Raises:
            SSL.Error: OpenSSL cannot write; the connection is of no more use.
        """

    def unprotect(
        self, data: bytes | memoryview, count: int, size: int, packets: list[bytes]
    ) -> None:
        """Append the plaintext of glued records.

        Args:
            data: the records, whole.
            count: how many they are.
            size: bytes of the largest of them.
            packets: gets their plaintext.

        Raises:
            SSL.WantReadError: a replayed or forged record was among them: OpenSSL skipped it.
            SSL.ZeroReturnError: the peer has closed.
            SSL.Error: the connection is of no more use.
        """


MakeProtection = Callable[[SSL.Connection], RecordProtection]


class PublicProtection:
    """Uses nothing but what pyOpenSSL documents.

    Args:
        connection: over memory BIOs.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection

    def protect(self, packets: Sequence[bytes]) -> bytes:
        """Return one record for each packet, glued together."""
        write = self._connection.send
        for packet in packets:
            write(packet)
        return self._connection.bio_read(len(packets) * (len(packets[0]) + MAX_OVERHEAD))

    def unprotect(
        self, data: bytes | memoryview, count: int, size: int, packets: list[bytes]
    ) -> None:
        """Append the plaintext of glued records."""
        self._connection.bio_write(data)
        read, append = self._connection.recv, packets.append
        for _ in range(count):
            append(read(size))
