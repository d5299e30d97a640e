"""Incoming streams: whole messages come in here in any order and leave as the sender meant them."""

from __future__ import annotations

from dcsdk.sctp.events import Event, RawMessage

MESSAGE_OVERHEAD = 64
"""Bytes of window one unread message costs beyond its data, so that tiny messages are bounded."""

SSN_MASK = 0xFFFF
MID_MASK = 0xFFFFFFFF

_NO_SEQUENCE = -1
"""Never equal to a number on the wire: the stream delivers nothing."""


class InboundStream:
    """One incoming stream.

    Attributes:
        next_sequence: SSN (or MID) of the next ordered message to deliver.
        waiting: whole ordered messages that came before their turn, by sequence.
        is_refusing: a message was too large; everything is thrown away until the stream is reset.
    """

    __slots__ = ("is_refusing", "next_sequence", "waiting")

    def __init__(self) -> None:
        self.next_sequence = 0
        self.waiting: dict[int, tuple[int, bytes]] = {}
        self.is_refusing = False


class InboundStreams:
    """All incoming streams of an association, and what the application has not read of them.

    Args:
        events: where messages go.
        sequence_mask: :data:`SSN_MASK`, or :data:`MID_MASK` with interleaving.

    Attributes:
        unread: window bytes of messages delivered but not consumed.
        held: window bytes of whole messages that wait for their turn.
    """

    __slots__ = ("_events", "_mask", "_streams", "held", "unread")

    def __init__(self, events: list[Event | RawMessage], sequence_mask: int) -> None:
        self._events = events
        self._mask = sequence_mask
        self._streams: dict[int, InboundStream] = {}
        self.unread = 0
        self.held = 0

    def deliver(
        self, stream_id: int, sequence: int, ppid: int, data: bytes, is_unordered: int
    ) -> None:
        """Take one whole message; hand it on when it is its turn (RFC 9260 6.6)."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = InboundStream()
        if sequence == stream.next_sequence and not is_unordered:
            stream.next_sequence = (sequence + 1) & self._mask
            self.unread += len(data) + MESSAGE_OVERHEAD
            self._events.append((stream_id, ppid, data, False))
            if stream.waiting:
                self._release(stream_id, stream)
        elif stream.is_refusing:
            return
        elif is_unordered:
            self.unread += len(data) + MESSAGE_OVERHEAD
            self._events.append((stream_id, ppid, data, True))
        elif self._is_ahead(sequence, stream.next_sequence) and sequence not in stream.waiting:
            stream.waiting[sequence] = (ppid, data)
            self.held += len(data) + MESSAGE_OVERHEAD

    def skip(self, stream_id: int, sequence: int) -> None:
        """Move past every ordered message up to ``sequence`` (RFC 3758 3.6)."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = InboundStream()
        following = (sequence + 1) & self._mask
        if stream.is_refusing or not self._is_ahead(following, stream.next_sequence):
            return
        # What came whole before the skipped message is still worth delivering, in order.
        early = [waiting for waiting in stream.waiting if not self._is_ahead(waiting, sequence)]
        for waiting in sorted(early, key=lambda item: (item - stream.next_sequence) & self._mask):
            self._hand_over(stream_id, stream, waiting)
        stream.next_sequence = following
        self._release(stream_id, stream)

    def reset(self, stream_ids: tuple[int, ...]) -> None:
        """Begin the numbering of streams anew; ``()`` means all of them (RFC 6525 5.2.2)."""
        for stream_id in stream_ids or tuple(self._streams):
            stream = self._streams.pop(stream_id, None)
            if stream is not None:
                self._forget(stream)

    def refuse(self, stream_id: int) -> None:
        """Throw away what waits on the stream, and what comes until it is reset."""
        stream = self._streams.setdefault(stream_id, InboundStream())
        self._forget(stream)
        stream.is_refusing = True
        stream.next_sequence = _NO_SEQUENCE

    def is_refusing(self, stream_id: int) -> bool:
        """Tell whether what comes on the stream is thrown away."""
        stream = self._streams.get(stream_id)
        return stream is not None and stream.is_refusing

    def _is_ahead(self, sequence: int, reference: int) -> bool:
        """Compare in serial arithmetic; equal counts as not ahead."""
        return 0 < (sequence - reference) & self._mask <= self._mask >> 1

    def _release(self, stream_id: int, stream: InboundStream) -> None:
        while stream.next_sequence in stream.waiting:
            sequence = stream.next_sequence
            stream.next_sequence = (sequence + 1) & self._mask
            self._hand_over(stream_id, stream, sequence)

    def _hand_over(self, stream_id: int, stream: InboundStream, sequence: int) -> None:
        ppid, data = stream.waiting.pop(sequence)
        self.held -= len(data) + MESSAGE_OVERHEAD
        self.unread += len(data) + MESSAGE_OVERHEAD
        self._events.append((stream_id, ppid, data, False))

    def _forget(self, stream: InboundStream) -> None:
        for _, data in stream.waiting.values():
            self.held -= len(data) + MESSAGE_OVERHEAD
        stream.waiting.clear()
