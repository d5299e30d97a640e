"""One open TCP connection on the event loop.

Reading takes straight from the kernel, whose buffer holds the peer back while nobody reads. What
the kernel does not take is queued, and ``write`` waits while the queue is long. When sending fails,
what the peer sent before can still be read: it may say why.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Mapping

from dcsdk.errors import LocalProtocolError, TransportError
from dcsdk.interfaces.paths import StreamConnection
from dcsdk.io.deadline import Deadline
from dcsdk.io.net.captured_stream import CapturedStream

WRITE_QUEUE_BYTES = 256 << 10
"""``write`` waits while more than this is queued."""

CALLS_PER_TURN = 16
"""Reads and writes in a row that need not wait; then others get their turn of the event loop."""

LINGER_S = 0.5
"""How long ``aclose`` waits for the peer's end of the stream after ours: a socket closed with
unread bytes makes the kernel throw away what the peer has not yet got."""

_LINGER_READ_BYTES = 65_536


class TcpConnection(StreamConnection):
    """Bytes both ways over one connected socket.

    Args:
        sock: connected, non-blocking; owned from now on.
        capture: of this connection, or ``None``.
    """

    def __init__(self, sock: socket.socket, *, capture: CapturedStream | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._capture = capture
        self._queue: deque[memoryview] = deque()
        self._queued_bytes = 0
        self._has_room, self._is_flushed = asyncio.Event(), asyncio.Event()
        self._has_room.set()
        self._is_flushed.set()
        self._reading: asyncio.Future[None] | None = None
        self._error: TransportError | None = None
        self._is_eof_written = self._is_closing = self._is_closed = False
        self._calls = 0
        self._bytes_sent = self._bytes_received = self._send_calls = self._receive_calls = 0
        with contextlib.suppress(OSError):  # a peer that is gone already; the next call tells
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # --- receiving --------------------------------------------------------------------------------
    async def read(self, max_bytes: int) -> bytes:
        """Take what came, waiting for it; ``b""`` at the end of the stream.

        Raises:
            LocalProtocolError: somebody else reads.
            TransportError: the connection broke or is closed.
        """
        if self._reading is not None:
            raise LocalProtocolError("the connection is being read already")
        await self._take_turn()
        while True:
            if self._is_closing:
                raise _closed()
            data = self._receive(max_bytes)
            if data is not None:
                return data
            await self._wait_readable()

    def _receive(self, max_bytes: int) -> bytes | None:
        """Return what is there; ``None`` for nothing yet."""
        self._receive_calls += 1
        try:
            data = self._socket.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as exc:
            raise self._break(exc) from exc
        if not data and self._error is not None:
            raise self._error  # sending told of the reset, so receiving does not
        self._bytes_received += len(data)
        if self._capture is not None:
            self._capture.received(data)
        return data

    async def _wait_readable(self) -> None:
        waiter = self._reading = self._loop.create_future()
        self._loop.add_reader(self._socket.fileno(), self._wake_reader)
        try:
            await waiter
        finally:
            if self._reading is waiter:
                self._stop_reading()

    def _wake_reader(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    def _stop_reading(self) -> None:
        """Wake who waits, and forget it."""
        if self._reading is not None:
            self._wake_reader()
            self._reading = None
            self._loop.remove_reader(self._socket.fileno())

    # --- sending ----------------------------------------------------------------------------------
    async def write(self, data: bytes) -> None:
        """Send, waiting while the connection takes no more.

        Raises:
            LocalProtocolError: after ``write_eof``.
            TransportError: the connection broke or is closed.
        """
        if self._is_closing:
            raise _closed()
        if self._error is not None:
            raise self._error
        if self._is_eof_written:
            raise LocalProtocolError("data after the end of the stream")
        self._put(memoryview(data))
        if self._capture is not None:
            self._capture.sent(data)
        await self._take_turn()
        await self._has_room.wait()
        if self._error is not None:
            raise self._error
        if self._is_closed:
            raise _closed()

    def write_eof(self) -> None:
        """Tell the peer that nothing follows what was written. Idempotent."""
        if not self._is_eof_written:
            self._is_eof_written = True
            if not self._queue:
                self._shut_down()

    def _put(self, data: memoryview) -> None:
        if not self._queue:
            data = data[self._send(data) :]
            if not data or self._error is not None:
                return
            self._is_flushed.clear()
            self._loop.add_writer(self._socket.fileno(), self._flush)
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._queued_bytes > WRITE_QUEUE_BYTES:
            self._has_room.clear()

    def _send(self, data: memoryview) -> int:
        """Return how much the kernel took."""
        self._send_calls += 1
        try:
            sent = self._socket.send(data) if data else 0
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            self._break(exc)
            return 0
        self._bytes_sent += sent
        return sent

    def _flush(self) -> None:
        while self._queue:
            sent = self._send(self._queue[0])
            if self._error is not None:
                return
            self._queued_bytes -= sent
            if self._queued_bytes <= WRITE_QUEUE_BYTES:
                self._has_room.set()
            if sent < len(self._queue[0]):
                self._queue[0] = self._queue[0][sent:]
                return
            self._queue.popleft()
        self._stop_writing()
        if self._is_eof_written:
            self._shut_down()

    def _stop_writing(self) -> None:
        """Forget what is queued, and wake who waits."""
        if not self._is_flushed.is_set():
            self._loop.remove_writer(self._socket.fileno())
        self._queue.clear()
        self._queued_bytes = 0
        self._has_room.set()
        self._is_flushed.set()

    def _shut_down(self) -> None:
        if self._capture is not None:
            self._capture.finished()
        with contextlib.suppress(OSError):  # the peer was faster
            self._socket.shutdown(socket.SHUT_WR)

    def stats(self) -> Mapping[str, int]:
        """Counters: bytes taken by the kernel and handed out, and calls of it both ways."""
        return {
            "bytes_sent": self._bytes_sent,
            "bytes_received": self._bytes_received,
            "send_calls": self._send_calls,
            "receive_calls": self._receive_calls,
        }

    # --- the end ----------------------------------------------------------------------------------
    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what was written, then close. Idempotent and bounded.

        Args:
            timeout_s: bound, seconds; with 0 what is still queued is lost.
        """
        deadline = Deadline(timeout_s)
        try:
            self._is_closing = True
            self._stop_reading()
            if self._is_closed or self._error is not None or timeout_s <= 0:
                return
            self.write_eof()
            async with asyncio.timeout(deadline.left_s):
                await self._is_flushed.wait()
            async with asyncio.timeout(min(LINGER_S, deadline.left_s)):
                await self._skip_to_end()
        except (TimeoutError, TransportError):
            return
        finally:
            self.abort()

    async def _skip_to_end(self) -> None:
        while not self._is_closed:
            await self._take_turn()
            data = self._receive(_LINGER_READ_BYTES)
            if data == b"":
                return
            if data is None:
                await self._wait_readable()

    def abort(self) -> None:
        """Close at once; what is still queued is lost. Idempotent."""
        if self._is_closed:
            return
        self._is_closing = self._is_closed = True
        self._stop_reading()
        self._stop_writing()
        if self._capture is not None:
            self._capture.finished()
        self._socket.close()

    def _break(self, exc: OSError) -> TransportError:
        if self._error is None:
            self._error = TransportError(f"the connection broke: {exc.strerror}")
        self._stop_writing()
        return self._error

    async def _take_turn(self) -> None:
        self._calls += 1
        if self._calls >= CALLS_PER_TURN:
            self._calls = 0
            await asyncio.sleep(0)


def _closed() -> TransportError:
    return TransportError("the connection is closed")
