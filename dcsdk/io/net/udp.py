"""One UDP socket to one remote end, as a datagram path."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Self

from dcsdk.errors import ConfigError, TransportError
from dcsdk.interfaces import Address, DatagramPath, DatagramReceiver
from dcsdk.io.capture import Capture
from dcsdk.io.net.captured_socket import open_socket
from dcsdk.io.net.udp_socket import Source, UdpSocket, bound_socket, canonical, family_of

EARLY_DATAGRAMS, EARLY_BYTES = 16, 64 << 10
"""What is cached before the remote address is known; the rest is lost, as on any network."""


class UdpPath(DatagramPath):
    """One UDP socket, connected to the remote end once that is known.

    Args:
        sock: bound, non-blocking; the path owns it from now on.
        use_gso: send many datagrams with one call.
        use_gro: receive many datagrams with one call.
        capture: gets everything in and out, or ``None``; not closed here.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        use_gso: bool = True,
        use_gro: bool = True,
        capture: Capture | None = None,
    ) -> None:
        self._udp = open_socket(
            sock,
            self._received,
            self._writable,
            capture=capture,
            use_gso=use_gso,
            use_gro=use_gro,
        )
        self._capture = capture
        self._remote: Address | None = None
        self._receiver: DatagramReceiver | None = None
        self._early: list[tuple[bytes, int, Address]] = []
        self._early_bytes = self._early_datagrams = 0
        self._lost = self._early_dropped = 0

    @classmethod
    def bind(
        cls,
        host: str,
        port: int = 0,
        *,
        use_gso: bool = True,
        use_gro: bool = True,
        capture: Capture | None = None,
    ) -> Self:
        """Make a path on a new socket.

        Args:
            host: a local IPv4 or IPv6 address.
            port: 0 for any free one.
            use_gso: send many datagrams with one call.
            use_gro: receive many datagrams with one call.
            capture: gets everything in and out, or ``None``; not closed here.

        Raises:
            ConfigError: ``host`` is no IP address.
            TransportError: the address cannot be bound.
        """
        sock = bound_socket(host, port)
        return cls(sock, use_gso=use_gso, use_gro=use_gro, capture=capture)

    def fork(self) -> UdpPath:
        """Make a path on our own address, which leads to another remote end.

        Until ``set_remote`` it may miss what comes from there.

        Raises:
            TransportError: closed, or the system does not let two sockets share an address.
        """
        return UdpPath(
            self._udp.share_address(),
            use_gso=self._udp.is_gso,
            use_gro=self._udp.is_gro,
            capture=self._capture,
        )

    @property
    def local_address(self) -> Address:
        """Where we receive."""
        return self._udp.local_address

    @property
    def is_blocked(self) -> bool:
        """Datagrams wait for the kernel."""
        return self._udp.is_blocked

    @property
    def is_gso(self) -> bool:
        """Segmented sending is in use."""
        return self._udp.is_gso

    @property
    def is_gro(self) -> bool:
        """Segmented receiving is in use."""
        return self._udp.is_gro

    @property
    def remote_address(self) -> Address | None:
        """Where datagrams go, once that is known."""
        return self._remote

    def attach(self, receiver: DatagramReceiver) -> None:
        """Say who takes what comes from the remote end."""
        self._receiver = receiver
        self._deliver_early()

    def set_remote(self, address: Address) -> None:
        """Connect the socket, which also lets ICMP errors reach us.

        Raises:
            ConfigError: no IP address, or one of another family than ours.
            TransportError: there is no route.
        """
        if self._udp.is_closed:
            raise TransportError("the path is closed")
        if family_of(address[0]) != self._udp.family:
            raise ConfigError(
                f"{address[0]} and {self.local_address[0]} are of different IP versions"
            )
        self._udp.drain()  # what came so far, with the addresses it came from
        self._udp.connect(address)
        self._remote = canonical(address)
        kept = [item for item in self._early if item[2] == self._remote]
        self._early_dropped += len(self._early) - len(kept)
        self._early = kept
        self._deliver_early()

    def _deliver_early(self) -> None:
        """Hand over what came before the remote end and the receiver were both known."""
        if self._remote is None or self._receiver is None or not self._early:
            return
        early, self._early = self._early, []
        self._early_bytes = self._early_datagrams = 0
        self._receiver.datagrams_received([(data, size) for data, size, _ in early])

    def send(self, data: bytes, segment_size: int) -> None:
        """Send, or keep for when the socket takes datagrams again."""
        if self._remote is not None:
            self._udp.send(data, segment_size)
        else:
            self._lost += -(-len(data) // segment_size)

    def stats(self) -> Mapping[str, int]:
        """Counters: bytes and calls both ways, losses and ICMP refusals that we know of."""
        counters = self._udp.stats()
        return {
            **counters,
            "datagrams_lost": counters["datagrams_lost"] + self._lost,
            "early_dropped": self._early_dropped,
        }

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._udp.close()
        self._early.clear()
        self._receiver = None

    def _received(
        self, _: UdpSocket, batch: list[tuple[bytes, int]], sources: list[Source]
    ) -> None:
        if self._remote is not None and self._receiver is not None:
            self._receiver.datagrams_received(batch)
            return
        for (data, segment_size), source in zip(batch, sources, strict=True):
            self._keep_early(data, segment_size, canonical(source))

    def _keep_early(self, data: bytes, segment_size: int, source: Address) -> None:
        count = -(-len(data) // segment_size)
        if (
            self._early_datagrams + count > EARLY_DATAGRAMS
            or self._early_bytes + len(data) > EARLY_BYTES
        ):
            self._early_dropped += count
            return
        self._early.append((data, segment_size, source))
        self._early_datagrams += count
        self._early_bytes += len(data)

    def _writable(self) -> None:
        if self._receiver is not None:
            self._receiver.path_writable()
