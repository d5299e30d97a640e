"""The packets that were sent and not yet acknowledged.

Kept per packet, not per chunk, and in columns: the last TSN of every packet, the bytes sent up to
its end, when it left, and the packet itself, ready to be sent again as it is. A SACK without gaps
costs one binary search whatever it acknowledges, and a loss costs what was lost. Only what is
exceptional has state of its own: gap-acknowledged ranges, losses, retransmissions.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass

from dcsdk.sctp.base.tsn import TsnRanges
from dcsdk.sctp.sending.recovery import DUPLICATE_THRESHOLD, Rack, RoundTrip


@dataclass(slots=True)
class Acknowledged:
    """What one SACK newly acknowledged.

    Attributes:
        size_bytes: of user data.
        rtt_s: measurement by the newest packet that was sent only once, or -1.
        spurious_count: packets that were judged lost and had not been.
    """

    size_bytes: int = 0
    rtt_s: float = -1.0
    spurious_count: int = 0


class Outstanding:
    """The retransmission queue.

    Args:
        initial_tsn: our first TSN.

    Attributes:
        ends: last TSN of every packet; here TSNs do not wrap.
        totals: bytes of user data sent up to the end of every packet.
        times: when every packet was first sent, seconds.
        packets: the packets.
        cumulative: the peer has everything up to this TSN.
        base_total: bytes of user data in packets that left the queue.
        in_flight: bytes of user data believed to be in the network.
        lost: last TSNs of packets that wait to be sent again, in order.
        retries: how often packets were sent again, by last TSN; only those that were.
        highest: highest TSN ever acknowledged.
        acknowledged: TSNs above ``cumulative`` that gap blocks (or an abandonment) cover.
        floor: last TSN of the last packet that left the queue.
    """

    __slots__ = (
        "_checked",
        "_resent",
        "acknowledged",
        "base_total",
        "cumulative",
        "ends",
        "floor",
        "highest",
        "in_flight",
        "lost",
        "packets",
        "rack",
        "retries",
        "times",
        "totals",
    )

    def __init__(self, initial_tsn: int) -> None:
        self.ends: list[int] = []
        self.totals: list[int] = []
        self.times: list[float] = []
        self.packets: list[bytes] = []
        self.cumulative = self.highest = initial_tsn - 1
        self.base_total = 0
        self.in_flight = 0
        self.lost: list[int] = []
        self.retries: dict[int, int] = {}
        self.rack = Rack()
        self._resent: dict[int, float] = {}  # when packets were last sent again, in that order
        self.acknowledged = TsnRanges()
        self._checked = initial_tsn - 1  # first sendings up to here were judged
        self.floor = initial_tsn - 1

    @property
    def total(self) -> int:
        """Bytes of user data sent ever, up to the last packet."""
        return self.totals[-1] if self.totals else self.base_total

    def book(self, end: int, size: int) -> None:
        """Count a packet with ``size`` bytes of data that is sent now, ``end`` its last TSN."""
        totals = self.totals
        totals.append((totals[-1] if totals else self.base_total) + size)
        self.ends.append(end)
        self.in_flight += size

    def book_never_sent(self, tsn: int) -> None:
        """Count a TSN behind the last packet that no packet ever carries."""
        self.totals.append(self.total)
        self.ends.append(tsn)
        self.times.append(self.times[-1])
        self.packets.append(b"")

    def first_of(self, index: int) -> int:
        """Return the first TSN of a packet."""
        return (self.ends[index - 1] if index else self.floor) + 1

    def index_of(self, end: int) -> int:
        """Return the place of the packet with that last TSN."""
        return bisect_left(self.ends, end)

    def size_of(self, index: int) -> int:
        """Return the bytes of user data in a packet."""
        return self.totals[index] - (self.totals[index - 1] if index else self.base_total)

    def is_acknowledged(self, index: int) -> bool:
        """Tell whether gap blocks (or an abandonment) cover the whole packet."""
        ranges, end = self.acknowledged, self.ends[index]
        place = bisect_left(ranges.ends, end)
        if place == len(ranges.ends):
            return False
        return ranges.starts[place] <= max(self.first_of(index), self.cumulative + 1)

    # --- acknowledgements ------------------------------------------------------------------------
    def acknowledge(
        self, cumulative: int, gaps: Iterable[tuple[int, int]], now: float, round_trip: RoundTrip
    ) -> Acknowledged:
        """Take a cumulative TSN and gap blocks.

        Args:
            cumulative: not below :attr:`cumulative`.
            gaps: first and last TSN of every block, above ``cumulative``, below what was sent.
            now: seconds.
            round_trip: to tell an early arrival from an impossible one.
        """
        result = Acknowledged()
        before = self.highest
        count = bisect_right(self.ends, cumulative)
        for index in range(count):
            if not self.is_acknowledged(index):
                self._arrived(index, now, before, round_trip, result)
        self.cumulative = cumulative
        self.highest = max(before, cumulative)
        self.acknowledged.remove_through(cumulative)
        if count:
            self.base_total = self.totals[count - 1]
            self.floor = self.ends[count - 1]
            del self.ends[:count]
            del self.totals[:count]
            del self.times[:count]
            del self.packets[:count]
        for start, end in gaps:
            for new_start, new_end in self.acknowledged.add(start, end):
                index = bisect_left(self.ends, new_start)
                while index < len(self.ends) and self.first_of(index) <= new_end:
                    if self.is_acknowledged(index):
                        self._arrived(index, now, before, round_trip, result)
                    index += 1
            self.highest = max(self.highest, end)
        return result

    def _arrived(
        self, index: int, now: float, before: int, round_trip: RoundTrip, result: Acknowledged
    ) -> None:
        end, size = self.ends[index], self.size_of(index)
        result.size_bytes += size
        place = bisect_left(self.lost, end)
        if place < len(self.lost) and self.lost[place] == end:
            del self.lost[place]  # judged lost, yet it came before we sent it again
            result.spurious_count += 1
            self.rack.is_reordering_seen = True
        else:
            self.in_flight -= size
        retries = self.retries.pop(end, 0)
        resent = self._resent.pop(end, None)
        if retries == 0:
            sent = self.times[index]
            result.rtt_s = now - sent
            if end < before:
                self.rack.is_reordering_seen = True
        elif resent is None:
            return
        else:
            sent = resent
            if now - sent < round_trip.minimum_s:
                # The first sending arrived after all (RFC 8985 6.2 step 2).
                result.spurious_count += 1
                self.rack.is_reordering_seen = True
                return
        self.rack.arrived(sent, end, now)

    # --- losses ----------------------------------------------------------------------------------
    def find_losses(
        self, now: float, round_trip: RoundTrip, *, is_recovering: bool
    ) -> float | None:
        """Move packets that must be lost to :attr:`lost`.

        Args:
            now: seconds.
            round_trip: the estimate.
            is_recovering: losses were found in this window already.

        Returns:
            When to look again, if packets may still be merely late.

        Source: RFC 8985 6.2 step 5.
        """
        rack = self.rack
        if rack.newest_tsn < 0:
            return None
        is_certain = is_recovering or self._is_threshold_passed()
        patience = rack.rtt_s + rack.reordering_window_s(round_trip, is_certain=is_certain)
        newest = (rack.newest_sent_s, rack.newest_tsn)
        deadline: float | None = None
        index = bisect_right(self.ends, self._checked)
        while index < len(self.ends):
            sent, end = self.times[index], self.ends[index]
            if not self.is_acknowledged(index):
                if (sent, end) >= newest:
                    break
                if now < sent + patience:
                    deadline = sent + patience
                    break
                self._mark_lost(index)
            self._checked = end
            index += 1
        overdue: list[int] = []
        for end, sent in self._resent.items():
            if (sent, end) >= newest:
                break
            if now < sent + patience:
                deadline = min(deadline or sent + patience, sent + patience)
                break
            overdue.append(end)
        for end in overdue:
            self._mark_lost(bisect_left(self.ends, end))
        return deadline

    def _is_threshold_passed(self) -> bool:
        """Three packets arrived that were sent after the oldest hole."""
        ranges = self.acknowledged
        if not ranges.starts:
            return False
        count = 0
        for start, end in ranges:
            count += bisect_right(self.ends, end) - bisect_left(self.ends, start)
            if count >= DUPLICATE_THRESHOLD:
                return True
        return False

    def _mark_lost(self, index: int) -> None:
        end = self.ends[index]
        self._resent.pop(end, None)
        self.in_flight -= self.size_of(index)
        insort(self.lost, end)

    @property
    def last_in_flight(self) -> int:
        """Index of the last packet that is neither acknowledged nor lost, -1 for none."""
        index = len(self.ends) - 1
        while index >= 0 and (self.is_acknowledged(index) or self.ends[index] in self.lost):
            index -= 1
        return index

    def lose(self, index: int) -> None:
        """Judge one packet lost on other grounds than time; nothing if it is already."""
        end = self.ends[index]
        place = bisect_left(self.lost, end)
        if not self.is_acknowledged(index) and self.lost[place : place + 1] != [end]:
            self._mark_lost(index)

    def lose_all(self, abandoned: TsnRanges) -> None:
        """The retransmission timer expired: everything not acknowledged is lost.

        A peer may take gap acknowledgements back (RFC 9260 6.2.1). Then the packet right above the
        cumulative TSN counts as acknowledged and is not; so all of them are forgotten. What we
        abandoned stays so.
        """
        if self.ends and self.is_acknowledged(0):
            self.acknowledged.clear()
            for start, end in abandoned:
                self.acknowledged.add(start, end)
        self._resent.clear()
        self.in_flight = 0
        self.lost = [end for index, end in enumerate(self.ends) if not self.is_acknowledged(index)]
        if self.ends:
            self._checked = self.ends[-1]

    def resend(self, now: float) -> bytes:
        """Take the first of :attr:`lost`, count it as sent again, and return it."""
        end = self.lost.pop(0)
        index = bisect_left(self.ends, end)
        return self.resend_at(index, now)

    def resend_at(self, index: int, now: float) -> bytes:
        """Count a packet that is not in flight as sent again, and return it."""
        end = self.ends[index]
        self._resent.pop(end, None)  # the order of this table is the order of sending
        self._resent[end] = now
        self.retries[end] = self.retries.get(end, 0) + 1
        self.in_flight += self.size_of(index)
        return self.packets[index]

    def abandon(self, index: int) -> tuple[int, int]:
        """Give a packet up; return its first and last TSN."""
        first, end = self.first_of(index), self.ends[index]
        place = bisect_left(self.lost, end)
        if self.lost[place : place + 1] == [end]:
            del self.lost[place]
        elif not self.is_acknowledged(index):
            self.in_flight -= self.size_of(index)
        self._resent.pop(end, None)
        self.retries.pop(end, None)
        self.packets[index] = b""
        self.acknowledged.add(first, end)
        return first, end
