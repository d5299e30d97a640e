"""What the HTTP client and the HTTP server on a channel share: waiting, bounded, for the peer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from typing import Protocol

from dcsdk.errors import ChannelClosed, OperationTimeout
from dcsdk.http import HttpClientFraming, HttpServerFraming
from dcsdk.http.messages import HttpEvent
from dcsdk.security import SecurityReport

SLICE_BYTES = 64 * 1024
"""A body given as one piece goes out in slices of this size, so that it is not held twice."""

CLOSE_TIMEOUT_S = 2.0

HeaderInput = Mapping[str, str] | Sequence[tuple[str, str]] | Sequence[tuple[bytes, bytes]]


class Carrier(Protocol):
    """What HTTP needs of a data channel."""

    @property
    def stream_id(self) -> int | None: ...
    @property
    def max_message_size(self) -> int: ...
    @property
    def security(self) -> SecurityReport: ...
    async def send(self, data: bytes) -> None: ...
    async def receive(self) -> str | bytes: ...
    async def aclose(self, timeout_s: float = ...) -> None: ...
    def abort(self) -> None: ...


class FramingDriver:
    """Moves bytes between one framing machine and its channel.

    Any error while an exchange is under way resets the channel (limit D8), and only that.
    """

    def __init__(self, carrier: Carrier, machine: HttpClientFraming | HttpServerFraming) -> None:
        self.carrier = carrier
        self.machine = machine
        self.is_reset = False
        self._loop = asyncio.get_running_loop()
        self._sent_at = 0.0

    def time(self) -> float:
        """Return the machine's clock, seconds."""
        return self._loop.time()

    async def flush(self, *, timeout_s: float | None = None) -> None:
        """Send what the machine has for the peer.

        Args:
            timeout_s: bound on each message beside the machine's own, seconds.

        Raises:
            ChannelClosed: the channel ended.
            OperationTimeout: the peer did not read in time.
        """
        while (piece := self.machine.poll_transmit()) is not None:
            self.machine.touch(now=self.time())
            try:
                async with asyncio.timeout_at(self._deadline(timeout_s)):
                    await self.carrier.send(piece)
            except TimeoutError as exc:
                raise OperationTimeout("the HTTP peer takes no more data") from exc
            self._sent_at = self.time()
        self.machine.touch(now=self.time())

    async def next_event(self, *, timeout_s: float | None = None) -> HttpEvent:
        """Return the machine's next event, reading the channel until there is one.

        Args:
            timeout_s: bound on each wait beside the machine's own, seconds; it counts anew while
                a message leaves, since a long upload is no silence.

        Raises:
            ChannelClosed: the channel ended.
            OperationTimeout: a bound of time is over.
            RemoteProtocolError: the peer broke the framing or a limit.
        """
        while (event := self.machine.poll_event()) is None:
            await self._read(timeout_s)
        return event

    async def _read(self, timeout_s: float | None) -> None:
        self.machine.touch(now=self.time())
        started_at = self.time()
        while True:
            since = max(started_at, self._sent_at)
            limit = None if timeout_s is None else since + timeout_s
            deadline = self._earlier(self.machine.next_timer(), limit)
            try:
                async with asyncio.timeout_at(deadline):
                    data = await self.carrier.receive()
                break
            except TimeoutError as exc:
                if isinstance(exc, OperationTimeout):
                    raise
                # The other direction may have moved the deadlines meanwhile.
                now = self.time()
                self.machine.handle_timer(now=now)
                if timeout_s is not None and now >= max(started_at, self._sent_at) + timeout_s:
                    raise OperationTimeout(f"no HTTP data within {timeout_s} s") from None
        payload = data.encode() if isinstance(data, str) else data
        self.machine.receive(payload, now=self.time())

    def _deadline(self, timeout_s: float | None) -> float | None:
        limit = None if timeout_s is None else self.time() + timeout_s
        return self._earlier(self.machine.next_timer(), limit)

    @staticmethod
    def _earlier(first: float | None, second: float | None) -> float | None:
        if first is None or second is None:
            return second if first is None else first
        return min(first, second)

    def abort(self) -> None:
        """Reset the channel; a channel already closed is no error."""
        self.is_reset = True
        with contextlib.suppress(ChannelClosed):
            self.carrier.abort()


def encode_headers(headers: HeaderInput | None) -> list[tuple[bytes, bytes]]:
    """Return headers as pairs of bytes."""
    if headers is None:
        return []
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [
        (
            name if isinstance(name, bytes) else name.encode("latin-1"),
            value if isinstance(value, bytes) else value.encode("latin-1"),
        )
        for name, value in pairs
    ]


async def slices(body: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield a body in slices of at most ``SLICE_BYTES``."""
    if isinstance(body, bytes | bytearray | memoryview):
        view = memoryview(body)
        for start in range(0, len(view), SLICE_BYTES):
            yield bytes(view[start : start + SLICE_BYTES])
        return
    async for chunk in body:
        view = memoryview(chunk)
        for start in range(0, len(view), SLICE_BYTES):
            yield bytes(view[start : start + SLICE_BYTES])
