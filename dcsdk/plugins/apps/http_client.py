"""The client of HTTP on a data channel: an ``httpx2`` transport, so the whole API is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx2

from dcsdk.datachannel.channel import close_quietly
from dcsdk.errors import (
    ChannelClosed,
    DcsdkError,
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    RemoteProtocolError,
)
from dcsdk.http import (
    BOOTSTRAP_LIMITS,
    BodyReceived,
    HttpClientFraming,
    HttpLimits,
    MessageEnded,
    ResponseReceived,
)
from dcsdk.http.messages import HttpEvent
from dcsdk.plugins.apps.http_carrier import CLOSE_TIMEOUT_S, Carrier, FramingDriver, slices
from dcsdk.security import SecurityReport

DEFAULT_HOST = "localhost"
"""The host means nothing on a channel; RFC 9112 3.2 wants one."""

MAX_WAITING_REQUESTS = 64
"""Requests that may wait for the one outstanding."""

DRAIN_BYTES = 256 * 1024
"""Of a response nobody reads to its end, so much is read to keep the channel; a longer one
resets it."""

DRAIN_TIMEOUT_S = 5.0


class HttpFramingError(RemoteProtocolError, httpx2.RemoteProtocolError):
    """The peer's bytes are no HTTP, or exceed a limit; the channel was reset."""


class HttpUsageError(LocalProtocolError, httpx2.LocalProtocolError):
    """The request cannot be sent on a channel."""


class HttpTimeout(OperationTimeout, httpx2.ReadTimeout):
    """The peer was silent, or the exchange took too long; the channel was reset."""

    _request: httpx2.Request | None = None


class HttpPoolTimeout(OperationTimeout, httpx2.PoolTimeout):
    """The request before did not end in time; the channel is as it was."""

    _request: httpx2.Request | None = None


class HttpChannelClosed(ChannelClosed, httpx2.ReadError):
    """The channel closed before the response was complete."""

    _request: httpx2.Request | None = None


class HttpPeerUnreachable(PeerUnreachable, httpx2.ReadError):
    """The peer stopped answering."""

    _request: httpx2.Request | None = None


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raise errors that are dcsdk's and httpx2's at once, so that either ``except`` works."""
    try:
        yield
    except httpx2.TransportError:
        raise
    except RemoteProtocolError as exc:
        raise HttpFramingError(str(exc)) from exc
    except OperationTimeout as exc:
        raise HttpTimeout(str(exc)) from exc
    except PeerUnreachable as exc:
        raise HttpPeerUnreachable(str(exc)) from exc
    except ChannelClosed as exc:
        raise HttpChannelClosed(str(exc)) from exc
    except LocalProtocolError as exc:
        raise HttpUsageError(str(exc)) from exc


class ChannelTransport(httpx2.AsyncBaseTransport):
    """Sends ``httpx2`` requests over one data channel, one after the other.

    Args:
        carrier: the open channel.
        limits: what is taken from the peer.
        host: the one host that requests may name. Others are refused, so that no redirect leads
            off the channel.
    """

    def __init__(
        self, carrier: Carrier, *, limits: HttpLimits = BOOTSTRAP_LIMITS, host: str = DEFAULT_HOST
    ) -> None:
        self._host = host
        machine = HttpClientFraming(limits=limits, max_message_size=carrier.max_message_size)
        self._machine = machine
        self._driver = FramingDriver(carrier, machine)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._exchange: _Exchange | None = None
        self._is_closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return its response, whose body is still to be read.

        Raises:
            HttpUsageError: the URL leads elsewhere, or too many requests wait.
            HttpFramingError: bad framing or a limit exceeded; the channel was reset.
            HttpTimeout: a bound of time is over; the channel was reset.
            HttpChannelClosed: the channel ended.
        """
        with _httpx_errors():
            if request.url.scheme != "http" or request.url.host != self._host:
                raise HttpUsageError(
                    f"only http://{self._host}/ is on this channel, not {request.url.host!r}"
                )
            timeouts = request.extensions.get("timeout", {})
            await self._take_turn(timeouts.get("pool"))
            exchange = self._exchange = _Exchange(self._driver, self._machine, self._turn, timeouts)
            try:
                return await exchange.run(request)
            except BaseException:
                await exchange.give_up()
                raise

    async def _take_turn(self, timeout_s: float | None) -> None:
        if self._waiting >= MAX_WAITING_REQUESTS:
            raise LocalProtocolError(f"{MAX_WAITING_REQUESTS} HTTP requests wait already")
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._turn.acquire()
        except TimeoutError as exc:
            raise HttpPoolTimeout("the HTTP request before did not end in time") from exc
        finally:
            self._waiting -= 1
        if self._is_closed or self._driver.is_reset:
            self._turn.release()
            raise ChannelClosed("the HTTP channel is closed")

    async def aclose(self) -> None:
        """End the exchange under way, which resets the channel. Idempotent."""
        self._is_closed = True
        if self._exchange is not None:
            await self._exchange.give_up()


class _Exchange(httpx2.AsyncByteStream):
    """One request and its response; the response's body stream."""

    def __init__(
        self,
        driver: FramingDriver,
        machine: HttpClientFraming,
        turn: asyncio.Lock,
        timeouts: dict[str, float | None],
    ) -> None:
        self._driver = driver
        self._machine = machine
        self._turn = turn
        self._timeouts = timeouts
        self._upload: asyncio.Task[None] | None = None
        self._is_over = False

    async def run(self, request: httpx2.Request) -> httpx2.Response:
        headers = request.headers.raw
        self._machine.start_request(
            request.method, request.url.raw_path, headers, now=self._driver.time()
        )
        names = {name.lower() for name, _ in headers}
        if names & {b"transfer-encoding", b"content-length"}:
            # Beside the reader: the peer may answer while it reads, and stop reading until its
            # answer is taken.
            self._upload = asyncio.create_task(self._send_body(request.stream), name="http-upload")
            self._upload.add_done_callback(self._wake_reader)
        else:
            self._machine.end_request(now=self._driver.time())
            await self._driver.flush(timeout_s=self._timeouts.get("write"))
        event = await self._next_event()
        if not isinstance(event, ResponseReceived):
            raise RemoteProtocolError("HTTP body before its header block")
        _check_coding(request, event)
        return httpx2.Response(
            event.status,
            headers=list(event.headers),
            stream=self,
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": event.reason},
        )

    async def _send_body(self, stream: Any) -> None:
        async for piece in slices(stream):
            self._machine.send_body(piece, now=self._driver.time())
            await self._driver.flush(timeout_s=self._timeouts.get("write"))
        self._machine.end_request(now=self._driver.time())
        await self._driver.flush(timeout_s=self._timeouts.get("write"))

    def _wake_reader(self, upload: asyncio.Task[None]) -> None:
        if upload.cancelled() or upload.exception() is not None:
            self._driver.abort()

    async def _next_event(self) -> HttpEvent:
        try:
            return await self._driver.next_event(timeout_s=self._timeouts.get("read"))
        except DcsdkError:
            await self._raise_upload_error()
            raise

    async def _raise_upload_error(self) -> None:
        if self._upload is not None and self._upload.done() and not self._upload.cancelled():
            await self._upload

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            try:
                while not self._is_over:
                    event = await self._next_event()
                    if isinstance(event, MessageEnded):
                        await self._finish()
                    elif isinstance(event, BodyReceived):
                        yield event.data
            except (DcsdkError, asyncio.CancelledError):
                await self.give_up()
                raise

    async def aclose(self) -> None:
        """End the response; what is missing of a short one is read, so that the channel stays."""
        if self._is_over:
            return
        with _httpx_errors():
            try:
                drained = 0
                async with asyncio.timeout(DRAIN_TIMEOUT_S):
                    while drained <= DRAIN_BYTES and not self._is_over:
                        event = await self._next_event()
                        if isinstance(event, MessageEnded):
                            await self._finish()
                        elif isinstance(event, BodyReceived):
                            drained += len(event.data)
            except (DcsdkError, TimeoutError):
                return  # the channel is reset below, and the next request says so
            finally:
                await self.give_up()

    async def _finish(self) -> None:
        """The response is read: wait for the rest of the request, then let the next one go."""
        if self._upload is not None:
            await asyncio.wait([self._upload])
            await self._raise_upload_error()
        await self.give_up()

    async def give_up(self) -> None:
        """Let the next request go; an exchange that is not complete resets the channel."""
        if self._is_over:
            return
        self._is_over = True
        if not self._machine.is_idle:
            self._driver.abort()
        if self._upload is not None and not self._upload.done():
            self._upload.cancel()
            await asyncio.wait([self._upload])
        self._turn.release()


def _check_coding(request: httpx2.Request, response: ResponseReceived) -> None:
    """Let only a coding pass that was asked for: what is packed grows past every limit.

    Source: RFC 9110 12.5.3.
    """
    asked = {"", "identity", *_codings(request.headers.raw, b"accept-encoding")}
    for coding in _codings(response.headers, b"content-encoding"):
        if coding not in asked:
            raise RemoteProtocolError(f"HTTP content coding {coding[:32]!r} was not asked for")


def _codings(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """The codings that headers of one name list, in lower case, without weights."""
    values = b",".join(value for key, value in headers if key.lower() == name)
    elements = values.decode("latin-1").lower().split(",")
    return [element.partition(";")[0].strip() for element in elements]


class HttpChannel:
    """An open HTTP channel on the client's side.

    ``channel.client`` is an ``httpx2.AsyncClient`` whose relative URLs go over the channel:
    ``await channel.client.get("/")``. Bodies stream both ways. One request is outstanding; others
    wait for their turn. Bodies come as they are: a program that wants ``gzip`` names it in
    ``Accept-Encoding``, and bounds itself what it unpacks.

    Args:
        carrier: the open channel.
        limits: what is taken from the peer.
        host: text of ``Host``.
    """

    def __init__(
        self, carrier: Carrier, *, limits: HttpLimits = BOOTSTRAP_LIMITS, host: str = DEFAULT_HOST
    ) -> None:
        self.carrier = carrier
        self.client = httpx2.AsyncClient(
            transport=ChannelTransport(carrier, limits=limits, host=host),
            base_url=f"http://{host}",
            headers={"accept-encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
            timeout=httpx2.Timeout(limits.idle_s, pool=None),
        )
        self._is_closed = False

    @property
    def security(self) -> SecurityReport:
        """What protects the channel."""
        return self.carrier.security

    async def aclose(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Close the client and the channel. Idempotent and bounded by ``timeout_s`` seconds."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self.client.aclose()
        finally:
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
