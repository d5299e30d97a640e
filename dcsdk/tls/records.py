"""DTLS record borders: what OpenSSL's memory BIO, a byte stream, does not keep.

Record header, 13 octets: type(8) version(16) epoch(16) sequence(48) length(16).
Source: RFC 6347 4.1.
"""

from __future__ import annotations

HEADER_LENGTH = 13
APPLICATION_DATA = 23
FIRST_BYTE_MIN, FIRST_BYTE_MAX = 20, 63
"""Datagrams that start with one of these are DTLS (RFC 7983 7)."""

GCM_OVERHEAD = HEADER_LENGTH + 8 + 16
"""What an AES-GCM record adds to its plaintext: header, explicit nonce, tag (RFC 5288 3)."""

# An encrypted DTLS 1.2 application record. Epoch 1 is the only encrypted one: renegotiation is off.
_DATA_PREFIX = bytes((APPLICATION_DATA, 0xFE, 0xFD, 0, 1))


def is_dtls(datagram: bytes | memoryview) -> bool:
    """Tell by the first byte whether a datagram on a shared port is DTLS.

    Source: RFC 7983 7.
    """
    return bool(datagram) and FIRST_BYTE_MIN <= datagram[0] <= FIRST_BYTE_MAX


def is_data_run(data: bytes, segment_size: int) -> bool:
    """Tell whether every segment is exactly one encrypted application record.

    Such a run can go into OpenSSL glued together: no record can make it misread the next. Only
    headers are looked at, by strides, so the cost hardly grows with the number of segments.

    Args:
        data: one datagram, or several of one length of which the last may be shorter.
        segment_size: length of the segments, bytes, more than 0.
    """
    size = len(data)
    if size <= segment_size:
        return _is_data_record(data)
    if segment_size <= HEADER_LENGTH:
        return False
    whole, rest = divmod(size, segment_size)
    if rest and not _is_data_record(data[size - rest :]):
        return False
    end = whole * segment_size
    for offset, value in enumerate(_DATA_PREFIX):
        if data[offset:end:segment_size].count(value) != whole:
            return False
    length = segment_size - HEADER_LENGTH
    return (
        data[11:end:segment_size].count(length >> 8) == whole
        and data[12:end:segment_size].count(length & 0xFF) == whole
    )


def _is_data_record(data: bytes) -> bool:
    """Tell whether some bytes are one encrypted application record, no more and no less."""
    return (
        data[:5] == _DATA_PREFIX and int.from_bytes(data[11:13], "big") == len(data) - HEADER_LENGTH
    )


def handshake_records(datagram: bytes) -> bytes:
    """Keep what may reach OpenSSL before the handshake is done.

    Unencrypted application data, which OpenSSL would take for a fatal error, is left out; so is
    everything from the first record on that is cut short (RFC 6347 4.1.2.7: discard silently).

    Args:
        datagram: any bytes.
    """
    kept: list[bytes] = []
    position, size = 0, len(datagram)
    while position + HEADER_LENGTH <= size:
        kind = datagram[position]
        end = position + HEADER_LENGTH
        end += int.from_bytes(datagram[position + 11 : position + 13], "big")
        if not FIRST_BYTE_MIN <= kind <= FIRST_BYTE_MAX or end > size:
            break
        is_encrypted = datagram[position + 3] != 0 or datagram[position + 4] != 0
        if kind < APPLICATION_DATA or is_encrypted:
            kept.append(datagram[position:end])
        position = end
    return b"".join(kept)


def split_records(data: bytes, max_size: int) -> list[bytes]:
    """Pack whole records, as OpenSSL wrote them, into datagrams.

    Args:
        data: whole records, glued together.
        max_size: bytes in one datagram; a record larger than that gets its own.

    Returns:
        Datagrams in order, none empty.
    """
    datagrams: list[bytes] = []
    start = position = 0
    while position + HEADER_LENGTH <= len(data):
        end = position + HEADER_LENGTH
        end += int.from_bytes(data[position + 11 : position + 13], "big")
        if end - start > max_size and position > start:
            datagrams.append(data[start:position])
            start = position
        position = end
    if start < len(data):
        datagrams.append(data[start:])
    return datagrams
