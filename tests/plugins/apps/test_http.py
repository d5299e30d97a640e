"""HTTP on a channel: the httpx2 client, the streaming server, and how both end."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from dcsdk.errors import (
    ChannelClosed,
    DcsdkError,
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    RemoteProtocolError,
)
from dcsdk.http import APPLICATION_LIMITS, BOOTSTRAP_LIMITS, HttpLimits
from dcsdk.plugins.apps.http import HttpProtocol
from dcsdk.plugins.apps.http_client import MAX_WAITING_REQUESTS, HttpChannel
from dcsdk.plugins.apps.http_server import HttpExchange, HttpServerChannel
from tests.http.memory_channel import WINDOW_BYTES, MemoryChannel, memory_channel_pair

Handler = Callable[[HttpExchange], Awaitable[None]]
FAST = HttpLimits(idle_s=0.05, total_s=None)


@asynccontextmanager
async def serving(
    handler: Handler,
    *,
    limits: HttpLimits | None = None,
    stream_id: int = 1000,
    max_message_size: int = 65_536,
) -> AsyncIterator[tuple[HttpChannel, MemoryChannel, asyncio.Task[None]]]:
    """Run ``handler`` on one end; yield the client, its carrier and the server's task."""
    near, far = memory_channel_pair(stream_id=stream_id, max_message_size=max_message_size)
    protocol = HttpProtocol()
    server = protocol.start(far, is_opener=False, limits=limits)
    assert isinstance(server, HttpServerChannel)

    async def serve() -> None:
        async for exchange in server.requests():
            await handler(exchange)

    task = asyncio.create_task(serve())
    channel = protocol.start(near, is_opener=True, limits=limits)
    assert isinstance(channel, HttpChannel)
    try:
        yield channel, near, task
    finally:
        await channel.aclose()
        await server.aclose()
        with suppress(DcsdkError):
            await asyncio.wait_for(task, timeout=5)


async def hello(exchange: HttpExchange) -> None:
    await exchange.respond(200, {"Content-Type": "text/plain"}, b"hello")


async def echo(exchange: HttpExchange) -> None:
    await exchange.respond(200, [("X-Method", exchange.method)], exchange.body())


@pytest.mark.clause("TS 26.114 6.2.10.1")
async def test_get_over_a_channel() -> None:
    async with serving(hello) as (channel, carrier, _):
        response = await channel.client.get("/")
        assert (response.status_code, response.text) == (200, "hello")
        assert response.headers["content-length"] == "5"
        assert channel.security is carrier.security


async def test_a_channel_carries_many_exchanges() -> None:
    async with serving(echo) as (channel, carrier, _):
        for number in range(20):
            headers = {"Connection": "close"}
            response = await channel.client.post("/", content=b"%d" % number, headers=headers)
            assert response.content == b"%d" % number
        assert not carrier.is_closed


async def test_concurrent_requests_take_turns() -> None:
    async with serving(echo) as (channel, _, _):
        answers = await asyncio.gather(
            *(channel.client.put("/", content=b"%d" % number) for number in range(10))
        )
        assert [answer.content for answer in answers] == [b"%d" % number for number in range(10)]


@pytest.mark.parametrize("max_message_size", [65_536, 1000, 0])
async def test_a_large_body_is_echoed_while_it_is_sent(max_message_size: int) -> None:
    content = bytes(range(256)) * 8000
    async with serving(echo, max_message_size=max_message_size) as (channel, carrier, _):
        response = await channel.client.post("/", content=content)
        assert response.content == content
        assert max(carrier.sent_sizes) <= min(max_message_size or 16_384, 16_384)


async def big_body(chunk: bytes, count: int, digest: hashlib._Hash) -> AsyncIterator[bytes]:
    for _ in range(count):
        digest.update(chunk)
        yield chunk


async def test_100_mb_stream_down_and_up_with_flat_memory() -> None:
    chunk, count = bytes(range(256)) * 256, 1600  # 64 KiB, 100 MiB in all
    sent, received = hashlib.sha256(), hashlib.sha256()

    async def files(exchange: HttpExchange) -> None:
        if exchange.method == "GET":
            await exchange.respond(200, body=big_body(chunk, count, sent))
            return
        async for piece in exchange.body():
            received.update(piece)
        await exchange.respond(200, body=received.hexdigest().encode())

    async with serving(files) as (channel, carrier, _):
        tracemalloc.start()
        try:
            async with channel.client.stream("GET", "/file") as response:
                async for piece in response.aiter_raw():
                    received.update(piece)
            assert received.digest() == sent.digest()
            answer = await channel.client.put("/file", content=big_body(chunk, count, sent))
            assert answer.text == sent.hexdigest()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * 1024 * 1024
        assert carrier.max_queued_bytes <= WINDOW_BYTES + 16_384
        assert carrier.peer.max_queued_bytes <= WINDOW_BYTES + 16_384


async def test_a_slow_reader_holds_the_sender_back() -> None:
    produced = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield b"x" * 16_000

    async def flood(exchange: HttpExchange) -> None:
        await exchange.respond(200, body=endless())

    async with serving(flood) as (channel, carrier, task):
        async with channel.client.stream("GET", "/") as response:
            stream = response.aiter_raw()
            await anext(stream)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert produced < 2 * WINDOW_BYTES / 16_000
        # What nobody reads to its end resets the channel, and only that.
        assert carrier.was_aborted
        with pytest.raises(ChannelClosed):
            await task


async def test_a_short_body_left_unread_does_not_cost_the_channel() -> None:
    async with serving(hello) as (channel, carrier, _):
        async with channel.client.stream("GET", "/") as response:
            assert response.status_code == 200
        assert (await channel.client.get("/")).text == "hello"
        assert not carrier.was_aborted


async def test_a_server_may_refuse_without_reading() -> None:
    async def refuse(exchange: HttpExchange) -> None:
        await exchange.respond(413, body=b"no")

    async with serving(refuse) as (channel, _, _):
        for _ in range(2):
            response = await channel.client.put("/", content=b"x" * 3_000_000)
            assert response.status_code == 413


async def test_head_and_not_modified_have_no_body() -> None:
    async def cached(exchange: HttpExchange) -> None:
        if exchange.headers.get("if-none-match") == '"1"':
            await exchange.respond(304, {"ETag": '"1"'})
        else:
            await exchange.respond(200, {"ETag": '"1"'}, b"page")

    async with serving(cached) as (channel, _, _):
        assert (await channel.client.head("/")).content == b""
        response = await channel.client.get("/", headers={"If-None-Match": '"1"'})
        assert (response.status_code, response.content) == (304, b"")
        assert (await channel.client.get("/")).content == b"page"


async def test_redirects_do_not_leave_the_channel() -> None:
    async def away(exchange: HttpExchange) -> None:
        await exchange.respond(302, {"Location": "https://evil.example/"})

    async with serving(away) as (channel, carrier, _):
        assert (await channel.client.get("/")).status_code == 302
        with pytest.raises(httpx2.LocalProtocolError) as caught:
            await channel.client.get("/", follow_redirects=True)
        assert isinstance(caught.value, LocalProtocolError)
        with pytest.raises(LocalProtocolError):
            await channel.client.get("http://elsewhere.example/")
        assert not carrier.was_aborted


@pytest.mark.clause("D8")
async def test_bad_framing_resets_the_channel_with_a_typed_error() -> None:
    near, far = memory_channel_pair()
    async with HttpChannel(near) as channel:
        await far.send(b"HTTP/1.1 200 OK\r\n\r\nclose-delimited")
        with pytest.raises(RemoteProtocolError) as caught:
            await channel.client.get("/")
        assert isinstance(caught.value, httpx2.RemoteProtocolError)
        assert near.was_aborted


@pytest.mark.clause("D8")
async def test_a_body_over_the_limit_resets_the_channel_in_the_middle() -> None:
    near, far = memory_channel_pair()
    async with HttpChannel(near, limits=HttpLimits(body_bytes=4)) as channel:
        await far.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await far.send("3\r\nabc\r\n")
        with pytest.raises(RemoteProtocolError):
            await channel.client.get("/")
        assert near.was_aborted
        with pytest.raises(ChannelClosed):
            await channel.client.get("/")


@pytest.mark.clause("D8", "RFC 9110 12.5.3")
async def test_a_packed_body_that_was_not_asked_for_resets_the_channel() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    near, far = memory_channel_pair()
    async with HttpChannel(near) as channel:
        await far.send(head)
        with pytest.raises(RemoteProtocolError, match="gzip"):
            await channel.client.get("/")
        assert near.was_aborted


@pytest.mark.clause("RFC 9110 12.5.3")
async def test_a_packed_body_comes_unpacked_when_the_program_asked_for_it() -> None:
    async def packed(exchange: HttpExchange) -> None:
        await exchange.respond(200, {"content-encoding": "gzip"}, gzip.compress(b"hello"))

    async with serving(packed) as (channel, _, _):
        response = await channel.client.get("/", headers={"accept-encoding": "br, GZIP;q=0.5"})
        assert response.text == "hello"


@pytest.mark.clause("D8")
@pytest.mark.parametrize("part", [b"GET / HTTP/1.0\r\n\r\n", b"x" * 40_000])
async def test_a_server_resets_the_channel_of_a_bad_client(part: bytes) -> None:
    near, far = memory_channel_pair()
    server = HttpServerChannel(far)
    await near.send(part)
    with pytest.raises(RemoteProtocolError):
        await anext(server.requests())
    assert far.was_aborted


@pytest.mark.clause("D8")
async def test_a_silent_server_is_given_up() -> None:
    near, _ = memory_channel_pair()
    async with HttpChannel(near, limits=FAST) as channel:
        with pytest.raises(OperationTimeout) as caught:
            await channel.client.get("/")
        assert isinstance(caught.value, httpx2.TimeoutException)
        assert near.was_aborted


async def test_a_timeout_of_the_program_is_honoured() -> None:
    near, _ = memory_channel_pair()
    async with HttpChannel(near) as channel:
        with pytest.raises(httpx2.ReadTimeout):
            await channel.client.get("/", timeout=0.01)


async def test_an_upload_may_take_longer_than_any_wait_for_the_answer() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 1000
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.04)

    async def count(exchange: HttpExchange) -> None:
        await exchange.respond(200, {}, str(len(await exchange.read())).encode())

    async with serving(count) as (channel, _, _):
        response = await channel.client.put("/", content=trickle(), timeout=0.2)
        assert response.text == "10000"


async def test_waiting_for_a_turn_can_time_out_and_costs_nothing() -> None:
    async with serving(hello) as (channel, carrier, _):
        async with channel.client.stream("GET", "/") as response:
            timeout = httpx2.Timeout(1, pool=0.01)
            with pytest.raises(httpx2.PoolTimeout):
                await channel.client.get("/", timeout=timeout)
            assert await response.aread() == b"hello"
        assert (await channel.client.get("/")).text == "hello"
        assert not carrier.was_aborted


async def test_the_queue_of_requests_is_bounded() -> None:
    near, _ = memory_channel_pair()
    channel = HttpChannel(near)
    tasks = [asyncio.create_task(channel.client.get("/")) for _ in range(MAX_WAITING_REQUESTS + 1)]
    await near.peer.filled()
    with pytest.raises(LocalProtocolError):
        await channel.client.get("/")
    await channel.aclose()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, DcsdkError) for result in results)


@pytest.mark.clause("D8")
async def test_a_client_that_stops_in_a_body_is_given_up() -> None:
    near, far = memory_channel_pair()
    server = HttpServerChannel(far, limits=FAST)
    await near.send(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab")
    exchange = await anext(server.requests())
    with pytest.raises(OperationTimeout):
        await exchange.read()
    assert far.was_aborted


async def test_a_peer_that_does_not_read_is_given_up() -> None:
    near, far = memory_channel_pair()
    server = HttpServerChannel(far, limits=FAST)
    await near.send(b"GET / HTTP/1.1\r\n\r\n")
    exchange = await anext(server.requests())
    with pytest.raises(OperationTimeout):
        await exchange.respond(200, body=b"x" * 1_000_000)
    assert far.was_aborted


async def test_a_program_that_does_not_respond_is_told() -> None:
    near, far = memory_channel_pair()
    server = HttpServerChannel(far, limits=FAST)
    await near.send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(LocalProtocolError, match="no response"):
        async for _ in server.requests():
            pass
    assert far.was_aborted


async def test_a_whole_body_is_bounded_when_read_at_once() -> None:
    near, far = memory_channel_pair()
    server = HttpServerChannel(far)
    await near.send(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde")
    exchange = await anext(server.requests())
    with pytest.raises(RemoteProtocolError):
        await exchange.read(4)
    assert far.was_aborted


async def test_an_expectant_client_gets_100_continue() -> None:
    near, far = memory_channel_pair()
    server = HttpServerChannel(far)
    await near.send(b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    exchange = await anext(server.requests())
    body = asyncio.create_task(exchange.read())
    assert await near.receive() == b"HTTP/1.1 100 \r\n\r\n"
    await near.send(b"ok")
    assert await body == b"ok"
    await exchange.respond(204)


async def test_responding_twice_is_the_programs_error() -> None:
    async def twice(exchange: HttpExchange) -> None:
        with pytest.raises(LocalProtocolError):
            await exchange.respond(99)
        await exchange.respond(200)
        with pytest.raises(LocalProtocolError):
            await exchange.respond(200)

    async with serving(twice) as (channel, _, _):
        assert (await channel.client.get("/")).status_code == 200


async def test_an_error_in_the_uploaded_body_reaches_the_caller() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise OSError("disk gone")

    async with serving(echo) as (channel, carrier, _):
        with pytest.raises((OSError, httpx2.TransportError)):
            await channel.client.put("/", content=broken())
        assert carrier.was_aborted


async def test_an_error_in_the_served_body_resets_the_channel() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise ValueError("no more")

    async def handler(exchange: HttpExchange) -> None:
        with pytest.raises(ValueError, match="no more"):
            await exchange.respond(200, body=broken())

    async with serving(handler) as (channel, _, _):
        with pytest.raises(ChannelClosed) as caught:
            await channel.client.get("/")
        assert isinstance(caught.value, httpx2.NetworkError)


async def test_a_cancelled_request_leaves_the_channel_closed() -> None:
    near, _ = memory_channel_pair()
    async with HttpChannel(near) as channel:
        task = asyncio.create_task(channel.client.get("/"))
        await near.peer.filled()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert near.was_aborted
        with pytest.raises(ChannelClosed):
            await channel.client.get("/")


async def test_a_cancelled_download_leaves_the_channel_closed() -> None:
    near, far = memory_channel_pair()
    async with HttpChannel(near) as channel:
        await far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        task = asyncio.create_task(channel.client.get("/"))
        await near.emptied()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert near.was_aborted


async def test_closing_is_idempotent_and_wakes_an_upload() -> None:
    near, _ = memory_channel_pair()
    channel = HttpChannel(near)
    task = asyncio.create_task(channel.client.put("/", content=b"x" * 1_000_000))
    await near.peer.filled()
    await channel.aclose()
    await channel.aclose()
    assert near.close_calls == 1
    with pytest.raises(ChannelClosed):
        await task
    with pytest.raises(RuntimeError):
        await channel.client.get("/")


async def test_a_peer_that_vanishes_is_told_apart() -> None:
    near, _ = memory_channel_pair()

    async def gone() -> bytes:
        raise PeerUnreachable("no answer")

    near.receive = gone  # type: ignore[method-assign]
    async with HttpChannel(near) as channel:
        with pytest.raises(PeerUnreachable) as caught:
            await channel.client.get("/")
        assert isinstance(caught.value, httpx2.NetworkError)


async def test_a_channel_that_closes_within_a_request_is_an_error() -> None:
    near, far = memory_channel_pair()
    await near.send(b"GET / HT")
    await near.aclose()
    with pytest.raises(ChannelClosed):
        await anext(HttpServerChannel(far).requests())


async def test_a_channel_that_closes_between_requests_is_the_end() -> None:
    near, far = memory_channel_pair()
    async with HttpServerChannel(far) as server:
        await near.aclose()
        assert [exchange async for exchange in server.requests()] == []
    await server.aclose()
    assert far.close_calls == 1
    assert server.security is far.security


async def test_bootstrap_channels_are_bounded_and_application_channels_are_not() -> None:
    for stream_id, limits in ((0, BOOTSTRAP_LIMITS), (1000, APPLICATION_LIMITS)):
        near, _ = memory_channel_pair(stream_id=stream_id)
        server = HttpProtocol().start(near, is_opener=False)
        assert isinstance(server, HttpServerChannel)
        assert server._limits is limits
    assert HttpProtocol.subprotocol == "http"
