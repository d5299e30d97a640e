"""A stream path without keys, for lines that are agreed on as plain."""

from __future__ import annotations

from dcsdk.errors import LocalProtocolError
from dcsdk.interfaces.keying import PlainParameters
from dcsdk.interfaces.paths import StreamPath
from dcsdk.interfaces.stats import PathStats, TransportStats
from dcsdk.interfaces.transports import StreamTransport
from dcsdk.io.secure.stream_life import READ_BYTES, StreamLife
from dcsdk.security import SecurityReport, SecurityScope

BACKEND = "plain"
"""Name of the mechanism in reports."""

OPEN_TIMEOUT_S = 30.0
"""Bound on connecting, unless another is given."""


class PlainStreamTransport(StreamTransport):
    """Bytes as they are. The peer is whoever connects from the signalled host.

    Args:
        path: owned from now on.
        parameters: as agreed, with a TCP role.
        open_timeout_s: bound on connecting, seconds; covers a ``start`` that nobody waits for.

    Raises:
        LocalProtocolError: the parameters have no TCP role.
    """

    def __init__(
        self,
        path: StreamPath,
        parameters: PlainParameters,
        *,
        open_timeout_s: float = OPEN_TIMEOUT_S,
    ) -> None:
        if parameters.tcp_role is None:
            raise LocalProtocolError("a stream needs a TCP role", source="RFC 4145 4")
        self._path = path
        self._tcp_role = parameters.tcp_role
        self._open_timeout_s = open_timeout_s
        self._life = StreamLife("plain stream", path)
        self._report = SecurityReport(
            scope=SecurityScope.NONE, backend=BACKEND, reason="the line has no keys"
        )

    @property
    def report(self) -> SecurityReport:
        """That nothing protects the stream."""
        return self._report

    @report.setter
    def report(self, report: SecurityReport) -> None:
        self._report = report

    def start(self) -> None:
        """Begin to connect or to wait.

        Raises:
            LocalProtocolError: started before.
            TransportError: closed.
        """
        self._life.start(self._carry())

    async def wait_established(self, timeout_s: float) -> None:
        """Wait until the peer is connected."""
        await self._life.wait_established(timeout_s)

    async def wait_closed(self) -> Exception | None:
        """Wait for the end; returns what ended it, ``None`` for an end in order."""
        return await self._life.wait_closed()

    async def read(self, max_bytes: int = 65_536) -> bytes:
        """Take what came, waiting for it; ``b""`` when the peer closed in order."""
        return await self._life.read(max_bytes)

    async def write(self, data: bytes) -> None:
        """Send, waiting while too much is queued; all of it even when the call is cancelled."""
        self._life.check_writable()
        await self._life.send(data)

    def stats(self) -> TransportStats:
        """What the path did so far."""
        return TransportStats(path=PathStats.of(self._path.stats()))

    async def aclose(self, timeout_s: float = 2.0) -> None:
        """Send what was written, then close the path. Idempotent and bounded."""
        await self._life.aclose(timeout_s)

    async def _carry(self) -> None:
        await self._path.open(self._tcp_role, timeout_s=self._open_timeout_s)
        self._life.establish()
        while data := await self._path.read(READ_BYTES):
            await self._life.put(data)
