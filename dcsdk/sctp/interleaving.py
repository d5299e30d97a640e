"""Messages from I-DATA fragments: numbered within their message, so any TSN order will do."""

from __future__ import annotations

from dcsdk.sctp.chunks import FLAG_BEGIN, FLAG_END, FLAG_UNORDERED
from dcsdk.sctp.parameters import PeerViolation
from dcsdk.sctp.reassembly import FRAGMENT_OVERHEAD, WHOLE, Refuse
from dcsdk.sctp.streams import InboundStreams

MESSAGE_IN_PROGRESS_OVERHEAD = 256
"""Bytes of window one incomplete message costs beyond its fragments."""

_MID_MASK = 0xFFFFFFFF
_IDENTITY = ~(0xFFFF << 32)
"""Masks the reserved field out of a key (RFC 8260 2.1: ignored on receipt)."""


class PartialMessage:
    """One message of which fragments are missing.

    Attributes:
        parts: the fragments from the first on, without a hole.
        later: fragments after a hole, by fragment sequence number.
        last: the last fragment's number, or -1 while unknown.
        ppid: from the first fragment.
        cost: window bytes of all fragments.
        is_swallowed: too large; its data is thrown away.
    """

    __slots__ = ("cost", "is_swallowed", "last", "later", "parts", "ppid")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.later: dict[int, bytes] = {}
        self.last = -1
        self.ppid = 0
        self.cost = MESSAGE_IN_PROGRESS_OVERHEAD
        self.is_swallowed = False


class InterleavedAssembler:
    """Reassembly of I-DATA chunks.

    ``key`` is the stream id and message id as they stand in the header with the reserved field
    between them, read as one 64-bit number.

    Args:
        streams: where whole messages go.
        max_size: largest message, bytes.
        refuse: called when a message is larger.

    Attributes:
        key: of the message whose next fragment is expected, -1 when there is none. The receiver
            appends to it by itself: a fragment with this key, with these flags and this number
            goes to ``parts``, its cost to ``cost``, and ``number`` moves on.
        flags: chunk flags of a middle fragment of that message.
        number: its next fragment sequence number.
        parts: its fragments.
        cost: window bytes appended to it that way.

    Source: RFC 8260 2.2.
    """

    __slots__ = (
        "_current",
        "_held",
        "_max_size",
        "_messages",
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
        self._messages: dict[tuple[int, int], PartialMessage] = {}
        self._skipped: dict[tuple[int, int], int] = {}  # highest id given up, by stream and U bit
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
            self._streams.deliver(key >> 48, key & _MID_MASK, number, data, is_unordered)

    def _take_fragment(self, flags: int, key: int, number: int, data: bytes) -> None:
        self.suspend()
        identity = (key & _IDENTITY, flags & FLAG_UNORDERED)
        skipped = self._skipped.get((key >> 48, flags & FLAG_UNORDERED))
        if skipped is not None and _is_at_or_before(key & _MID_MASK, skipped):
            return  # a late fragment of a message that was given up
        message = self._messages.get(identity)
        if message is None:
            message = self._messages[identity] = PartialMessage()
            self._held += message.cost
        fragment = self._place(message, flags, number)
        if message.is_swallowed:
            data = b""
        cost = len(data) + FRAGMENT_OVERHEAD
        message.cost += cost
        self._held += cost
        if fragment == len(message.parts):
            message.parts.append(data)
            while message.later and len(message.parts) in message.later:
                message.parts.append(message.later.pop(len(message.parts)))
        else:
            message.later[fragment] = data
        self._check_size(key >> 48, message)
        if len(message.parts) == message.last + 1 > 0:
            self._drop(identity)
            self._streams.deliver(
                key >> 48, key & _MID_MASK, message.ppid, b"".join(message.parts), identity[1]
            )
        elif not message.later and message.last < 0 and not message.is_swallowed:
            self._current, self.parts, self.number = message, message.parts, len(message.parts)
            self.key, self.flags = key, flags & FLAG_UNORDERED

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
            stream_id = self.key >> 48
            self._current, self.key, self.cost = None, -1, 0
            self._check_size(stream_id, message)

    def skip_message(self, stream_id: int, message_id: int, is_unordered: bool) -> None:
        """Drop the incomplete messages of a stream up to ``message_id`` (RFC 8260 2.3.1)."""
        self.suspend()
        flag = FLAG_UNORDERED if is_unordered else 0
        before = self._skipped.get((stream_id, flag))
        if before is None or _is_at_or_before(before, message_id):
            self._skipped[stream_id, flag] = message_id
        for identity in list(self._messages):
            key, unordered_flag = identity
            if (
                key >> 48 == stream_id
                and unordered_flag == flag
                and _is_at_or_before(key & _MID_MASK, message_id)
            ):
                self._drop(identity)

    def reset(self, stream_ids: tuple[int, ...]) -> None:
        """Drop incomplete messages of streams that begin anew; ``()`` means all."""
        self.suspend()
        for identity in list(self._messages):
            if not stream_ids or identity[0] >> 48 in stream_ids:
                self._drop(identity)
        for stream in list(self._skipped):
            if not stream_ids or stream[0] in stream_ids:
                del self._skipped[stream]

    def _drop(self, identity: tuple[int, int]) -> None:
        self._held -= self._messages.pop(identity).cost

    def _check_size(self, stream_id: int, message: PartialMessage) -> None:
        """Keep the place but not the data of a message that grew too large."""
        overhead = FRAGMENT_OVERHEAD * (len(message.parts) + len(message.later))
        size = message.cost - overhead - MESSAGE_IN_PROGRESS_OVERHEAD
        if size <= self._max_size:
            return
        self._refuse(stream_id, size)
        self._held -= size
        message.cost -= size
        message.is_swallowed = True
        message.parts = [b""] * len(message.parts)
        message.later = dict.fromkeys(message.later, b"")


def _is_at_or_before(message_id: int, other: int) -> bool:
    return (other - message_id) & _MID_MASK <= _MID_MASK >> 1
