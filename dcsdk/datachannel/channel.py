"""``DataChannel``: messages in both directions, with backpressure in both.

Sending waits when too much is queued. What arrives waits for its reader, takes room in the
association's receive window meanwhile, and is never thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from dcsdk.errors import (
    ChannelClosed,
    DcsdkError,
    LocalProtocolError,
    MessageTooLarge,
    OperationTimeout,
    RemoteProtocolError,
    TransportError,
    again,
)
from dcsdk.interfaces import ChannelParameters, ChannelStats
from dcsdk.interfaces.channel import ChannelHost, ChannelState, Submit
from dcsdk.io.secure.engine_config import SEND_GRANT_BYTES
from dcsdk.security import SecurityReport

PPID_DCEP = 50
PPID_STRING, PPID_BINARY = 51, 53
PPID_STRING_EMPTY, PPID_BINARY_EMPTY = 56, 57
"""Payload protocol identifiers (RFC 8831 8). 52 and 54 are deprecated and never taken."""

CONSUMED_STEP_BYTES = 128 << 10
"""A reader that never empties the inbox reports what it read in steps of this size."""

_EMPTY_BODY = b"\0"
_NOTHING: deque[tuple[str | bytes, int]] = deque(maxlen=0)
"""The inbox of every channel that nothing came on yet."""

_Waiter = tuple["asyncio.Future[None]", int]
"""A send that waits for room, and how many bytes it needs."""


class DataChannel:
    """One data channel of an association; made by ``Association.open_channel``.

    Iterating over it gives messages, ``str`` or ``bytes`` as they were sent, until the peer closes
    the channel.

    Attributes:
        label: as agreed.
        subprotocol: RFC 8864 name, ``""`` for none.
        stream_id: 0..65534.
        is_ordered: messages arrive in the order sent.
        max_retr: retransmissions after which a message is given up, ``None`` for never.
        max_time_ms: time after which a message is given up, ``None`` for never.
        priority: RFC 8831 6.4.
        max_message_size: bytes the peer accepts in one message, 0 for any size.

    Source: RFC 8831 6, 8; RFC 8864.
    """

    _is_lossy = False
    """The association failed, and the peer may lack messages that were accepted."""

    on_dcep: Callable[[bytes], None] | None = None
    """Takes DCEP messages; ``None`` for a channel agreed in SDP, which has none."""

    def __init__(
        self,
        host: ChannelHost[DataChannel],
        parameters: ChannelParameters,
        *,
        stream_id: int,
        max_queued_bytes: int,
    ) -> None:
        self.label = parameters.label
        self.subprotocol = parameters.subprotocol
        self.stream_id = stream_id
        self.is_ordered = parameters.is_ordered
        self.max_retr = parameters.max_retr
        self.max_time_ms = parameters.max_time_ms
        self.priority = parameters.priority
        self.max_message_size = 0
        # From 30 attributes on, every channel would have a dict of 1.5 kB instead of shared keys.
        self._host = host
        self._submit: Submit = _not_open
        self._max_size = max_queued_bytes
        self._max_queued = max_queued_bytes
        self._state = ChannelState.CONNECTING
        self._error: DcsdkError | None = None
        # Bytes that may be sent without looking; 0 whenever a send has to look first.
        self._credit = 0
        self._reserved = 0
        self._waiters: list[_Waiter] = []
        self._inbox = _NOTHING
        self._read_bytes = self._read_count = 0
        self._readers: list[asyncio.Future[None]] = []
        self._is_remote_done = self._is_local_done = False
        self._is_over = False  # nothing more can come
        self._closers: list[asyncio.Future[None]] = []
        self.messages_sent = self.messages_received = 0
        self.bytes_sent = self.bytes_received = 0

    # --- what the program sees --------------------------------------------------------------------
    @property
    def state(self) -> ChannelState:
        """Where the channel is in its life."""
        return self._state

    @property
    def security(self) -> SecurityReport:
        """What protects the channel, and what that claim rests on."""
        return self._host.report

    @property
    def queued_bytes(self) -> int:
        """Bytes accepted by ``send`` that have not left yet."""
        if self._state is ChannelState.CLOSED:
            return 0
        return self._host.queued_bytes(self.stream_id)

    def stats(self) -> ChannelStats:
        """What the channel did so far."""
        return ChannelStats(
            stream_id=self.stream_id,
            label=self.label,
            subprotocol=self.subprotocol,
            state=self._state,
            messages_sent=self.messages_sent,
            messages_received=self.messages_received,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            queued_bytes=self.queued_bytes,
            unread_messages=len(self._inbox),
            unread_bytes=sum(size for _, size in self._inbox),
        )

    async def send(self, data: str | bytes, *, timeout_s: float | None = None) -> None:
        """Send one message; waits only while too much is queued.

        A cancelled or timed-out call has sent nothing. Messages leave in the order of the calls.

        Args:
            data: ``str`` goes as a WebRTC String, ``bytes`` as a WebRTC Binary (RFC 8831 8).
            timeout_s: bound on the wait, seconds; ``None`` for none.

        Raises:
            MessageTooLarge: more bytes than the peer's ``max-message-size``; nothing is sent.
            ChannelClosed: the channel is closed, or closed while the call waited.
            PeerUnreachable: the peer stopped answering.
            OperationTimeout: no room in ``timeout_s``.
        """
        if isinstance(data, str):
            ppid = PPID_STRING
            try:
                body = data.encode()
            except UnicodeEncodeError as exc:
                raise LocalProtocolError(
                    "a string message must be encodable as UTF-8", source="RFC 8831 8"
                ) from exc
        else:
            ppid = PPID_BINARY
            body = data if type(data) is bytes else bytes(memoryview(data))
        size = len(body)
        if size > self._max_size:
            self._check_size(size)
        if not size:
            ppid = PPID_STRING_EMPTY if ppid == PPID_STRING else PPID_BINARY_EMPTY
            body, size = _EMPTY_BODY, 1
        if size > self._credit:
            await self._wait_for_room(size, timeout_s)
        self._credit -= size
        self._submit(ppid, body)
        self.messages_sent += 1
        self.bytes_sent += size

    async def receive(self) -> str | bytes:
        """Take the next message, waiting for it.

        Raises:
            ChannelClosed: the channel is closed and everything that came was read.
            RemoteProtocolError: the channel was closed because the peer broke a rule.
            PeerUnreachable: the peer stopped answering.
        """
        while not self._inbox:
            await self._message_or_end()
        return self._take()

    def __aiter__(self) -> DataChannel:
        return self

    async def __anext__(self) -> str | bytes:
        while not self._inbox:
            if self._is_over and (self._error is None or type(self._error) is ChannelClosed):
                raise StopAsyncIteration
            await self._message_or_end()
        return self._take()

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what is queued, then close the channel both ways. Bounded.

        Messages that were not read are thrown away. The channel is closed in any case; called
        again it just returns.

        Args:
            timeout_s: bound, seconds; what has not been confirmed then is given up.

        Raises:
            OperationTimeout: something sent was not confirmed in ``timeout_s``.
            TransportError: the association failed before everything sent was confirmed.
        """
        if self.closing():
            self._host.reset(self, is_flushed=True)
        if self._state is not ChannelState.CLOSED:
            closer = asyncio.get_running_loop().create_future()
            self._closers.append(closer)
            try:
                async with asyncio.timeout(timeout_s):
                    await closer
            except TimeoutError as exc:
                is_lossy = self._is_unconfirmed()
                self.abort()
                if is_lossy:
                    reason = f"stream {self.stream_id}: not all was confirmed in {timeout_s} s"
                    raise OperationTimeout(reason) from exc
        self._forget_inbox()
        if self._is_lossy:
            self._is_lossy = False
            raise self._closed_error()

    def abort(self) -> None:
        """Close at once: what is queued is given up, what was not read is thrown away."""
        if self._state is not ChannelState.CLOSED:
            self._host.reset(self, is_flushed=False)
            self.end(ChannelClosed("the channel was aborted"))
        self._forget_inbox()

    def __repr__(self) -> str:
        return (
            f"<DataChannel stream_id={self.stream_id} label={self.label!r} "
            f"subprotocol={self.subprotocol!r} {self._state.value}>"
        )

    # --- what the association tells ---------------------------------------------------------------
    def limit(self, max_message_size: int, send_limit: int) -> None:
        """Say how large a message may be.

        Args:
            max_message_size: bytes the peer accepts, 0 for any size.
            send_limit: bytes the association takes at once.
        """
        self.max_message_size = max_message_size
        self._max_size = min(max_message_size or send_limit, send_limit)

    def closing(self) -> bool:
        """Take no more messages to send; tell whether that is new."""
        if self._state not in (ChannelState.CONNECTING, ChannelState.OPEN):
            return False
        self._state = ChannelState.CLOSING
        self._credit = 0
        self._release_senders()
        return True

    @property
    def is_reset_both_ways(self) -> bool:
        """Both directions are reset: the stream id is free again."""
        return self._is_remote_done and self._is_local_done

    def opened(self, submit: Submit) -> None:
        """The association is up.

        Args:
            submit: takes the messages of this channel.
        """
        if self._state is ChannelState.CONNECTING:
            self._state = ChannelState.OPEN
            self._submit = submit
            self.room_changed()

    def resubmit(self, submit: Submit) -> None:
        """Have ``submit`` take the messages of this channel from now on."""
        if self._state is ChannelState.OPEN:
            self._submit = submit

    def deliver(self, ppid: int, data: bytes) -> None:
        """Take one message from the association.

        A message that breaks a rule closes this channel and nothing else (RFC 8831 8).
        """
        message: str | bytes
        if ppid == PPID_BINARY:
            message = data
        elif ppid == PPID_STRING:
            try:
                message = data.decode()
            except UnicodeDecodeError:
                self._refuse("a WebRTC String that is no UTF-8", len(data))
                return
        elif ppid == PPID_BINARY_EMPTY:
            message = b""
        elif ppid == PPID_STRING_EMPTY:
            message = ""
        elif ppid == PPID_DCEP:
            if self.on_dcep is None:
                self._refuse("a DCEP message on a channel agreed in SDP", len(data))
            else:
                self._host.consumed(self.stream_id, len(data), 1)
                self.on_dcep(data)
            return
        else:
            self._refuse(f"payload protocol identifier {ppid}", len(data))
            return
        if self._state is ChannelState.CLOSED:
            self._host.consumed(self.stream_id, len(data), 1)
            return
        self.messages_received += 1
        size = len(data)
        self.bytes_received += size
        if self._inbox is _NOTHING:
            self._inbox = deque()
        self._inbox.append((message, size))
        if self._readers:
            self._wake_reader()

    def room_changed(self) -> int:
        """Let waiting sends go on in their order while there is room; return how many bytes."""
        if self._state is not ChannelState.OPEN:
            return 0
        room, waiters, before = self._room(), self._waiters, self._reserved
        while waiters:
            future, size = waiters[0]
            if not future.done():
                if room < size <= self._max_size:
                    break  # a message that is too large, as we know now, goes on to fail
                room -= size
                self._reserved += size
                future.set_result(None)
            waiters.pop(0)
        if waiters:
            self._credit = 0
            self._host.wake_when_low(self)
        else:
            self._credit = 0 if self._reserved else max(0, min(room, SEND_GRANT_BYTES))
        return self._reserved - before

    def remote_reset(self) -> None:
        """The peer closed its direction: close ours too (RFC 8831 6.7)."""
        self._is_remote_done = self._is_over = True
        if self.closing():
            self._host.reset(self, is_flushed=True)
        elif self._is_local_done:
            self.end(None)
        _wake_all(self._readers)

    def local_reset_done(self) -> None:
        """The peer confirmed the reset of our direction."""
        self._is_local_done = True
        if self._is_remote_done:
            self.end(None)

    def refused(self, error: DcsdkError) -> None:
        """Close this channel because of an error; the association lives on."""
        if self._state is not ChannelState.CLOSED:
            self._host.reset(self, is_flushed=False)
            self.end(error)

    def end(self, error: DcsdkError | None) -> None:
        """The channel is closed; wake everybody who waits.

        Args:
            error: why, ``None`` when it was closed in order.
        """
        if self._state is ChannelState.CLOSED:
            return
        self._state, self._is_over = ChannelState.CLOSED, True
        self._error = self._error or error
        if isinstance(error, TransportError) and type(error) is not ChannelClosed:
            self._is_lossy = self._is_unconfirmed()
        self._credit = 0
        self._release_senders()
        _wake_all(self._readers)
        _wake_all(self._closers)

    # --- inside -----------------------------------------------------------------------------------
    def _closed_error(self) -> DcsdkError:
        return again(self._error) if self._error else ChannelClosed("the channel is closed")

    def _is_unconfirmed(self) -> bool:
        """Something that was sent may not arrive."""
        return self.messages_sent > 0 and not self._host.is_confirmed()

    def _room(self) -> int:
        """Bytes that may be queued now; a message larger than the limit goes when all is sent."""
        queued = self._host.queued_bytes(self.stream_id) + self._reserved
        room = self._max_queued - queued if queued else self._max_size
        return min(room, self._host.free_bytes() - self._reserved)

    def _check_size(self, size: int) -> None:
        if size > self._max_size:
            reason = f"{size} bytes are more than the {self._max_size} that fit one message"
            raise MessageTooLarge(f"{reason} to the peer", source="RFC 8841 6")

    async def _wait_for_room(self, size: int, timeout_s: float | None) -> None:
        """Return with ``size`` bytes of credit, in turn."""
        if self._state is ChannelState.OPEN and not self._waiters and not self._reserved:
            room = self._room()
            if size <= room:
                self._credit = max(size, min(room, SEND_GRANT_BYTES))
                return
        if self._state not in (ChannelState.CONNECTING, ChannelState.OPEN):
            raise self._closed_error()
        waiter: _Waiter = (future := asyncio.get_running_loop().create_future(), size)
        self._waiters.append(waiter)
        self._credit = 0
        if self._state is ChannelState.OPEN:
            self._host.wake_when_low(self)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError as exc:
            raise OperationTimeout(
                f"no room to send {size} bytes on stream {self.stream_id} in {timeout_s} s"
            ) from exc
        finally:
            if not future.done() or future.cancelled():
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            elif self._state is ChannelState.OPEN:
                self._reserved -= size
        if self._state is not ChannelState.OPEN:
            raise self._closed_error()
        self._check_size(size)  # the limit may have become known meanwhile
        self._credit = size

    async def _message_or_end(self) -> None:
        """Wait until there is a message, or will be none."""
        if self._is_over:
            raise self._closed_error()
        reader = asyncio.get_running_loop().create_future()
        self._readers.append(reader)
        try:
            await reader
        except asyncio.CancelledError:
            if reader in self._readers:
                self._readers.remove(reader)
            elif self._inbox and not reader.cancelled():
                self._wake_reader()  # it had been woken: the message is for the next one
            raise

    def _wake_reader(self) -> None:
        while self._readers:
            reader = self._readers.pop(0)
            if not reader.done():
                reader.set_result(None)
                return

    def _take(self) -> str | bytes:
        """Take the first message; what was read opens the receive window, not one by one."""
        inbox = self._inbox
        message, size = inbox.popleft()
        self._read_bytes += size
        self._read_count += 1
        if not inbox or self._read_bytes >= CONSUMED_STEP_BYTES:
            self._host.consumed(self.stream_id, self._read_bytes, self._read_count)
            self._read_bytes = self._read_count = 0
        return message

    def _release_senders(self) -> None:
        _wake_all([future for future, _ in self._waiters])
        self._waiters.clear()
        self._reserved = 0

    def _refuse(self, what: str, size: int) -> None:
        self._host.consumed(self.stream_id, size, 1)
        reason = f"stream {self.stream_id}: the peer sent {what}"
        self.refused(RemoteProtocolError(reason, source="RFC 8831 8"))

    def _forget_inbox(self) -> None:
        size = self._read_bytes + sum(size for _, size in self._inbox)
        count = self._read_count + len(self._inbox)
        self._inbox.clear()
        self._read_bytes = self._read_count = 0
        if count:
            self._host.consumed(self.stream_id, size, count)


def _wake_all(waiting: list[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
    waiting.clear()


def _not_open(ppid: int, data: bytes) -> None:
    raise ChannelClosed("the channel is not open")


class Closable(Protocol):
    """A channel, or what stands for one."""

    async def aclose(self, timeout_s: float) -> None:
        """Send what is queued, then close."""


async def close_quietly(channel: Closable, timeout_s: float = 2.0) -> None:
    """Close a channel on behalf of a part that has other ways to notice what was lost on it."""
    with contextlib.suppress(TransportError, OperationTimeout):
        await channel.aclose(timeout_s)
