"""The server of HTTP on a data channel: requests come as exchanges that stream both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from types import TracebackType
from typing import Self

import httpx2

from dcsdk.datachannel.channel import close_quietly
from dcsdk.errors import ChannelClosed, DcsdkError, LocalProtocolError, RemoteProtocolError
from dcsdk.http import (
    BOOTSTRAP_LIMITS,
    BodyReceived,
    HttpLimits,
    HttpServerFraming,
    MessageEnded,
    RequestReceived,
)
from dcsdk.http.messages import NO_BODY_STATUSES
from dcsdk.plugins.apps.http_carrier import (
    CLOSE_TIMEOUT_S,
    Carrier,
    FramingDriver,
    HeaderInput,
    encode_headers,
    slices,
)
from dcsdk.security import SecurityReport

MAX_READ_BYTES = 64 * 1024 * 1024
"""What :meth:`HttpExchange.read` holds in memory at most."""


class HttpExchange:
    """One request that waits for its response.

    Read the body before or while responding; what is not read when the response is complete is
    thrown away.

    Attributes:
        method: for example ``"GET"``.
        target: as it came, for example ``"/apps?x=1"``.
        headers: case-insensitive.
    """

    def __init__(
        self, driver: FramingDriver, machine: HttpServerFraming, request: RequestReceived
    ) -> None:
        self.method = request.method
        self.target = request.target
        self.headers = httpx2.Headers(list(request.headers))
        self._expects_continue = request.expects_continue
        self._driver = driver
        self._machine = machine
        self._reading = asyncio.Lock()
        self._is_body_read = False
        self._has_response = False
        self._begun = asyncio.Event()
        self._done = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body as it comes; nothing is read ahead.

        Raises:
            ChannelClosed: the channel ended in the middle.
            OperationTimeout: the peer stopped sending; the channel was reset.
            RemoteProtocolError: bad framing or a limit exceeded; the channel was reset.
        """
        try:
            if self._expects_continue and not self._has_response:
                self._expects_continue = False
                self._machine.send_continue(now=self._driver.time())
                await self._driver.flush()
            while True:
                async with self._reading:
                    if self._is_body_read:
                        return
                    event = await self._driver.next_event()
                    self._is_body_read = isinstance(event, MessageEnded)
                if isinstance(event, BodyReceived):
                    yield event.data
        except DcsdkError:
            self._driver.abort()
            raise

    async def read(self, limit_bytes: int = MAX_READ_BYTES) -> bytes:
        """Return the whole body.

        Args:
            limit_bytes: a larger one resets the channel.

        Raises:
            RemoteProtocolError: the body is larger; and what :meth:`body` raises.
        """
        body = bytearray()
        async for chunk in self.body():
            body += chunk
            if len(body) > limit_bytes:
                self._driver.abort()
                raise RemoteProtocolError(f"HTTP body larger than {limit_bytes} bytes")
        return bytes(body)

    async def respond(
        self,
        status: int,
        headers: HeaderInput | None = None,
        body: bytes | AsyncIterable[bytes] = b"",
    ) -> None:
        """Send the response.

        Args:
            status: 200..599.
            headers: ``Content-Length`` is added for a body of bytes; an iterated one without it
                goes out chunked.
            body: bytes, or an asynchronous iterable that is asked for more only when there is
                room.

        Raises:
            LocalProtocolError: responded already, or values that cannot be sent.
            ChannelClosed: the channel ended.
            OperationTimeout: the peer does not read; the channel was reset.
        """
        pairs = encode_headers(headers)
        names = {name.lower() for name, _ in pairs}
        if (
            isinstance(body, bytes | bytearray | memoryview)
            and status not in NO_BODY_STATUSES
            and not names & {b"content-length", b"transfer-encoding"}
        ):
            pairs.append((b"content-length", b"%d" % len(body)))
        self._machine.start_response(status, pairs, now=self._driver.time())
        self._has_response = True
        self._begun.set()
        try:
            await self._driver.flush()
            async for piece in slices(body):
                self._machine.send_body(piece, now=self._driver.time())
                await self._driver.flush()
            self._machine.end_response(now=self._driver.time())
            await self._driver.flush()
        except BaseException:
            self._driver.abort()
            raise
        finally:
            self._done.set()

    async def wait_responded(self, timeout_s: float) -> None:
        """Wait until the response is sent.

        Args:
            timeout_s: for the response to begin, seconds.

        Raises:
            LocalProtocolError: the program did not respond.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._begun.wait()
        except TimeoutError as exc:
            raise LocalProtocolError(
                f"no response to {self.method} within {timeout_s:g} s"
            ) from exc
        await self._done.wait()


class HttpServerChannel:
    """An open HTTP channel on the server's side.

    ``async for exchange in channel.requests(): await exchange.respond(200, body=b"...")``.

    Args:
        carrier: the open channel.
        limits: what is taken from the peer.
    """

    def __init__(self, carrier: Carrier, *, limits: HttpLimits = BOOTSTRAP_LIMITS) -> None:
        self.carrier = carrier
        self._limits = limits
        self._machine = HttpServerFraming(limits=limits, max_message_size=carrier.max_message_size)
        self._driver = FramingDriver(carrier, self._machine)
        self._is_closed = False

    @property
    def security(self) -> SecurityReport:
        """What protects the channel."""
        return self.carrier.security

    async def requests(self) -> AsyncIterator[HttpExchange]:
        """Yield requests one by one, until the channel closes.

        The next request is read when the response to the one before is complete.

        Raises:
            ChannelClosed: the channel ended within a request.
            OperationTimeout: the peer stopped within a request; the channel was reset.
            RemoteProtocolError: bad framing or a limit exceeded; the channel was reset.
            LocalProtocolError: the program did not respond; the channel was reset.
        """
        try:
            while True:
                try:
                    event = await self._driver.next_event()
                except ChannelClosed:
                    if self._machine.is_between_requests:
                        return
                    raise
                if not isinstance(event, RequestReceived):
                    raise LocalProtocolError("two readers on one HTTP channel")
                exchange = HttpExchange(self._driver, self._machine, event)
                yield exchange
                await exchange.wait_responded(self._limits.idle_s)
                async for _ in exchange.body():
                    pass  # the client still sends what nobody wanted
                self._machine.start_next(now=self._driver.time())
        except DcsdkError:
            self._driver.abort()
            raise

    async def aclose(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Close the channel. Idempotent and bounded by ``timeout_s`` seconds."""
        if self._is_closed:
            return
        self._is_closed = True
        await close_quietly(self.carrier, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
