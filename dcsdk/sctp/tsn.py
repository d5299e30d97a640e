"""Serial numbers and the sets made of them.

On the wire a TSN has 32 bits and wraps. Inside the machines a TSN is an ordinary integer that never
wraps: :func:`unwrap` turns one into the other at the border, so no other module does serial
arithmetic (RFC 9260 1.6, RFC 1982).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

WRAP = 1 << 32
MASK = WRAP - 1
HALF = 1 << 31


def unwrap(wire: int, near: int) -> int:
    """Return the integer closest to ``near`` whose low 32 bits are ``wire``."""
    distance = (wire - near) & MASK
    return near + (distance if distance < HALF else distance - WRAP)


def unwrap16(wire: int, near: int) -> int:
    """Like :func:`unwrap`, for stream sequence numbers of 16 bits."""
    distance = (wire - near) & 0xFFFF
    return near + (distance if distance < 0x8000 else distance - 0x10000)


class TsnRanges:
    """A set of integers kept as sorted, disjoint, non-touching closed ranges.

    Both ends of an association are described by one: what came above the cumulative TSN, and what
    the peer acknowledged by gap blocks. Adding at the top, the usual case, costs no search.
    """

    __slots__ = ("ends", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def __len__(self) -> int:
        return len(self.starts)

    def __bool__(self) -> bool:
        return bool(self.starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.starts, self.ends, strict=True)

    def __contains__(self, value: int) -> bool:
        index = bisect_right(self.starts, value) - 1
        return index >= 0 and value <= self.ends[index]

    def add(self, start: int, end: int) -> list[tuple[int, int]]:
        """Add ``start..end`` and return the parts of it that were not in the set."""
        starts, ends = self.starts, self.ends
        if not ends or start > ends[-1] + 1:
            starts.append(start)
            ends.append(end)
            return [(start, end)]
        first = bisect_left(ends, start - 1)
        last = bisect_right(starts, end + 1)
        added: list[tuple[int, int]] = []
        cursor = start
        for index in range(first, last):
            if starts[index] > cursor:
                added.append((cursor, min(end, starts[index] - 1)))
            cursor = max(cursor, ends[index] + 1)
        if cursor <= end:
            added.append((cursor, end))
        if first < last:
            start = min(start, starts[first])
            end = max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]
        return added

    def remove_through(self, value: int) -> None:
        """Forget everything up to and including ``value``."""
        count = bisect_right(self.ends, value)
        del self.starts[:count]
        del self.ends[:count]
        if self.starts and self.starts[0] <= value:
            self.starts[0] = value + 1

    def clear(self) -> None:
        """Forget everything."""
        self.starts.clear()
        self.ends.clear()
