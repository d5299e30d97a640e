"""An open TCP connection: backpressure, every way to end, and its capture."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import closing
from pathlib import Path

import pytest

from dcsdk.errors import LocalProtocolError, TransportError
from dcsdk.io.capture import ENHANCED_PACKET, Capture
from dcsdk.io.net.tcp_connection import WRITE_QUEUE_BYTES
from tests.io.test_capture import blocks_of

from .tcp_ends import (
    SHORT_S,
    TIMEOUT_S,
    bound,
    connected,
    opened,
    opened_to_socket,
    read_all,
    reset,
)


# --- backpressure ---------------------------------------------------------------------------------
async def test_a_writer_waits_while_nobody_reads() -> None:
    async with opened() as (active, passive):
        block, count = bytes(WRITE_QUEUE_BYTES), 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                while True:
                    await active.write(block)
                    count += 1
        # The write that was cancelled while it waited is sent all the same.
        size = (count + 1) * len(block)
        assert len(await read_all(passive, size)) == size
        await active.write(b"goes on")
        assert await passive.read(100) == b"goes on"


async def test_others_get_their_turn_beside_a_busy_stream() -> None:
    async with opened() as (active, passive):
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count())
        for _ in range(200):
            await active.write(b"x")
        assert turns > 5
        turns = 0
        for _ in range(200):
            await passive.read(1)
        assert turns > 5
        counting.cancel()


async def test_a_cancelled_read_loses_nothing() -> None:
    async with opened() as (active, passive):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_S):
                await passive.read(100)
        await active.write(b"all of it")
        assert await passive.read(100) == b"all of it"


async def test_two_readers_at_once_are_an_error() -> None:
    async with opened() as (active, passive):
        reading = asyncio.create_task(passive.read(100))
        await asyncio.sleep(0)
        with pytest.raises(LocalProtocolError):
            await passive.read(100)
        await active.write(b"for the first")
        assert await reading == b"for the first"


# --- ends -----------------------------------------------------------------------------------------
async def test_a_half_closed_stream_goes_on_the_other_way() -> None:
    async with opened() as (active, passive):
        await active.write(b"request")
        active.write_eof()
        active.write_eof()
        assert await passive.read(100) == b"request"
        assert await passive.read(100) == b""
        with pytest.raises(LocalProtocolError):
            await active.write(b"more")
        await passive.write(b"response")
        passive.write_eof()
        assert await active.read(100) == b"response"
        assert await active.read(100) == b""


async def test_the_end_follows_what_is_queued() -> None:
    async with opened() as (active, passive):
        data = bytes(8 << 20)
        writing = asyncio.create_task(active.write(data))
        await asyncio.sleep(0)
        active.write_eof()
        assert len(await read_all(passive, len(data))) == len(data)
        assert await passive.read(100) == b""
        await writing


async def test_a_reset_by_the_peer_is_a_transport_error() -> None:
    async with opened_to_socket() as (path, sock):
        reset(sock)
        with pytest.raises(TransportError, match="reset"):
            await path.read(100)
        with pytest.raises(TransportError, match="reset"):
            await path.write(b"x")


async def test_a_reset_wakes_a_writer_that_waits() -> None:
    async with opened_to_socket() as (path, sock):
        writing = asyncio.create_task(path.write(bytes(16 << 20)))
        await asyncio.sleep(0)
        reset(sock)
        with pytest.raises(TransportError):
            await writing


async def test_what_the_peer_said_before_a_reset_can_still_be_read() -> None:
    async with opened_to_socket() as (path, sock):
        await path.write(b"unread")
        sock.sendall(b"go away")
        sock.close()  # with unread data: the kernel resets the connection
        with pytest.raises(TransportError):
            for _ in range(100):
                await path.write(b"x")
                await asyncio.sleep(0)
        assert await path.read(100) == b"go away"
        with pytest.raises(TransportError):
            await path.read(100)


async def test_closing_sends_what_was_written() -> None:
    async with opened() as (active, passive):
        await passive.write(b"unread")  # would make the kernel throw away what is under way
        data = bytes(4 << 20)
        writing = asyncio.create_task(active.write(data))
        await asyncio.sleep(0)
        closing_it = asyncio.create_task(active.aclose(TIMEOUT_S))
        assert len(await read_all(passive, len(data))) == len(data)
        assert await passive.read(100) == b""
        await passive.aclose()
        await closing_it
        await writing


async def test_closing_is_bounded_when_the_peer_takes_nothing() -> None:
    async with opened() as (active, _):
        writing = asyncio.create_task(active.write(bytes(16 << 20)))
        await asyncio.sleep(0)
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(active.aclose(SHORT_S), active.aclose(SHORT_S))
            await active.aclose()
        with pytest.raises(TransportError, match="closed"):
            await writing


async def test_closing_wakes_a_reader() -> None:
    async with opened() as (active, _):
        reading = asyncio.create_task(active.read(100))
        await asyncio.sleep(0)
        await active.aclose(0)
        with pytest.raises(TransportError, match="closed"):
            await reading


# --- capture --------------------------------------------------------------------------------------
def tcp_of(body: bytes) -> tuple[int, int, int, bytes]:
    """Return sequence number, acknowledgement, flags and payload."""
    packet = body[20 : 20 + struct.unpack_from("<I", body, 12)[0]]
    sequence, acknowledgement, _, flags = struct.unpack_from("!IIBB", packet, 24)
    return sequence, acknowledgement, flags, packet[40:]


async def test_a_captured_connection_is_written_as_tcp(tmp_path: Path) -> None:
    file = tmp_path / "line.pcapng"
    with closing(Capture(file)) as capture:
        async with bound(capture=capture) as path:
            path.set_remote(("127.0.0.1", 9))
            with connected(path.local_address) as sock:
                await path.open("passive", timeout_s=TIMEOUT_S)
                sock.sendall(b"hello")
                await path.read(100)
                capture.secret(b"made known by what was read")
                await path.write(b"answer")
                sock.shutdown(socket.SHUT_WR)
                assert await path.read(100) == b""
                path.write_eof()
    blocks = blocks_of(file)[2:]
    segments = [tcp_of(body) for kind, body in blocks if kind == ENHANCED_PACKET]
    assert segments == [
        (0, 0, 0x02, b""),
        (0, 1, 0x12, b""),
        (1, 1, 0x18, b"hello"),
        (1, 6, 0x18, b"answer"),
        (6, 7, 0x11, b""),
        (7, 7, 0x11, b""),
    ]
    assert [kind == ENHANCED_PACKET for kind, _ in blocks[:4]] == [True, True, False, True]
