"""The TCP path of a media line: both roles, candidates, and a peer that does not come."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest

from dcsdk.errors import (
    ConfigError,
    FingerprintMismatch,
    LocalProtocolError,
    PeerUnreachable,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces.paths import StreamConnection
from dcsdk.io.net import stream
from dcsdk.io.net.stream import MAX_ATTEMPTS, MAX_CANDIDATES, TcpPath

from .tcp_ends import (
    SHORT_S,
    TIMEOUT_S,
    bound,
    connected,
    is_closed,
    opened,
    read_all,
    received,
)

HOSTS = ["127.0.0.1", "::1"]


# --- both roles -----------------------------------------------------------------------------------
@pytest.mark.clause("RFC 4145 4.1")
@pytest.mark.parametrize("host", HOSTS)
async def test_bytes_go_both_ways_and_stay_in_order(host: str) -> None:
    async with opened(host) as (active, passive):
        await active.write(b"to the passive side, ")
        await active.write(b"in order")
        await passive.write(b"to the active side")
        assert await read_all(passive, 29) == b"to the passive side, in order"
        assert await read_all(active, 18) == b"to the active side"
        assert active.stats()["bytes_sent"] == passive.stats()["bytes_received"] == 29


@pytest.mark.clause("RFC 4145 4.1")
async def test_the_active_side_stops_listening() -> None:
    async with opened() as (active, _):
        with pytest.raises(ConnectionRefusedError):
            connected(active.local_address)


@pytest.mark.clause("RFC 4145 4.1")
async def test_what_comes_before_the_answer_waits() -> None:
    async with bound() as path:
        with connected(path.local_address) as sock:
            sock.sendall(b"early")
            path.set_remote(("127.0.0.1", 9))
            await path.open("passive", timeout_s=TIMEOUT_S)
            assert await path.read(100) == b"early"


async def test_early_bytes_are_bounded_by_the_kernel() -> None:
    async with bound() as path:
        with connected(path.local_address) as sock:
            sent = 0
            with pytest.raises(BlockingIOError):
                while sent < 64 << 20:
                    sent += sock.send(bytes(65_536))


@pytest.mark.clause("RFC 4145 4.1")
async def test_exactly_one_connection_is_taken_and_a_second_leaves_it_unharmed() -> None:
    async with bound() as path:
        path.set_remote(("127.0.0.1", 9))
        with connected(path.local_address) as first, connected(path.local_address) as second:
            await path.open("passive", timeout_s=TIMEOUT_S)
            assert await is_closed(second)
            with pytest.raises(ConnectionRefusedError):
                connected(path.local_address)
            first.sendall(b"still here")
            assert await path.read(100) == b"still here"


async def test_a_plain_connection_from_elsewhere_is_closed() -> None:
    async with bound() as path:
        path.set_remote(("127.0.0.1", 9))
        opening = asyncio.create_task(path.open("passive", timeout_s=TIMEOUT_S))
        with connected(path.local_address, "127.0.0.2") as stranger:
            assert await received(stranger) == b""
            with connected(path.local_address) as sock:
                await opening
                sock.sendall(b"me")
                assert await path.read(100) == b"me"
        assert path.stats()["connections_refused"] == 1


# --- nobody there ---------------------------------------------------------------------------------
async def test_a_peer_that_never_connects_is_unreachable_in_time() -> None:
    async with bound() as path:
        path.set_remote(("127.0.0.1", 9))
        with pytest.raises(PeerUnreachable, match="did not connect"):
            await path.open("passive", timeout_s=SHORT_S)
        with pytest.raises(TransportError):
            await path.read(1)


async def test_a_peer_that_does_not_listen_is_unreachable() -> None:
    async with bound() as path, bound() as gone:
        await gone.aclose()
        path.set_remote(gone.local_address)
        with pytest.raises(PeerUnreachable, match="refused"):
            await path.open("active", timeout_s=TIMEOUT_S)


async def test_a_peer_that_answers_no_syn_is_unreachable_in_time() -> None:
    async with bound() as path:
        with (
            socket.create_server(("127.0.0.1", 0), backlog=0) as full,
            connected(full.getsockname()),
        ):
            path.set_remote(full.getsockname())
            with pytest.raises(PeerUnreachable):
                await path.open("active", timeout_s=SHORT_S)


async def test_a_cancelled_open_leaves_nothing_open() -> None:
    async with bound() as path:
        path.set_remote(("127.0.0.1", 9))
        opening = asyncio.create_task(path.open("passive", timeout_s=TIMEOUT_S))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        with pytest.raises(ConnectionRefusedError):
            connected(path.local_address)


async def test_closing_ends_an_open_that_waits() -> None:
    async with bound() as path:
        path.set_remote(("127.0.0.1", 9))
        opening = asyncio.create_task(path.open("passive", timeout_s=TIMEOUT_S))
        await asyncio.sleep(0)
        await path.aclose()
        with pytest.raises(TransportError, match="closed meanwhile"):
            await opening


async def test_accept_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ACCEPT_PAUSE_S", 0.001)
    async with bound() as path:
        path.set_remote(("127.0.0.1", 9))
        listener = path._listener

        class Poor:
            errors = 2

            def __getattr__(self, name: str) -> object:
                return getattr(listener, name)

            def accept(self) -> object:
                if self.errors:
                    self.errors -= 1
                    raise OSError(errno.EMFILE, "Too many open files")
                return listener.accept()

        path._listener = Poor()  # type: ignore[assignment]
        with connected(path.local_address):
            await path.open("passive", timeout_s=TIMEOUT_S)


# --- a path is told once, and used once -----------------------------------------------------------
async def test_a_path_opens_once_and_leads_somewhere_by_then() -> None:
    async with bound() as path:
        with pytest.raises(LocalProtocolError):
            await path.open("active", timeout_s=TIMEOUT_S)
        with pytest.raises(LocalProtocolError, match="not open yet"):
            await path.write(b"x")
    async with opened() as (active, _):
        with pytest.raises(LocalProtocolError):
            await active.open("active", timeout_s=TIMEOUT_S)


@pytest.mark.clause("RFC 4145 5.1")
async def test_a_connection_stays_where_it_leads_whatever_is_signalled() -> None:
    async with opened() as (active, passive):
        active.set_remote(("192.0.2.1", 1234))
        await active.write(b"same")
        assert await passive.read(100) == b"same"


async def test_addresses_that_cannot_be_are_refused() -> None:
    async with bound() as path:
        for host, port in [("::1", 5000), ("host.example", 5000), ("127.0.0.1", 0)]:
            with pytest.raises(ConfigError):
                path.set_remote((host, port))
        with pytest.raises(ConfigError):
            TcpPath.bind("host.example")
        with pytest.raises(TransportError, match="cannot listen"):
            TcpPath.bind("127.0.0.1", path.local_address[1])
        with pytest.raises(TransportError, match="cannot listen"):
            TcpPath.bind("192.0.2.1")
        await path.aclose()
        for operation in (path.open("active", timeout_s=1), path.read(1), path.write(b"")):
            with pytest.raises(TransportError):
                await operation
        with pytest.raises(TransportError):
            path.set_remote(("127.0.0.1", 5000))


# --- candidates -----------------------------------------------------------------------------------
async def password(connection: StreamConnection) -> bytes:
    """Take the other end for the peer when it says so."""
    said = await connection.read(100)
    if said != b"peer":
        await connection.write(b"no")
        raise FingerprintMismatch(f"{said!r} is not the peer")
    await connection.write(b"yes")
    return said


def verified(
    path: TcpPath,
    verify: Callable[[StreamConnection], Awaitable[bytes]] = password,
    timeout_s: float = TIMEOUT_S,
) -> asyncio.Task[bytes]:
    path.set_remote(("127.0.0.1", 9))
    return asyncio.create_task(path.open_verified("passive", verify=verify, timeout_s=timeout_s))


@pytest.mark.clause("RFC 8122 6.2")
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
async def test_a_first_connection_that_fails_does_not_keep_the_peer_out(source: str) -> None:
    async with bound() as path:
        opening = verified(path)
        with connected(path.local_address) as wrong:
            wrong.sendall(b"mallory")
            assert await received(wrong) == b"no"
            assert await received(wrong) == b""
            with connected(path.local_address, source) as right:
                right.sendall(b"peer")
                assert await opening == b"peer"
                assert await received(right) == b"yes"
                assert path.stats()["checks_failed"] == 1


@pytest.mark.clause("RFC 8122 6.2")
async def test_slow_connections_do_not_keep_the_peer_out() -> None:
    async with bound() as path:
        opening = verified(path)
        slow = [connected(path.local_address, "127.0.0.2") for _ in range(2 * MAX_CANDIDATES)]
        with connected(path.local_address) as right:
            right.sendall(b"peer")
            assert await opening == b"peer"
        for sock in slow:
            with closing(sock):
                assert await received(sock) == b""
        assert path.stats()["connections_refused"] == MAX_CANDIDATES


async def test_a_peer_that_connects_twice_is_taken_once() -> None:
    async with bound() as path:
        with connected(path.local_address) as first, connected(path.local_address) as second:
            opening = verified(path)
            second.sendall(b"peer")
            assert await opening == b"peer"
            assert await received(first) == b""
            second.sendall(b"unharmed")
            assert await path.read(100) == b"unharmed"


async def test_the_failure_of_the_peers_host_is_told_when_time_is_up() -> None:
    async with bound() as path:
        opening = verified(path, timeout_s=0.5)
        with connected(path.local_address) as wrong:
            wrong.sendall(b"mallory")
            with pytest.raises(FingerprintMismatch, match="mallory"):
                await opening


async def test_the_failure_of_a_stranger_is_not_the_peers() -> None:
    async with bound() as path:
        opening = verified(path, timeout_s=0.5)
        with connected(path.local_address, "127.0.0.2") as wrong:
            wrong.sendall(b"mallory")
            with pytest.raises(PeerUnreachable, match="mallory"):
                await opening


async def test_attempts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bound() as path:
        opening = verified(path)
        for _ in range(MAX_ATTEMPTS):
            with connected(path.local_address) as wrong:
                wrong.sendall(b"mallory")
                assert await received(wrong) == b"no"
        with pytest.raises(FingerprintMismatch):
            await opening


async def test_strangers_cannot_use_up_what_the_peer_may_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "MAX_ATTEMPTS", 2)
    async with bound() as path:
        opening = verified(path)
        for expected in (b"no", b"no", b""):
            with connected(path.local_address, "127.0.0.2") as wrong:
                if expected:
                    wrong.sendall(b"mallory")
                assert await received(wrong) == expected
        with connected(path.local_address) as right:
            right.sendall(b"peer")
            assert await opening == b"peer"


async def test_a_check_takes_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "VERIFY_TIMEOUT_S", 0.3)
    async with bound() as path:
        opening = verified(path)
        with connected(path.local_address) as silent:
            assert await received(silent) == b""
        with connected(path.local_address) as right:
            right.sendall(b"peer")
            assert await opening == b"peer"


async def test_a_check_that_breaks_costs_its_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fragile(connection: StreamConnection) -> bytes:
        said = await connection.read(100)
        return b"%d" % int(said)

    async with bound() as path:
        opening = verified(path, fragile)
        with connected(path.local_address) as wrong:
            wrong.sendall(b"x")
            assert await received(wrong) == b""
        with connected(path.local_address) as right:
            right.sendall(b"7")
            assert await opening == b"7"
    assert "the check of a connection broke" in caplog.text


@pytest.mark.parametrize("error", [SecurityError("no"), RuntimeError("broken")])
async def test_an_active_side_has_one_try(error: Exception) -> None:
    async def refuse(connection: StreamConnection) -> None:
        await connection.write(b"bye")
        raise error

    with socket.create_server(("127.0.0.1", 0)) as server:
        async with bound() as path:
            path.set_remote(server.getsockname())
            with pytest.raises(type(error)):
                await path.open_verified("active", verify=refuse, timeout_s=TIMEOUT_S)
            sock, _ = server.accept()
            with sock:
                sock.setblocking(False)
                assert await received(sock) == b"bye"
                assert await received(sock) == b""


async def test_closing_while_a_refused_peer_is_told_why_is_no_error() -> None:
    refusing = asyncio.Event()

    async def refuse(connection: StreamConnection) -> None:
        refusing.set()
        raise SecurityError("no")

    with socket.create_server(("127.0.0.1", 0)) as server:
        async with bound() as path:
            path.set_remote(server.getsockname())
            opening = asyncio.create_task(
                path.open_verified("active", verify=refuse, timeout_s=TIMEOUT_S)
            )
            await refusing.wait()
            await asyncio.sleep(0)
            await path.aclose()
            with pytest.raises(SecurityError):
                await opening


async def test_a_connection_that_was_not_taken_is_of_no_use() -> None:
    kept: list[StreamConnection] = []

    async def keep(connection: StreamConnection) -> bytes:
        kept.append(connection)
        return await password(connection)

    async with bound() as path:
        opening = verified(path, keep)
        with connected(path.local_address), connected(path.local_address) as right:
            right.sendall(b"peer")
            await opening
        for operation in (kept[0].read(1), kept[0].write(b"x")):
            with pytest.raises(TransportError, match="closed"):
                await operation
