"""A datagram path that can go silent, for tests of what a client does then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dcsdk.interfaces import Address, DatagramPath, DatagramReceiver


class SilencablePath(DatagramPath, DatagramReceiver):
    """Another path, until :meth:`silence` is called; from then on nothing passes in or out.

    Args:
        path: what carries the datagrams; owned from now on.
    """

    def __init__(self, path: DatagramPath) -> None:
        self._path = path
        self._receiver: DatagramReceiver | None = None
        self.is_silent = False
        self.dropped = 0

    def silence(self) -> None:
        """Drop every datagram from now on, in and out. The socket stays open: nobody is told."""
        self.is_silent = True

    @property
    def local_address(self) -> Address:
        """Where the path receives."""
        return self._path.local_address

    @property
    def is_blocked(self) -> bool:
        """The kernel takes no more now."""
        return self._path.is_blocked

    def attach(self, receiver: DatagramReceiver) -> None:
        """Say who takes what comes."""
        self._receiver = receiver
        self._path.attach(self)

    def set_remote(self, address: Address) -> None:
        """Fix the remote end."""
        self._path.set_remote(address)

    def send(self, data: bytes, segment_size: int) -> None:
        """Send datagrams, or drop them."""
        if self.is_silent:
            self.dropped += 1
        else:
            self._path.send(data, segment_size)

    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Hand datagrams on, or drop them."""
        if self.is_silent:
            self.dropped += 1
        elif self._receiver is not None:
            self._receiver.datagrams_received(batch)

    def path_writable(self) -> None:
        """Hand the news on."""
        if self._receiver is not None:
            self._receiver.path_writable()

    def stats(self) -> Mapping[str, int]:
        """Counters of the path."""
        return {**self._path.stats(), "dropped_by_fault": self.dropped}

    def close(self) -> None:
        """Close the path."""
        self._path.close()
