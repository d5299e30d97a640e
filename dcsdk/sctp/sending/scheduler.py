"""Which stream sends next: weighted fair queueing by octets (RFC 8831 6.4, RFC 8260 3.6).

Streams send in turns. A turn is a message, or with interleaving at most :data:`QUANTUM` octets of
it; of messages smaller than :data:`SHORT_TURN` it is as many as make that. Every stream has a
virtual time that advances by ``octets / weight`` when it sends; the stream whose turn would end
first in virtual time is next. A stream that was idle starts at the least virtual time of those that
wait, so it gets no credit for its silence. Streams that wait are served in proportion to their
weights, give or take a turn of each.

With interleaving a stream that begins to send even interrupts the turn under way if its own ends
first. So a file never starves real-time text: on a stream of weight ``w`` that was idle, a message
of less than ``QUANTUM * w / v`` octets goes into the next packet, before the rest of any number of
files of weight ``v``; and so do the next ones while they are no more than that for each turn of the
files.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace

DEFAULT_PRIORITY = 256
MAX_PRIORITY = 65_535

QUANTUM = 16_384
"""Octets of a message after which another stream may go on: several packets, so that they are
written together, and few enough to share a slow network finely."""

SHORT_TURN = 4096
"""Octets up to which small messages that wait on one stream go out together."""

NEVER = float("inf")

Limit = tuple[int, float]
"""Most retransmissions (-1 for any number), and when to give up (:data:`NEVER`), seconds."""

QueuedMessage = tuple[bytes, int, int, Limit | None]
"""Data, PPID, kind, and the limit unless the message is reliable.

The kind is the chunk flags of a message in one chunk, plus :data:`LIMITED` when there is a limit:
messages of equal kind can be written alike.
"""

LIMITED = 0x100

NOTHING: deque[QueuedMessage] = deque(maxlen=0)
"""The queue of every idle stream; one of its own would be most of what a stream takes."""


class OutboundStream:
    """One outgoing stream and what waits on it.

    Attributes:
        stream_id: 0..65535.
        queue: messages not wholly sent; of the first, ``offset`` bytes are. :data:`NOTHING` unless
            ``is_active``.
        offset: bytes of ``queue[0]`` that were sent.
        fragment: number of the next fragment of ``queue[0]`` (FSN).
        next_sequence: SSN, or MID of ordered messages.
        next_unordered: MID of unordered messages.
        order: what its entry at the scheduler bears; an entry with another one is dead.
        queued_bytes: of ``queue`` that were not sent.
        turn: octets left of its turn; negative when it sent more than that.
        turn_end: virtual time at which its turn will be over.
        weight: the priority, 1..65535.
        virtual_time: see the module; as of the beginning of its turn.
        is_active: the scheduler has it.
        is_closing: a reset is asked for or under way; no new message is taken (RFC 6525 5.1.2).
    """

    __slots__ = (
        "fragment",
        "is_active",
        "is_closing",
        "next_sequence",
        "next_unordered",
        "offset",
        "order",
        "queue",
        "queued_bytes",
        "stream_id",
        "turn",
        "turn_end",
        "virtual_time",
        "weight",
    )

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.queue = NOTHING
        self.offset = 0
        self.fragment = 0
        self.next_sequence = 0
        self.next_unordered = 0
        self.order = 0
        self.queued_bytes = 0
        self.turn = 0
        self.turn_end = 0.0
        self.weight = DEFAULT_PRIORITY
        self.virtual_time = 0.0
        self.is_active = False
        self.is_closing = False


def is_alike(limit: Limit, other: Limit | None) -> bool:
    """Tell whether two messages may be given up together."""
    if other is None:
        return False
    return limit[0] == other[0] and (limit[1] == NEVER) == (other[1] == NEVER)


class Scheduler:
    """Keeps the streams that have something to send in the order in which their turns end.

    Args:
        is_interleaving: a message may stop for one of another stream.

    Attributes:
        current: whose turn it is, ``None`` when nothing waits.
    """

    __slots__ = (
        "_clock",
        "_dead",
        "_heap",
        "_is_interleaving",
        "_order",
        "_parked",
        "_turns_to_come",
        "current",
    )

    def __init__(self, *, is_interleaving: bool) -> None:
        self._is_interleaving = is_interleaving
        self.current: OutboundStream | None = None
        self._heap: list[tuple[float, int, OutboundStream]] = []  # by the end of their turns
        self._dead = 0  # entries of streams that gave up; never the first, never most of them
        self._parked: list[OutboundStream] = []
        self._order = 0
        self._clock = 0.0  # the least virtual time of those that wait, as of the last round
        self._turns_to_come = 0  # of this round

    def __bool__(self) -> bool:
        return self.current is not None

    @property
    def is_contended(self) -> bool:
        """More than one stream has something to send."""
        return bool(self._heap)

    @property
    def is_alone(self) -> bool:
        """Nothing goes out but what the current stream has."""
        return not (self._heap or self._parked)

    def activate(self, stream: OutboundStream) -> None:
        """A stream has something to send; it goes first if its turn ends first."""
        stream.is_active = True
        if stream.virtual_time < self._clock:
            stream.virtual_time = self._clock
        self._set_turn(stream)
        current = self.current
        if current is None:
            self.current, self._clock = stream, stream.virtual_time
        elif stream.turn_end < current.turn_end and (self._is_interleaving or not current.offset):
            self._order += 1
            current.order = -self._order  # before its equals
            heappush(self._heap, (current.turn_end, current.order, current))
            self._serve(stream)
        else:
            self._push(stream)

    def charge(self, octets: int) -> None:
        """The current stream sent that much and has more; choose who is next when its turn ends.

        It ends too when what is left is no room for the next message, and when nobody waits for it.
        """
        stream = self.current
        if stream is not None:
            stream.turn -= octets
            if (
                stream.turn <= 0
                or not self._heap
                or (not stream.offset and stream.turn < len(stream.queue[0][0]))
            ):
                self.end_turn()

    def end_turn(self) -> None:
        """Choose who is next."""
        stream = self.current
        if stream is None:
            return
        stream.virtual_time = stream.turn_end - stream.turn / stream.weight
        self._set_turn(stream)
        if self._heap and self._heap[0][0] <= stream.turn_end:
            self._order += 1
            stream.order = self._order
            stream = heapreplace(self._heap, (stream.turn_end, stream.order, stream))[2]
            self._bury()
        self._serve(stream)

    def retire(self, octets: int) -> None:
        """The current stream sent that much and has nothing more to send."""
        stream = self.current
        if stream is None:
            return
        stream.virtual_time = stream.turn_end - (stream.turn - octets) / stream.weight
        stream.is_active = False
        stream.queue = NOTHING
        if self._heap:
            self._serve(self._pop())
        else:
            self.current = None
            if self._parked:
                self.unpark()

    def park(self) -> bool:
        """Leave the current stream out until :meth:`unpark`, if another one can send."""
        stream = self.current
        if stream is None or not self._heap:
            return False
        self._parked.append(stream)
        self._serve(self._pop())
        return True

    def unpark(self) -> None:
        """Take back all streams that were left out; the current one keeps its turn."""
        if not self._parked:
            return
        for stream in self._parked:
            stream.virtual_time = max(stream.virtual_time, self._clock)
            self._set_turn(stream)
            self._push(stream)
        self._parked = []
        if self.current is None:
            self._serve(self._pop())

    def gave_up(self, stream: OutboundStream) -> None:
        """Messages of a stream are not sent after all: perhaps it has nothing more to send."""
        if stream.queue:
            if self.current is stream:
                self.end_turn()
        elif self.current is stream:
            self.retire(0)
        elif stream.is_active:
            stream.is_active = False
            stream.queue = NOTHING
            if stream in self._parked:
                self._parked.remove(stream)
            else:
                stream.order = 0
                self._dead += 1
                self._bury()

    def _serve(self, stream: OutboundStream) -> None:
        """Let a stream begin its turn, or go on with it."""
        self.current = stream
        if not self._heap:
            self._clock = stream.virtual_time
        elif self._turns_to_come > 0:
            self._turns_to_come -= 1
        else:
            # Once for as many turns as there are streams, so it costs each turn the same.
            self._turns_to_come = len(self._heap) - self._dead
            waiting = min(item[2].virtual_time for item in self._heap if _is_live(item))
            self._clock = min(stream.virtual_time, waiting)

    def _set_turn(self, stream: OutboundStream) -> None:
        """Give a stream its next turn: see the module."""
        turn = len(stream.queue[0][0]) - stream.offset
        if turn < SHORT_TURN:
            turn = max(turn, min(stream.queued_bytes, SHORT_TURN))
        elif turn > QUANTUM and self._is_interleaving:
            turn = QUANTUM
        stream.turn = turn
        stream.turn_end = stream.virtual_time + stream.turn / stream.weight

    def _push(self, stream: OutboundStream) -> None:
        self._order += 1
        stream.order = self._order
        heappush(self._heap, (stream.turn_end, stream.order, stream))

    def _pop(self) -> OutboundStream:
        """Take the stream whose turn ends first."""
        stream = heappop(self._heap)[2]
        self._bury()
        return stream

    def _bury(self) -> None:
        """Drop dead entries where they matter; each costs what any other entry costs."""
        heap = self._heap
        if 2 * self._dead > len(heap):
            heap[:] = filter(_is_live, heap)
            heapify(heap)
            self._dead = 0
        while self._dead and not _is_live(heap[0]):
            heappop(heap)
            self._dead -= 1


def _is_live(entry: tuple[float, int, OutboundStream]) -> bool:
    """Tell whether the stream of an entry still waits by it."""
    return entry[2].is_active and entry[2].order == entry[1]
