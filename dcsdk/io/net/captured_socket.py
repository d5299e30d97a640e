"""A UDP socket whose traffic is captured. Who does not capture has the plain socket, unchanged."""

from __future__ import annotations

import socket
from collections.abc import Callable

from dcsdk.interfaces import Address
from dcsdk.io.capture import Capture
from dcsdk.io.net.udp_socket import Received, Source, UdpSocket


class CapturedUdpSocket(UdpSocket):
    """Writes each batch into a capture: what came in, the secrets that it makes known in front, and
    what goes out when it is given to the kernel.

    Args:
        sock: bound, non-blocking; owned from now on.
        on_received: takes what came in one turn of the loop.
        on_writable: called when a backlog is gone.
        capture: not closed here.
        use_gso: send many datagrams with one call.
        use_gro: receive many datagrams with one call.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_received: Received,
        on_writable: Callable[[], None],
        *,
        capture: Capture,
        use_gso: bool = True,
        use_gro: bool = True,
    ) -> None:
        self._capture = capture
        self._remote: Address | None = None

        def received(udp: UdpSocket, batch: list[tuple[bytes, int]], sources: list[Source]) -> None:
            local = udp.local_address
            with capture.secrets_first():
                for (data, segment_size), source in zip(batch, sources, strict=True):
                    capture.datagrams((source[0], source[1]), local, data, segment_size)
                on_received(udp, batch, sources)

        super().__init__(sock, received, on_writable, use_gso=use_gso, use_gro=use_gro)

    def connect(self, address: Address) -> None:
        """Send to and receive from one address only."""
        super().connect(address)
        self._remote = address

    def send(self, data: bytes, segment_size: int, destination: Address | None = None) -> None:
        """Send, and write down what is sent."""
        remote = destination or self._remote
        if remote is not None and not self.is_closed:
            self._capture.datagrams(self.local_address, remote, data, segment_size)
        super().send(data, segment_size, destination)


def open_socket(
    sock: socket.socket,
    on_received: Received,
    on_writable: Callable[[], None],
    *,
    capture: Capture | None,
    use_gso: bool = True,
    use_gro: bool = True,
) -> UdpSocket:
    """Make a socket on the running event loop, captured or plain.

    Args:
        sock: bound, non-blocking; owned from now on.
        on_received: takes what came in one turn of the loop.
        on_writable: called when a backlog is gone.
        capture: ``None`` for none, which costs nothing.
        use_gso: send many datagrams with one call.
        use_gro: receive many datagrams with one call.
    """
    if capture is None:
        return UdpSocket(sock, on_received, on_writable, use_gso=use_gso, use_gro=use_gro)
    return CapturedUdpSocket(
        sock, on_received, on_writable, capture=capture, use_gso=use_gso, use_gro=use_gro
    )
