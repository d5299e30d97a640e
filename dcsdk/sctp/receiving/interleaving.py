"""Messages from I-DATA fragments: numbered within their message, so any TSN order will do."""

from __future__ import annotations

from dcsdk.sctp.base.tsn import SerialOrder
from dcsdk.sctp.receiving.reassembly import FRAGMENT_OVERHEAD, WHOLE, Refuse
from dcsdk.sctp.receiving.streams import MID_MASK, InboundStreams
from dcsdk.sctp.wire.chunks import FLAG_BEGIN, FLAG_END, FLAG_UNORDERED
from dcsdk.sctp.wire.parameters import PeerViolation

MESSAGE_IN_PROGRESS_OVERHEAD = 256
"""Bytes of window one incomplete message costs beyond its fragments."""

MAX_SKIPPED = 1024
"""Streams of which it is remembered up to where the peer gave its unordered messages up. A late
fragment on one that was forgotten waits in vain, counted, until the peer skips further."""


class PartialMessage:
    """One message of which fragments are missing.

    Attributes:
        number: its place in the order of its lane.
        parts: the fragments from the first on, without a hole.
        later: fragments after a hole, by fragment sequence number.
        last: the last fragment's number, or -1 while unknown.
        ppid: from the first fragment.
        cost: window bytes of all fragments.
    """

    __slots__ = ("cost", "last", "later", "number", "parts", "ppid")

    def __init__(self, number: int) -> None:
        self.number = number
        self.parts: list[bytes] = []
        self.later: dict[int, bytes] = {}
        self.last = -1
        self.ppid = 0
        self.cost = MESSAGE_IN_PROGRESS_OVERHEAD


class Lane:
    """The incomplete messages of one stream that are ordered, or those that are not.

    Attributes:
        messages: by MID; each kind counts on its own.
        order: of the MIDs.
    """

    __slots__ = ("messages", "order")

    def __init__(self) -> None:
        self.messages: dict[int, PartialMessage] = {}
        self.order = SerialOrder(MID_MASK)


class InterleavedAssembler:
    """Reassembly of I-DATA chunks.

    ``key`` is the stream id and message id as they stand in the header with the reserved field
    between them, read as one 64-bit number.

    Args:
        streams: where whole messages go.
        max_size: largest message, bytes.
        refuse: called when a message is larger.

    Attributes:
        key: of the message whose next fragment is expected, -1 when there is none. A short way of
            the receiver appends to it by itself, as far as there is :attr:`room`: a fragment with
            this key, with these flags and this number goes to ``parts``, its cost to ``cost``, and
            ``number`` moves on.
        flags: chunk flags of a middle fragment of that message.
        number: its next fragment sequence number.
        parts: its fragments.
        cost: window bytes appended to it that way.

    Source: RFC 8260 2.2.
    """

    __slots__ = (
        "_current",
        "_held",
        "_lanes",
        "_max_size",
        "_refuse",
        "_skipped",
        "_streams",
        "cost",
        "flags",
        "key",
        "number",
        "parts",
    )

    def __init__(self, streams: InboundStreams, max_size: int, refuse: Refuse) -> None:
        self._streams = streams
        self._max_size = max_size
        self._refuse = refuse
        self._lanes: dict[int, Lane] = {}  # by stream id and U bit, as :func:`_lane_id` joins them
        self._skipped: dict[int, int] = {}  # highest MID given up of unordered messages, by stream
        self._held = 0
        self._current: PartialMessage | None = None
        self.key = -1
        self.flags = 0
        self.number = 0
        self.parts: list[bytes] = []
        self.cost = 0

    @property
    def held(self) -> int:
        """Bytes of window that incomplete messages take."""
        return self._held + self.cost

    @property
    def room(self) -> int:
        """Bytes that the message whose next fragment is expected may still grow by."""
        message = self._current
        if message is None:
            return 0
        overhead = FRAGMENT_OVERHEAD * len(message.parts) + MESSAGE_IN_PROGRESS_OVERHEAD
        return self._max_size - (message.cost + self.cost - overhead)

    def take(self, flags: int, key: int, number: int, data: bytes) -> None:
        """Take one chunk.

        Args:
            flags: of the chunk.
            key: see the class.
            number: the PPID with the B flag, else the fragment sequence number.
            data: of the fragment.

        Raises:
            PeerViolation: it contradicts what came of the message.
        """
        is_unordered = flags & FLAG_UNORDERED
        if flags & WHOLE != WHOLE:
            self._take_fragment(flags, key, number, data)
        elif len(data) > self._max_size:
            self._refuse(key >> 48, len(data))
        else:
            self._streams.deliver(key >> 48, key & MID_MASK, number, data, is_unordered)

    def _take_fragment(self, flags: int, key: int, number: int, data: bytes) -> None:
        self.suspend()
        stream_id, message_id, is_unordered = key >> 48, key & MID_MASK, flags & FLAG_UNORDERED
        lane = self._lanes.get(_lane_id(stream_id, is_unordered))
        message = lane.messages.get(message_id) if lane is not None else None
        if lane is None or message is None:
            if self._is_over(stream_id, message_id, is_unordered):
                return  # a late fragment of a message that was given up or refused
            lane, message = self._begin(stream_id, message_id, is_unordered)
        fragment = self._place(message, flags, number)
        cost = len(data) + FRAGMENT_OVERHEAD
        message.cost += cost
        self._held += cost
        if fragment == len(message.parts):
            message.parts.append(data)
            while message.later and len(message.parts) in message.later:
                message.parts.append(message.later.pop(len(message.parts)))
        else:
            message.later[fragment] = data
        if self._is_refused(stream_id, message_id, is_unordered, message):
            return
        if len(message.parts) == message.last + 1 > 0:
            lane.order.remove(message.number)
            self._drop(stream_id, message_id, is_unordered)
            self._streams.deliver(
                stream_id, message_id, message.ppid, b"".join(message.parts), is_unordered
            )
        elif not message.later and message.last < 0:
            self._current, self.parts, self.number = message, message.parts, len(message.parts)
            self.key, self.flags = key, is_unordered

    def _is_over(self, stream_id: int, message_id: int, is_unordered: int) -> bool:
        """Tell whether nothing is made any more of a message that is not under way."""
        if not is_unordered:
            return self._streams.is_over(stream_id, message_id)
        skipped = self._skipped.get(stream_id)
        if skipped is not None and _is_at_or_before(message_id, skipped):
            return True
        return self._streams.is_refusing(stream_id)

    def _begin(
        self, stream_id: int, message_id: int, is_unordered: int
    ) -> tuple[Lane, PartialMessage]:
        lane_id = _lane_id(stream_id, is_unordered)
        lane = self._lanes.get(lane_id)
        if lane is None:
            lane = self._lanes[lane_id] = Lane()
        message = lane.messages[message_id] = PartialMessage(lane.order.add(message_id))
        self._held += message.cost
        return lane, message

    def _place(self, message: PartialMessage, flags: int, number: int) -> int:
        """Return a fragment's number after checking it against what is known of the message."""
        fragment = number
        if flags & FLAG_BEGIN:
            message.ppid, fragment = number, 0
        elif number == 0:
            raise PeerViolation("fragment 0 without the B flag", source="RFC 8260 2.1")
        if fragment < len(message.parts) or fragment in message.later:
            raise PeerViolation(f"fragment {fragment} came with two TSNs", source="RFC 8260 2.2")
        if flags & FLAG_END:
            if message.last >= 0 or (message.later and max(message.later) > fragment):
                raise PeerViolation("a message ends twice", source="RFC 8260 2.2")
            message.last = fragment
        elif 0 <= message.last < fragment:
            raise PeerViolation("fragment after the end of its message", source="RFC 8260 2.2")
        return fragment

    def suspend(self) -> None:
        """Settle what was appended to the current message; none is current afterwards."""
        message = self._current
        if message is not None:
            message.cost += self.cost
            self._held += self.cost
            self._current, self.key, self.cost = None, -1, 0

    def skip_message(self, stream_id: int, message_id: int, is_unordered: bool) -> None:
        """Drop the incomplete messages of a stream up to ``message_id`` (RFC 8260 2.3.1).

        What is ordered is to be skipped in the stream as well, which knows then what is over.
        """
        self.suspend()
        flag = FLAG_UNORDERED if is_unordered else 0
        lane = self._lanes.get(_lane_id(stream_id, flag))
        if lane is not None:
            for given_up in lane.order.take_through(message_id):
                self._drop(stream_id, given_up, flag)
        if is_unordered:
            before = self._skipped.pop(stream_id, message_id)
            is_later = _is_at_or_before(before, message_id)
            self._skipped[stream_id] = message_id if is_later else before
            if len(self._skipped) > MAX_SKIPPED:
                del self._skipped[next(iter(self._skipped))]

    def reset(self, stream_ids: tuple[int, ...]) -> None:
        """Drop incomplete messages of streams that begin anew; ``()`` means all."""
        self.suspend()
        for stream_id in stream_ids or {lane_id >> 3 for lane_id in self._lanes}:
            for flag in (0, FLAG_UNORDERED):
                lane = self._lanes.pop(_lane_id(stream_id, flag), None)
                if lane is not None:
                    self._held -= sum(message.cost for message in lane.messages.values())
            self._skipped.pop(stream_id, None)
        if not stream_ids:
            self._skipped.clear()

    def _drop(self, stream_id: int, message_id: int, is_unordered: int) -> None:
        """Forget a message that its lane's order does not name any more."""
        lane_id = _lane_id(stream_id, is_unordered)
        lane = self._lanes[lane_id]
        self._held -= lane.messages.pop(message_id).cost
        if not lane.messages:
            del self._lanes[lane_id]

    def _is_refused(
        self, stream_id: int, message_id: int, is_unordered: int, message: PartialMessage
    ) -> bool:
        """Give up a message that grew too large; the stream throws away what comes of it."""
        overhead = FRAGMENT_OVERHEAD * (len(message.parts) + len(message.later))
        size = message.cost - overhead - MESSAGE_IN_PROGRESS_OVERHEAD
        if size <= self._max_size:
            return False
        self._lanes[_lane_id(stream_id, is_unordered)].order.remove(message.number)
        self._drop(stream_id, message_id, is_unordered)
        self._refuse(stream_id, size)
        return True


def _lane_id(stream_id: int, is_unordered: int) -> int:
    return stream_id << 3 | is_unordered


def _is_at_or_before(message_id: int, other: int) -> bool:
    return (other - message_id) & MID_MASK <= MID_MASK >> 1
