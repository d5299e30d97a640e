"""Messages from fragments, for DATA (by TSN) and for I-DATA (by message id).

Both classes have the same verbs, so the receiver picks one when the association starts. ``held`` is
what incomplete messages cost of the receive window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from dcsdk.sctp.receiving.streams import InboundStreams
from dcsdk.sctp.wire.chunks import FLAG_BEGIN, FLAG_END, FLAG_UNORDERED
from dcsdk.sctp.wire.parameters import PeerViolation

FRAGMENT_OVERHEAD = 16
"""Bytes of window a fragment costs beyond its data: the size of its header."""

WHOLE = FLAG_BEGIN | FLAG_END
_KEY_ID = ~0xFFFFFFFF
"""Masks the PPID out of a key: what must be equal in all fragments of a message."""

Refuse = Callable[[int, int], None]
"""Called with a stream id and a size when a message grows too large."""


class Run:
    """Consecutive fragments of one message, above a gap."""

    __slots__ = ("end", "flags", "key", "parts", "size", "start")

    def __init__(self, tsn: int, flags: int, key: int, data: bytes) -> None:
        self.start = self.end = tsn
        self.flags = flags
        self.key = key
        self.parts = deque((data,))
        self.size = len(data)


class DataAssembler:
    """Reassembly of DATA chunks: the fragments of a message have consecutive TSNs.

    ``key`` is the stream id, SSN and PPID of a chunk as they stand in its header, read as one
    64-bit number: one comparison tells whether a fragment continues the message.

    Args:
        streams: where whole messages go.
        max_size: largest message, bytes.
        refuse: called when a message is larger.

    Attributes:
        key: of the message in progress at the cumulative TSN, -1 when there is none. The receiver
            appends to it by itself: a fragment in order with this key and these flags goes to
            ``parts``, its cost to ``cost``.
        flags: chunk flags of a middle fragment of that message.
        parts: its fragments.
        cost: window bytes they take.

    Source: RFC 9260 6.9.
    """

    __slots__ = (
        "_early",
        "_max_size",
        "_refuse",
        "_runs_by_end",
        "_runs_by_start",
        "_streams",
        "cost",
        "flags",
        "key",
        "parts",
    )

    def __init__(self, streams: InboundStreams, max_size: int, refuse: Refuse) -> None:
        self._streams = streams
        self._max_size = max_size
        self._refuse = refuse
        self.key = -1
        self.flags = 0
        self.parts: list[bytes] = []
        self.cost = 0
        # Fragments above a gap, both ends of every run, and what they cost.
        self._runs_by_start: dict[int, Run] = {}
        self._runs_by_end: dict[int, Run] = {}
        self._early = 0

    @property
    def held(self) -> int:
        """Bytes of window that incomplete messages take."""
        return self._early + self.cost

    def take(self, flags: int, key: int, data: bytes) -> None:
        """Take the chunk that follows everything taken so far.

        Raises:
            PeerViolation: it does not fit the message in progress.
        """
        if flags & WHOLE == WHOLE and self.key == -1:
            self._take_whole(flags, key, data)
        else:
            self._extend(flags, key, deque((data,)), len(data))

    def take_early(self, tsn: int, flags: int, key: int, data: bytes) -> None:
        """Take a chunk above a gap.

        Raises:
            PeerViolation: it does not fit its neighbours.
        """
        if flags & WHOLE == WHOLE:
            self._take_whole(flags, key, data)
            return
        run = Run(tsn, flags, key, data)
        self._early += len(data) + FRAGMENT_OVERHEAD
        before = None if flags & FLAG_BEGIN else self._runs_by_end.get(tsn - 1)
        if before is not None:
            run = self._merge(before, run)
        after = None if flags & FLAG_END else self._runs_by_start.get(tsn + 1)
        if after is not None:
            run = self._merge(run, after)
        if run.size > self._max_size:
            self._refuse(run.key >> 48, run.size)
            self._early -= run.size
            run.size = 0
            run.parts = deque(b"" for _ in run.parts)
        if run.flags & WHOLE == WHOLE:
            self._forget(run)
            self._early -= run.size + FRAGMENT_OVERHEAD * len(run.parts)
            self._finish(run.flags, run.key, b"".join(run.parts))
        else:
            self._runs_by_start[run.start] = run
            self._runs_by_end[run.end] = run

    def absorb(self, first: int, last: int) -> None:
        """Take what came early at ``first``..``last``: the gap before it is filled.

        Raises:
            PeerViolation: it does not continue the message in progress.
        """
        tsn = first
        while tsn <= last and self._runs_by_start:
            run = self._runs_by_start.get(tsn)
            if run is None:
                tsn += 1  # part of a message delivered from above the gap
                continue
            self._forget(run)
            self._early -= run.size + FRAGMENT_OVERHEAD * len(run.parts)
            self._extend(run.flags, run.key, run.parts, run.size)
            tsn = run.end + 1

    def skip(self, first: int, through: int) -> None:
        """Drop the message in progress and every run that begins at ``first``..``through``.

        Nothing of what came early lies below ``first``.
        """
        self._drop_message()
        runs = self._runs_by_start
        # As many steps as TSNs are skipped or runs are there, whichever is less.
        starts = range(first, through + 1) if through - first < len(runs) else list(runs)
        for run in [runs[start] for start in starts if start <= through and start in runs]:
            self._forget(run)
            self._early -= run.size + FRAGMENT_OVERHEAD * len(run.parts)

    def skip_message(self, stream_id: int, message_id: int, is_unordered: bool) -> None:
        """Nothing to do: DATA messages are skipped by TSN alone."""

    def reset(self, stream_ids: tuple[int, ...]) -> None:
        """Drop the incomplete message of streams that begin anew; ``()`` means all."""
        if self.key != -1 and (not stream_ids or self.key >> 48 in stream_ids):
            self._drop_message()

    def suspend(self) -> None:
        """Look at what the receiver appended: is the message too large by now?"""
        if self.cost - FRAGMENT_OVERHEAD * len(self.parts) > self._max_size:
            self._overflow()

    def _extend(self, flags: int, key: int, parts: deque[bytes], size: int) -> None:
        """Append fragments to the message in progress, or begin one with them."""
        if flags & FLAG_BEGIN:
            if self.key != -1:
                raise PeerViolation("new message inside a fragmented one", source="RFC 9260 6.9")
            self.key, self.flags = key, flags & FLAG_UNORDERED
        elif self.key == -1 or (key ^ self.key) & _KEY_ID or flags & FLAG_UNORDERED != self.flags:
            raise PeerViolation(
                "fragment continues no message of its stream", source="RFC 9260 6.9"
            )
        self.parts.extend(parts)
        self.cost += size + FRAGMENT_OVERHEAD * len(parts)
        self.suspend()
        if flags & FLAG_END:
            key, flags, data = self.key, self.flags, b"".join(self.parts)
            self._drop_message()
            self._finish(flags, key, data)

    def _take_whole(self, flags: int, key: int, data: bytes) -> None:
        if len(data) > self._max_size:
            self._refuse(key >> 48, len(data))
        else:
            self._finish(flags, key, data)

    def _finish(self, flags: int, key: int, data: bytes) -> None:
        self._streams.deliver(
            key >> 48, key >> 32 & 0xFFFF, key & 0xFFFFFFFF, data, flags & FLAG_UNORDERED
        )

    def _drop_message(self) -> None:
        self.parts.clear()
        self.cost = 0
        self.key = -1

    def _overflow(self) -> None:
        """The message in progress is too large: keep its place, not its data."""
        self._refuse(self.key >> 48, self.cost - FRAGMENT_OVERHEAD * len(self.parts))
        self.parts.clear()
        self.cost = 0

    def _merge(self, left: Run, right: Run) -> Run:
        """Join two neighbours, moving the smaller into the larger."""
        if (
            left.flags & FLAG_END
            or right.flags & FLAG_BEGIN
            or (left.key ^ right.key) & _KEY_ID
            or (left.flags ^ right.flags) & FLAG_UNORDERED
        ):
            raise PeerViolation("neighbouring fragments of two messages", source="RFC 9260 6.9")
        self._forget(left)
        self._forget(right)
        if len(left.parts) >= len(right.parts):
            left.parts.extend(right.parts)
        else:
            right.parts.extendleft(reversed(left.parts))
            left.parts = right.parts
        left.end = right.end
        left.flags |= right.flags & FLAG_END
        left.size += right.size
        return left

    def _forget(self, run: Run) -> None:
        if self._runs_by_start.get(run.start) is run:
            del self._runs_by_start[run.start]
        if self._runs_by_end.get(run.end) is run:
            del self._runs_by_end[run.end]
