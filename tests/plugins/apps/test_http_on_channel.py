"""HTTP on the real thing: data channels of two associations over DTLS and SCTP on loopback."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dcsdk.errors import ChannelClosed, DcsdkError, RemoteProtocolError
from dcsdk.interfaces import Association, ChannelParameters, DtlsSctpParameters
from dcsdk.plugins.apps.http import HttpProtocol
from dcsdk.plugins.apps.http_client import HttpChannel
from dcsdk.plugins.apps.http_server import HttpServerChannel
from dcsdk.plugins.engines.native import NativeEngine
from dcsdk.tls.certificate import Certificate

FILE_BYTES = 16 << 20


@asynccontextmanager
async def associations() -> AsyncIterator[tuple[Association, Association]]:
    engine = NativeEngine()
    certificates = [Certificate.generate(), Certificate.generate()]
    paths = [await engine.bind_path("127.0.0.1") for _ in certificates]
    ends = [
        engine.create(path, certificate, None)
        for path, certificate in zip(paths, certificates, strict=True)
    ]
    for number, end in enumerate(ends):
        end.start(
            DtlsSctpParameters(
                dtls_role="client" if number == 0 else "server",
                remote_address=paths[1 - number].local_address,
                remote_fingerprints=(certificates[1 - number].fingerprint,),
                local_tls_id=None,
                remote_tls_id=None,
                remote_max_message_size=262_144,
            )
        )
    await asyncio.gather(*(end.wait_established(10) for end in ends))
    try:
        yield ends[0], ends[1]
    finally:
        await asyncio.gather(*(end.aclose() for end in ends))


def http_pair(
    near: Association, far: Association, stream_id: int = 1000
) -> tuple[HttpChannel, HttpServerChannel]:
    parameters = ChannelParameters(stream_id=stream_id, subprotocol="http")
    client = HttpProtocol().start(near.open_channel(parameters), is_opener=True)
    server = HttpProtocol().start(far.open_channel(parameters), is_opener=False)
    assert isinstance(client, HttpChannel) and isinstance(server, HttpServerChannel)
    return client, server


async def test_files_go_both_ways_through_dtls_and_sctp() -> None:
    block = bytes(range(256)) * 256
    sent, stored, fetched = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(FILE_BYTES // len(block)):
            yield block

    async def serve(server: HttpServerChannel) -> None:
        async for exchange in server.requests():
            if exchange.method == "PUT":
                async for piece in exchange.body():
                    stored.update(piece)
                await exchange.respond(201)
            else:
                await exchange.respond(200, {"Content-Length": str(FILE_BYTES)}, blocks())

    for _ in range(FILE_BYTES // len(block)):
        sent.update(block)
    async with associations() as (near, far):
        client, server = http_pair(near, far)
        task = asyncio.create_task(serve(server))
        response = await client.client.put("/file", content=blocks())
        assert response.status_code == 201
        async with client.client.stream("GET", "/file") as download:
            async for piece in download.aiter_raw():
                fetched.update(piece)
        assert sent.digest() == stored.digest() == fetched.digest()
        await client.aclose()
        await task
        await server.aclose()


@pytest.mark.clause("D8")
async def test_a_reset_costs_one_channel_and_not_its_neighbour() -> None:
    async with associations() as (near, far):
        bad, bad_server = http_pair(near, far, 1000)
        good, good_server = http_pair(near, far, 1002)

        async def serve(server: HttpServerChannel) -> None:
            async for exchange in server.requests():
                await exchange.respond(200, body=b"fine")

        tasks = [asyncio.create_task(serve(server)) for server in (bad_server, good_server)]
        await bad.carrier.send(b"GET / HTTP/0.9\r\n\r\n")
        with pytest.raises(RemoteProtocolError):
            await tasks[0]
        with pytest.raises(ChannelClosed):
            await bad.client.get("/")
        assert (await good.client.get("/")).content == b"fine"
        await good.aclose()
        await tasks[1]


async def test_an_association_that_ends_wakes_both_sides() -> None:
    async with associations() as (near, far):
        client, server = http_pair(near, far)

        async def serve() -> None:
            async for exchange in server.requests():
                async for _ in exchange.body():
                    await near.aclose()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 16_384

        task = asyncio.create_task(serve())
        with pytest.raises(DcsdkError):
            await client.client.put("/", content=endless())
        with pytest.raises(DcsdkError):
            await task
