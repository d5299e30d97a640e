"""Several datagram paths on one UDP socket, told apart by the sender and the first byte."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from dcsdk.errors import ConfigError, TransportError
from dcsdk.interfaces import Address, DatagramPath, DatagramReceiver
from dcsdk.io.net.demux import PacketKind, is_all_dtls, split_by_kind
from dcsdk.io.net.udp_socket import Source, UdpSocket, bound_socket, canonical, family_of

MAX_PATHS = 65_536
"""Paths on one socket."""

EARLY_DATAGRAMS, EARLY_BYTES = 256, 512 << 10
"""What is cached of senders that no path leads to yet; the oldest makes room."""

MAX_KNOWN_SOURCES = 4096
"""Senders whose address is remembered in canonical form."""

Route = tuple[Address, PacketKind]


class SharedUdpSocket:
    """One bound socket for many remote ends, each of which has a path of its own.

    A server's port, or many associations of one client where addresses are scarce. The kernel
    cannot tell such a socket of ICMP errors, and one full socket holds all its paths back.

    Args:
        host: a local IPv4 or IPv6 address.
        port: 0 for any free one.
        use_gso: send many datagrams with one call.
        use_gro: receive many datagrams with one call.

    Raises:
        ConfigError: ``host`` is no IP address.
        TransportError: the address cannot be bound.
    """

    def __init__(
        self, host: str, port: int = 0, *, use_gso: bool = True, use_gro: bool = True
    ) -> None:
        self._udp = UdpSocket(
            bound_socket(host, port),
            self._received,
            self._writable,
            use_gso=use_gso,
            use_gro=use_gro,
        )
        self._routes: dict[Route, SharedUdpPath] = {}
        self._known: dict[Source, Address] = {}
        self._early: deque[tuple[Route, bytes, int]] = deque()
        self._early_bytes = self._early_datagrams = 0
        self._early_dropped = self._datagrams_unknown = 0

    @property
    def local_address(self) -> Address:
        """Where all its paths receive."""
        return self._udp.local_address

    @property
    def is_blocked(self) -> bool:
        """Datagrams wait for the kernel."""
        return self._udp.is_blocked

    def path(self, kind: PacketKind = PacketKind.DTLS) -> SharedUdpPath:
        """Make a path, which leads somewhere once its ``set_remote`` is called.

        Args:
            kind: the datagrams it takes; another path may lead to the same address for others.
        """
        return SharedUdpPath(self, kind)

    def stats(self) -> Mapping[str, int]:
        """Counters of the socket, and what came from nobody we know."""
        return {
            **self._udp.stats(),
            "paths": len(self._routes),
            "early_dropped": self._early_dropped,
            "datagrams_unknown": self._datagrams_unknown,
        }

    def close(self) -> None:
        """Close the socket; its paths go nowhere from now on. Idempotent."""
        self._udp.close()
        self._routes.clear()
        self._early.clear()
        self._known.clear()

    # --- for the paths ----------------------------------------------------------------------------
    def open_route(self, path: SharedUdpPath, address: Address, kind: PacketKind) -> Route:
        """Lead datagrams of one kind and sender to a path; see ``SharedUdpPath.set_remote``."""
        if self._udp.is_closed:
            raise TransportError("the socket is closed")
        if family_of(address[0]) != self._udp.family:
            raise ConfigError(
                f"{address[0]} and {self.local_address[0]} are of different IP versions"
            )
        route = (canonical(address), kind)
        if self._routes.get(route, path) is not path:
            raise ConfigError(f"another path of this socket leads to {address[0]}:{address[1]}")
        if len(self._routes) >= MAX_PATHS:
            raise ConfigError(f"more than {MAX_PATHS} paths on one socket")
        self._routes[route] = path
        return route

    def take_early(self, route: Route) -> list[tuple[bytes, int]]:
        """Return what came for a path before it was there."""
        taken = [(data, size) for key, data, size in self._early if key == route]
        if taken:
            self._early = deque(item for item in self._early if item[0] != route)
            self._early_bytes -= sum(len(data) for data, _ in taken)
            self._early_datagrams -= sum(-(-len(data) // size) for data, size in taken)
        return taken

    def forget_route(self, route: Route) -> None:
        """Lead datagrams nowhere again."""
        self._routes.pop(route, None)

    def send(self, data: bytes, segment_size: int, destination: Address) -> None:
        """Send to one of the remote ends."""
        self._udp.send(data, segment_size, destination)

    # --- the socket -------------------------------------------------------------------------------
    def _received(
        self, _: UdpSocket, batch: list[tuple[bytes, int]], sources: list[Source]
    ) -> None:
        ready: dict[SharedUdpPath, list[tuple[bytes, int]]] = {}
        routes = self._routes
        for item, source in zip(batch, sources, strict=True):
            address = self._known.get(source) or self._learn(source)
            data, segment_size = item
            if is_all_dtls(data, segment_size):
                path = routes.get((address, PacketKind.DTLS))
                if path is not None:
                    ready.setdefault(path, []).append(item)
                    continue
            for kind, run, size in split_by_kind(data, segment_size):
                path = routes.get((address, kind))
                if path is not None:
                    ready.setdefault(path, []).append((run, size))
                elif kind is PacketKind.UNKNOWN:
                    self._datagrams_unknown += -(-len(run) // size)
                else:
                    self._keep_early((address, kind), run, size)
        for path, items in ready.items():
            path.deliver(items)

    def _learn(self, source: Source) -> Address:
        if len(self._known) >= MAX_KNOWN_SOURCES:
            self._known.clear()
        address = self._known[source] = canonical(source)
        return address

    def _keep_early(self, route: Route, data: bytes, segment_size: int) -> None:
        self._early.append((route, data, segment_size))
        self._early_bytes += len(data)
        self._early_datagrams += -(-len(data) // segment_size)
        while self._early_bytes > EARLY_BYTES or self._early_datagrams > EARLY_DATAGRAMS:
            _, old, size = self._early.popleft()
            count = -(-len(old) // size)
            self._early_bytes -= len(old)
            self._early_datagrams -= count
            self._early_dropped += count

    def _writable(self) -> None:
        for path in list(self._routes.values()):
            path.writable()


class SharedUdpPath(DatagramPath):
    """The part of a shared socket that one remote end and one kind of datagram have.

    Args:
        shared: the socket.
        kind: the datagrams of this path.
    """

    def __init__(self, shared: SharedUdpSocket, kind: PacketKind) -> None:
        self._shared = shared
        self._kind = kind
        self._route: Route | None = None
        self._receiver: DatagramReceiver | None = None
        self._lost = self._bytes_sent = self._bytes_received = 0

    @property
    def shared(self) -> SharedUdpSocket:
        """The socket."""
        return self._shared

    @property
    def local_address(self) -> Address:
        """Where the socket receives."""
        return self._shared.local_address

    @property
    def remote_address(self) -> Address | None:
        """Where the path leads, once that is known."""
        return None if self._route is None else self._route[0]

    @property
    def is_blocked(self) -> bool:
        """The socket is full."""
        return self._shared.is_blocked

    def attach(self, receiver: DatagramReceiver) -> None:
        """Say who takes what comes from the remote end."""
        self._receiver = receiver
        self._deliver_early()

    def set_remote(self, address: Address) -> None:
        """Say where the path leads.

        Raises:
            ConfigError: no IP address, one of another family than ours, or another path of this
                socket leads there.
            TransportError: the socket is closed.
        """
        route = self._shared.open_route(self, address, self._kind)
        if self._route is not None and self._route != route:
            self._shared.forget_route(self._route)
        self._route = route
        self._deliver_early()

    def _deliver_early(self) -> None:
        """Hand over what came before the remote end and the receiver were both known."""
        if self._route is not None and self._receiver is not None:
            early = self._shared.take_early(self._route)
            if early:
                self.deliver(early)

    def send(self, data: bytes, segment_size: int) -> None:
        """Send datagrams, or lose them when the path leads nowhere."""
        if self._route is None:
            self._lost += -(-len(data) // segment_size)
            return
        self._bytes_sent += len(data)
        self._shared.send(data, segment_size, self._route[0])

    def stats(self) -> Mapping[str, int]:
        """Counters of this path; those of the socket are ``shared.stats()``."""
        return {
            "bytes_sent": self._bytes_sent,
            "bytes_received": self._bytes_received,
            "datagrams_lost": self._lost,
        }

    def close(self) -> None:
        """Leave the socket, which stays open. Idempotent."""
        if self._route is not None:
            self._shared.forget_route(self._route)
            self._route = None
        self._receiver = None

    def deliver(self, batch: list[tuple[bytes, int]]) -> None:
        """Hand over what came for this path."""
        self._bytes_received += sum(len(data) for data, _ in batch)
        if self._receiver is not None:
            self._receiver.datagrams_received(batch)

    def writable(self) -> None:
        """Tell the receiver that the socket takes datagrams again."""
        if self._receiver is not None:
            self._receiver.path_writable()
