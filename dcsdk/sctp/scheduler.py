"""Which stream sends next: weighted fair queueing by octets (RFC 8831 6.4, RFC 8260 3.6).

Every stream has a virtual time that advances by ``octets / weight`` when it sends; the stream with
the least virtual time is next. A stream that was idle starts at the virtual time of the stream now
served, so it neither waits nor gets a credit for its silence.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush, heapreplace

DEFAULT_PRIORITY = 256
MAX_PRIORITY = 65_535

NEVER = float("inf")

Limit = tuple[int, float]
"""Most retransmissions (-1 for any number), and when to give up (:data:`NEVER`), seconds."""

QueuedMessage = tuple[bytes, int, int, Limit | None]
"""Data, PPID, kind, and the limit unless the message is reliable.

The kind is the chunk flags of a message in one chunk, plus :data:`LIMITED` when there is a limit:
messages of equal kind can be written alike.
"""

LIMITED = 0x100


class OutboundStream:
    """One outgoing stream and what waits on it.

    Attributes:
        stream_id: 0..65535.
        queue: messages not wholly sent; of the first, ``offset`` bytes are.
        offset: bytes of ``queue[0]`` that were sent.
        fragment: number of the next fragment of ``queue[0]`` (FSN).
        next_sequence: SSN, or MID of ordered messages.
        next_unordered: MID of unordered messages.
        queued_bytes: of ``queue`` that were not sent.
        weight: the priority, 1..65535.
        virtual_time: see the module.
        is_active: the scheduler has it.
        is_closing: a reset is asked for or under way; no new message is taken (RFC 6525 5.1.2).
        low_mark: ``SendBufferLow`` comes when ``queued_bytes`` falls to this; -1 for never.
    """

    __slots__ = (
        "fragment",
        "is_active",
        "is_closing",
        "low_mark",
        "next_sequence",
        "next_unordered",
        "offset",
        "queue",
        "queued_bytes",
        "stream_id",
        "virtual_time",
        "weight",
    )

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.queue: deque[QueuedMessage] = deque()
        self.offset = 0
        self.fragment = 0
        self.next_sequence = 0
        self.next_unordered = 0
        self.queued_bytes = 0
        self.weight = DEFAULT_PRIORITY
        self.virtual_time = 0.0
        self.is_active = False
        self.is_closing = False
        self.low_mark = -1


class Scheduler:
    """Keeps the streams that have something to send in the order of their virtual time."""

    __slots__ = ("_clock", "_heap", "_order", "_parked", "current")

    def __init__(self) -> None:
        self.current: OutboundStream | None = None
        self._heap: list[tuple[float, int, OutboundStream]] = []
        self._parked: list[OutboundStream] = []
        self._clock = 0.0
        self._order = 0

    def __bool__(self) -> bool:
        return self.current is not None

    @property
    def is_contended(self) -> bool:
        """More than one stream has something to send."""
        return bool(self._heap)

    def activate(self, stream: OutboundStream) -> None:
        """A stream has something to send."""
        stream.is_active = True
        stream.virtual_time = max(stream.virtual_time, self._clock)
        if self.current is None:
            self.current = stream
        else:
            self._push(stream)

    def charge(self, octets: int) -> None:
        """The current stream sent that much; choose who is next."""
        stream = self.current
        if stream is None:
            return
        stream.virtual_time += octets / stream.weight
        self._clock = max(self._clock, stream.virtual_time - octets / stream.weight)
        if self._heap and self._heap[0][0] < stream.virtual_time:
            self._order += 1
            item = heapreplace(self._heap, (stream.virtual_time, self._order, stream))
            self.current = item[2]

    def retire(self, octets: int) -> None:
        """The current stream sent that much and has nothing more to send."""
        stream = self.current
        if stream is None:
            return
        stream.is_active = False
        self._clock = max(self._clock, stream.virtual_time)
        if self._heap:
            stream.virtual_time += octets / stream.weight
            self.current = heappop(self._heap)[2]
        else:
            self.current = None
            self.unpark()

    def park(self) -> bool:
        """Leave the current stream out until :meth:`unpark`, if another one can send."""
        stream = self.current
        if stream is None or not self._heap:
            return False
        self._parked.append(stream)
        self.current = heappop(self._heap)[2]
        return True

    def unpark(self) -> None:
        """Take back all streams that were left out."""
        parked, self._parked = self._parked, []
        for stream in parked:
            self.activate(stream)

    def remove(self, stream: OutboundStream) -> None:
        """Take a stream out wherever it is (reset, abandoned)."""
        if self.current is stream:
            self.retire(0)
        elif stream.is_active:
            stream.is_active = False
            self._heap = sorted(item for item in self._heap if item[2] is not stream)
            self._parked = [parked for parked in self._parked if parked is not stream]

    def _push(self, stream: OutboundStream) -> None:
        self._order += 1
        heappush(self._heap, (stream.virtual_time, self._order, stream))
