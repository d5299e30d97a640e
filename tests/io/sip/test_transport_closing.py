"""SIP transports that close while connections come, and TLS handshakes that are never finished."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

import pytest

from dcsdk.io.sip.flow import TransportLimits, TransportName
from dcsdk.io.sip.stream import StreamFlow
from dcsdk.io.sip.udp import SipUdpSocket

from .test_transport import Contexts, context, node, options, raw, until


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> asyncio.Future[socket.socket]:
    """Done in the very turn of the loop in which a connection is accepted."""
    loop = asyncio.get_event_loop()
    done: asyncio.Future[socket.socket] = loop.create_future()
    accept = loop.sock_accept

    async def told(listener: socket.socket) -> Any:
        found = await accept(listener)
        if not done.done():
            done.set_result(found[0])
        return found

    monkeypatch.setattr(loop, "sock_accept", told)
    return done


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_closing_ends_a_connection_that_is_just_being_accepted(
    transport: TransportName, tls: Contexts, accepted: asyncio.Future[socket.socket]
) -> None:
    async with node() as server:
        server_context = context(transport, tls, is_server=True)
        address = await server.transport.listen(transport, "127.0.0.1", ssl_context=server_context)
        async with raw(address) as (reader, _):
            sock = await accepted  # what takes the connection in has not made its first step yet
            await server.transport.aclose()
            assert server.transport.connection_count == 0
            assert sock.fileno() == -1
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""


async def test_closing_ends_although_a_connection_does_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dcsdk.io.sip.transport.ABORT_TIMEOUT_S", 0.01)
    async with node() as server:
        address = await server.transport.listen("tcp", "127.0.0.1")
        async with raw(address):
            await until(lambda: server.transport.connection_count)
            with monkeypatch.context() as deaf:
                deaf.setattr(StreamFlow, "close", lambda self: None)
                abort = StreamFlow.abort
                flows: list[StreamFlow] = []
                deaf.setattr(StreamFlow, "abort", lambda self: flows.append(self))
                with caplog.at_level(logging.WARNING):
                    await server.transport.aclose(timeout_s=0.01)
            assert "1 SIP connections did not end" in caplog.text
            assert server.transport.connection_count == 0
            abort(flows[0])
            await server.closed.get()


async def test_closing_gives_up_what_a_udp_socket_has_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with node() as server:
        await server.transport.listen("udp", "127.0.0.1")
        monkeypatch.setattr(SipUdpSocket, "close", lambda self: None)  # as if its buffer were full
        await server.transport.aclose(timeout_s=0.01)


@pytest.mark.clause("RFC 5626 3.5.1")
async def test_a_flood_of_pings_is_answered_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcsdk.io.sip.stream.MAX_PONGS", 3)
    async with node() as server:
        address = await server.transport.listen("tcp", "127.0.0.1")
        async with raw(address) as (reader, writer):
            writer.write(b"\r\n\r\n" * 1000 + options().encode())
            pongs = (await reader.readuntil(b"SIP/2.0 200")).removesuffix(b"SIP/2.0 200")
            assert pongs in (b"\r\n" * 3, b"\r\n" * 6), "one answer of three for each read"


# --- TLS handshakes under way ---------------------------------------------------------------------
async def test_unfinished_handshakes_keep_nobody_out(tls: Contexts) -> None:
    limits = TransportLimits(max_handshakes=3, min_handshake_s=0.0)
    async with node(limits) as server, node() as ue, contextlib.AsyncExitStack() as stack:
        address = await server.transport.listen("tls", "127.0.0.1", ssl_context=tls[0])
        for _ in range(20):
            await stack.enter_async_context(raw(address))
        flow = await ue.transport.connect(
            "tls", *address, ssl_context=tls[1], server_hostname="localhost"
        )
        flow.send(options().encode())
        await ue.messages.get()
        assert server.transport.handshake_count <= 3
        assert server.transport.stats()["refused_connections"] >= 17
        assert server.transport.connection_count <= 4


async def test_honest_clients_beyond_the_bound_wait_for_each_other(tls: Contexts) -> None:
    async with node(TransportLimits(max_handshakes=1)) as server, node() as ue:
        address = await server.transport.listen("tls", "127.0.0.1", ssl_context=tls[0])
        await asyncio.gather(
            *(
                ue.transport.connect(
                    "tls", *address, ssl_context=tls[1], server_hostname="localhost"
                )
                for _ in range(5)
            )
        )
        await until(lambda: server.transport.handshake_count == 0)
        assert server.transport.stats()["refused_connections"] == 0
        assert server.transport.connection_count == 5


async def test_a_handshake_that_is_new_is_not_given_up_for_another(tls: Contexts) -> None:
    limits = TransportLimits(max_handshakes=1, min_handshake_s=0.05)
    loop = asyncio.get_running_loop()
    async with node(limits) as server:
        address = await server.transport.listen("tls", "127.0.0.1", ssl_context=tls[0])
        started_s = loop.time()
        async with raw(address) as (first, _), raw(address):
            assert await first.read() == b""
            assert loop.time() - started_s >= 0.05


async def test_a_failing_accept_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dcsdk.io.sip.transport.ACCEPT_PAUSE_S", 0.0)
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, iter([OSError("too many open files")] * 50)

    async def sometimes(listener: socket.socket) -> Any:
        for error in failures:
            raise error
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", sometimes)
    with caplog.at_level(logging.WARNING):
        async with node() as server, node() as ue:
            address = await server.transport.listen("tcp", "127.0.0.1")
            flow = await ue.transport.connect("tcp", *address)
            flow.send(options().encode())
            await ue.messages.get()
    assert [record.getMessage() for record in caplog.records] == [
        "accept failed, pausing: too many open files"
    ]
