"""Messages from I-DATA fragments: numbered within their message, so any TSN order will do."""

from __future__ import annotations

from dcsdk.sctp.chunks import FLAG_BEGIN, FLAG_END, FLAG_UNORDERED
from dcsdk.sctp.parameters import PeerViolation
from dcsdk.sctp.reassembly import FRAGMENT_OVERHEAD, WHOLE, Refuse
from dcsdk.sctp.streams import InboundStreams

MESSAGE_IN_PROGRESS_OVERHEAD = 256
"""Bytes of window one incomplete message costs beyond its fragments."""


class PartialMessage:
    """One message of which fragments are missing.

    Attributes:
        parts: the fragments from the first on, without a hole.
        later: fragments after a hole, by fragment sequence number.
        last: the last fragment's number, or -1 while unknown.
        ppid: from the first fragment.
        size: bytes of data so far.
        is_swallowed: too large; its data is thrown away.
    """

    __slots__ = ("is_swallowed", "last", "later", "parts", "ppid", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.later: dict[int, bytes] = {}
        self.last = -1
        self.ppid = 0
        self.size = 0
        self.is_swallowed = False

    @property
    def held(self) -> int:
        """Bytes of window this message takes."""
        count = len(self.parts) + len(self.later)
        return self.size + FRAGMENT_OVERHEAD * count + MESSAGE_IN_PROGRESS_OVERHEAD


class InterleavedAssembler:
    """Reassembly of I-DATA chunks.

    ``key`` is the stream id and message id as they stand in the header with the reserved field
    between them, read as one 64-bit number.

    Args:
        streams: where whole messages go.
        max_size: largest message, bytes.
        refuse: called when a message is larger.

    Source: RFC 8260 2.2.
    """

    __slots__ = (
        "_current",
        "_current_key",
        "_max_size",
        "_messages",
        "_refuse",
        "_streams",
        "held",
    )

    def __init__(self, streams: InboundStreams, max_size: int, refuse: Refuse) -> None:
        self._streams = streams
        self._max_size = max_size
        self._refuse = refuse
        self._messages: dict[int, PartialMessage] = {}
        # The message the last fragment belonged to: the next one most likely does, too.
        self._current_key = -1
        self._current = PartialMessage()
        self.held = 0

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
        message = self._current
        if (
            not flags & WHOLE
            and key << 1 | (flags & FLAG_UNORDERED) >> 2 == self._current_key
            and number == len(message.parts)
            and not message.later
            and message.last < 0
        ):
            message.parts.append(data)
            message.size += len(data)
            self.held += len(data) + FRAGMENT_OVERHEAD
            if message.size > self._max_size:
                self._swallow(key >> 48, message)
            return
        if flags & WHOLE == WHOLE:
            if len(data) > self._max_size:
                self._refuse(key >> 48, len(data))
                return
            is_unordered = flags & FLAG_UNORDERED
            self._streams.deliver(key >> 48, key & 0xFFFFFFFF, number, data, is_unordered)
            return
        self._take_fragment(flags, key, number, data)

    def _take_fragment(self, flags: int, key: int, number: int, data: bytes) -> None:
        full_key = (key & ~0xFFFF00000000) << 1 | (flags & FLAG_UNORDERED) >> 2
        message = self._messages.get(full_key)
        if message is None:
            message = self._messages[full_key] = PartialMessage()
            self.held += MESSAGE_IN_PROGRESS_OVERHEAD
        self._current, self._current_key = message, full_key
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
        if message.is_swallowed:
            data = b""
        message.size += len(data)
        self.held += len(data) + FRAGMENT_OVERHEAD
        if fragment == len(message.parts):
            message.parts.append(data)
            while message.later and len(message.parts) in message.later:
                message.parts.append(message.later.pop(len(message.parts)))
        else:
            message.later[fragment] = data
        if message.size > self._max_size:
            self._swallow(key >> 48, message)
        if len(message.parts) == message.last + 1 > 0:
            self._drop(full_key)
            self._streams.deliver(
                key >> 48,
                key & 0xFFFFFFFF,
                message.ppid,
                b"".join(message.parts),
                flags & FLAG_UNORDERED,
            )

    def skip_message(self, stream_id: int, message_id: int, is_unordered: bool) -> None:
        """Drop the incomplete messages of a stream up to ``message_id`` (RFC 8260 2.3.1)."""
        for full_key in [
            full_key
            for full_key in self._messages
            if full_key >> 49 == stream_id
            and bool(full_key & 1) == is_unordered
            and (message_id - (full_key >> 1 & 0xFFFFFFFF)) & 0xFFFFFFFF < 1 << 31
        ]:
            self._drop(full_key)

    def reset(self, stream_ids: tuple[int, ...]) -> None:
        """Drop incomplete messages of streams that begin anew; ``()`` means all."""
        for full_key in [
            full_key
            for full_key in self._messages
            if not stream_ids or full_key >> 49 in stream_ids
        ]:
            self._drop(full_key)

    def _drop(self, full_key: int) -> None:
        self.held -= self._messages.pop(full_key).held
        self._current_key = -1

    def _swallow(self, stream_id: int, message: PartialMessage) -> None:
        self._refuse(stream_id, message.size)
        self.held -= message.size
        message.size = 0
        message.is_swallowed = True
        message.parts = [b""] * len(message.parts)
        message.later = dict.fromkeys(message.later, b"")
