"""TCP paths for tests, among themselves and with plain sockets."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dcsdk.interfaces.paths import Address, StreamConnection
from dcsdk.io.capture import Capture
from dcsdk.io.net.stream import TcpPath

TIMEOUT_S = 10.0
SHORT_S = 0.05


@asynccontextmanager
async def bound(host: str = "127.0.0.1", capture: Capture | None = None) -> AsyncIterator[TcpPath]:
    path = TcpPath.bind(host, capture=capture)
    try:
        yield path
    finally:
        await path.aclose(0)


@asynccontextmanager
async def opened(host: str = "127.0.0.1") -> AsyncIterator[tuple[TcpPath, TcpPath]]:
    """The active path and the passive one."""
    async with bound(host) as active, bound(host) as passive:
        active.set_remote(passive.local_address)
        passive.set_remote((host, 9))
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(
                active.open("active", timeout_s=TIMEOUT_S),
                passive.open("passive", timeout_s=TIMEOUT_S),
            )
        yield active, passive


@asynccontextmanager
async def opened_to_socket() -> AsyncIterator[tuple[TcpPath, socket.socket]]:
    """A passive path, and the plain socket that connected to it."""
    async with bound() as path:
        path.set_remote(("127.0.0.1", 9))
        with connected(path.local_address) as sock:
            await path.open("passive", timeout_s=TIMEOUT_S)
            yield path, sock


def connected(address: Address, source: str = "127.0.0.1") -> socket.socket:
    sock = socket.create_connection(address, TIMEOUT_S, source_address=(source, 0))
    sock.setblocking(False)
    return sock


async def received(sock: socket.socket) -> bytes:
    async with asyncio.timeout(TIMEOUT_S):
        return await asyncio.get_running_loop().sock_recv(sock, 65_536)


async def is_closed(sock: socket.socket) -> bool:
    """Wait until the other side closed the connection, in order or not."""
    try:
        return await received(sock) == b""
    except ConnectionError:
        return True


async def read_all(path: StreamConnection, size: int) -> bytes:
    data = bytearray()
    async with asyncio.timeout(TIMEOUT_S):
        while len(data) < size:
            part = await path.read(65_536)
            assert part
            data += part
    return bytes(data)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
