"""Paths: bytes between two ends, without keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dcsdk.errors import LocalProtocolError
from dcsdk.sdp.connection import TcpRole

Address = tuple[str, int]
"""An IP address as text (IPv6 without brackets) and a port."""


class DatagramReceiver(ABC):
    """Who takes the datagrams of a path. All calls come from the event loop, one at a time."""

    @abstractmethod
    def datagrams_received(self, batch: Sequence[tuple[bytes, int]]) -> None:
        """Take a batch, in the order it came.

        Args:
            batch: pairs of data and segment size: datagrams of that size glued together, of which
                the last may be shorter (as UDP GRO hands them over).
        """

    @abstractmethod
    def path_writable(self) -> None:
        """The path takes datagrams again after ``is_blocked`` was true."""


class DatagramPath(ABC):
    """A way for datagrams to one remote end: a UDP socket, or the pair that ICE finds.

    Received datagrams reach the one attached receiver in batches, in the event loop's reader
    callback; nothing is queued per packet. What comes before both ``attach`` and ``set_remote``
    is cached, bounded.
    """

    @property
    @abstractmethod
    def local_address(self) -> Address:
        """Where we receive; goes into ``c=`` and ``m=``."""

    @property
    @abstractmethod
    def remote_address(self) -> Address | None:
        """Where datagrams go, once that is known."""

    @property
    @abstractmethod
    def is_blocked(self) -> bool:
        """The kernel takes no more now; hold back until ``path_writable``."""

    @abstractmethod
    def attach(self, receiver: DatagramReceiver) -> None:
        """Say who takes what comes from the remote end.

        A path has one receiver; a receiver that shares the path among several fans out itself.
        What came before goes to it as soon as the remote end is known as well.
        """

    @abstractmethod
    def set_remote(self, address: Address) -> None:
        """Fix where datagrams go and whom they are accepted from.

        Cached datagrams of that remote end go to the receiver, now or when it is attached.
        """

    @abstractmethod
    def send(self, data: bytes, segment_size: int) -> None:
        """Send datagrams of ``segment_size`` bytes glued together; the last may be shorter.

        Never raises for what a network does: a datagram that cannot be sent is lost.
        """

    def fork(self) -> DatagramPath:
        """Make a path on the same local address that will lead to another remote end.

        A forked dialog gets one (RFC 3264 5.1), and a peer that moves to another port.

        Raises:
            LocalProtocolError: paths of this kind cannot.
            TransportError: the system does not allow it.
        """
        raise LocalProtocolError("this kind of path shares its address with no other")

    @abstractmethod
    def stats(self) -> Mapping[str, int]:
        """Counters of the path."""

    @abstractmethod
    def close(self) -> None:
        """Close the path. Closing twice is no error."""


class StreamConnection(ABC):
    """Bytes in order, both ways, over one connection."""

    @abstractmethod
    async def read(self, max_bytes: int) -> bytes:
        """Take what came, waiting for it; ``b""`` at the end of the stream.

        One reader at a time.

        Raises:
            TransportError: the connection broke or is closed.
        """

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send, waiting while the connection takes no more.

        All of ``data`` is queued before the call waits: writes go out in the order of the calls,
        and one that is cancelled while it waits is sent all the same.

        Raises:
            TransportError: the connection broke or is closed.
        """


Verified = TypeVar("Verified")


class StreamPath(StreamConnection):
    """A TCP connection of one media line, listening or connecting by ``a=setup`` (RFC 4145).

    It listens from the moment it is bound, so that its port can be signalled before it is known
    which side connects. Connections and bytes that come before it is opened are kept, bounded.
    """

    @property
    @abstractmethod
    def local_address(self) -> Address:
        """Where we listen; goes into ``c=`` and ``m=`` unless our side is active."""

    @abstractmethod
    def set_remote(self, address: Address) -> None:
        """Say what the peer signalled, before the path is opened.

        Once it is opened this changes nothing: a connection stays where it leads (RFC 4145 5.1).

        Args:
            address: where we connect to; when we wait, its host is where the peer is expected.
        """

    @abstractmethod
    async def open(self, role: TcpRole, *, timeout_s: float) -> None:
        """Connect to the remote end, or wait until it connects; its host must be the one signalled.

        Args:
            role: ours.
            timeout_s: bound, seconds.

        Raises:
            PeerUnreachable: refused, or nobody came in time.
        """

    @abstractmethod
    async def open_verified(
        self,
        role: TcpRole,
        *,
        verify: Callable[[StreamConnection], Awaitable[Verified]],
        timeout_s: float,
    ) -> Verified:
        """Connect to the remote end, or wait for it, by keys rather than by address.

        When we wait, every connection is a candidate, from whatever host. The first that ``verify``
        accepts is the connection of the path; the others are closed.

        Args:
            role: ours.
            verify: runs a handshake on a connection; raises when the other end is not the peer.
            timeout_s: bound on everything, seconds.

        Returns:
            What ``verify`` returned for the connection that was taken.

        Raises:
            SecurityError: the peer's host connected, and was not the peer.
            PeerUnreachable: refused, or nobody came in time.
        """

    @abstractmethod
    def write_eof(self) -> None:
        """Tell the peer that nothing follows what was written; reading goes on. Idempotent."""

    @abstractmethod
    def stats(self) -> Mapping[str, int]:
        """Counters of the path."""

    @abstractmethod
    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what was written, then close. Idempotent and bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The paths of one line.

    Attributes:
        rtp: of the media; the only one unless RTCP has a component of its own (RFC 5761 5.1.1).
        rtcp: of RTCP, or ``None``.
        stream: of a line on TCP; then there is no other.
    """

    rtp: DatagramPath | None = None
    rtcp: DatagramPath | None = None
    stream: StreamPath | None = None
