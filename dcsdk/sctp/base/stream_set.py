"""A set of stream ids that stays small whatever a peer puts into it."""

from __future__ import annotations


class StreamSet:
    """Stream ids, one bit each: none takes next to nothing, all 65,536 take 8 KiB."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray()

    def __contains__(self, stream_id: int) -> bool:
        place = stream_id >> 3
        return place < len(self._bits) and self._bits[place] >> (stream_id & 7) & 1 == 1

    def add(self, stream_id: int) -> None:
        """Put an id into it, 0..65535."""
        place = stream_id >> 3
        missing = place + 1 - len(self._bits)
        if missing > 0:
            self._bits += bytes(missing)
        self._bits[place] |= 1 << (stream_id & 7)
