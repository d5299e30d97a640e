"""Streams without keys, and the life that all stream transports share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dcsdk.errors import (
    LocalProtocolError,
    OperationTimeout,
    PeerUnreachable,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces.keying import PlainParameters
from dcsdk.io.net.stream import TcpPath
from dcsdk.io.secure import stream_life
from dcsdk.io.secure.plain_stream import PlainStreamTransport
from dcsdk.io.secure.stream_life import RECEIVE_BUFFER_BYTES, StreamLife
from dcsdk.security import SecurityScope

TIMEOUT_S = 10.0
HOST = "127.0.0.1"
PASSIVE, ACTIVE = PlainParameters(tcp_role="passive"), PlainParameters(tcp_role="active")


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[PlainStreamTransport, PlainStreamTransport]]:
    paths = TcpPath.bind(HOST), TcpPath.bind(HOST)
    paths[0].set_remote(paths[1].local_address)
    paths[1].set_remote((HOST, 9))
    ends = PlainStreamTransport(paths[0], ACTIVE), PlainStreamTransport(paths[1], PASSIVE)
    try:
        for end in ends:
            end.start()
        for end in ends:
            await end.wait_established(TIMEOUT_S)
        yield ends
    finally:
        await asyncio.gather(*(end.aclose() for end in ends))


async def test_bytes_go_both_ways_and_the_report_claims_nothing() -> None:
    async with pair() as (one, other):
        await one.write(b"one")
        await other.write(b"other")
        assert await other.read() == b"one"
        assert [await one.read(2), await one.read(2), await one.read()] == [b"ot", b"he", b"r"]
        assert one.report.scope is SecurityScope.NONE
        assert one.report.suite == one.report.peer_fingerprint == ""
        assert one.stats().path.bytes_sent == 3
        one.report = other.report
        assert one.report is other.report


async def test_an_end_in_order_is_told_to_both() -> None:
    async with pair() as (one, other):
        await one.write(b"last words")
        await asyncio.gather(one.aclose(), one.aclose())
        assert await other.wait_closed() is None
        assert [await other.read(), await other.read()] == [b"last words", b""]
        assert await one.wait_closed() is None
        with pytest.raises(TransportError, match="closed"):
            await other.write(b"x")


async def test_the_end_is_noticed_though_nobody_reads() -> None:
    async with pair() as (one, other):
        await one.write(bytes(RECEIVE_BUFFER_BYTES // 2))
        await one.aclose()
        async with asyncio.timeout(TIMEOUT_S):
            assert await other.wait_closed() is None


async def test_what_waits_for_a_reader_is_bounded() -> None:
    async with pair() as (one, other):
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                while True:
                    await one.write(bytes(65_536))
                    sent += 65_536
        assert other.stats().path.bytes_received < 2 * RECEIVE_BUFFER_BYTES
        received = 0
        while received < sent:
            received += len(await other.read())


async def test_a_peer_that_never_comes_ends_the_transport() -> None:
    path = TcpPath.bind(HOST)
    path.set_remote((HOST, 9))
    end = PlainStreamTransport(path, PASSIVE, open_timeout_s=0.05)
    with pytest.raises(LocalProtocolError):
        await end.write(b"early")
    end.start()
    with pytest.raises(LocalProtocolError):
        end.start()
    with pytest.raises(OperationTimeout):
        await end.wait_established(0.001)
    assert isinstance(await end.wait_closed(), PeerUnreachable)
    with pytest.raises(PeerUnreachable):
        await end.read()
    await end.aclose()


async def test_closing_before_the_start_closes_the_path() -> None:
    path = TcpPath.bind(HOST)
    end = PlainStreamTransport(path, PASSIVE)
    await end.aclose()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(path.local_address)
    with pytest.raises(TransportError):
        end.start()


async def test_a_stream_needs_a_tcp_role() -> None:
    path = TcpPath.bind(HOST)
    with pytest.raises(LocalProtocolError):
        PlainStreamTransport(path, PlainParameters())
    await path.aclose()


async def test_a_transport_that_breaks_ends_with_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def carry() -> None:
        raise ZeroDivisionError

    life = StreamLife("broken", TcpPath.bind(HOST))
    life.start(carry())
    assert isinstance(await life.wait_closed(), TransportError)
    await life.aclose(1.0)
    assert "transport=broken broke" in caplog.text


class Breaking(TcpPath):
    """A path that takes nothing."""

    async def write(self, data: bytes) -> None:
        raise TransportError("broken pipe")


@pytest.mark.parametrize(
    ("last_words", "expected"),
    [(SecurityError("refused"), "refused"), (None, "broken pipe")],
)
async def test_a_write_that_fails_says_what_the_peer_said(
    last_words: Exception | None, expected: str
) -> None:
    writing = asyncio.Event()

    async def carry() -> None:
        await writing.wait()
        if last_words is not None:
            raise last_words

    life = StreamLife("broken", Breaking.bind(HOST))
    life.start(carry())
    task = asyncio.create_task(life.send(b"x"))
    await asyncio.sleep(0)
    writing.set()
    with pytest.raises((SecurityError, TransportError), match=expected):
        await task
    await life.aclose(1.0)


async def test_the_last_words_are_waited_for_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_life, "BREAK_PATIENCE_S", 0.01)
    life = StreamLife("broken", Breaking.bind(HOST))
    with pytest.raises(TransportError, match="broken pipe"):
        await life.send(b"x")
    await life.aclose(1.0)
