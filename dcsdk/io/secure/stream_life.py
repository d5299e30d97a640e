"""What every stream transport goes through: it opens, is established, and ends.

A task of the transport carries bytes from the path into a buffer, so that the end is noticed though
nobody reads. The buffer is bounded; while it is full the task waits, and with it the peer. When the
transport ends, its path is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Coroutine
from typing import Any

from dcsdk.errors import DcsdkError, LocalProtocolError, OperationTimeout, TransportError
from dcsdk.interfaces.paths import StreamPath
from dcsdk.io.deadline import Deadline
from dcsdk.io.tasks import TaskSet

logger = logging.getLogger(__name__)

RECEIVE_BUFFER_BYTES = 256 << 10
"""Received bytes that wait for a reader; beyond that nothing more is taken from the path."""

READ_BYTES = 64 << 10
"""Bytes taken from a path at once."""


BREAK_PATIENCE_S = 1.0
"""When sending fails, the peer's last words are waited for this long: they may say why."""

CLOSE_TIMEOUT_S = 2.0
"""Bound on closing the path of a transport that ended by itself."""


class StreamLife:
    """State of one stream transport, and the bytes that wait for its reader.

    Args:
        name: for the log.
        path: owned from now on.
    """

    def __init__(self, name: str, path: StreamPath) -> None:
        self._name = name
        self._path = path
        self._tasks = TaskSet(name)
        self._chunks: deque[memoryview] = deque()
        self._buffered_bytes = 0
        self._has_data, self._has_room = asyncio.Event(), asyncio.Event()
        self._has_room.set()
        self._opened, self._ended = asyncio.Event(), asyncio.Event()
        self._is_started = self._is_established = self._is_closing = False
        self._error: Exception | None = None

    # --- for the transport ------------------------------------------------------------------------
    def start(self, carry: Coroutine[Any, Any, None]) -> None:
        """Run what opens the path and carries bytes from it; when that ends, the transport ends.

        Args:
            carry: raises what ended it.

        Raises:
            LocalProtocolError: started before.
            TransportError: closed.
        """
        if self._is_started or self._is_closing:
            carry.close()
            if self._is_closing:
                raise TransportError("the transport is closed")
            raise LocalProtocolError("the transport was started before")
        self._is_started = True
        self._tasks.start(self._run(carry), name="carry")

    async def _run(self, carry: Coroutine[Any, Any, None]) -> None:
        error: Exception | None = None
        try:
            await carry
        except DcsdkError as exc:
            error = exc
        except Exception as exc:
            logger.exception("transport=%s broke", self._name)
            error = TransportError(f"the transport broke: {exc!r}")
        self._end(error)
        await self._path.aclose(CLOSE_TIMEOUT_S)

    def establish(self) -> None:
        """The peer is verified."""
        self._is_established = True
        self._opened.set()

    async def put(self, data: bytes) -> None:
        """Give bytes to the reader; waits while too many wait for it already."""
        await self._has_room.wait()
        self._chunks.append(memoryview(data))
        self._buffered_bytes += len(data)
        self._has_data.set()
        if self._buffered_bytes >= RECEIVE_BUFFER_BYTES:
            self._has_room.clear()

    def check_writable(self) -> None:
        """Refuse what cannot be sent.

        Raises:
            LocalProtocolError: not established yet.
            DcsdkError: what ended the transport.
        """
        if self._ended.is_set() or self._is_closing:
            raise self._over()
        if not self._is_established:
            raise LocalProtocolError("nothing is sent before the peer is verified")

    async def send(self, data: bytes) -> None:
        """Put bytes on the path; all of them are queued before the call waits.

        Raises:
            DcsdkError: what ended the transport, when that is known soon; else that it broke.
        """
        try:
            await self._path.write(data)
        except TransportError:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BREAK_PATIENCE_S):
                    await self._ended.wait()
            if self._error is not None:
                raise self._error from None
            raise

    async def aclose(self, timeout_s: float) -> None:
        """Stop carrying, and close the path; what waits for a reader is lost. Idempotent."""
        self._is_closing = True
        deadline = Deadline(timeout_s)
        try:
            await self._tasks.aclose()
        finally:
            self._chunks.clear()
            self._end(None)
            await self._path.aclose(deadline.left_s)

    # --- for its user -----------------------------------------------------------------------------
    async def read(self, max_bytes: int) -> bytes:
        """Take what came, waiting for it; ``b""`` when the peer closed in order.

        Raises:
            DcsdkError: what ended the transport.
        """
        while not self._chunks:
            if self._ended.is_set() or self._is_closing:
                if self._error is None and not self._is_closing:
                    return b""
                raise self._over()
            self._has_data.clear()
            await self._has_data.wait()
        chunk = self._chunks.popleft()
        data = bytes(chunk[:max_bytes])
        if len(chunk) > len(data):
            self._chunks.appendleft(chunk[max_bytes:])
        self._buffered_bytes -= len(data)
        if self._buffered_bytes < RECEIVE_BUFFER_BYTES:
            self._has_room.set()
        return data

    async def wait_established(self, timeout_s: float) -> None:
        """Wait until the peer is verified.

        Raises:
            OperationTimeout: not in ``timeout_s`` seconds.
            DcsdkError: what ended the transport.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._opened.wait()
        except TimeoutError:
            raise OperationTimeout(f"not established in {timeout_s:g} s") from None
        if self._ended.is_set():
            raise self._over()

    async def wait_closed(self) -> Exception | None:
        """Wait for the end; returns what ended it, ``None`` for an end in order."""
        await self._ended.wait()
        return self._error

    def _over(self) -> Exception:
        return self._error or TransportError("the transport is closed")

    def _end(self, error: Exception | None) -> None:
        if not self._ended.is_set():
            self._error = error
            self._ended.set()
            self._opened.set()
            self._has_data.set()
