"""SIP over TCP connections: keep-alives, framing, and their bounds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from dcsdk.errors import (
    PeerUnreachable,
    TransportError,
)
from dcsdk.io.sip.flow import TransportLimits, TransportName
from dcsdk.io.sip.stream import StreamFlow
from dcsdk.sip.syntax.message import Response
from dcsdk.sip.syntax.parser import ParserLimits

from .test_transport import BROKEN, Contexts, context, node, options, raw, until

UNFRAMEABLE = options().encode().replace(b"Content-Length: 0\r\n", b"")


@pytest.mark.clause("RFC 5626 4.4.1")
async def test_a_ping_is_answered_with_a_pong() -> None:
    async with node() as server:
        address = await server.transport.listen("tcp", "127.0.0.1")
        async with raw(address) as (reader, writer):
            writer.write(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\r\n"


async def test_a_tcp_connection_says_what_it_is() -> None:
    async with node() as server, node() as ue:
        address = await server.transport.listen("tcp", "127.0.0.1")
        flow = await ue.transport.connect("tcp", *address)
        assert isinstance(flow, StreamFlow)
        assert flow.tls is None
        assert "127.0.0.1" in repr(flow)


async def test_a_malformed_message_does_not_end_the_connection() -> None:
    async with node() as server, node() as ue:
        address = await server.transport.listen("tcp", "127.0.0.1")
        flow = await ue.transport.connect("tcp", *address)
        flow.send(options(1).encode() + BROKEN + options(2).encode())
        numbers = [(await server.messages.get())[0].cseq.number for _ in range(2)]
        assert numbers == [1, 2]
        assert server.malformed.qsize() == 1
        assert not flow.is_closed
        assert ("in", BROKEN) in server.traced


@pytest.mark.clause("RFC 3261 18.3")
async def test_what_cannot_be_framed_ends_its_own_connection_only() -> None:
    async with node() as server, node() as ue:
        address = await server.transport.listen("tcp", "127.0.0.1")
        bad = await ue.transport.connect("tcp", *address)
        good = await ue.transport.connect("tcp", *address)
        bad.send(options(1).encode() + UNFRAMEABLE)
        first, _ = await ue.messages.get()
        last, _ = await ue.messages.get()
        assert isinstance(first, Response)
        assert isinstance(last, Response)
        assert (first.status, last.status) == (200, 400)
        assert (await ue.closed.get())[0] is bad
        flow, error = await server.closed.get()
        assert isinstance(error, Exception)
        assert flow.is_closed
        good.send(options(2).encode())
        answer, _ = await ue.messages.get()
        assert answer.cseq.number == 2


async def test_a_large_body_arrives_whole() -> None:
    async with node() as server, node() as ue:
        address = await server.transport.listen("tcp", "127.0.0.1")
        flow = await ue.transport.connect("tcp", *address)
        body = bytes(range(256)) * 2000
        flow.send(options(body=body).encode())
        request, _ = await server.messages.get()
        assert request.body == body


async def test_a_body_over_the_limit_is_refused_and_read_past() -> None:
    limits = TransportLimits(message=ParserLimits(max_body_bytes=1000))
    async with node(limits) as server, node() as ue:
        address = await server.transport.listen("tcp", "127.0.0.1")
        flow = await ue.transport.connect("tcp", *address)
        flow.send(options(1, body=bytes(500_000)).encode())
        flow.send(options(2).encode())
        request, _ = await server.messages.get()
        assert request.cseq.number == 2
        answer, _ = await ue.messages.get()
        assert isinstance(answer, Response)
        assert answer.status == 513


async def test_a_message_that_does_not_end_in_time_ends_the_connection() -> None:
    limits = TransportLimits(message_timeout_s=0.02)
    async with node(limits) as server:
        address = await server.transport.listen("tcp", "127.0.0.1")
        async with raw(address) as (reader, writer):
            writer.write(options().encode() + b"OPTIONS sip:h")
            flow, error = await server.closed.get()
            assert "in time" in str(error)
            assert flow.is_closed
            with contextlib.suppress(ConnectionError):
                await reader.read()


async def test_a_message_completed_in_pieces_stops_the_clock() -> None:
    async with node() as server:
        address = await server.transport.listen("tcp", "127.0.0.1")
        async with raw(address) as (_, writer):
            data = options().encode()
            writer.write(data[:50])
            await writer.drain()
            await until(lambda: server.transport.connection_count)
            writer.write(data[50:] + data[:10])
            await server.messages.get()
            writer.write(data[10:])
            await server.messages.get()


async def test_a_connection_that_ends_inside_a_message_is_an_error() -> None:
    async with node() as server:
        address = await server.transport.listen("tcp", "127.0.0.1")
        async with raw(address) as (_, writer):
            writer.write(b"OPTIONS sip:h")
        _, error = await server.closed.get()
        assert "inside a message" in str(error)


async def test_a_reset_connection_is_an_error() -> None:
    async with node() as server:
        address = await server.transport.listen("tcp", "127.0.0.1")
        reader, writer = await asyncio.open_connection(*address)
        writer.write(options().encode())
        await server.messages.get()
        await reader.readline()
        linger_zero = b"\x01\0\0\0\0\0\0\0"
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        writer.transport.abort()
        _, error = await server.closed.get()
        assert isinstance(error, TransportError)
        assert server.transport.connection_count == 0


async def test_an_orderly_end_is_no_error() -> None:
    async with node() as server, node() as ue:
        address = await server.transport.listen("tcp", "127.0.0.1")
        flow = await ue.transport.connect("tcp", *address)
        flow.send(options().encode())
        await ue.messages.get()
        flow.close()
        assert await ue.closed.get() == (flow, None)
        _, error = await server.closed.get()
        assert error is None


async def test_a_peer_that_does_not_read_is_given_up() -> None:
    limits = TransportLimits(max_write_buffer_bytes=100_000)
    async with node(limits, is_answering=False) as server:
        address = await server.transport.listen("tcp", "127.0.0.1")
        async with raw(address) as (_, writer):
            writer.write(options().encode())
            _, flow = await server.messages.get()
            with pytest.raises(TransportError, match="slowly"):
                while True:
                    flow.send(options(body=bytes(1_000_000)).encode())
            with pytest.raises(TransportError):
                flow.send(options().encode())
            closed, error = await server.closed.get()
            assert closed is flow
            assert "slowly" in str(error)


async def test_pongs_that_nobody_reads_are_bounded() -> None:
    limits = TransportLimits(max_write_buffer_bytes=1)
    async with node(limits) as server, node() as ue:
        address = await server.transport.listen("tcp", "127.0.0.1")
        flow = await ue.transport.connect("tcp", *address)
        flow.send(options().encode())
        _, server_flow = await server.messages.get()
        assert isinstance(server_flow, StreamFlow)
        stream = server_flow._stream
        assert stream is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(stream), "get_write_buffer_size", lambda self: 2)
            server_flow.data_received(b"\r\n\r\n" * 3)
        _, error = await server.closed.get()
        assert "slowly" in str(error)


async def test_connections_are_bounded() -> None:
    limits = TransportLimits(max_connections=2)
    async with node(limits) as server, node(limits) as ue:
        address = await server.transport.listen("tcp", "127.0.0.1")
        flows = [await ue.transport.connect("tcp", *address) for _ in range(2)]
        for flow in flows:
            flow.send(options().encode())
            await ue.messages.get()
        with pytest.raises(TransportError):
            await ue.transport.connect("tcp", *address)
        async with raw(address) as (reader, _):
            assert await reader.read() == b""
        assert server.transport.stats() == {
            "connections": 2,
            "refused_connections": 1,
            "dropped_datagrams": 0,
        }
        flows[0].close()
        await server.closed.get()
        async with raw(address) as (reader, writer):
            writer.write(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\r\n"


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_refused_connection_is_unreachable(transport: TransportName, tls: Contexts) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with node() as ue:
            with pytest.raises(PeerUnreachable):
                await ue.transport.connect(
                    transport,
                    *taken.getsockname(),
                    ssl_context=context(transport, tls, is_server=False),
                )
            assert ue.transport.connection_count == 0


async def test_accept_goes_on_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcsdk.io.sip.transport.ACCEPT_PAUSE_S", 0.0)
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, iter([OSError("too many open files")])

    async def sometimes(sock: socket.socket) -> Any:
        for error in failures:
            raise error
        return await accept(sock)

    monkeypatch.setattr(loop, "sock_accept", sometimes)
    async with node() as server, node() as ue:
        address = await server.transport.listen("tcp", "127.0.0.1")
        flow = await ue.transport.connect("tcp", *address)
        flow.send(options().encode())
        await ue.messages.get()
