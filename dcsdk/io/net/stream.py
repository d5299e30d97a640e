"""The TCP connection of one media line, as a stream path (RFC 4145).

A path listens on a port of its own from the moment it is bound. Until offer and answer say who
connects, connections wait in the kernel: ``LISTEN_BACKLOG`` of them, each with what fits its
receive buffer. ``open`` then either closes the listener and connects, or takes one connection and
closes the listener.

Anybody can connect to a port. On a plain stream the address is all there is to know a peer by, so
the first connection from the signalled host is taken. Where keys say who the peer is, every
connection is a candidate that has to pass a check: several at once, so that one that is slow or
fails does not keep the right one out. Those from other hosts are counted apart, so that they cannot
use up what the peer's host may try.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, NamedTuple, Self

from dcsdk.errors import (
    ConfigError,
    DcsdkError,
    LocalProtocolError,
    PeerUnreachable,
    SecurityError,
    TransportError,
)
from dcsdk.interfaces.paths import Address, StreamConnection, StreamPath, Verified
from dcsdk.io.capture import Capture
from dcsdk.io.net.captured_stream import CapturedStream
from dcsdk.io.net.tcp_connection import TcpConnection
from dcsdk.io.net.udp_socket import canonical, family_of
from dcsdk.io.tasks import TaskSet
from dcsdk.sdp.connection import TcpRole

logger = logging.getLogger(__name__)

LISTEN_BACKLOG = 8
"""Connections that the kernel holds until it is known who connects to whom."""

MAX_CANDIDATES = 4
"""Connections checked at once: so many of the peer's host, and so many of all others."""

MAX_ATTEMPTS = 32
"""Connections checked in total, counted likewise."""

VERIFY_TIMEOUT_S = 10.0
"""Time for the check of one connection that came in."""

ACCEPT_PAUSE_S = 0.1
"""Pause after ``accept`` failed, when the process is out of file descriptors for example."""

CANDIDATE_CLOSE_S = 0.5
"""Time to tell a connection that was not taken why."""

Verify = Callable[[StreamConnection], Awaitable[Verified]]
"""Runs a handshake on a connection; raises when the other end is not the peer."""


class TcpPath(StreamPath):
    """One TCP connection, listening from the start.

    Args:
        listener: listening, non-blocking; owned from now on.
        capture: gets everything in and out, or ``None``; not closed here.
    """

    def __init__(self, listener: socket.socket, *, capture: Capture | None = None) -> None:
        self._listener = listener
        self._capture = capture
        self._name = listener.getsockname()
        self._remote: Address | None = None
        self._connection: TcpConnection | None = None
        self._bound: asyncio.Timeout | None = None
        self._opener_gone = asyncio.Event()
        self._opener_gone.set()
        self._is_used = self._is_closed = False
        self._counters: Counter[str] = Counter(connections_refused=0, checks_failed=0)

    @classmethod
    def bind(cls, host: str, port: int = 0, *, capture: Capture | None = None) -> Self:
        """Make a path that listens.

        Args:
            host: a local IPv4 or IPv6 address.
            port: 0 for any free one.
            capture: gets everything in and out, or ``None``; not closed here.

        Raises:
            ConfigError: ``host`` is no IP address.
            TransportError: the address cannot be bound.
        """
        return cls(listening_socket(host, port), capture=capture)

    @property
    def local_address(self) -> Address:
        """Where we listen, or did."""
        return self._name[0], self._name[1]

    def set_remote(self, address: Address) -> None:
        """Say what the peer signalled; changes nothing once the path is opened (RFC 4145 5.1).

        Raises:
            ConfigError: no IP address and port, or one of another family than ours.
            TransportError: the path is closed.
        """
        if self._is_closed:
            raise _closed()
        if family_of(address[0]) != self._listener.family and not self._is_used:
            raise ConfigError(
                f"{address[0]} and {self.local_address[0]} are of different IP versions"
            )
        if not 0 < address[1] <= 65_535:
            raise ConfigError(f"{address[1]} is no TCP port")
        if not self._is_used:
            self._remote = address

    # --- opening ----------------------------------------------------------------------------------
    async def open(self, role: TcpRole, *, timeout_s: float) -> None:
        """Connect to the remote end, or wait until its host connects. Once only.

        Raises:
            PeerUnreachable: refused, or nobody came in time.
            LocalProtocolError: opened before, or without a remote end.
            TransportError: the path is closed, or was meanwhile.
        """
        await self._open(role, _take_as_it_is, timeout_s, are_strangers_welcome=False)

    async def open_verified(
        self, role: TcpRole, *, verify: Verify[Verified], timeout_s: float
    ) -> Verified:
        """Connect to the remote end, or wait for the one that ``verify`` accepts. Once only.

        Raises:
            SecurityError: the peer's host connected, and was not the peer.
            PeerUnreachable: refused, or nobody came in time.
            LocalProtocolError: opened before, or without a remote end.
            TransportError: the path is closed, or was meanwhile.
        """
        return await self._open(role, verify, timeout_s, are_strangers_welcome=True)

    async def _open(
        self,
        role: TcpRole,
        verify: Verify[Verified],
        timeout_s: float,
        *,
        are_strangers_welcome: bool,
    ) -> Verified:
        if self._is_closed:
            raise _closed()
        remote = self._remote
        if self._is_used or remote is None:
            raise LocalProtocolError("a stream path is opened once, and leads somewhere by then")
        self._is_used = True
        self._opener_gone.clear()
        bound = self._bound = asyncio.timeout(timeout_s)
        admission = Admission(
            self._listener,
            remote[0],
            verify,
            self._adopt,
            self._counters,
            are_strangers_welcome=are_strangers_welcome,
        )
        connection: TcpConnection | None = None
        try:
            async with bound:
                if role == "active":
                    self._listener.close()
                    connection = await self._connect(remote)
                    verified = await verify(connection)
                else:
                    connection, verified = await admission.wait()
        except BaseException as exc:
            self._bound = None
            was_closed, self._is_closed = self._is_closed, True
            if connection is not None and isinstance(exc, DcsdkError):
                await connection.aclose(CANDIDATE_CLOSE_S)  # the peer gets the reason first
            elif connection is not None:
                connection.abort()
            if not isinstance(exc, TimeoutError) or not bound.expired():
                raise
            if was_closed:
                raise TransportError("the path was closed meanwhile") from None
            if role == "active":
                what = "connection to" if connection is None else "handshake with"
                raise PeerUnreachable(
                    f"no {what} {remote[0]} port {remote[1]} in {timeout_s:g} s"
                ) from None
            raise admission.late_error(timeout_s) from None
        finally:
            self._bound = None
            self._listener.close()
            self._opener_gone.set()
        self._connection = connection
        return verified

    async def _connect(self, remote: Address) -> TcpConnection:
        try:
            sock = socket.socket(self._listener.family, socket.SOCK_STREAM)
        except OSError as exc:  # too many open files
            raise TransportError(f"no socket: {exc.strerror}") from exc
        try:
            sock.setblocking(False)
            sock.bind((self._name[0], 0, *self._name[2:]))
            await asyncio.get_running_loop().sock_connect(sock, remote)
        except OSError as exc:
            sock.close()
            why = os.strerror(exc.errno) if exc.errno else str(exc)
            raise PeerUnreachable(f"no connection to {remote[0]} port {remote[1]}: {why}") from exc
        except BaseException:
            sock.close()
            raise
        return self._adopt(sock, remote, is_opener=True)

    def _adopt(self, sock: socket.socket, remote: Address, *, is_opener: bool) -> TcpConnection:
        if self._capture is None:
            return TcpConnection(sock)
        name = sock.getsockname()
        local = name[0], name[1]
        return TcpConnection(
            sock, capture=CapturedStream(self._capture, local, remote, is_opener=is_opener)
        )

    # --- open -------------------------------------------------------------------------------------
    async def read(self, max_bytes: int) -> bytes:
        """Take what came, waiting for it; ``b""`` at the end of the stream."""
        return await self._opened().read(max_bytes)

    async def write(self, data: bytes) -> None:
        """Send, waiting while the connection takes no more."""
        await self._opened().write(data)

    def write_eof(self) -> None:
        """Tell the peer that nothing follows what was written. Idempotent."""
        self._opened().write_eof()

    def _opened(self) -> TcpConnection:
        if self._is_closed:
            raise _closed()
        if self._connection is None:
            raise LocalProtocolError("the stream path is not open yet")
        return self._connection

    def stats(self) -> Mapping[str, int]:
        """Counters: bytes and calls both ways; connections closed unseen, and those that failed
        their check."""
        connection = self._connection
        return {**self._counters, **({} if connection is None else connection.stats())}

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what was written, then close. Idempotent and bounded."""
        self._is_closed = True
        if self._bound is not None and not self._bound.expired():
            self._bound.reschedule(asyncio.get_running_loop().time())
        await self._opener_gone.wait()
        self._listener.close()
        if self._connection is not None:
            await self._connection.aclose(timeout_s)


class _Candidate(NamedTuple):
    connection: TcpConnection
    is_stranger: bool


class Admission(Generic[Verified]):
    """Takes connections in until one passes its check.

    Args:
        listener: not closed here.
        host: where the peer is expected.
        verify: checks one connection.
        adopt: makes a connection of a socket.
        counters: ``connections_refused`` and ``checks_failed`` are counted here.
        are_strangers_welcome: connections from other hosts are checked as well.
    """

    def __init__(
        self,
        listener: socket.socket,
        host: str,
        verify: Verify[Verified],
        adopt: Callable[..., TcpConnection],
        counters: Counter[str],
        *,
        are_strangers_welcome: bool,
    ) -> None:
        self._listener = listener
        self._host = canonical((host, 0))[0]
        self._verify = verify
        self._adopt = adopt
        self._counters = counters
        self._are_strangers_welcome = are_strangers_welcome
        self._candidates: dict[asyncio.Task[tuple[Verified] | None], _Candidate] = {}
        # By whether it is a stranger's:
        self._attempts = {True: 0, False: 0}
        self._failures: dict[bool, DcsdkError] = {}

    async def wait(self) -> tuple[TcpConnection, Verified]:
        """Return the first connection that passes, and what its check returned; close the others.

        Raises:
            DcsdkError: the peer's host used up its attempts; the last one failed by this.
        """
        tasks = TaskSet("tcp path")
        accepting = tasks.start(self._accept(), name="accept")
        try:
            while True:
                waiting = {accepting, *self._candidates}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in self._candidates if task.done()]:
                    candidate = self._candidates.pop(task)
                    verified = task.result()
                    if verified is not None:
                        return candidate.connection, verified[0]
                    candidate.connection.abort()
                    if self._is_exhausted():
                        raise self._failures[False]
                if accepting.done():
                    self._consider(tasks, *accepting.result())
                    accepting = tasks.start(self._accept(), name="accept")
        finally:
            await tasks.aclose()
            for candidate in self._candidates.values():
                candidate.connection.abort()
            if not accepting.cancelled():
                accepting.result()[0].close()

    def late_error(self, timeout_s: float) -> DcsdkError:
        """Say why nobody was taken in time: the peer's host was not the peer, or did not come."""
        failure = self._failures.get(False)
        if isinstance(failure, SecurityError):
            return failure
        failure = failure or self._failures.get(True)
        why = "" if failure is None else f"; somebody did, but {failure}"
        return PeerUnreachable(f"{self._host} did not connect in {timeout_s:g} s{why}")

    async def _accept(self) -> tuple[socket.socket, Address]:
        while True:
            try:
                sock, source = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                await _readable(self._listener)
            except OSError as exc:
                logger.info("accept failed, pausing: %s", exc)
                await asyncio.sleep(ACCEPT_PAUSE_S)
            else:
                sock.setblocking(False)
                return sock, (source[0], source[1])

    def _consider(self, tasks: TaskSet, sock: socket.socket, source: Address) -> None:
        is_stranger = canonical(source)[0] != self._host
        at_once = sum(other.is_stranger == is_stranger for other in self._candidates.values())
        if (
            (is_stranger and not self._are_strangers_welcome)
            or at_once >= MAX_CANDIDATES
            or self._attempts[is_stranger] >= MAX_ATTEMPTS
        ):
            self._counters["connections_refused"] += 1
            logger.info("a connection from %s port %d was refused", *source)
            sock.close()
            return
        self._attempts[is_stranger] += 1
        candidate = _Candidate(self._adopt(sock, source, is_opener=False), is_stranger)
        task = tasks.start(self._check(candidate), name=f"check of {source[0]}")
        self._candidates[task] = candidate

    async def _check(self, candidate: _Candidate) -> tuple[Verified] | None:
        """Return what the check of one connection returned; ``None`` when it did not pass."""
        try:
            async with asyncio.timeout(VERIFY_TIMEOUT_S):
                return (await self._verify(candidate.connection),)
        except DcsdkError as exc:
            self._fail(candidate, exc)
            await candidate.connection.aclose(CANDIDATE_CLOSE_S)  # the peer gets the reason first
        except TimeoutError:
            self._fail(candidate, PeerUnreachable("its handshake took too long"))
        except Exception as exc:
            logger.exception("the check of a connection broke")
            self._fail(candidate, TransportError(f"its check broke: {exc!r}"))
        return None

    def _fail(self, candidate: _Candidate, error: DcsdkError) -> None:
        self._counters["checks_failed"] += 1
        self._failures[candidate.is_stranger] = error

    def _is_exhausted(self) -> bool:
        """The peer's host used up its attempts, and none is under way."""
        return self._attempts[False] >= MAX_ATTEMPTS and all(
            candidate.is_stranger for candidate in self._candidates.values()
        )


async def _take_as_it_is(_: StreamConnection) -> None:
    """Nothing but its address tells the peer."""


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    loop.add_reader(sock.fileno(), wake)
    try:
        await waiter
    finally:
        loop.remove_reader(sock.fileno())


def _closed() -> TransportError:
    return TransportError("the stream path is closed")


def listening_socket(host: str, port: int = 0) -> socket.socket:
    """Make a non-blocking socket that listens.

    Args:
        host: a local IPv4 or IPv6 address.
        port: 0 for any free one.

    Raises:
        ConfigError: ``host`` is no IP address.
        TransportError: the address cannot be bound, or there is no socket left.
    """
    family = family_of(host)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:  # too many open files, or a host without IPv6
        raise TransportError(f"no socket for {host}: {exc.strerror}") from exc
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        numeric = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
        sock.bind(numeric[0][4])
        sock.listen(LISTEN_BACKLOG)
    except OSError as exc:
        sock.close()
        raise TransportError(f"cannot listen on {host} port {port}: {exc.strerror}") from exc
    return sock
