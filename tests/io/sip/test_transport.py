from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from dcsdk.errors import (
    ConfigError,
    OperationTimeout,
    PeerUnreachable,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces import Address
from dcsdk.io.sip.flow import Flow, TransportLimits, TransportName
from dcsdk.io.sip.stream import StreamFlow
from dcsdk.io.sip.transport import SipTransport
from dcsdk.io.sip.udp import MAX_DATAGRAM_BYTES, UdpFlow
from dcsdk.sip.syntax.headers import Headers
from dcsdk.sip.syntax.message import Message, Request, Response
from dcsdk.sip.syntax.parser import MessageError
from dcsdk.sip.syntax.uri import SipUri
from tests.io.sip.certificates import tls_contexts

PATIENCE_S = 10.0


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


HOSTS = [
    "127.0.0.1",
    pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no ::1 on this machine")),
]

TRANSPORTS: list[TransportName] = ["udp", "tcp", "tls"]


def options(number: int = 1, body: bytes = b"") -> Request:
    headers = Headers(
        [
            ("Via", "SIP/2.0/TCP ue.example;branch=z9hG4bK1"),
            ("From", "<sip:alice@ims.example>;tag=a"),
            ("To", "<sip:bob@ims.example>"),
            ("Call-ID", "c1"),
            ("CSeq", f"{number} OPTIONS"),
        ]
    )
    return Request("OPTIONS", SipUri(host="ims.example"), headers, body)


BROKEN = options().encode().replace(b"To:", b"To")


class Node:
    """A SIP transport that keeps what it is told, and answers requests with 200."""

    def __init__(self, limits: TransportLimits | None = None, *, is_answering: bool = True) -> None:
        self.messages: asyncio.Queue[tuple[Message, Flow]] = asyncio.Queue()
        self.malformed: asyncio.Queue[tuple[MessageError, Flow]] = asyncio.Queue()
        self.closed: asyncio.Queue[tuple[Flow, Exception | None]] = asyncio.Queue()
        self.traced: list[tuple[Literal["in", "out"], bytes]] = []
        self.is_answering = is_answering
        self.transport = SipTransport(
            self.on_message,
            on_malformed=self.on_malformed,
            on_closed=lambda flow, exc: self.closed.put_nowait((flow, exc)),
            trace=lambda direction, flow, data: self.traced.append((direction, data)),
            limits=limits,
        )

    def on_message(self, message: Message, flow: Flow) -> None:
        self.messages.put_nowait((message, flow))
        if isinstance(message, Request) and self.is_answering:
            flow.send(message.response(200, to_tag="b").encode())

    def on_malformed(self, error: MessageError, flow: Flow) -> None:
        self.malformed.put_nowait((error, flow))
        answer = error.response(to_tag="b")
        if answer is not None:
            flow.send(answer.encode())


async def until(fact: Callable[[], object]) -> None:
    """Let the loop turn (no time passes) until something is so."""
    while not fact():  # noqa: ASYNC110 - nothing signals what these tests look at
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def node(limits: TransportLimits | None = None, **options: bool) -> AsyncIterator[Node]:
    made = Node(limits, **options)
    async with made.transport, asyncio.timeout(PATIENCE_S):
        yield made


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def context(transport: TransportName, tls: Contexts, *, is_server: bool) -> ssl.SSLContext | None:
    return tls[0 if is_server else 1] if transport == "tls" else None


@contextlib.asynccontextmanager
async def raw(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


# --- every transport ------------------------------------------------------------------------------
@pytest.mark.clause("RFC 3261 18")
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_request_and_its_answer_cross(
    transport: TransportName, host: str, tls: Contexts
) -> None:
    async with node() as server, node() as ue:
        server_context = context(transport, tls, is_server=True)
        address = await server.transport.listen(transport, host, ssl_context=server_context)
        client_context = context(transport, tls, is_server=False)
        flow = await ue.transport.connect(transport, *address, ssl_context=client_context)
        sent = options(body=b"hello")
        flow.send(sent.encode())
        request, server_flow = await server.messages.get()
        answer, answer_flow = await ue.messages.get()
        assert request == sent
        assert isinstance(answer, Response)
        assert answer_flow == flow
        assert hash(answer_flow) == hash(flow)
        assert flow.remote == address == server_flow.local
        assert flow.local == server_flow.remote
        assert flow.local[0] == host
        assert flow.is_reliable == (transport != "udp")
        assert flow.is_secure == server_flow.is_secure == (transport == "tls")
        assert not flow.is_closed
        assert ue.traced == [("out", sent.encode()), ("in", answer.encode())]
        assert server.traced == [("in", sent.encode()), ("out", answer.encode())]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_closed_transport_refuses_everything(
    transport: TransportName, tls: Contexts
) -> None:
    async with node() as server, node() as ue:
        server_context = context(transport, tls, is_server=True)
        client_context = context(transport, tls, is_server=False)
        address = await server.transport.listen(transport, "127.0.0.1", ssl_context=server_context)
        flow = await ue.transport.connect(transport, *address, ssl_context=client_context)
        await ue.transport.aclose()
        await ue.transport.aclose()
        assert flow.is_closed
        flow.close()
        with pytest.raises(TransportError):
            flow.send(options().encode())
        with pytest.raises(TransportError):
            await ue.transport.connect(transport, *address, ssl_context=client_context)
        with pytest.raises(TransportError):
            await ue.transport.listen(transport, "127.0.0.1", ssl_context=server_context)


async def test_a_failing_callback_is_logged_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(message: Message, flow: Flow) -> None:
        raise ValueError("bug of the program")

    async with SipTransport(fail) as server, node() as ue:
        for transport in ("udp", "tcp"):
            address = await server.listen(transport, "127.0.0.1")
            flow = await ue.transport.connect(transport, *address)
            flow.send(options().encode())
            flow.send(BROKEN)
            await until(lambda: caplog.records)
            assert "bug of the program" in caplog.text
            assert not flow.is_closed
            caplog.clear()


@pytest.mark.parametrize(
    ("transport", "has_context"), [("udp", True), ("tcp", True), ("tls", False), ("sctp", False)]
)
async def test_a_context_belongs_to_tls(transport: Any, has_context: bool, tls: Contexts) -> None:
    ssl_context = tls[0] if has_context else None
    async with node() as ue:
        with pytest.raises(ConfigError):
            await ue.transport.listen(transport, "127.0.0.1", ssl_context=ssl_context)
        with pytest.raises(ConfigError):
            await ue.transport.connect(transport, "127.0.0.1", 5060, ssl_context=ssl_context)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_address_that_cannot_be_bound_is_refused(transport: TransportName) -> None:
    async with node() as one, node() as other:
        address = await one.transport.listen(transport, "127.0.0.1")
        with pytest.raises(TransportError):
            await other.transport.listen(transport, *address)
        with pytest.raises(ConfigError):
            await other.transport.listen(transport, "localhost")


@pytest.mark.parametrize(
    "options",
    [
        {"max_connections": 0},
        {"max_handshakes": 0},
        {"min_handshake_s": -1.0},
        {"max_write_buffer_bytes": 0},
        {"message_timeout_s": 0.0},
    ],
)
def test_bounds_must_be_positive(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TransportLimits(**options)


# --- UDP ------------------------------------------------------------------------------------------
async def test_one_udp_socket_sends_and_receives() -> None:
    async with node() as server, node() as ue:
        own = await ue.transport.listen("udp", "127.0.0.1")
        address = await server.transport.listen("udp", "127.0.0.1")
        flow = await ue.transport.connect("udp", *address)
        named = await ue.transport.connect("udp", *address, local_address=own)
        assert flow.local == named.local == own
        assert flow == named
        flow.send(options().encode())
        _, answer_flow = await ue.messages.get()
        assert answer_flow == flow
        assert {flow: 1}[answer_flow] == 1
        flow.close()
        assert not flow.is_closed
        assert "AF_INET" not in repr(flow)


async def test_a_socket_on_the_wildcard_serves_every_local_address() -> None:
    async with node() as server, node() as ue:
        bound = await ue.transport.listen("udp", "0.0.0.0")  # noqa: S104
        address = await server.transport.listen("udp", "127.0.0.1")
        flow = await ue.transport.connect("udp", *address)
        assert flow.local == ("127.0.0.1", bound[1])


async def test_a_udp_socket_that_cannot_reach_the_peer_is_not_used() -> None:
    async with node() as server, node() as ue:
        await ue.transport.listen("udp", "127.0.0.2")
        address = await server.transport.listen("udp", "127.0.0.1")
        flow = await ue.transport.connect("udp", *address)
        assert flow.local[0] == "127.0.0.1"
        other = await ue.transport.connect("udp", *address, local_address=("127.0.0.2", 0))
        assert other.local[0] == "127.0.0.2"


async def test_a_malformed_datagram_is_answered_and_keep_alives_are_not() -> None:
    async with node() as server, node() as ue:
        address = await server.transport.listen("udp", "127.0.0.1")
        flow = await ue.transport.connect("udp", *address)
        for keep_alive in (b"\r\n\r\n", b"\0", b""):
            flow.send(keep_alive)
        flow.send(options().encode().replace(b"Content-", b"Broken\r\nContent-"))
        answer, _ = await ue.messages.get()
        assert isinstance(answer, Response)
        assert answer.status == 400
        assert server.messages.empty()
        assert server.malformed.qsize() == 1


async def test_a_message_too_large_for_a_datagram_is_refused() -> None:
    async with node() as ue:
        flow = await ue.transport.connect("udp", "127.0.0.1", 5060)
        with pytest.raises(TransportError):
            flow.send(b"x" * (MAX_DATAGRAM_BYTES + 1))


async def test_a_full_send_buffer_drops_the_datagram() -> None:
    async with node(TransportLimits(max_write_buffer_bytes=100)) as ue:
        flow = await ue.transport.connect("udp", "127.0.0.1", 5060)
        flow.send(b"x" * 101)
        assert ue.transport.stats()["dropped_datagrams"] == 1


async def test_a_udp_error_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with node() as ue:
        flow = await ue.transport.connect("udp", "127.0.0.1", 5060)
        assert isinstance(flow, UdpFlow)
        flow.socket.error_received(OSError("no route"))
        flow.socket.connection_lost(OSError("network down"))
        assert "no route" in caplog.text
        assert "network down" in caplog.text
        assert not flow.is_closed


async def test_a_udp_peer_without_a_route_is_unreachable() -> None:
    async with node() as ue:
        with pytest.raises(PeerUnreachable):
            await ue.transport.connect("udp", "255.255.255.255", 5060)


# --- TLS and time-outs ----------------------------------------------------------------------------
async def test_a_certificate_of_a_stranger_is_refused(tls: Contexts, tmp_path: Path) -> None:
    stranger, _ = tls_contexts(tmp_path)
    async with node() as server, node() as ue:
        address = await server.transport.listen("tls", "127.0.0.1", ssl_context=stranger)
        with pytest.raises(SecurityError):
            await ue.transport.connect("tls", *address, ssl_context=tls[1])
        assert ue.transport.connection_count == 0


async def test_a_certificate_for_another_name_is_refused(tls: Contexts) -> None:
    async with node() as server, node() as ue:
        address = await server.transport.listen("tls", "127.0.0.1", ssl_context=tls[0])
        with pytest.raises(SecurityError):
            await ue.transport.connect(
                "tls", *address, ssl_context=tls[1], server_hostname="elsewhere.example"
            )
        flow = await ue.transport.connect(
            "tls", *address, ssl_context=tls[1], server_hostname="pcscf.ims.example"
        )
        assert isinstance(flow, StreamFlow)
        assert flow.tls is not None
        assert flow.tls.version() == "TLSv1.3"


async def test_plain_text_on_a_tls_port_ends_that_connection_only(tls: Contexts) -> None:
    async with node() as server, node() as ue:
        address = await server.transport.listen("tls", "127.0.0.1", ssl_context=tls[0])
        async with raw(address) as (reader, writer):
            writer.write(options().encode())
            with contextlib.suppress(ConnectionError):
                await reader.read()
        flow = await ue.transport.connect("tls", *address, ssl_context=tls[1])
        flow.send(options().encode())
        await ue.messages.get()
        assert server.messages.qsize() == 1


async def test_tls_with_a_peer_that_speaks_something_else_fails(tls: Contexts) -> None:
    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    other = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with other, node() as ue:
        with pytest.raises(TransportError):
            await ue.transport.connect("tls", *other.sockets[0].getsockname(), ssl_context=tls[1])


async def test_connecting_is_bounded_in_time(silent_address: Address, tls: Contexts) -> None:
    async with node(TransportLimits(connect_timeout_s=0.02)) as ue:
        with pytest.raises(OperationTimeout):
            await ue.transport.connect("tls", *silent_address, ssl_context=tls[1])
        assert ue.transport.connection_count == 0


async def test_handshakes_are_bounded_in_time_and_counted(tls: Contexts) -> None:
    limits = TransportLimits(handshake_timeout_s=0.05, max_connections=1)
    async with node(limits) as server:
        address = await server.transport.listen("tls", "127.0.0.1", ssl_context=tls[0])
        async with raw(address) as (slow, _):
            await until(lambda: server.transport.connection_count)
            async with raw(address) as (refused, _):
                assert await refused.read() == b""
            assert await slow.read() == b""
        await until(lambda: not server.transport.connection_count)


async def test_closing_ends_a_connection_attempt(silent_address: Address, tls: Contexts) -> None:
    async with node() as ue:
        attempt = asyncio.create_task(
            ue.transport.connect("tls", *silent_address, ssl_context=tls[1])
        )
        await until(lambda: ue.transport.connection_count)
        await ue.transport.aclose()
        with pytest.raises(TransportError):
            await attempt


async def test_closing_ends_a_handshake_and_does_not_wait_for_the_peer(tls: Contexts) -> None:
    async with node() as server:
        address = await server.transport.listen("tls", "127.0.0.1", ssl_context=tls[0])
        async with raw(address) as (reader, _):
            await until(lambda: server.transport.connection_count)
            await server.transport.aclose()
            with contextlib.suppress(ConnectionError):
                await reader.read()
        assert server.transport.connection_count == 0


async def test_closing_does_not_wait_for_a_peer_that_does_not_read() -> None:
    async with node(is_answering=False) as server:
        address = await server.transport.listen("tcp", "127.0.0.1")
        async with raw(address) as (_, writer):
            writer.write(options().encode())
            _, flow = await server.messages.get()
            with contextlib.suppress(TransportError):
                for _ in range(20):
                    flow.send(options(body=bytes(400_000)).encode())
                    await asyncio.sleep(0)
            await server.transport.aclose(timeout_s=0.01)
            assert flow.is_closed


async def test_a_name_is_resolved() -> None:
    async with node() as server, node() as ue:
        for transport in ("udp", "tcp"):
            address = await server.transport.listen(transport, "127.0.0.1")
            flow = await ue.transport.connect(transport, "localhost", address[1])
            assert flow.remote[1] == address[1]
