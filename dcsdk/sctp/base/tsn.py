"""Serial numbers and the sets made of them.

On the wire a TSN has 32 bits and wraps. Inside the machines a TSN is an ordinary integer that never
wraps: :func:`unwrap` turns one into the other at the border, so no other module does serial
arithmetic (RFC 9260 1.6, RFC 1982).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

WRAP = 1 << 32
MASK = WRAP - 1
HALF = 1 << 31


def unwrap(wire: int, near: int) -> int:
    """Return the integer closest to ``near`` whose low 32 bits are ``wire``."""
    distance = (wire - near) & MASK
    return near + (distance if distance < HALF else distance - WRAP)


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


class SerialOrder:
    """Serial numbers that are less than half of their range apart, in order.

    What comes before a number is found without a look at what comes behind.

    Args:
        mask: the largest serial number, one less than a power of two.

    Source: RFC 1982.
    """

    __slots__ = ("_half", "_mask", "_numbers")

    def __init__(self, mask: int) -> None:
        self._mask = mask
        self._half = (mask >> 1) + 1
        self._numbers: list[int] = []  # unwrapped

    def add(self, serial: int) -> int:
        """Add a number that is not there; return what :meth:`remove` wants."""
        numbers = self._numbers
        number = self._unwrap(serial)
        if numbers and number < numbers[-1]:
            insort(numbers, number)
        else:
            numbers.append(number)
        return number

    def remove(self, number: int) -> None:
        """Remove what :meth:`add` returned."""
        numbers = self._numbers
        del numbers[-1 if numbers[-1] == number else bisect_left(numbers, number)]

    def take_through(self, serial: int) -> list[int]:
        """Remove and return the numbers up to and including ``serial``, in order."""
        numbers = self._numbers
        count = bisect_right(numbers, self._unwrap(serial))
        taken = [number & self._mask for number in numbers[:count]]
        del numbers[:count]
        return taken

    def drop_first(self, count: int) -> None:
        """Remove the first numbers."""
        del self._numbers[:count]

    def _unwrap(self, serial: int) -> int:
        near = self._numbers[-1] if self._numbers else serial
        return near + ((serial - near + self._half) & self._mask) - self._half
