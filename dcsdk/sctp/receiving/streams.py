"""Incoming streams: whole messages come in here in any order and leave as the sender meant them."""

from __future__ import annotations

from dcsdk.sctp.base.events import AssociationEvent, RawMessage
from dcsdk.sctp.base.tsn import SerialOrder

MESSAGE_OVERHEAD = 64
"""Bytes of window one unread message costs beyond its data, so that tiny messages are bounded."""

SSN_MASK = 0xFFFF
MID_MASK = 0xFFFFFFFF

_REFUSING = -1
"""Never equal to a number on the wire: the stream delivers nothing until it is reset."""


class Waiting:
    """Whole ordered messages of one stream that came before their turn.

    Attributes:
        messages: PPID and data, by SSN or MID.
        order: of the numbers.
    """

    __slots__ = ("messages", "order")

    def __init__(self, mask: int) -> None:
        self.messages: dict[int, tuple[int, bytes]] = {}
        self.order = SerialOrder(mask)


class InboundStreams:
    """All incoming streams of an association, and what the application has not read of them.

    A peer may use every stream there is and leave it at that, so what an idle one takes is one
    number: at most some 5 MB for 65,535 of them, and a reset gives it back.

    Args:
        events: where messages go.
        sequence_mask: :data:`SSN_MASK`, or :data:`MID_MASK` with interleaving.

    Attributes:
        unread: window bytes of messages delivered but not consumed.
        held: window bytes of whole messages that wait for their turn.
    """

    __slots__ = ("_events", "_mask", "_next", "_waiting", "held", "unread")

    def __init__(self, events: list[AssociationEvent | RawMessage], sequence_mask: int) -> None:
        self._events = events
        self._mask = sequence_mask
        # Number of the next ordered message to deliver; 0 where nothing stands.
        self._next: dict[int, int] = {}
        self._waiting: dict[int, Waiting] = {}
        self.unread = 0
        self.held = 0

    def deliver(
        self, stream_id: int, sequence: int, ppid: int, data: bytes, is_unordered: int
    ) -> None:
        """Take one whole message; hand it on when it is its turn (RFC 9260 6.6)."""
        expected = self._next.get(stream_id, 0)
        if sequence == expected and not is_unordered:
            self._next[stream_id] = (sequence + 1) & self._mask
            self.unread += len(data) + MESSAGE_OVERHEAD
            self._events.append((stream_id, ppid, data, False))
            if self._waiting:
                self._release(stream_id)
        elif expected == _REFUSING:
            return
        elif is_unordered:
            self.unread += len(data) + MESSAGE_OVERHEAD
            self._events.append((stream_id, ppid, data, True))
        elif self._is_ahead(sequence, expected):
            waiting = self._waiting.get(stream_id)
            if waiting is None:
                waiting = self._waiting[stream_id] = Waiting(self._mask)
            if sequence not in waiting.messages:
                waiting.messages[sequence] = (ppid, data)
                waiting.order.add(sequence)
                self.held += len(data) + MESSAGE_OVERHEAD

    def skip(self, stream_id: int, sequence: int) -> None:
        """Move past every ordered message up to ``sequence`` (RFC 3758 3.6)."""
        expected = self._next.get(stream_id, 0)
        following = (sequence + 1) & self._mask
        if expected == _REFUSING or not self._is_ahead(following, expected):
            return
        self._next[stream_id] = following
        waiting = self._waiting.get(stream_id)
        if waiting is not None:
            # What came whole before the skipped message is still worth delivering, in order.
            for early in waiting.order.take_through(sequence):
                self._hand_over(stream_id, waiting, early)
            self._release(stream_id)

    def reset(self, stream_ids: tuple[int, ...]) -> None:
        """Begin the numbering of streams anew; ``()`` means all of them (RFC 6525 5.2.2)."""
        for stream_id in stream_ids or tuple(self._next.keys() | self._waiting.keys()):
            self._next.pop(stream_id, None)
            self._forget(stream_id)

    def refuse(self, stream_id: int) -> None:
        """Throw away what waits on the stream, and what comes until it is reset."""
        self._forget(stream_id)
        self._next[stream_id] = _REFUSING

    def is_refusing(self, stream_id: int) -> bool:
        """Tell whether what comes on the stream is thrown away."""
        return self._next.get(stream_id, 0) == _REFUSING

    def is_over(self, stream_id: int, sequence: int) -> bool:
        """Tell whether an ordered message was delivered, skipped or refused already."""
        expected = self._next.get(stream_id, 0)
        return expected == _REFUSING or self._is_ahead(expected, sequence)

    def _is_ahead(self, sequence: int, reference: int) -> bool:
        """Compare in serial arithmetic; equal counts as not ahead."""
        return 0 < (sequence - reference) & self._mask <= self._mask >> 1

    def _release(self, stream_id: int) -> None:
        """Deliver what waited for the message before it."""
        waiting = self._waiting.get(stream_id)
        if waiting is None:
            return
        sequence = first = self._next[stream_id]
        while sequence in waiting.messages:
            self._hand_over(stream_id, waiting, sequence)
            sequence = (sequence + 1) & self._mask
        self._next[stream_id] = sequence
        waiting.order.drop_first((sequence - first) & self._mask)
        if not waiting.messages:
            del self._waiting[stream_id]

    def _hand_over(self, stream_id: int, waiting: Waiting, sequence: int) -> None:
        ppid, data = waiting.messages.pop(sequence)
        self.held -= len(data) + MESSAGE_OVERHEAD
        self.unread += len(data) + MESSAGE_OVERHEAD
        self._events.append((stream_id, ppid, data, False))

    def _forget(self, stream_id: int) -> None:
        waiting = self._waiting.pop(stream_id, None)
        if waiting is not None:
            for _, data in waiting.messages.values():
                self.held -= len(data) + MESSAGE_OVERHEAD
