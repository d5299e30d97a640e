"""A UDP socket as a datagram path: drained in batches, with segmentation offload where it is.

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
from collections.abc import Mapping
from typing import Any, Self

from dcsdk.errors import ConfigError, TransportError
from dcsdk.interfaces import Address, DatagramPath, DatagramReceiver

logger = logging.getLogger(__name__)

SOCKET_BUFFER_BYTES = 4 << 20
"""Asked for; the kernel gives at most net.core.rmem_max and wmem_max."""

EARLY_DATAGRAMS, EARLY_BYTES = 16, 64 << 10
"""What is cached before the remote address is known; the rest is lost, as on any network."""

READ_BUDGET_DATAGRAMS = 256
"""Datagrams taken in one turn of the event loop; other work gets its turn then."""

MAX_BACKLOG_BYTES = 1 << 20
"""Bytes that wait for a full socket; beyond that datagrams are lost."""

# From linux/udp.h; Python's socket module has no names for them.
_UDP_SEGMENT, _UDP_GRO = 103, 104
_GSO_REFUSED = {errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT}
_MAX_DATAGRAM = 65_536
_CONTROL_BYTES = 64
_HAS_OFFLOAD = sys.platform == "linux"


class UdpPath(DatagramPath):
    """One UDP socket, connected to the remote end once that is known.

    Args:
        sock: bound, non-blocking; the path owns it from now on.
        use_gso: send many datagrams with one call.
        use_gro: receive many datagrams with one call.
    """

    def __init__(self, sock: socket.socket, *, use_gso: bool = True, use_gro: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._is_closed = False
        self._is_connected = False
        self._receiver: DatagramReceiver | None = None
        self._remote: Address | None = None
        self._early: list[tuple[bytes, int, Address]] = []
        self._early_bytes = self._early_datagrams = 0
        self._backlog: deque[tuple[bytes, int]] = deque()
        self._backlog_bytes = 0
        self._is_gso = use_gso and _HAS_OFFLOAD
        self._is_gro = use_gro and _HAS_OFFLOAD and _set_option(sock, socket.IPPROTO_UDP, _UDP_GRO)
        self.datagrams_lost = self.datagrams_refused = self.early_dropped = 0
        self.bytes_sent = self.bytes_received = self.send_calls = self.receive_calls = 0
        name = sock.getsockname()
        self._local: Address = (name[0], name[1])
        self._loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    def bind(cls, host: str, port: int = 0, *, use_gso: bool = True, use_gro: bool = True) -> Self:
        """Make a path on a new socket.

        Args:
            host: a local IPv4 or IPv6 address.
            port: 0 for any free one.
            use_gso: send many datagrams with one call.
            use_gro: receive many datagrams with one call.

        Raises:
            ConfigError: ``host`` is no IP address.
            TransportError: the address cannot be bound.
        """
        sock = socket.socket(_family(host), socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
            sock.bind((host, port))
        except OSError as exc:
            sock.close()
            raise TransportError(f"cannot bind {host} port {port}: {exc.strerror}") from exc
        return cls(sock, use_gso=use_gso, use_gro=use_gro)

    @property
    def local_address(self) -> Address:
        """Where we receive."""
        return self._local

    @property
    def is_blocked(self) -> bool:
        """Datagrams wait for the kernel."""
        return bool(self._backlog)

    @property
    def is_gso(self) -> bool:
        """Segmented sending is in use."""
        return self._is_gso

    @property
    def is_gro(self) -> bool:
        """Segmented receiving is in use."""
        return self._is_gro

    def attach(self, receiver: DatagramReceiver) -> None:
        """Say who takes what comes from the remote end."""
        self._receiver = receiver

    def set_remote(self, address: Address) -> None:
        """Connect the socket, which also lets ICMP errors reach us.

        Raises:
            ConfigError: no IP address, or one of another family than ours.
            TransportError: there is no route.
        """
        if self._is_closed:
            raise TransportError("the path is closed")
        if _family(address[0]) != self._socket.family:
            raise ConfigError(f"{address[0]} and {self._local[0]} are of different IP versions")
        self._readable()  # what came so far, with the addresses it came from
        try:
            self._socket.connect(address)
        except OSError as exc:
            raise TransportError(f"no way to {address[0]}: {exc.strerror}") from exc
        self._remote = _canonical(address)
        self._is_connected = True
        early, self._early = self._early, []
        batch = [(data, size) for data, size, source in early if source == self._remote]
        self.early_dropped += len(early) - len(batch)
        self._early_bytes = self._early_datagrams = 0
        if batch and self._receiver is not None:
            self._receiver.datagrams_received(batch)

    def stats(self) -> Mapping[str, int]:
        """Counters: bytes and calls both ways, losses and ICMP refusals that we know of."""
        return {
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "send_calls": self.send_calls,
            "receive_calls": self.receive_calls,
            "datagrams_lost": self.datagrams_lost,
            "datagrams_refused": self.datagrams_refused,
            "early_dropped": self.early_dropped,
        }

    def close(self) -> None:
        """Close the socket. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._backlog.clear()
        self._early.clear()
        self._receiver = None
        self._socket.close()

    # --- receiving --------------------------------------------------------------------------------
    def _readable(self) -> None:
        batch: list[tuple[bytes, int]] = []
        budget = READ_BUDGET_DATAGRAMS
        receive = self._socket.recvmsg
        control = _CONTROL_BYTES if self._is_gro else 0
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
                logger.debug("local=%s:%d receive failed: %s", *self._local, exc)
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
            if self._is_connected:
                batch.append((data, segment_size))
            else:
                self._keep_early(data, segment_size, _canonical(source))
        if batch and self._receiver is not None:
            self._receiver.datagrams_received(batch)

    def _keep_early(self, data: bytes, segment_size: int, source: Address) -> None:
        count = -(-len(data) // segment_size)
        if (
            self._early_datagrams + count > EARLY_DATAGRAMS
            or self._early_bytes + len(data) > EARLY_BYTES
        ):
            self.early_dropped += count
            return
        self._early.append((data, segment_size, source))
        self._early_datagrams += count
        self._early_bytes += len(data)

    # --- sending ----------------------------------------------------------------------------------
    def send(self, data: bytes, segment_size: int) -> None:
        """Send, or keep for when the socket takes datagrams again."""
        if self._is_closed or not self._is_connected:
            self.datagrams_lost += -(-len(data) // segment_size)
            return
        if self._backlog:
            self._keep_back(data, segment_size)
            return
        rest = self._send_now(data, segment_size)
        if rest:
            self._keep_back(rest, segment_size)

    def _send_now(self, data: bytes, segment_size: int) -> bytes:
        """Send what the socket takes; return what it does not take now."""
        sock = self._socket
        self.send_calls += 1
        if len(data) > segment_size and self._is_gso:
            control = [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("H", segment_size))]
            for _ in range(2):
                try:
                    sock.sendmsg((data,), control)
                except ConnectionRefusedError:
                    self.datagrams_refused += 1  # about an earlier datagram: this one did not go
                    continue
                except BlockingIOError:
                    return data
                except OSError as exc:
                    if exc.errno not in _GSO_REFUSED:
                        return self._lose(data, segment_size, exc)
                    self._is_gso = False
                    logger.info("local=%s:%d no UDP GSO here: %s", *self._local, exc)
                    break
                self.bytes_sent += len(data)
                return b""
            else:
                return self._lose(data, segment_size, None)
        view = memoryview(data)
        for start in range(0, len(data), segment_size):
            if not self._send_one(view[start : start + segment_size]):
                return data[start:]
        return b""

    def _send_one(self, datagram: memoryview) -> bool:
        for _ in range(2):
            try:
                self._socket.send(datagram)
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
            logger.debug("local=%s:%d send failed: %s", *self._local, exc)
        return b""

    def _keep_back(self, data: bytes, segment_size: int) -> None:
        if self._backlog_bytes + len(data) > MAX_BACKLOG_BYTES:
            self._lose(data, segment_size, None)
            return
        if not self._backlog:
            self._loop.add_writer(self._socket.fileno(), self._writable)
        self._backlog.append((data, segment_size))
        self._backlog_bytes += len(data)

    def _writable(self) -> None:
        while self._backlog:
            data, segment_size = self._backlog.popleft()
            self._backlog_bytes -= len(data)
            rest = self._send_now(data, segment_size)
            if rest:
                self._backlog.appendleft((rest, segment_size))
                self._backlog_bytes += len(rest)
                return
        self._loop.remove_writer(self._socket.fileno())
        if self._receiver is not None:
            self._receiver.path_writable()


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


def _family(host: str) -> socket.AddressFamily:
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError as exc:
        raise ConfigError(f"{host!r} is no IP address") from exc
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def _canonical(address: Any) -> Address:
    """Return an address so that two texts of one address compare equal."""
    return str(ipaddress.ip_address(address[0].partition("%")[0])), address[1]
