"""The MF's HTTP proxy: replacement of the root URL, streaming, and what goes wrong upstream."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dcsdk.emulator.dc import http_proxy
from dcsdk.emulator.dc.http_proxy import HttpProxy, upstream_url
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.sbi.server import SbiServer
from dcsdk.errors import ChannelClosed, RemoteProtocolError
from dcsdk.http import APPLICATION_LIMITS
from dcsdk.plugins.apps.http import HttpProtocol
from dcsdk.plugins.apps.http_client import HttpChannel
from tests.http.memory_channel import MemoryChannel, memory_channel_pair


@pytest.mark.clause("TS 23.228 AC.7.1")
@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/", "http://dcsf:80/lists/0?s=1"),
        ("/?vendor=x", "http://dcsf:80/lists/0?s=1&vendor=x"),
        ("/?", "http://dcsf:80/lists/0?s=1&"),
        ("/apps/a?b=/c://d", "http://dcsf:80/apps/a?b=/c://d"),
        ("http://any.example/", "http://dcsf:80/lists/0?s=1"),
        ("http://any.example", "http://dcsf:80/lists/0?s=1"),
        ("https://any.example/x?y", "http://dcsf:80/x?y"),
        ("//evil.example/x", "http://dcsf:80//evil.example/x"),
    ],
)
def test_only_the_root_is_replaced(target: str, url: str) -> None:
    assert upstream_url(target, "http://dcsf:80/lists/0?s=1") == url


@pytest.mark.parametrize("target", ["*", "x", "@evil", "http://[/"])
def test_targets_that_lead_nowhere_are_refused(target: str) -> None:
    with pytest.raises(RemoteProtocolError):
        upstream_url(target, "http://dcsf/")


@given(st.text(max_size=40))
def test_any_target_stays_with_its_dcsf(target: str) -> None:
    try:
        url = upstream_url(target, "http://dcsf.example:80/list")
    except RemoteProtocolError:
        return
    assert url.startswith(("http://dcsf.example:80/", "http://dcsf.example:80/list?"))


@asynccontextmanager
async def proxied(
    upstream: str, *, trace: TraceBus | None = None
) -> AsyncIterator[tuple[HttpChannel, MemoryChannel]]:
    near, far = memory_channel_pair(stream_id=0)
    proxy = HttpProxy("DCMF", trace)
    server = HttpProtocol().start(far, is_opener=False, limits=APPLICATION_LIMITS)
    task = asyncio.create_task(
        proxy.serve(server, stream_id=0, peer="alice", replacement_url=upstream)  # type: ignore[arg-type]
    )
    channel = HttpChannel(near, limits=APPLICATION_LIMITS)
    try:
        yield channel, far
    finally:
        await channel.aclose()
        await task
        await proxy.aclose()


TOTAL_BYTES = 32 << 20
CHUNK = b"x" * 65_536


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(TOTAL_BYTES // len(CHUNK)):
        yield CHUNK


async def store(request: Request) -> Response:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    headers = {"X-Agent": request.headers["user-agent"], "X-Te": str("te" in request.headers)}
    return Response(str(size), headers=headers)


async def fetch(request: Request) -> Response:
    return StreamingResponse(pieces())


async def test_bodies_stream_through_with_flat_memory() -> None:
    received = 0
    trace = TraceBus()
    routes = [Route("/list", store, methods=["POST"]), Route("/list", fetch)]
    async with (
        SbiServer("DCSF", routes) as server,
        proxied(server.base_url + "/list", trace=trace) as (channel, far),
    ):
        tracemalloc.start()
        try:
            stored = await channel.client.post("/", content=pieces(), headers={"TE": "trailers"})
            async with channel.client.stream("GET", "/") as response:
                async for piece in response.aiter_raw():
                    received += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (stored.headers["x-agent"], stored.headers["x-te"]) == ("DCMF", "False")
        assert stored.text == str(TOTAL_BYTES)
        assert received == TOTAL_BYTES
        assert peak < 8 << 20
        assert not far.was_aborted
    assert [event.summary for event in trace] == [
        "POST / (stream 0)",
        "200 (POST /)",
        "GET / (stream 0)",
        "200 (GET /)",
    ]
    assert [event.source for event in trace] == ["alice", "DCMF"] * 2


async def test_an_unreachable_dcsf_is_502_and_a_silent_one_504(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_proxy, "UPSTREAM_TIMEOUT_S", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        async with proxied(url) as (channel, _):
            assert (await channel.client.get("/")).status_code == 502
            taken.listen()
            assert (await channel.client.get("/")).status_code == 504


async def test_a_bad_target_is_400_and_the_channel_stays() -> None:
    async def fine(request: Request) -> Response:
        return Response(b"ok")

    async with (
        SbiServer("DCSF", [Route("/", fine)]) as server,
        proxied(server.base_url + "/") as (channel, _),
    ):
        await channel.carrier.send(b"OPTIONS * HTTP/1.1\r\n\r\n")
        answer = await channel.carrier.receive()
        assert isinstance(answer, bytes) and answer.startswith(b"HTTP/1.1 400")
        assert (await channel.client.get("/")).content == b"ok"


async def test_an_answer_that_breaks_off_resets_the_channel() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with proxied(f"http://127.0.0.1:{port}/") as (channel, far):
        with pytest.raises(ChannelClosed):
            await channel.client.get("/")
        assert far.was_aborted
    server.close()
    await server.wait_closed()


async def test_a_ue_that_breaks_the_framing_loses_its_channel() -> None:
    async with proxied("http://127.0.0.1:9/") as (channel, far):
        await channel.carrier.send(b"nonsense\r\n\r\n")
        with pytest.raises(ChannelClosed):
            await channel.carrier.receive()
        assert far.was_aborted


async def test_a_ue_that_leaves_within_a_request_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with proxied("http://127.0.0.1:9/") as (channel, _):
        await channel.carrier.send(b"GET / HTTP/1.1\r\n")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
