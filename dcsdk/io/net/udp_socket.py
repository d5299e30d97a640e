"""A UDP socket drained in batches, that sends and receives many datagrams with one call.

Linux hands over and takes many datagrams of one size at once (UDP GRO and GSO, kernel 5.0 on);
elsewhere, or when the kernel refuses, each datagram costs one call.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Self

from dcsdk.errors import ConfigError, TransportError
from dcsdk.interfaces import Address

logger = logging.getLogger(__name__)

SOCKET_BUFFER_BYTES = 4 << 20
"""Asked for; the kernel gives at most net.core.rmem_max and wmem_max."""

READ_BUDGET_DATAGRAMS = 256
"""Datagrams taken in one turn of the event loop; other work gets its turn then."""

LONE_DRAINS = 8
"""Behind a lone datagram there is mostly nothing, and to look costs a call. After so many of them,
one a turn of the loop, it is looked for more all the same: on most networks the kernel glues little
together, and a batch costs far less than its datagrams one by one."""

MAX_BACKLOG_BYTES = 1 << 20
"""Bytes that wait for a full socket; beyond that datagrams are lost."""

MAX_BACKLOG_RUNS = 4096
"""Calls of ``send`` that wait for a full socket, each with at least one datagram."""

# From linux/udp.h; Python's socket module has no names for them.
_UDP_SEGMENT, _UDP_GRO = 103, 104
_GSO_REFUSED = {errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT}
_MAX_DATAGRAM = 65_536
_CONTROL_BYTES = 64
_KNOWN_HOSTS = 256  # hosts whose text need not be parsed again
_HAS_OFFLOAD = sys.platform == "linux"
_NOTHING: deque[tuple[bytes, int, Address | None]] = deque(maxlen=0)  # every idle socket's backlog

Source = tuple[Any, ...]
"""A sender's address as the kernel gives it, the same object value for the same sender."""

Received = Callable[["UdpSocket", list[tuple[bytes, int]], list[Source]], None]
"""Takes a batch: data and segment size of each run of datagrams, and the sender of each."""


class UdpSocket:
    """A bound socket on the running event loop.

    Args:
        sock: bound, non-blocking; owned from now on.
        on_received: takes what came in one turn of the loop.
        on_writable: called when a backlog is gone.
        use_gso: send many datagrams with one call.
        use_gro: receive many datagrams with one call.

    Attributes:
        is_blocked: datagrams wait for the kernel.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_received: Received,
        on_writable: Callable[[], None],
        *,
        use_gso: bool = True,
        use_gro: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._on_received = on_received
        self._on_writable = on_writable
        self._is_closed = False
        self._lone_drains = 0
        self._backlog = _NOTHING
        self._backlog_bytes = 0
        self.is_blocked = False
        self._is_gso = use_gso and _HAS_OFFLOAD
        self._is_gro = use_gro and _HAS_OFFLOAD and _set_option(sock, socket.IPPROTO_UDP, _UDP_GRO)
        self.datagrams_lost = self.datagrams_refused = 0
        self.bytes_sent = self.bytes_received = self.send_calls = self.receive_calls = 0
        name = sock.getsockname()
        self.local_address: Address = (name[0], name[1])
        self._loop.add_reader(sock.fileno(), self.drain)

    @classmethod
    def bind(
        cls,
        host: str,
        port: int,
        on_received: Received,
        on_writable: Callable[[], None],
        *,
        use_gso: bool = True,
        use_gro: bool = True,
    ) -> Self:
        """Make a new socket.

        Args:
            host: a local IPv4 or IPv6 address.
            port: 0 for any free one.
            on_received: takes what came in one turn of the loop.
            on_writable: called when a backlog is gone.
            use_gso: send many datagrams with one call.
            use_gro: receive many datagrams with one call.

        Raises:
            ConfigError: ``host`` is no IP address.
            TransportError: the address cannot be bound.
        """
        sock = bound_socket(host, port)
        return cls(sock, on_received, on_writable, use_gso=use_gso, use_gro=use_gro)

    @property
    def family(self) -> socket.AddressFamily:
        """IPv4 or IPv6."""
        return socket.AddressFamily(self._socket.family)

    @property
    def is_gso(self) -> bool:
        """Segmented sending is in use."""
        return self._is_gso

    @property
    def is_gro(self) -> bool:
        """Segmented receiving is in use."""
        return self._is_gro

    @property
    def is_closed(self) -> bool:
        """``close`` was called."""
        return self._is_closed

    def connect(self, address: Address) -> None:
        """Send to and receive from one address only, which also lets ICMP errors reach us.

        Raises:
            TransportError: there is no route.
        """
        try:
            self._socket.connect(address)
        except OSError as exc:
            raise TransportError(f"no way to {address[0]}: {exc.strerror}") from exc

    def share_address(self) -> socket.socket:
        """Make another socket on our address: the kernel tells their datagrams apart by sender.

        Raises:
            TransportError: closed, or the system does not allow it.
        """
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        except OSError as exc:
            raise TransportError(f"the address cannot be shared: {exc.strerror}") from exc
        return bound_socket(*self.local_address, is_shared=True)

    def stats(self) -> Mapping[str, int]:
        """Counters: bytes and calls both ways, losses and ICMP refusals that we know of."""
        return {
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "send_calls": self.send_calls,
            "receive_calls": self.receive_calls,
            "datagrams_lost": self.datagrams_lost,
            "datagrams_refused": self.datagrams_refused,
        }

    def close(self) -> None:
        """Close the socket. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._backlog = _NOTHING
        self.is_blocked = False
        self._socket.close()

    # --- receiving --------------------------------------------------------------------------------
    def drain(self) -> None:
        """Take what is there, within the budget, and hand it over."""
        batch: list[tuple[bytes, int]] = []
        sources: list[Source] = []
        budget = READ_BUDGET_DATAGRAMS
        receive = self._socket.recvmsg
        control = _CONTROL_BYTES if self._is_gro else 0
        is_rest_unlikely = self._is_gro and self._lone_drains < LONE_DRAINS
        while budget > 0:
            try:
                data, ancillary, _, source = receive(_MAX_DATAGRAM, control)
            except ConnectionRefusedError:
                # ICMP told of an earlier datagram; who sends decides when that is the end.
                self.datagrams_refused += 1
                budget -= 1
                continue
            except BlockingIOError:
                break
            except OSError as exc:
                logger.debug("local=%s:%d receive failed: %s", *self.local_address, exc)
                break
            size = len(data)
            if not size:
                budget -= 1
                continue
            segment_size = size
            if ancillary:
                segment_size = _gro_size(ancillary) or size
            budget -= -(-size // segment_size)
            self.receive_calls += 1
            self.bytes_received += size
            batch.append((data, segment_size))
            sources.append(source)
            if is_rest_unlikely and segment_size == size:
                break  # should there be more, the loop calls again at once
        if len(batch) == 1:
            self._lone_drains = self._lone_drains + 1 if is_rest_unlikely else 0
        if batch:
            self._on_received(self, batch, sources)

    # --- sending ----------------------------------------------------------------------------------
    def send(self, data: bytes, segment_size: int, destination: Address | None = None) -> None:
        """Send, or keep for when the socket takes datagrams again.

        Args:
            data: datagrams of ``segment_size`` glued together; the last may be shorter.
            segment_size: bytes.
            destination: where to, ``None`` for where the socket is connected to.
        """
        if self._is_closed:
            self.datagrams_lost += -(-len(data) // segment_size)
        elif self._backlog:
            self._keep_back(data, segment_size, destination)
        elif len(data) <= segment_size:
            self.send_calls += 1
            if not self._send_one(data, destination):
                self._keep_back(data, segment_size, destination)
        else:
            rest = self._send_now(data, segment_size, destination)
            if rest:
                self._keep_back(rest, segment_size, destination)

    def _send_now(self, data: bytes, segment_size: int, destination: Address | None) -> bytes:
        """Send what the socket takes; return what it does not take now."""
        sock = self._socket
        self.send_calls += 1
        if len(data) > segment_size and self._is_gso:
            control = [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("H", segment_size))]
            for _ in range(2):
                try:
                    if destination is None:
                        sock.sendmsg((data,), control)
                    else:
                        sock.sendmsg((data,), control, 0, destination)
                except ConnectionRefusedError:
                    self.datagrams_refused += 1  # about an earlier datagram: this one did not go
                    continue
                except BlockingIOError:
                    return data
                except OSError as exc:
                    if exc.errno not in _GSO_REFUSED:
                        return self._lose(data, segment_size, exc)
                    self._is_gso = False
                    logger.info("local=%s:%d no UDP GSO here: %s", *self.local_address, exc)
                    break
                self.bytes_sent += len(data)
                return b""
            else:
                return self._lose(data, segment_size, None)
        view = memoryview(data)
        for start in range(0, len(data), segment_size):
            if not self._send_one(view[start : start + segment_size], destination):
                return data[start:]
        return b""

    def _send_one(self, datagram: bytes | memoryview, destination: Address | None) -> bool:
        for _ in range(2):
            try:
                if destination is None:
                    self._socket.send(datagram)
                else:
                    self._socket.sendto(datagram, destination)
            except ConnectionRefusedError:
                self.datagrams_refused += 1
                continue
            except BlockingIOError:
                return False
            except OSError as exc:
                self._lose(datagram, len(datagram), exc)
                return True
            self.bytes_sent += len(datagram)
            return True
        self._lose(datagram, len(datagram), None)
        return True

    def _lose(self, data: bytes | memoryview, segment_size: int, exc: OSError | None) -> bytes:
        self.datagrams_lost += -(-len(data) // segment_size)
        if exc is not None:
            logger.debug("local=%s:%d send failed: %s", *self.local_address, exc)
        return b""

    def _keep_back(self, data: bytes, segment_size: int, destination: Address | None) -> None:
        is_full = len(self._backlog) >= MAX_BACKLOG_RUNS
        if is_full or self._backlog_bytes + len(data) > MAX_BACKLOG_BYTES:
            self._lose(data, segment_size, None)
            return
        if not self.is_blocked:
            self.is_blocked = True
            self._backlog = deque()
            self._loop.add_writer(self._socket.fileno(), self._writable)
        self._backlog.append((data, segment_size, destination))
        self._backlog_bytes += len(data)

    def _writable(self) -> None:
        while self._backlog:
            data, segment_size, destination = self._backlog.popleft()
            self._backlog_bytes -= len(data)
            rest = self._send_now(data, segment_size, destination)
            if rest:
                self._backlog.appendleft((rest, segment_size, destination))
                self._backlog_bytes += len(rest)
                return
        self.is_blocked = False
        self._backlog = _NOTHING
        self._loop.remove_writer(self._socket.fileno())
        self._on_writable()


def bound_socket(host: str, port: int = 0, *, is_shared: bool = False) -> socket.socket:
    """Make a non-blocking UDP socket with large buffers.

    Args:
        host: a local address.
        port: 0 for any free one.
        is_shared: the address is one that another socket of ours lets be shared.

    Raises:
        ConfigError: ``host`` is no IP address.
        TransportError: the address cannot be bound, or there is no socket left.
    """
    family = family_of(host)
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as exc:  # too many open files, or a host without IPv6
        raise TransportError(f"no socket for {host}: {exc.strerror}") from exc
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as exc:
        sock.close()
        raise TransportError(f"cannot bind {host} port {port}: {exc.strerror}") from exc
    return sock


@lru_cache(maxsize=_KNOWN_HOSTS)
def family_of(host: str) -> socket.AddressFamily:
    """Return the address family of an IP address.

    Raises:
        ConfigError: it is none.
    """
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError as exc:
        raise ConfigError(f"{host!r} is no IP address") from exc
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def canonical(address: Any) -> Address:
    """Return an address so that two texts of one address compare equal."""
    return _canonical_host(address[0]), address[1]


@lru_cache(maxsize=_KNOWN_HOSTS)
def _canonical_host(host: str) -> str:
    return str(ipaddress.ip_address(host.partition("%")[0]))


def _gro_size(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Read the segment size out of the control messages, 0 when there is none."""
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_UDP and kind == _UDP_GRO and len(value) >= 2:
            return int.from_bytes(value[:4], sys.byteorder)
    return 0


def _set_option(sock: socket.socket, level: int, option: int) -> bool:
    with contextlib.suppress(OSError):
        sock.setsockopt(level, option, 1)
        return True
    return False
